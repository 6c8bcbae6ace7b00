/* The bytes of float16 and bfloat16 by integer arithmetic, for processors that have neither; bytes taken otherwise. */
#ifndef LEPTON_HALVES_H
#define LEPTON_HALVES_H

/* Nearest, ties to even; what is too large is infinite, NaN stays one. */
LEPTON_KERNEL uint16_t half_of_float(const float x) {
  const uint32_t bits = (uint32_t)bits_of_float(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (size >> 13 & 0x1ffu));
  if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
  uint32_t mantissa, shift, exponent;
  if (size >= 0x38800000u) {
    exponent = size - 0x38000000u;
    mantissa = exponent;
    shift = 13;
  } else {
    const uint32_t power = size >> 23;
    if (power < 102) return (uint16_t)sign;
    mantissa = (size & 0x7fffffu) | 0x800000u;
    shift = 126 - power;
  }
  const uint32_t half = (uint32_t)1 << (shift - 1), rest = mantissa & ((half << 1) - 1);
  uint32_t y = mantissa >> shift;
  if (rest > half || (rest == half && (y & 1))) y++;
  return (uint16_t)(sign | y);
}
LEPTON_KERNEL float float_of_half(const uint16_t x) {
  const uint32_t sign = (uint32_t)(x & 0x8000u) << 16, size = x & 0x7fffu;
  if (size >= 0x7c00u) return float_of_bits((int32_t)(sign | 0x7f800000u | (size & 0x3ffu) << 13));
  if (size >= 0x400u) return float_of_bits((int32_t)(sign | ((size << 13) + 0x38000000u)));
  const float small = (float)(int32_t)size * 0x1p-24f;
  return sign ? -small : small;
}
LEPTON_KERNEL float rounded_to_bfloat16(const float x) {
  const uint32_t bits = (uint32_t)bits_of_float(x);
  if (x != x) return x;
  return float_of_bits((int32_t)((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u));
}

LEPTON_KERNEL void to_float16(uint8_t *x, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) ((uint16_t *)y)[i] = half_of_float(((const float *)x)[i]);
}
LEPTON_KERNEL void from_float16(uint8_t *x, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) ((float *)y)[i] = float_of_half(((const uint16_t *)x)[i]);
}
LEPTON_KERNEL void round_float16(uint8_t *x, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) ((float *)y)[i] = float_of_half(half_of_float(((const float *)x)[i]));
}
LEPTON_KERNEL void round_bfloat16(uint8_t *x, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) ((float *)y)[i] = rounded_to_bfloat16(((const float *)x)[i]);
}
/* uint8 less 128 as int8, and back: the top bit turns. */
LEPTON_KERNEL void centre(uint8_t *x, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] ^ 0x80;
}

#endif
