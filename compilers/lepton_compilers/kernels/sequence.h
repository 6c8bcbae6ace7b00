/* Micro-kernels of sequence models: products of two tensors, normalisation, functions, slices, rows of tables.
 *
 * They stand on portable.h and mathematics.h. The integer kernels compute arithmetic number 1 bit for bit.
 */
#ifndef LEPTON_SEQUENCE_H
#define LEPTON_SEQUENCE_H

/* Sum of (a - za) * (b - zb) over n neighbours of both; int32 holds it. */
LEPTON_KERNEL int32_t dot_int8(const int8_t *a, const int8_t *b, const int n, const int za, const int zb) {
  int32_t sum = 0;
  for (int i = 0; i < n; i++) sum += (int32_t)(int16_t)(a[i] - za) * (int32_t)(int16_t)(b[i] - zb);
  return sum;
}

/* 16 lanes whatever the machine's vectors are; loads need no alignment. */
typedef int8_t int8_lanes __attribute__((vector_size(16), aligned(1)));
typedef int32_t int32_lanes __attribute__((vector_size(64), aligned(4)));

/* The first n of 16 neighbours, the rest zero. */
LEPTON_KERNEL int32_lanes load_int8_lanes(const int8_t *x, const int n) {
  int8_lanes v = {0};
  if (n >= 16) {
    __builtin_memcpy(&v, x, 16);
  } else {
    for (int l = 0; l < n; l++) v[l] = x[l];
  }
  return __builtin_convertvector(v, int32_lanes);
}

/* ---- products of matrices: up to four leading axes of extents n, steps of a and b along them in elements ---- */

#define LEPTON_MATRICES                                                                                          \
  uint8_t *restrict a_, uint8_t *restrict b_, uint8_t *restrict y_, const int n0, const int n1, const int n2,    \
      const int n3, const int a0, const int a1, const int a2, const int a3, const int b0, const int b1,          \
      const int b2, const int b3, const int rows, const int inner, const int columns
#define LEPTON_FOR_MATRICES(TYPE, ...)                                                                           \
  TYPE *y = (TYPE *)y_;                                                                                          \
  for (int i0 = 0; i0 < n0; i0++)                                                                                \
    for (int i1 = 0; i1 < n1; i1++)                                                                              \
      for (int i2 = 0; i2 < n2; i2++)                                                                            \
        for (int i3 = 0; i3 < n3; i3++, y += (ptrdiff_t)rows * columns) {                                        \
          const TYPE *a = (const TYPE *)a_ + (ptrdiff_t)i0 * a0 + (ptrdiff_t)i1 * a1 + (ptrdiff_t)i2 * a2 +      \
                          (ptrdiff_t)i3 * a3;                                                                    \
          const TYPE *b = (const TYPE *)b_ + (ptrdiff_t)i0 * b0 + (ptrdiff_t)i1 * b1 + (ptrdiff_t)i2 * b2 +      \
                          (ptrdiff_t)i3 * b3;                                                                    \
          __VA_ARGS__                                                                                            \
        }

/* b [inner, columns]: 16 columns at a time, each value of a row of a by a row of b */
LEPTON_KERNEL void matmul_int8(LEPTON_MATRICES, const int za, const int zb, const int zy, const int m_bits,
                               const int lo, const int hi) {
  const float multiplier = float_of_bits(m_bits);
  LEPTON_FOR_MATRICES(int8_t, for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c += 16) {
    const int n = LEPTON_MIN(16, columns - c);
    int32_lanes sum = {0};
    for (int k = 0; k < inner; k++)
      sum += (a[(ptrdiff_t)r * inner + k] - za) * (load_int8_lanes(b + (ptrdiff_t)k * columns + c, n) - zb);
    for (int l = 0; l < n; l++) y[(ptrdiff_t)r * columns + c + l] = requantise(sum[l], multiplier, zy, lo, hi);
  })
}
/* b [columns, inner] */
LEPTON_KERNEL void matmul_transposed_int8(LEPTON_MATRICES, const int za, const int zb, const int zy, const int m_bits,
                                          const int lo, const int hi) {
  const float multiplier = float_of_bits(m_bits);
  LEPTON_FOR_MATRICES(int8_t, for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c++) {
    const int32_t sum = dot_int8(a + (ptrdiff_t)r * inner, b + (ptrdiff_t)c * inner, inner, za, zb);
    y[(ptrdiff_t)r * columns + c] = requantise(sum, multiplier, zy, lo, hi);
  })
}
LEPTON_KERNEL void matmul_float(LEPTON_MATRICES, const int lo_bits, const int hi_bits) {
#pragma clang fp contract(fast)
  LEPTON_FOR_MATRICES(float, for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c += 16) {
    const int n = LEPTON_MIN(16, columns - c);
    float16_lanes sum = {0};
    for (int k = 0; k < inner; k++)
      sum += a[(ptrdiff_t)r * inner + k] * load_lanes(b + (ptrdiff_t)k * columns + c, n);
    store_clamped(y + (ptrdiff_t)r * columns + c, sum, n, float_of_bits(lo_bits), float_of_bits(hi_bits));
  })
}
LEPTON_KERNEL void matmul_transposed_float(LEPTON_MATRICES, const int lo_bits, const int hi_bits) {
#pragma clang fp contract(fast)
  LEPTON_FOR_MATRICES(float, for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c++) {
    const float *left = a + (ptrdiff_t)r * inner, *right = b + (ptrdiff_t)c * inner;
    float16_lanes parts = {0};
    for (int k = 0; k < inner; k += 16) {
      const int n = LEPTON_MIN(16, inner - k);
      parts += load_lanes(left + k, n) * load_lanes(right + k, n);
    }
    float sum = 0;
    for (int l = 0; l < 16; l++) sum += parts[l];
    y[(ptrdiff_t)r * columns + c] = clamp_float(sum, float_of_bits(lo_bits), float_of_bits(hi_bits));
  })
}

