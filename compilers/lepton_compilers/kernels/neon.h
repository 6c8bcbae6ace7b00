/* Convolutions for Arm CPUs without the dot product extension, Armv7 too: 16 input channels of a pixel by 16 of an
 * output, weights [k / 16][output][16], in three instructions: smull, smlal, sadalp. A vector holds a quarter each of one
 * output's sum; 4 outputs of up to 4 pixels at a time (2 with Armv7's 16 registers) run through all channels.
 */
#ifndef LEPTON_NEON_H
#define LEPTON_NEON_H

#define LEPTON_UNIT 16
#define LEPTON_LANES 4

#if defined(__aarch64__)
/* The products of four pixels, in an order that hides their latency and needs four registers: a compiler that sees the
 * instructions apart moves all products of a tile to the front and runs out of registers. */
LEPTON_KERNEL void add_four_pixels(int32x4_t *sum, const int8x16_t *x, const int8x16_t weight, const int half) {
  int16x8_t a, b, c, d;
  if (half)
    __asm__("smull %4.8h, %8.8b, %12.8b\n smull %5.8h, %9.8b, %12.8b\n"
            "smull %6.8h, %10.8b, %12.8b\n smull %7.8h, %11.8b, %12.8b\n"
            "sadalp %0.4s, %4.8h\n sadalp %1.4s, %5.8h\n sadalp %2.4s, %6.8h\n sadalp %3.4s, %7.8h"
            : "+w"(sum[0]), "+w"(sum[4]), "+w"(sum[8]), "+w"(sum[12]), "=&w"(a), "=&w"(b), "=&w"(c), "=&w"(d)
            : "w"(x[0]), "w"(x[1]), "w"(x[2]), "w"(x[3]), "w"(weight));
  else
    __asm__("smull %4.8h, %8.8b, %12.8b\n smull %5.8h, %9.8b, %12.8b\n"
            "smull %6.8h, %10.8b, %12.8b\n smull %7.8h, %11.8b, %12.8b\n"
            "smlal2 %4.8h, %8.16b, %12.16b\n smlal2 %5.8h, %9.16b, %12.16b\n"
            "smlal2 %6.8h, %10.16b, %12.16b\n smlal2 %7.8h, %11.16b, %12.16b\n"
            "sadalp %0.4s, %4.8h\n sadalp %1.4s, %5.8h\n sadalp %2.4s, %6.8h\n sadalp %3.4s, %7.8h"
            : "+w"(sum[0]), "+w"(sum[4]), "+w"(sum[8]), "+w"(sum[12]), "=&w"(a), "=&w"(b), "=&w"(c), "=&w"(d)
            : "w"(x[0]), "w"(x[1]), "w"(x[2]), "w"(x[3]), "w"(weight));
}
#endif

