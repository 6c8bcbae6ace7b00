/* Convolutions for Arm CPUs with the dot product extension: sdot takes 4 input channels of a pixel by lane and 4 x 4
 * weights, [k / 4][output][4]. A tile is 24 vectors of sums at most, for 32 registers.
 */
#ifndef LEPTON_NEON_DOTPROD_H
#define LEPTON_NEON_DOTPROD_H

#define LEPTON_UNIT 4
#define LEPTON_LANES 4
#define LEPTON_SUMS 24
typedef int32x4_t sums_t;

LEPTON_KERNEL int32x4_t dot_lane(const int32x4_t sum, const int8x16_t weight, const int8x16_t x, const int lane) {
  switch (lane) {
    case 0: return vdotq_laneq_s32(sum, weight, x, 0);
    case 1: return vdotq_laneq_s32(sum, weight, x, 1);
    case 2: return vdotq_laneq_s32(sum, weight, x, 2);
    default: return vdotq_laneq_s32(sum, weight, x, 3);
  }
}
/* `groups` times 4 channels of mr pixels; sums of a pixel stand side by side */
LEPTON_KERNEL void add_groups(int32x4_t *sum, const map_t *x, const int pixel, const weight_t *weight, const int groups,
                              const int mr, const int vectors) {
  int8x16_t by_pixel[24];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) by_pixel[p] = vld1q_s8(x + (ptrdiff_t)p * pixel);
  LEPTON_UNROLL for (int g = 0; g < groups; g++)
    LEPTON_UNROLL for (int v = 0; v < vectors; v++) {
      const int8x16_t by = vld1q_s8(weight + (g * vectors + v) * 16);
      LEPTON_UNROLL for (int p = 0; p < mr; p++)
        sum[p * vectors + v] = dot_lane(sum[p * vectors + v], by, by_pixel[p], g);
    }
}
LEPTON_KERNEL const weight_t *add_tap(int32x4_t *sum, const map_t *x, const int pixel, const int block, const int c,
                                      const weight_t *weight, const int mr, const int vectors, const int p0,
                                      const int p1) {
  const int groups = (c + 3) / 4;
  sum += p0 * vectors;
  x += p0 * pixel;
  LEPTON_LOOP for (int b = 0; b < groups / 4; b++) {
    add_groups(sum, x, pixel, weight, 4, p1 - p0, vectors);
    x += block;
    weight += 4 * vectors * 16;
  }
  if (groups % 4) add_groups(sum, x, pixel, weight, groups % 4, p1 - p0, vectors);
  return weight + groups % 4 * vectors * 16;
}
LEPTON_KERNEL void start_tile(int32x4_t *sum, const int32_t *bias, const int bias_step, const int mr, const int vectors,
                              const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    const int32_t *from = bias_of(bias, bias_step, p * stride, first, valid);
    LEPTON_UNROLL for (int v = 0; v < vectors; v++) sum[p * vectors + v] = vld1q_s32(from + 4 * v);
  }
}
LEPTON_KERNEL void store_tile(map_t *y, const int32x4_t *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 4)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_pixel(y + (ptrdiff_t)(v / 4) * y_block + p * 16, sum + p * vectors + v, vectors - v, m + 4 * v, finish);
}
#endif
