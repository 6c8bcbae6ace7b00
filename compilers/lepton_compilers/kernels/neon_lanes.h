/* What the NEON headers share: int8 maps that hold q, four int32 sums a vector, and depthwise products for any CPU.
 *
 * Two products of int8 fit in int16 for weights from -127 to 127: smull, smlal, then a widening addition.
 */
#ifndef LEPTON_NEON_LANES_H
#define LEPTON_NEON_LANES_H
#include <arm_neon.h>

typedef int8_t map_t;
typedef int8_t weight_t;

/* Round half to even, saturating. */
LEPTON_KERNEL int32x4_t scale_and_round(const int32x4_t sum, const float32x4_t m) {
  const float32x4_t product = vmulq_f32(vcvtq_f32_s32(sum), m);
#if defined(__aarch64__)
  return vcvtnq_s32_f32(product);
#else
  /* Armv7 converts towards zero only: adding 1.5 * 2^23 leaves the integer in the low bits. */
  const float32x4_t magic = vdupq_n_f32(12582912.0f), most = vdupq_n_f32(1048576.0f);
  const float32x4_t limited = vminq_f32(vmaxq_f32(product, vnegq_f32(most)), most);
  return vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(limited, magic)), vreinterpretq_s32_f32(magic));
#endif
}
/* The residual's 16 channels and q, before its zero point, by their multipliers; sums before sum_zy. */
LEPTON_KERNEL void add_residual(int32x4_t *q, const int8x16_t residual, const lepton_finish f) {
  const int16x8_t low = vmovl_s8(vget_low_s8(residual)), high = vmovl_s8(vget_high_s8(residual));
  const int32x4_t other[4] = {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
                              vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))};
  const int32x4_t base = vdupq_n_s32((int32_t)((uint32_t)f.base + (uint32_t)f.zy * (uint32_t)f.by_sum));
  LEPTON_UNROLL for (int v = 0; v < 4; v++) {
    const int32x4_t held = vminq_s32(vmaxq_s32(q[v], vdupq_n_s32(f.lo - f.zy)), vdupq_n_s32(f.hi - f.zy));
    const int32x4_t sum = vmlaq_n_s32(vmlaq_n_s32(base, held, f.by_sum), other[v], f.by_residual);
    q[v] = vshlq_s32(sum, vdupq_n_s32(-f.shift));
  }
}
/* A pixel of a block from up to four vectors of sums; channels beyond them become anything. */
LEPTON_KERNEL void store_pixel(map_t *y, const int32x4_t *sum, const int vectors, const float *m, const lepton_finish finish) {
  int32x4_t q[4];
  LEPTON_UNROLL for (int v = 0; v < 4; v++) {
    q[v] = v < vectors ? scale_and_round(sum[v], vld1q_f32(m + 4 * v)) : q[0];
  }
  if (finish.adds) add_residual(q, vld1q_s8(residual_of(y, finish)), finish);
  const int zy = finish.adds ? finish.sum_zy : finish.zy, lo = finish.adds ? finish.sum_lo : finish.lo;
  const int hi = finish.adds ? finish.sum_hi : finish.hi;
  int16x8_t first = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1]));
  int16x8_t second = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
  if (zy) {
    first = vqaddq_s16(first, vdupq_n_s16((int16_t)zy));
    second = vqaddq_s16(second, vdupq_n_s16((int16_t)zy));
  }
  int8x16_t bytes = vcombine_s8(vqmovn_s16(first), vqmovn_s16(second));
  if (lo > -128) bytes = vmaxq_s8(bytes, vdupq_n_s8((int8_t)lo));
  if (hi < 127) bytes = vminq_s8(bytes, vdupq_n_s8((int8_t)hi));
  vst1q_s8(y, bytes);
}
LEPTON_KERNEL int32x4_t add_pairwise(const int32x4_t a, const int32x4_t b) {
#if defined(__aarch64__)
  return vpaddq_s32(a, b);
#else
  return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)), vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
#endif
}

/* ---- depthwise ---- */

/* sum[4] + x * weight of 16 channels, and of a second tap where there is one */
LEPTON_KERNEL void add_taps(int32x4_t *sum, const map_t *x0, const weight_t *w0, const map_t *x1, const weight_t *w1) {
  const int8x16_t a = vld1q_s8(x0), by = vld1q_s8(w0);
  int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(by)), high = vmull_s8(vget_high_s8(a), vget_high_s8(by));
  if (x1) {
    const int8x16_t b = vld1q_s8(x1), by1 = vld1q_s8(w1);
    low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(by1));
    high = vmlal_s8(high, vget_high_s8(b), vget_high_s8(by1));
  }
  sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
  sum[1] = vaddw_s16(sum[1], vget_high_s16(low));
  sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
  sum[3] = vaddw_s16(sum[3], vget_high_s16(high));
}
/* One pixel: weights [kh * kw][16]. column, row: distances between kernel columns and rows. */
LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y, const lepton_finish finish) {
  int32x4_t sum[4];
  LEPTON_UNROLL for (int v = 0; v < 4; v++) sum[v] = vld1q_s32(bias + 4 * v);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx += 2)
      add_taps(sum, x + (ptrdiff_t)kx * column, weight + kx * 16, kx + 1 < kw ? x + (ptrdiff_t)(kx + 1) * column : 0,
               weight + (kx + 1) * 16);
    x += row;
    weight += kw * 16;
  }
  store_pixel(y, sum, 4, m, finish);
}
#endif