/* ---- normalisation of rows of n values; gain and offset float32 [n] ---- */

/* A sum of squares below 2^48 as the nearest float32: both halves are exact, their sum is rounded once. */
LEPTON_KERNEL float float_of_sum(const int64_t v) {
  return (float)(int32_t)(v >> 24) * 16777216.0f + (float)(int32_t)(v & 0xffffff);
}
LEPTON_KERNEL void layer_norm_int8(uint8_t *restrict x_, uint8_t *restrict gain_, uint8_t *restrict offset_,
                                   uint8_t *restrict y_, const int rows, const int n, const int centred, const int zx,
                                   const int zy, const int epsilon_bits) {
  const float *gain = (const float *)gain_, *offset = (const float *)offset_;
  const int zero = centred ? 0 : zx;
  for (int r = 0; r < rows; r++) {
    const int8_t *x = (const int8_t *)x_ + (ptrdiff_t)r * n;
    int8_t *y = (int8_t *)y_ + (ptrdiff_t)r * n;
    int32_t total = 0;
    uint32_t squares = 0;
    for (int i = 0; i < n; i++) {
      const int32_t d = x[i] - zero;
      total += d;
      squares += (uint32_t)(d * d);
    }
    if (!centred) total = 0;
    const int64_t spread = (int64_t)n * squares - (int64_t)total * total;
    const float inverse = 1.0f / lepton_sqrtf(float_of_sum(spread) + float_of_bits(epsilon_bits));
    for (int i = 0; i < n; i++) {
      const float d = (float)(n * (x[i] - zero) - total);
      y[i] = (int8_t)clamp_int(round_even(d * inverse * gain[i] + offset[i]) + zy, -128, 127);
    }
  }
}
LEPTON_KERNEL void layer_norm_float(uint8_t *x_, uint8_t *restrict gain_, uint8_t *restrict offset_, uint8_t *y_,
                                    const int rows, const int n, const int centred, const int epsilon_bits) {
  const float *gain = (const float *)gain_, *offset = (const float *)offset_;
  for (int r = 0; r < rows; r++) {
    const float *x = (const float *)x_ + (ptrdiff_t)r * n;
    float *y = (float *)y_ + (ptrdiff_t)r * n;
    float16_lanes sums = {0};
    for (int i = 0; i < n; i += 16) sums += load_lanes(x + i, n - i);
    float mean = 0, variance = 0;
    for (int l = 0; l < 16; l++) mean += sums[l];
    mean = centred ? mean / (float)n : 0.0f;
    for (int i = 0; i < n; i++) y[i] = x[i] - mean;
    float16_lanes squares = {0};
    for (int i = 0; i < n; i += 16) {
      const float16_lanes d = load_lanes(y + i, n - i);
      squares += d * d;
    }
    for (int l = 0; l < 16; l++) variance += squares[l];
    const float inverse = 1.0f / lepton_sqrtf(variance / (float)n + float_of_bits(epsilon_bits));
    for (int i = 0; i < n; i++) y[i] = y[i] * inverse * gain[i] + offset[i];
  }
}

/* ---- functions of one number: unary_<function>(x, y, n, bits of the parameter p) ---- */

