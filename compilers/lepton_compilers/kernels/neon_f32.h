/* float32 lanes and products for 64-bit Arm, behind the kernels of blocked_f32.h. fmla picks its factor from any lane:
 * four channels of a pixel are one load. 32 registers: 24 sums, 6 pixels, weights. */
#ifndef LEPTON_NEON_F32_H
#define LEPTON_NEON_F32_H
#include <arm_neon.h>

typedef float32x4_t lanes_f32;
#define LEPTON_FLOATS 4
#define LEPTON_CHANNELS 4
#define LEPTON_CHAINS(nv) ((nv) > 7 ? 1 : (nv) > 3 ? 2 : (nv) > 1 ? 4 : 8)

LEPTON_KERNEL lanes_f32 load_f32(const float *p) { return vld1q_f32(p); }
LEPTON_KERNEL void store_f32(float *p, const lanes_f32 v) { vst1q_f32(p, v); }
LEPTON_KERNEL lanes_f32 every_f32(const float value) { return vdupq_n_f32(value); }
/* n lanes, or all where n is more; the others become 0 */
LEPTON_KERNEL lanes_f32 load_some_f32(const float *p, const int n) {
  lanes_f32 v = every_f32(0);
  __builtin_memcpy(&v, p, (size_t)LEPTON_MIN(n, LEPTON_FLOATS) * 4);
  return v;
}
LEPTON_KERNEL void store_some_f32(float *p, const lanes_f32 v, const int n) {
  __builtin_memcpy(p, &v, (size_t)LEPTON_MIN(n, LEPTON_FLOATS) * 4);
}
/* a * b + sum */
LEPTON_KERNEL lanes_f32 fused_f32(const lanes_f32 a, const lanes_f32 b, const lanes_f32 sum) {
  return vfmaq_f32(sum, a, b);
}
/* fmax and fmin give NaN where one operand is. */
LEPTON_KERNEL lanes_f32 raised_f32(const lanes_f32 v, const float lo) { return vmaxq_f32(v, every_f32(lo)); }
LEPTON_KERNEL lanes_f32 lowered_f32(const lanes_f32 v, const float hi) { return vminq_f32(v, every_f32(hi)); }
LEPTON_KERNEL lanes_f32 larger_f32(const lanes_f32 a, const lanes_f32 b) { return vmaxq_f32(a, b); }

/* sum + by * lane k of x; k is a literal once loops are unrolled */
LEPTON_KERNEL lanes_f32 fused_lane_f32(const lanes_f32 by, const lanes_f32 x, const int k, const lanes_f32 sum) {
  return k == 0   ? vfmaq_laneq_f32(sum, by, x, 0)
         : k == 1 ? vfmaq_laneq_f32(sum, by, x, 1)
         : k == 2 ? vfmaq_laneq_f32(sum, by, x, 2)
                  : vfmaq_laneq_f32(sum, by, x, 3);
}
LEPTON_KERNEL lanes_f32 load_channels_f32(const float *x, const int n) { return n == 4 ? load_f32(x) : every_f32(*x); }

/* n: 4 or 1 */
LEPTON_KERNEL void add_products_f32(lanes_f32 *sum, const float *x, const ptrdiff_t pixel, const float *weight,
                                    const int step, const int n, const int mr, const int nv) {
  lanes_f32 from[24];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) from[p] = load_channels_f32(x + p * pixel, n);
  LEPTON_UNROLL for (int k = 0; k < n; k++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) {
      const lanes_f32 by = load_f32(weight + k * step + v * 4);
      LEPTON_UNROLL for (int p = 0; p < mr; p++)
        sum[p * nv + v] = fused_lane_f32(by, from[p], k, sum[p * nv + v]);
    }
}

/* One column of the kernel after the other: there is no room for all that they read. */
LEPTON_KERNEL void add_columns_f32(lanes_f32 *sum, const float *x, const float *weight, const int step, const int n,
                                   const int mr, const int nv, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
    lanes_f32 from[24];
    const float *at = x;
    /* The compiler would keep what the next column reads as well. */
    __asm__("" : "+r"(at));
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const int column = p * stride + kx;
      if (column >= first && column < valid) from[p] = load_channels_f32(at + column * 16, n);
    }
    LEPTON_UNROLL for (int k = 0; k < n; k++)
      LEPTON_UNROLL for (int v = 0; v < nv; v++) {
        const lanes_f32 by = load_f32(weight + (k * 3 + kx) * step + v * 4);
        LEPTON_UNROLL for (int p = 0; p < mr; p++) {
          const int column = p * stride + kx;
          if (column >= first && column < valid)
            sum[p * nv + v] = fused_lane_f32(by, from[p], k, sum[p * nv + v]);
        }
      }
  }
}
#endif
