/* 3 x 3 depthwise products by sdot: four neighbouring pixels, transposed, are what a window's row takes and its right
 * neighbour's as well. Weights [ky][2][16][4]: taps (0, 1, 2, -) and (-, 0, 1, 2).
 */
#ifndef LEPTON_NEON_DOTPROD_DEPTHWISE_H
#define LEPTON_NEON_DOTPROD_DEPTHWISE_H

/* pairs: two pixels, channel by channel; each result: 4 channels of 4 pixels */
LEPTON_KERNEL void transpose_pairs(int8x16_t *four, const int8x16_t low0, const int8x16_t high0, const int8x16_t low1,
                                   const int8x16_t high1) {
  const int16x8_t a = vreinterpretq_s16_s8(low0), b = vreinterpretq_s16_s8(low1);
  const int16x8_t c = vreinterpretq_s16_s8(high0), d = vreinterpretq_s16_s8(high1);
  four[0] = vreinterpretq_s8_s16(vzip1q_s16(a, b));
  four[1] = vreinterpretq_s8_s16(vzip2q_s16(a, b));
  four[2] = vreinterpretq_s8_s16(vzip1q_s16(c, d));
  four[3] = vreinterpretq_s8_s16(vzip2q_s16(c, d));
}
LEPTON_KERNEL void add_window_row(int32x4_t *sum, const int8x16_t *four, const weight_t *weight) {
  LEPTON_UNROLL for (int v = 0; v < 4; v++) sum[v] = vdotq_s32(sum[v], four[v], vld1q_s8(weight + 16 * v));
}
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride, const int ky0,
                                     const int ky1, const int first, const int valid, const lepton_finish finish) {
  int32x4_t sum[24];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    const int32_t *from = bias_of(bias, bias_step, p * stride, first, valid);
    LEPTON_UNROLL for (int v = 0; v < 4; v++) sum[4 * p + v] = vld1q_s32(from + 4 * v);
  }
  x += (ptrdiff_t)ky0 * row;
  weight += ky0 * 128;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    int8x16_t low[8], high[8], four[4];
    /* The last pair's second pixel meets zero weights where a window ends on its first. */
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column += 2) {
      const int8x16_t a = column < first || column >= valid ? vdupq_n_s8(0) : vld1q_s8(x + column * 16);
      const int beside = column + 1 < first || column + 1 >= valid, unused = column + 1 >= (mr - 1) * stride + 3;
      const int8x16_t b = unused ? a : beside ? vdupq_n_s8(0) : vld1q_s8(x + (column + 1) * 16);
      low[column / 2] = vzip1q_s8(a, b);
      high[column / 2] = vzip2q_s8(a, b);
    }
    LEPTON_UNROLL for (int p = 0; p < mr; p += 2 / stride) {
      const int pair = p * stride / 2;
      transpose_pairs(four, low[pair], high[pair], low[pair + 1], high[pair + 1]);
      add_window_row(sum + 4 * p, four, weight);
      if (stride == 1 && p + 1 < mr) add_window_row(sum + 4 * p + 4, four, weight + 64);
    }
    x += row;
    weight += 128;
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++) store_pixel(y + p * 16, sum + 4 * p, 4, m, finish);
}
#endif
