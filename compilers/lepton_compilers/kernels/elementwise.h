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
            for (ptrdiff_t i = 0; i < n5; i++) {                                                               \
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
#endif
