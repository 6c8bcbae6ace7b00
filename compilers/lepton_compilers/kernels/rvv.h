/* Tiles of int8 products for RISC-V with vectors of at least 128 bits, behind the kernels of blocked.h.
 *
 * Maps hold q - zero point as int16, so that what lies outside them is zero; weights are int16, [k][16], and a scalar of
 * the input times 16 of them is one widening vwmacc.vx. Written with vectors of 16 elements, which the compiler puts in
 * groups of registers: sums take four each, so a tile has 6 pixels at most.
 */
#ifndef LEPTON_RVV_H
#define LEPTON_RVV_H

typedef int16_t map_t;
typedef int16_t weight_t;
#define LEPTON_UNIT 1
#define LEPTON_LANES 16
#define LEPTON_SUMS 6

typedef int16_t short_lanes __attribute__((vector_size(32), aligned(2)));
typedef int32_t sum_lanes __attribute__((vector_size(64), aligned(4)));
typedef sum_lanes sums_t;
typedef uint32_t wrapped_lanes __attribute__((vector_size(64), aligned(4)));
typedef float scale_lanes __attribute__((vector_size(64), aligned(4)));

LEPTON_KERNEL sum_lanes sums_from(const int32_t *bias) { return *(const sum_lanes *)bias; }
/* 16 sums more of a scalar or of an input each, by 16 weights */
LEPTON_KERNEL sum_lanes add_scaled(const sum_lanes sum, const map_t x, const short_lanes weight) {
  return sum + __builtin_convertvector(weight, sum_lanes) * (int32_t)x;
}
LEPTON_KERNEL sum_lanes add_by_channel(const sum_lanes sum, const map_t *x, const weight_t *weight) {
  return sum + __builtin_convertvector(*(const short_lanes *)x, sum_lanes) *
                   __builtin_convertvector(*(const short_lanes *)weight, sum_lanes);
}
LEPTON_KERNEL scale_lanes limited(const scale_lanes v, const float most) {
#if defined(__clang__)
  return __builtin_elementwise_min(__builtin_elementwise_max(v, (scale_lanes){0} - most), (scale_lanes){0} + most);
#else
  const sum_lanes below = v < -most, above = v > most, bits = (sum_lanes)v & ~below & ~above;
  return (scale_lanes)(bits | ((sum_lanes)((scale_lanes){0} - most) & below) |
                       ((sum_lanes)((scale_lanes){0} + most) & above));
#endif
}
LEPTON_KERNEL sum_lanes held_between(const sum_lanes v, const int lo, const int hi) {
  return LEPTON_LANES_MIN(LEPTON_LANES_MAX(v, (sum_lanes){0} + lo), (sum_lanes){0} + hi);
}
LEPTON_KERNEL void store_pixel(map_t *y, const sum_lanes sum, const float *m, const lepton_finish finish) {
  scale_lanes product = __builtin_convertvector(sum, scale_lanes) * *(const scale_lanes *)m;
  /* Beyond the bounds any number does, but adding 1.5 * 2^23, which rounds half to even, needs a small one. */
  product = limited(product, 1048576.0f);
  sum_lanes q = (sum_lanes)(product + 12582912.0f) - bits_of_float(12582912.0f);
  q = held_between(q, finish.lo, finish.hi);
  if (finish.adds) {
    const sum_lanes residual = __builtin_convertvector(*(const short_lanes *)residual_of(y, finish), sum_lanes);
    /* Padding channels may hold anything: their sums wrap. */
    const wrapped_lanes sum = (wrapped_lanes)q * (uint32_t)finish.by_sum +
                              (wrapped_lanes)residual * (uint32_t)finish.by_residual + (uint32_t)finish.base;
    q = held_between((sum_lanes)sum >> finish.shift, finish.sum_lo, finish.sum_hi);
  }
  *(short_lanes *)y = __builtin_convertvector(q, short_lanes);
}

LEPTON_KERNEL const weight_t *add_tap(sum_lanes *sum, const map_t *x, const int pixel, const int block, const int c,
                                      const weight_t *weight, const int mr, const int nv, const int p0,
                                      const int p1) {
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    LEPTON_LOOP for (int i = 0; i < LEPTON_MIN(16, c - b * 16); i++) {
      LEPTON_UNROLL for (int v = 0; v < nv; v++) {
        const short_lanes by = *(const short_lanes *)(weight + 16 * v);
        LEPTON_UNROLL for (int p = p0; p < p1; p++)
          sum[p * nv + v] = add_scaled(sum[p * nv + v], x[(ptrdiff_t)p * pixel + i], by);
      }
      weight += 16 * nv;
    }
    x += block;
  }
  return weight;
}
LEPTON_KERNEL void store_tile(map_t *y, const sum_lanes *sum, const int y_block, const int mr, const int nv,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_pixel(y + (ptrdiff_t)v * y_block + p * 16, sum[p * nv + v], m + 16 * v, finish);
}
/* Maps are centred: what a window loses is worth nothing. */
LEPTON_KERNEL void start_tile(sum_lanes *sum, const int32_t *bias, const int bias_step, const int mr, const int nv,
                              const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int i = 0; i < mr * nv; i++) sum[i] = sums_from(bias + i % nv * 16);
}

/* ---- depthwise: weights [kh * kw][16] ---- */

LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y, const lepton_finish finish) {
  sum_lanes sum = sums_from(bias);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx++)
      sum = add_by_channel(sum, x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column, weight + (ky * kw + kx) * 16);
  store_pixel(y, sum, m, finish);
}
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride,
                                     const int ky0, const int ky1, const int first, const int valid, const lepton_finish finish) {
  sum_lanes sum[4];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p] = sums_from(bias);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++)
    LEPTON_UNROLL for (int kx = 0; kx < 3; kx++)
      LEPTON_UNROLL for (int p = 0; p < mr; p++) {
        const int column = p * stride + kx;
        if (column < first || column >= valid) continue;
        sum[p] = add_by_channel(sum[p], x + (ptrdiff_t)ky * row + column * 16, weight + (ky * 3 + kx) * 16);
      }
  LEPTON_UNROLL for (int p = 0; p < mr; p++) store_pixel(y + p * 16, sum[p], m, finish);
}
#endif
