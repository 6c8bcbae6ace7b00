/* float32 lanes and products for x86-64 with AVX2 and FMA, behind the kernels of blocked_f32.h. 16 registers: 12 sums,
 * and what they are made of. */
#ifndef LEPTON_AVX2_FMA_H
#define LEPTON_AVX2_FMA_H
#include <immintrin.h>

typedef __m256 lanes_f32;
#define LEPTON_FLOATS 8
#define LEPTON_CHANNELS 2
#define LEPTON_CHAINS(nv) ((nv) > 7 ? 1 : (nv) > 3 ? 2 : (nv) > 1 ? 4 : 8)

LEPTON_KERNEL lanes_f32 load_f32(const float *p) { return _mm256_loadu_ps(p); }
LEPTON_KERNEL void store_f32(float *p, const lanes_f32 v) { _mm256_storeu_ps(p, v); }
LEPTON_KERNEL lanes_f32 every_f32(const float value) { return _mm256_set1_ps(value); }
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
  return _mm256_fmadd_ps(a, b, sum);
}
/* Of two operands one of which is NaN these instructions give the second. */
LEPTON_KERNEL lanes_f32 raised_f32(const lanes_f32 v, const float lo) { return _mm256_max_ps(every_f32(lo), v); }
LEPTON_KERNEL lanes_f32 lowered_f32(const lanes_f32 v, const float hi) { return _mm256_min_ps(every_f32(hi), v); }
LEPTON_KERNEL lanes_f32 larger_f32(const lanes_f32 a, const lanes_f32 b) { return _mm256_max_ps(a, b); }

/* One vector of weights for all pixels before the next is read: a compiler that mixed two would spill a sum. */
LEPTON_KERNEL void add_vector_f32(lanes_f32 *sum, const lanes_f32 *one, const float *by, const int v, const int mr,
                                  const int nv) {
  const lanes_f32 weights = load_f32(by + v * 8);
  LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = fused_f32(one[p], weights, sum[p * nv + v]);
  __asm__ volatile("" : : : "memory");
}
/* The fewer of pixels and weights stay in registers. */
LEPTON_KERNEL void add_products_f32(lanes_f32 *sum, const float *x, const ptrdiff_t pixel, const float *weight,
                                    const int step, const int n, const int mr, const int nv) {
  LEPTON_UNROLL for (int k = 0; k < n; k++) {
    const float *by = weight + k * step;
    if (mr < nv) {
      lanes_f32 one[4];
      LEPTON_UNROLL for (int p = 0; p < mr; p++) one[p] = every_f32(x[p * pixel + k]);
      LEPTON_UNROLL for (int v = 0; v < nv; v++) add_vector_f32(sum, one, by, v, mr, nv);
    } else {
      LEPTON_UNROLL for (int p = 0; p < mr; p++) {
        const lanes_f32 one = every_f32(x[p * pixel + k]);
        LEPTON_UNROLL for (int v = 0; v < nv; v++)
          sum[p * nv + v] = fused_f32(one, load_f32(by + v * 8), sum[p * nv + v]);
      }
    }
  }
}

/* Where there is room for the weights of three columns, each input serves all three. */
LEPTON_KERNEL void add_columns_f32(lanes_f32 *sum, const float *x, const float *weight, const int step, const int n,
                                   const int mr, const int nv, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int k = 0; k < n; k++) {
    const float *by = weight + k * 3 * step;
    if (mr < nv) {
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p0 = kx < first ? (first - kx + stride - 1) / stride : 0;
        const int p1 = LEPTON_MIN(mr, valid > kx ? (valid - kx + stride - 1) / stride : 0);
        lanes_f32 one[4];
        if (p0 >= p1) continue;
        LEPTON_UNROLL for (int p = p0; p < p1; p++) one[p - p0] = every_f32(x[(p * stride + kx) * 16 + k]);
        LEPTON_UNROLL for (int v = 0; v < nv; v++) add_vector_f32(sum + p0 * nv, one, by + kx * step, v, p1 - p0, nv);
      }
    } else {
      LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
        if (column < first || column >= valid) continue;
        const lanes_f32 one = every_f32(x[column * 16 + k]);
        LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
          const int p = (column - kx) / stride;
          if (column < kx || (column - kx) % stride || p >= mr) continue;
          LEPTON_UNROLL for (int v = 0; v < nv; v++)
            sum[p * nv + v] = fused_f32(one, load_f32(by + kx * step + v * 8), sum[p * nv + v]);
        }
      }
    }
  }
}
#endif
