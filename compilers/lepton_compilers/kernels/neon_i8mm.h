/* Convolutions for Arm CPUs with 8-bit matrix multiplication: smmla takes 8 input channels of two pixels and of two
 * outputs, weights [k / 8][output][8]. A tile is 24 matrices of 2 x 2 sums at most; one pixel alone goes by sdot.
 */
#ifndef LEPTON_NEON_I8MM_H
#define LEPTON_NEON_I8MM_H

#define LEPTON_UNIT 8
#define LEPTON_LANES 4
#define LEPTON_SUMS 24
typedef int32x4_t sums_t;

LEPTON_KERNEL int8x16_t two_halves(const int8x16_t a, const int8x16_t b, const int half) {
  const int64x2_t x = vreinterpretq_s64_s8(a), y = vreinterpretq_s64_s8(b);
  return vreinterpretq_s8_s64(half ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
}
/* `groups` (1 or 2) times 8 channels of mr pixels, by twos; those before p0 and from p1 on count as zero */
LEPTON_KERNEL void add_matrices(int32x4_t *sum, const map_t *x, const int pixel, const weight_t *weight,
                                const int groups, const int mr, const int couples, const int p0, const int p1) {
  int8x16_t by_pixel[24];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    by_pixel[p] = p < p0 || p >= p1 ? vdupq_n_s8(0) : vld1q_s8(x + (ptrdiff_t)p * pixel);
  }
  LEPTON_UNROLL for (int g = 0; g < groups; g++) {
    int8x16_t two[12];
    LEPTON_UNROLL for (int p = 0; p < mr; p += 2) {
      two[p / 2] = two_halves(by_pixel[p], by_pixel[p + 1 < mr ? p + 1 : p], g);
    }
    LEPTON_UNROLL for (int v = 0; v < couples; v++) {
      const int8x16_t by = vld1q_s8(weight + (g * couples + v) * 16);
      LEPTON_UNROLL for (int p = 0; p < mr; p += 2)
        sum[p / 2 * couples + v] = vmmlaq_s32(sum[p / 2 * couples + v], two[p / 2], by);
    }
  }
}
/* The same for one pixel: a vector holds the halves of two outputs' sums. */
LEPTON_KERNEL void add_halves(int32x4_t *sum, const map_t *x, const weight_t *weight, const int groups,
                              const int couples) {
  LEPTON_UNROLL for (int g = 0; g < groups; g++) {
    const int8x8_t eight = vld1_s8(x + 8 * g);
    const int8x16_t twice = vcombine_s8(eight, eight);
    LEPTON_UNROLL for (int v = 0; v < couples; v++)
      sum[v] = vdotq_s32(sum[v], twice, vld1q_s8(weight + (g * couples + v) * 16));
  }
}
LEPTON_KERNEL void add_channels(int32x4_t *sum, const map_t *x, const int pixel, const weight_t *weight,
                                const int groups, const int mr, const int couples, const int p0, const int p1) {
  if (mr > 1)
    add_matrices(sum, x, pixel, weight, groups, mr, couples, p0, p1);
  else if (p0 < p1)
    add_halves(sum, x, weight, groups, couples);
}
LEPTON_KERNEL const weight_t *add_tap(int32x4_t *sum, const map_t *x, const int pixel, const int block, const int c,
                                      const weight_t *weight, const int mr, const int vectors, const int p0,
                                      const int p1) {
  const int groups = (c + 7) / 8, couples = 2 * vectors;
  LEPTON_LOOP for (int b = 0; b < groups / 2; b++) {
    add_channels(sum, x, pixel, weight, 2, mr, couples, p0, p1);
    x += block;
    weight += 2 * couples * 16;
  }
  if (groups % 2) add_channels(sum, x, pixel, weight, 1, mr, couples, p0, p1);
  return weight + groups % 2 * couples * 16;
}
/* The sums of 4 outputs of pixel p. */
LEPTON_KERNEL int32x4_t of_pixel(const int32x4_t *sum, const int p, const int mr) {
  if (mr == 1) return add_pairwise(sum[0], sum[1]);
  const int64x2_t a = vreinterpretq_s64_s32(sum[0]), b = vreinterpretq_s64_s32(sum[1]);
  return vreinterpretq_s32_s64(p % 2 ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}
/* Where the sums of pixel p and its neighbour start: biases of both, two outputs at a time. */
LEPTON_KERNEL void start_matrices(int32x4_t *sum, const int32_t *bias, const int32_t *next, const int mr,
                                  const int couples) {
  LEPTON_UNROLL for (int v = 0; v < couples; v++) {
    const int32x2_t two = vld1_s32(bias + 2 * v), none = vdup_n_s32(0);
    sum[v] = mr == 1 ? vcombine_s32(vzip1_s32(two, none), vzip2_s32(two, none))
                     : vcombine_s32(two, next == bias ? two : vld1_s32(next + 2 * v));
  }
}
LEPTON_KERNEL void start_tile(int32x4_t *sum, const int32_t *bias, const int bias_step, const int mr, const int vectors,
                              const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int p = 0; p < mr; p += 2)
    start_matrices(sum + p * vectors, bias_of(bias, bias_step, p * stride, first, valid),
                   bias_of(bias, bias_step, (p + 1) * stride, first, valid), mr, 2 * vectors);
}
LEPTON_KERNEL void store_tile(map_t *y, const int32x4_t *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 4)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      int32x4_t of[4];
      LEPTON_UNROLL for (int i = 0; i < 4 && v + i < vectors; i++) {
        of[i] = of_pixel(sum + p / 2 * 2 * vectors + 2 * (v + i), p, mr);
      }
      store_pixel(y + (ptrdiff_t)(v / 4) * y_block + p * 16, of, vectors - v, m + 4 * v, finish);
    }
}
#endif
