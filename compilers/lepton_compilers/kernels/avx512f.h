/* float32 lanes and products for x86-64 with AVX-512, behind the kernels of blocked_f32.h: a vector is a block of 16
 * channels. 32 registers: 28 sums or 30, and the weights of a channel, or 16 sums and the weights of three columns. */
#ifndef LEPTON_AVX512F_H
#define LEPTON_AVX512F_H
#include <immintrin.h>

typedef __m512 lanes_f32;
#define LEPTON_FLOATS 16
#define LEPTON_CHANNELS 1
#define LEPTON_CHAINS(nv) ((nv) > 4 ? 1 : (nv) > 2 ? 2 : (nv) > 1 ? 4 : 8)

LEPTON_KERNEL lanes_f32 load_f32(const float *p) { return _mm512_loadu_ps(p); }
LEPTON_KERNEL void store_f32(float *p, const lanes_f32 v) { _mm512_storeu_ps(p, v); }
LEPTON_KERNEL lanes_f32 every_f32(const float value) { return _mm512_set1_ps(value); }
LEPTON_KERNEL __mmask16 first_lanes(const int n) { return (__mmask16)((1u << LEPTON_MIN(n, 16)) - 1); }
/* n lanes, or all where n is more; the others become 0 */
LEPTON_KERNEL lanes_f32 load_some_f32(const float *p, const int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
LEPTON_KERNEL void store_some_f32(float *p, const lanes_f32 v, const int n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
/* a * b + sum */
LEPTON_KERNEL lanes_f32 fused_f32(const lanes_f32 a, const lanes_f32 b, const lanes_f32 sum) {
  return _mm512_fmadd_ps(a, b, sum);
}
/* Of two operands one of which is NaN these instructions give the second. */
LEPTON_KERNEL lanes_f32 raised_f32(const lanes_f32 v, const float lo) { return _mm512_max_ps(every_f32(lo), v); }
LEPTON_KERNEL lanes_f32 lowered_f32(const lanes_f32 v, const float hi) { return _mm512_min_ps(every_f32(hi), v); }
LEPTON_KERNEL lanes_f32 larger_f32(const lanes_f32 a, const lanes_f32 b) { return _mm512_max_ps(a, b); }

/* n: 1 */
LEPTON_KERNEL void add_products_f32(lanes_f32 *sum, const float *x, const ptrdiff_t pixel, const float *weight,
                                    const int step, const int n, const int mr, const int nv) {
  lanes_f32 by[16];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load_f32(weight + v * 16);
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    const lanes_f32 one = every_f32(x[p * pixel]);
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = fused_f32(one, by[v], sum[p * nv + v]);
  }
}

/* Each input serves all three columns. */
LEPTON_KERNEL void add_columns_f32(lanes_f32 *sum, const float *x, const float *weight, const int step, const int n,
                                   const int mr, const int nv, const int stride, const int first, const int valid) {
  lanes_f32 by[12];
  LEPTON_UNROLL for (int i = 0; i < 3 * nv; i++) by[i] = load_f32(weight + i * 16);
  LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
    if (column < first || column >= valid) continue;
    const lanes_f32 one = every_f32(x[column * 16]);
    LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
      const int p = (column - kx) / stride;
      if (column < kx || (column - kx) % stride || p >= mr) continue;
      LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = fused_f32(one, by[kx * nv + v], sum[p * nv + v]);
    }
  }
}
#endif
