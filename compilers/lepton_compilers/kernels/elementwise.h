/* Micro-kernels of two operands that numpy's rules stretch to one shape; they stand on portable.h.
 *
 * n: extents of y from the outermost axis inwards. a, b: elements between neighbours along each of those axes,
 * 0 where the operand is stretched. Neighbouring axes that lie alike in both operands come merged.
 */
#ifndef LEPTON_ELEMENTWISE_H
#define LEPTON_ELEMENTWISE_H

#define LEPTON_STRETCHED                                                                                      \
  uint8_t *a_, uint8_t *b_, uint8_t *y_, const int n0, const int n1, const int n2, const int n3, const int n4, \
      const int n5, const int a0, const int a1, const int a2, const int a3, const int a4, const int a5,       \
      const int b0, const int b1, const int b2, const int b3, const int b4, const int b5
#define LEPTON_FOR_STRETCHED(TYPE, VALUE)                                                                      \
  TYPE *y = (TYPE *)y_;                                                                                        \
  for (int i0 = 0; i0 < n0; i0++)                                                                              \
    for (int i1 = 0; i1 < n1; i1++)                                                                            \
      for (int i2 = 0; i2 < n2; i2++)                                                                          \
        for (int i3 = 0; i3 < n3; i3++)                                                                        \
          for (int i4 = 0; i4 < n4; i4++, y += n5) {                                                           \
            const TYPE *a = (const TYPE *)a_ + (ptrdiff_t)i0 * a0 + (ptrdiff_t)i1 * a1 + (ptrdiff_t)i2 * a2 +  \
                            (ptrdiff_t)i3 * a3 + (ptrdiff_t)i4 * a4;                                           \
            const TYPE *b = (const TYPE *)b_ + (ptrdiff_t)i0 * b0 + (ptrdiff_t)i1 * b1 + (ptrdiff_t)i2 * b2 +  \
                            (ptrdiff_t)i3 * b3 + (ptrdiff_t)i4 * b4;                                           \
            LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n5; i++) {                                               \
              const TYPE p = a[i * a5], q = b[i * b5];                                                         \
              y[i] = VALUE;                                                                                    \
            }                                                                                                  \
          }

/* A difference has -mb for mb. */
LEPTON_KERNEL void stretched_add_int8(LEPTON_STRETCHED, const int za, const int zb, const int zy, const int ma,
                                      const int mb, const int shift, const int lo, const int hi) {
  const int64_t rest = ((int64_t)1 << (shift - 1)) - (int64_t)za * ma - (int64_t)zb * mb;
  /* (127 + 128) * 2^22 for both, and the rounding: 32 bits hold it up to a shift of 30. */
  if (shift <= 30) {
    const int32_t base = (int32_t)rest;
    LEPTON_FOR_STRETCHED(int8_t, (int8_t)clamp_int(((p * ma + q * mb + base) >> shift) + zy, lo, hi))
  } else {
    LEPTON_FOR_STRETCHED(int8_t, (int8_t)clamp_int((int32_t)(((int64_t)p * ma + (int64_t)q * mb + rest) >> shift) + zy,
                                                   lo, hi))
  }
}

LEPTON_KERNEL void stretched_mul_int8(LEPTON_STRETCHED, const int za, const int zb, const int zy, const int m_bits,
                                      const int lo, const int hi) {
  const float multiplier = float_of_bits(m_bits);
  LEPTON_FOR_STRETCHED(int8_t, requantise((p - za) * (q - zb), multiplier, zy, lo, hi))
}

LEPTON_KERNEL void stretched_add_float(LEPTON_STRETCHED, const int lo_bits, const int hi_bits) {
  LEPTON_FOR_STRETCHED(float, clamp_float(p + q, float_of_bits(lo_bits), float_of_bits(hi_bits)))
}

LEPTON_KERNEL void stretched_sub_float(LEPTON_STRETCHED, const int lo_bits, const int hi_bits) {
  LEPTON_FOR_STRETCHED(float, clamp_float(p - q, float_of_bits(lo_bits), float_of_bits(hi_bits)))
}

LEPTON_KERNEL void stretched_mul_float(LEPTON_STRETCHED, const int lo_bits, const int hi_bits) {
  LEPTON_FOR_STRETCHED(float, clamp_float(p * q, float_of_bits(lo_bits), float_of_bits(hi_bits)))
}

/* A NaN on either side is the result. */
LEPTON_KERNEL void stretched_max_float(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(float, p > q || p != p ? p : q) }

LEPTON_KERNEL void stretched_min_float(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(float, p < q || p != p ? p : q) }

LEPTON_KERNEL void stretched_max_int8(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(int8_t, LEPTON_MAX(p, q)) }

LEPTON_KERNEL void stretched_min_int8(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(int8_t, LEPTON_MIN(p, q)) }

LEPTON_KERNEL void stretched_max_int32(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(int32_t, LEPTON_MAX(p, q)) }

LEPTON_KERNEL void stretched_min_int32(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(int32_t, LEPTON_MIN(p, q)) }

LEPTON_KERNEL void stretched_prelu_float(LEPTON_STRETCHED) { LEPTON_FOR_STRETCHED(float, p >= 0 ? p : p * q) }

/* v * multiplier * 2^(shift - 31), rounded twice (docs/arithmetic.md, Prelu) */
LEPTON_KERNEL int32_t scaled_twice(const int32_t v, const int multiplier, const int shift) {
  const int64_t product = ((int64_t)v << (shift > 0 ? shift : 0)) * multiplier;
  const int64_t nudged = product + (product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30));
  const int32_t high = (int32_t)(nudged < 0 ? -((-nudged) >> 31) : nudged >> 31);
  if (shift >= 0) return high;
  const int32_t mask = (int32_t)(((uint32_t)1 << -shift) - 1);
  return (high >> -shift) + ((high & mask) > (mask >> 1) + (high < 0));
}
LEPTON_KERNEL void stretched_prelu_int8(LEPTON_STRETCHED, const int za, const int zb, const int zy, const int m0,
                                        const int s0, const int m1, const int s1) {
  LEPTON_FOR_STRETCHED(
      int8_t, (int8_t)clamp_int((p >= za ? scaled_twice(p - za, m0, s0) : scaled_twice((p - za) * (q - zb), m1, s1)) + zy,
                                -128, 127))
}
#endif