LEPTON_KERNEL float elu_of(const float x, const float alpha) { return x > 0.0f ? x : alpha * lepton_expm1f(x); }
LEPTON_KERNEL float sign_of(const float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
/* log(1 + exp(v)) without overflow */
LEPTON_KERNEL float softplus_of(const float v) {
  return (v > 0.0f ? v : v == v ? 0.0f : v) + lepton_log1pf(lepton_expf(-lepton_fabsf(v)));
}
LEPTON_KERNEL float gelu_of(const float x) { return 0.5f * x * (1.0f + lepton_erff(x * 0.70710678f)); }
LEPTON_KERNEL float gelu_tanh_of(const float x) {
  return 0.5f * x * (1.0f + lepton_tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}
/* -inf gives 0, as the limit does. */
LEPTON_KERNEL float silu_of(const float x) { return x * lepton_sigmoidf(x); }

LEPTON_KERNEL float hard_swish_of(const float x) { return x * (clamp_float(x + 3.0f, 0.0f, 6.0f) * 0.16666667f); }

#define LEPTON_UNARY(NAME, VALUE)                                                                       \
  LEPTON_KERNEL void unary_##NAME(uint8_t *x_, uint8_t *y_, const int n, const int p_bits) {            \
    const float p = float_of_bits(p_bits);                                                              \
    (void)p;                                                                                            \
    LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) {                                                 \
      const float x = ((const float *)x_)[i];                                                           \
      ((float *)y_)[i] = VALUE;                                                                         \
    }                                                                                                   \
  }
LEPTON_UNARY(abs, lepton_fabsf(x))
LEPTON_UNARY(acos, lepton_acosf(x))
LEPTON_UNARY(acosh, lepton_acoshf(x))
LEPTON_UNARY(asin, lepton_asinf(x))
LEPTON_UNARY(asinh, lepton_asinhf(x))
LEPTON_UNARY(atan, lepton_atanf(x))
LEPTON_UNARY(atanh, lepton_atanhf(x))
LEPTON_UNARY(ceil, lepton_ceilf(x))
LEPTON_UNARY(cos, lepton_cosf(x))
LEPTON_UNARY(cosh, lepton_coshf(x))
LEPTON_UNARY(elu, elu_of(x, p))
LEPTON_UNARY(erf, lepton_erff(x))
LEPTON_UNARY(exp, lepton_expf(x))
LEPTON_UNARY(floor, lepton_floorf(x))
LEPTON_UNARY(gelu, gelu_of(x))
LEPTON_UNARY(gelu_tanh, gelu_tanh_of(x))
LEPTON_UNARY(hard_swish, hard_swish_of(x))
LEPTON_UNARY(leaky_relu, (x > 0.0f ? x : p * x))
LEPTON_UNARY(log, lepton_logf(x))
LEPTON_UNARY(negative, -x)
LEPTON_UNARY(reciprocal, 1.0f / x)
LEPTON_UNARY(round, lepton_nearbyintf(x))
LEPTON_UNARY(rsqrt, 1.0f / lepton_sqrtf(x))
LEPTON_UNARY(selu, 1.0507009874f * elu_of(x, 1.6732632423f))
LEPTON_UNARY(sigmoid, lepton_sigmoidf(x))
LEPTON_UNARY(sign, sign_of(x))
LEPTON_UNARY(silu, silu_of(x))
LEPTON_UNARY(sin, lepton_sinf(x))
LEPTON_UNARY(sinh, lepton_sinhf(x))
LEPTON_UNARY(softplus, softplus_of(p * x) / p)
LEPTON_UNARY(sqrt, lepton_sqrtf(x))
LEPTON_UNARY(square, x * x)
LEPTON_UNARY(tan, lepton_tanf(x))
LEPTON_UNARY(tanh, lepton_tanhf(x))
LEPTON_UNARY(trunc, lepton_truncf(x))

/* ---- slices and rows of tables: bytes, steps of x in bytes ---- */

LEPTON_KERNEL void slice_bytes(uint8_t *restrict x, uint8_t *restrict y, const int size, const int n0, const int n1,
                               const int n2, const int n3, const int n4, const int n5, const int s0, const int s1,
                               const int s2, const int s3, const int s4, const int s5) {
  for (int a = 0; a < n0; a++)
    for (int b = 0; b < n1; b++)
      for (int c = 0; c < n2; c++)
        for (int d = 0; d < n3; d++)
          for (int e = 0; e < n4; e++)
            for (int f = 0; f < n5; f++, y += size)
              __builtin_memcpy(y,
                               x + (ptrdiff_t)a * s0 + (ptrdiff_t)b * s1 + (ptrdiff_t)c * s2 + (ptrdiff_t)d * s3 +
                                   (ptrdiff_t)e * s4 + (ptrdiff_t)f * s5,
                               (size_t)size);
}
/* x [outer][extent][size]; indices of 4 or 8 bytes, negative from the end, taken to the nearest row that exists */
LEPTON_KERNEL void gather_rows(uint8_t *restrict x, uint8_t *restrict indices, uint8_t *restrict y, const int outer,
                               const int extent, const int size, const int count, const int width) {
  for (int o = 0; o < outer; o++)
    for (int i = 0; i < count; i++, y += size) {
      int64_t index = width == 8 ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
      if (index < 0) index += extent;
      index = index < 0 ? 0 : index >= extent ? extent - 1 : index;
      __builtin_memcpy(y, x + ((ptrdiff_t)o * extent + (ptrdiff_t)index) * size, (size_t)size);
    }
}
#endif