/* 16 input channels, or 8 where half != 0, of mr pixels by 4 outputs: sum [pixel][output] */
LEPTON_KERNEL void add_sixteen(int32x4_t *sum, const map_t *x, const int pixel, const weight_t *weight, const int mr,
                               const int half) {
  int8x16_t by_pixel[4];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) by_pixel[p] = vld1q_s8(x + (ptrdiff_t)p * pixel);
  LEPTON_UNROLL for (int o = 0; o < 4; o++) {
    const int8x16_t by = vld1q_s8(weight + o * 16);
#if defined(__aarch64__)
    if (mr == 4) {
      add_four_pixels(sum + o, by_pixel, by, half);
      continue;
    }
#endif
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      int16x8_t products = vmull_s8(vget_low_s8(by_pixel[p]), vget_low_s8(by));
      if (!half) products = vmlal_s8(products, vget_high_s8(by_pixel[p]), vget_high_s8(by));
      sum[p * 4 + o] = vpadalq_s16(sum[p * 4 + o], products);
    }
  }
}
LEPTON_KERNEL int32x4_t four_sums(const int32x4_t *sum) {
  return add_pairwise(add_pairwise(sum[0], sum[1]), add_pairwise(sum[2], sum[3]));
}
/* One tap: c channels in blocks. Gives the next tap's weights of the same 4 outputs. */
LEPTON_KERNEL const weight_t *add_tap(int32x4_t *sum, const map_t *x, const int pixel, const int block, const int c,
                                      const weight_t *weight, const int mr, const int vectors) {
  const int whole = (c + 7) / 16;
  LEPTON_LOOP for (int b = 0; b < whole; b++) {
    add_sixteen(sum, x, pixel, weight, mr, 0);
    x += block;
    weight += vectors * 64;
  }
  if ((c + 15) / 16 == whole) return weight;
  add_sixteen(sum, x, pixel, weight, mr, 1);
  return weight + vectors * 64;
}
LEPTON_KERNEL void store_tile(map_t *y, const int32x4_t *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 4)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_pixel(y + (ptrdiff_t)(v / 4) * y_block + p * 16, sum + p * vectors + v, vectors - v, m + 4 * v, finish);
}
LEPTON_KERNEL void conv_tile(const map_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int c, const weight_t *weight, const int32_t *bias,
                             const float *m, map_t *y, const int y_block, const int mr, const int n, const lepton_finish finish) {
  const int vectors = (n + 3) / 4;
  int32x4_t total[24];
  LEPTON_LOOP for (int v = 0; v < vectors; v++) {
    const weight_t *by = weight + v * 64;
    int32x4_t sum[16];
    LEPTON_UNROLL for (int i = 0; i < 4 * mr; i++) sum[i] = vdupq_n_s32(0);
    LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
      LEPTON_LOOP for (int kx = 0; kx < kw; kx++)
        by = add_tap(sum, x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column, pixel, block, c, by, mr, vectors);
    const int32x4_t start = vld1q_s32(bias + 4 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) total[p * vectors + v] = vaddq_s32(four_sums(sum + 4 * p), start);
  }
  store_tile(y, total, y_block, mr, vectors, m, finish);
}
LEPTON_KERNEL void conv3x3_tile(const map_t *x, const int row, const int block, const int c, const weight_t *weight,
                                const int32_t *bias, const int bias_step, const float *m, map_t *y, const int y_block,
                                const int mr, const int n, const int stride, const int ky0, const int ky1,
                                const int first, const int valid, const lepton_finish finish) {
  const int vectors = (n + 3) / 4;
  int32x4_t total[24];
  weight += (ptrdiff_t)ky0 * 3 * ((c + 15) / 16) * vectors * 64;
  LEPTON_LOOP for (int v = 0; v < vectors; v++) {
    const weight_t *by = weight + v * 64;
    int32x4_t sum[16];
    LEPTON_UNROLL for (int i = 0; i < 4 * mr; i++) sum[i] = vdupq_n_s32(0);
    LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++)
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p0 = kx < first, p1 = (mr - 1) * stride + kx < valid ? mr : mr - 1;
        const map_t *from = x + (ptrdiff_t)ky * row + (p0 * stride + kx) * 16;
        by = add_tap(sum + 4 * p0, from, stride * 16, block, c, by, p1 - p0, vectors);
      }
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const int32x4_t start = vld1q_s32(bias_of(bias, bias_step, p * stride, first, valid) + 4 * v);
      total[p * vectors + v] = vaddq_s32(four_sums(sum + 4 * p), start);
    }
  }
  store_tile(y, total, y_block, mr, vectors, m, finish);
}

/* 3 x 3: taps by twos, across rows, so that nothing can be left out: borders are written out. weights [9][16] */
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride, const int ky0,
                                     const int ky1, const int first, const int valid, const lepton_finish finish) {
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    int32x4_t sum[4];
    LEPTON_UNROLL for (int v = 0; v < 4; v++) sum[v] = vld1q_s32(bias + 4 * v);
    LEPTON_UNROLL for (int tap = 0; tap < 9; tap += 2) {
      const map_t *a = x + (ptrdiff_t)(tap / 3) * row + (p * stride + tap % 3) * 16;
      const map_t *b = x + (ptrdiff_t)((tap + 1) / 3) * row + (p * stride + (tap + 1) % 3) * 16;
      add_taps(sum, a, weight + tap * 16, tap < 8 ? b : 0, weight + (tap + 1) * 16);
    }
    store_pixel(y + p * 16, sum, 4, m, finish);
  }
}
#endif
