/* Elementary functions of float and double for code that has no libm: the same bits on every target.
 *
 * Only IEEE additions, products, quotients, comparisons and bit patterns, none fused: the file turns
 * contraction off where the compiler lets it; compile with -ffp-contract=off all the same. No function needs
 * 64-bit division or conversions between 64-bit integers and doubles, which 32-bit cores call a library for.
 * NaN, infinities, signed zeros and denormals follow C's Annex F. tests/compilers/kernels/test_mathematics.py
 * measures the errors: float functions stay within 2 units in the last place, doubles within 3.
 *
 * Polynomials are Taylor's or Chebyshev interpolations; reductions follow Cody and Waite (1980), Payne and Hanek
 * (1983) for large angles, Dekker (1971) for double-double steps. The names of C's library stand at the end.
 */
#ifndef LEPTON_MATHEMATICS_H
#define LEPTON_MATHEMATICS_H
#include <stdint.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#define LEPTON_SHORT static inline __attribute__((always_inline, unused))
#define LEPTON_LONG static inline __attribute__((unused))
#define LEPTON_INFINITY __builtin_inf()
#define LEPTON_NAN __builtin_nan("")

/* ---- bits ---- */

LEPTON_SHORT uint32_t lepton_bits32(const float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
LEPTON_SHORT float lepton_of_bits32(const uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
LEPTON_SHORT uint64_t lepton_bits64(const double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}
LEPTON_SHORT double lepton_of_bits64(const uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, 8);
  return x;
}
LEPTON_SHORT float lepton_fabsf(const float x) { return lepton_of_bits32(lepton_bits32(x) & 0x7fffffffu); }
LEPTON_SHORT double lepton_fabs(const double x) {
  return lepton_of_bits64(lepton_bits64(x) & 0x7fffffffffffffffull);
}
LEPTON_SHORT float lepton_copysignf(const float x, const float sign) {
  return lepton_of_bits32((lepton_bits32(x) & 0x7fffffffu) | (lepton_bits32(sign) & 0x80000000u));
}
LEPTON_SHORT double lepton_copysign(const double x, const double sign) {
  return lepton_of_bits64((lepton_bits64(x) & 0x7fffffffffffffffull) |
                          (lepton_bits64(sign) & 0x8000000000000000ull));
}
LEPTON_SHORT float lepton_fminf(const float a, const float b) { return a != a ? b : b < a ? b : a; }
LEPTON_SHORT float lepton_fmaxf(const float a, const float b) { return a != a ? b : b > a ? b : a; }
LEPTON_SHORT double lepton_fmin(const double a, const double b) { return a != a ? b : b < a ? b : a; }
LEPTON_SHORT double lepton_fmax(const double a, const double b) { return a != a ? b : b > a ? b : a; }

/* ---- whole numbers: adding 2^23 or 2^52 to a magnitude rounds it half to even ---- */

LEPTON_SHORT float lepton_nearbyintf(const float x) {
  const float a = lepton_fabsf(x);
  return a < 8388608.0f ? lepton_copysignf((a + 8388608.0f) - 8388608.0f, x) : x;
}
LEPTON_SHORT float lepton_truncf(const float x) {
  const float a = lepton_fabsf(x), r = (a + 8388608.0f) - 8388608.0f;
  return a < 8388608.0f ? lepton_copysignf(r > a ? r - 1.0f : r, x) : x;
}
LEPTON_SHORT float lepton_floorf(const float x) {
  const float r = lepton_nearbyintf(x);
  return lepton_copysignf(r > x ? r - 1.0f : r, x);
}
LEPTON_SHORT float lepton_ceilf(const float x) {
  const float r = lepton_nearbyintf(x);
  return lepton_copysignf(r < x ? r + 1.0f : r, x);
}
LEPTON_SHORT float lepton_roundf(const float x) {
  const float t = lepton_truncf(lepton_fabsf(x));
  return lepton_copysignf(lepton_fabsf(x) - t >= 0.5f ? t + 1.0f : t, x);
}
LEPTON_SHORT double lepton_nearbyint(const double x) {
  const double a = lepton_fabs(x);
  return a < 0x1p52 ? lepton_copysign((a + 0x1p52) - 0x1p52, x) : x;
}
LEPTON_SHORT double lepton_trunc(const double x) {
  const double a = lepton_fabs(x), r = (a + 0x1p52) - 0x1p52;
  return a < 0x1p52 ? lepton_copysign(r > a ? r - 1.0 : r, x) : x;
}
LEPTON_SHORT double lepton_floor(const double x) {
  const double r = lepton_nearbyint(x);
  return lepton_copysign(r > x ? r - 1.0 : r, x);
}
LEPTON_SHORT double lepton_ceil(const double x) {
  const double r = lepton_nearbyint(x);
  return lepton_copysign(r < x ? r + 1.0 : r, x);
}
LEPTON_SHORT double lepton_round(const double x) {
  const double t = lepton_trunc(lepton_fabs(x));
  return lepton_copysign(lepton_fabs(x) - t >= 0.5 ? t + 1.0 : t, x);
}

/* m · 2^(e − 1075) = x > 0, m in [2^52, 2^53) */
LEPTON_SHORT uint64_t lepton_whole_mantissa(const double x, int32_t *e) {
  uint64_t m = lepton_bits64(x);
  *e = (int32_t)(m >> 52);
  if (*e) return (m & ((1ull << 52) - 1)) | 1ull << 52;
  for (*e = 1; !(m >> 52); (*e)--) m <<= 1;
  return m;
}
/* Exact remainder by shifts and differences, as the sign of x. */
LEPTON_LONG double lepton_fmod(const double x, const double y) {
  const double ax = lepton_fabs(x), ay = lepton_fabs(y);
  if (!(ax < LEPTON_INFINITY) || !(ay > 0.0)) return LEPTON_NAN;
  if (ax < ay) return x;
  int32_t ex, ey;
  uint64_t mx = lepton_whole_mantissa(ax, &ex);
  const uint64_t my = lepton_whole_mantissa(ay, &ey);
  for (; ex > ey; ex--) {
    mx = mx >= my ? mx - my : mx;
    mx <<= 1;
  }
  mx = mx >= my ? mx - my : mx;
  if (mx == 0) return lepton_copysign(0.0, x);
  for (; !(mx >> 52); ex--) mx <<= 1;
  mx = ex > 0 ? (mx & ((1ull << 52) - 1)) | (uint64_t)ex << 52 : mx >> (1 - ex);
  return lepton_copysign(lepton_of_bits64(mx), x);
}
/* A remainder of two floats is a float. */
LEPTON_LONG float lepton_fmodf(const float x, const float y) { return (float)lepton_fmod((double)x, (double)y); }

/* x · 2^n, rounded once: all factors but the last are exact. */
LEPTON_LONG double lepton_ldexp(double x, int n) {
  for (; n > 1000 && lepton_fabs(x) < LEPTON_INFINITY && x != 0.0; n -= 1000) x *= 0x1p1000;
  n = n > 1000 ? 1000 : n;
  if (n < -1022) {
    /* Down to where the product is still normal, then one rounding. */
    const int exponent = (int)(lepton_bits64(x) >> 52 & 0x7ff);
    const int exact = exponent > 1 ? exponent - 1 : 0;
    const int first = exact < 1000 ? exact : 1000;
    x *= lepton_of_bits64((uint64_t)(1023 - first) << 52);
    n += first;
    if (n < -1022) {
      const int second = exact - first < 1000 ? exact - first : 1000;
      x *= lepton_of_bits64((uint64_t)(1023 - second) << 52);
      n += second;
    }
    n = n < -1022 ? -1022 : n;
    if (lepton_fabs(x) < 0x1p-1021 && n < -60) return lepton_copysign(0.0, x);
  }
  return x * lepton_of_bits64((uint64_t)(n + 1023) << 52);
}
LEPTON_LONG float lepton_ldexpf(const float x, const int n) {
  const int bounded = n < -400 ? -400 : n > 400 ? 400 : n;
  return (float)((double)x * lepton_of_bits64((uint64_t)(bounded + 1023) << 52));
}

/* ---- square roots, correctly rounded ---- */

/* Digit by digit, for cores without the instruction: 54 bits, the last of which rounds (a tie can't occur). */
LEPTON_LONG double lepton_sqrt_by_digits(const double x) {
  if (x != x || x == 0.0 || x == LEPTON_INFINITY) return x;
  if (x < 0.0) return LEPTON_NAN;
  int32_t e;
  uint64_t m = lepton_whole_mantissa(x, &e);
  e -= 1023;
  if (e & 1) m <<= 1, e -= 1;
  uint64_t root = 0, rest = 0;
  for (int i = 0; i < 54; i++) {
    rest = rest << 2 | (i < 27 ? m >> (52 - 2 * i) & 3 : 0);
    const uint64_t trial = root << 2 | 1;
    root <<= 1;
    if (rest >= trial) rest -= trial, root |= 1;
  }
  root = (root >> 1) + (root & 1);
  return lepton_of_bits64((root & ((1ull << 52) - 1)) + ((uint64_t)(e / 2 + 1022 + (root >> 52)) << 52));
}
LEPTON_LONG float lepton_sqrtf_by_digits(const float x) {
  if (x != x || x == 0.0f || x == (float)LEPTON_INFINITY) return x;
  if (x < 0.0f) return (float)LEPTON_NAN;
  uint32_t m = lepton_bits32(x);
  int32_t e = (int32_t)(m >> 23);
  m &= (1u << 23) - 1;
  if (e) m |= 1u << 23;
  else
    for (e = 1; !(m >> 23); e--) m <<= 1;
  e -= 127;
  if (e & 1) m <<= 1, e -= 1;
  m <<= 1; /* 26 bits: 13 pairs */
  uint32_t root = 0, rest = 0;
  for (int i = 0; i < 25; i++) {
    rest = rest << 2 | (i < 13 ? m >> (24 - 2 * i) & 3 : 0);
    const uint32_t trial = root << 2 | 1;
    root <<= 1;
    if (rest >= trial) rest -= trial, root |= 1;
  }
  root = (root >> 1) + (root & 1);
  return lepton_of_bits32((root & ((1u << 23) - 1)) + ((uint32_t)(e / 2 + 126 + (int32_t)(root >> 23)) << 23));
}
#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_sqrt)
#if defined(__SSE2__) || defined(__aarch64__) || (defined(__riscv_flen) && __riscv_flen >= 32) || \
    (defined(__ARM_FP) && (__ARM_FP & 4))
#define LEPTON_SQRTF_INSTRUCTION
#endif
#if defined(__SSE2__) || defined(__aarch64__) || (defined(__riscv_flen) && __riscv_flen >= 64) || \
    (defined(__ARM_FP) && (__ARM_FP & 8))
#define LEPTON_SQRT_INSTRUCTION
#endif
#endif
#endif
LEPTON_SHORT float lepton_sqrtf(const float x) {
#ifdef LEPTON_SQRTF_INSTRUCTION
  return __builtin_elementwise_sqrt(x);
#else
  return lepton_sqrtf_by_digits(x);
#endif
}
LEPTON_SHORT double lepton_sqrt(const double x) {
#ifdef LEPTON_SQRT_INSTRUCTION
  return __builtin_elementwise_sqrt(x);
#else
  return lepton_sqrt_by_digits(x);
#endif
}

/* ---- exponentials ---- */

#define LEPTON_LN2_HIGH 0x1.62e42feep-1 /* 32 bits: its product with an exponent is exact */
#define LEPTON_LN2_LOW 0x1.a39ef35793c76p-33

/* y · 2^n for y in [1/2, 2]: two factors, so that a denormal result is rounded once. NaN stays whatever n is. */
LEPTON_SHORT double lepton_scaled(const double y, const int32_t n) {
  const int32_t half = n >> 1;
  return y * lepton_of_bits64((uint64_t)(uint32_t)(1023 + half) << 52) *
         lepton_of_bits64((uint64_t)(uint32_t)(1023 + n - half) << 52);
}
/* Nearest whole number of |v| < 2^31; *n, its int32, means nothing for a NaN. */
LEPTON_SHORT double lepton_nearest(const double v, int32_t *n) {
  const double shifted = v + 0x1.8p52;
  *n = (int32_t)(uint32_t)lepton_bits64(shifted);
  return shifted - 0x1.8p52;
}
/* (exp(r + c) − 1 − r) for |r| <= 0.36 and a tiny c */
LEPTON_SHORT double lepton_exp_rest(const double r, const double c) {
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  return r * r * p + (c + c * r);
}
/* exp(x + tail) · 2^extra */
LEPTON_SHORT double lepton_exp_scaled(double x, const double tail, const int32_t extra) {
  x = x < -800.0 ? -800.0 : x > 800.0 ? 800.0 : x;
  int32_t n;
  const double k = lepton_nearest(x * 0x1.71547652b82fep+0, &n);
  const double high = x - k * LEPTON_LN2_HIGH, low = k * LEPTON_LN2_LOW - tail, r = high - low;
  const double y = 1.0 + (r + lepton_exp_rest(r, (high - r) - low));
  return lepton_scaled(y, n + extra);
}
LEPTON_LONG double lepton_exp(const double x) { return lepton_exp_scaled(x, 0.0, 0); }
LEPTON_LONG double lepton_exp2(double x) {
  x = x < -1200.0 ? -1200.0 : x > 1200.0 ? 1200.0 : x;
  int32_t n;
  const double f = x - lepton_nearest(x, &n), r = f * 0x1.62e42fefa39efp-1;
  return lepton_scaled(1.0 + (r + lepton_exp_rest(r, 0.0)), n);
}
LEPTON_LONG double lepton_exp10(double x) {
  x = x < -400.0 ? -400.0 : x > 400.0 ? 400.0 : x;
  int32_t n;
  const double k = lepton_nearest(x * 0x1.a934f0979a371p+1, &n);
  const double f = (x - k * 0x1.34413508p-2) - k * 0x1.f79fef311f12bp-34, r = f * 0x1.26bb1bbb55516p+1;
  return lepton_scaled(1.0 + (r + lepton_exp_rest(r, 0.0)), n);
}
LEPTON_LONG double lepton_expm1(const double x) {
  if (x < -40.0) return -1.0;
  if (!(x < 60.0)) return lepton_exp(x);
  if (lepton_fabs(x) < 0x1p-54) return x;
  int32_t n;
  const double k = lepton_nearest(x * 0x1.71547652b82fep+0, &n);
  const double high = x - k * LEPTON_LN2_HIGH, low = k * LEPTON_LN2_LOW, r = high - low;
  const double rest = lepton_exp_rest(r, (high - r) - low);
  if (n == 0) return r + rest;
  const double power = lepton_of_bits64((uint64_t)(uint32_t)(1023 + n) << 52);
  return (power - 1.0) + power * (r + rest);
}

LEPTON_SHORT float lepton_expf(float x) {
  x = x < -110.0f ? -110.0f : x > 100.0f ? 100.0f : x;
  const float shifted = x * 0x1.715476p+0f + 12582912.0f, k = shifted - 12582912.0f;
  const uint32_t n = lepton_bits32(shifted) - lepton_bits32(12582912.0f);
  const float r = (x - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
  float p = 0x1.a12a42p-13f;
  p = p * r + 0x1.6d4920p-10f;
  p = p * r + 0x1.1110e0p-7f;
  p = p * r + 0x1.5554e4p-5f;
  p = p * r + 0x1.555556p-3f;
  p = p * r + 0.5f;
  const float y = 1.0f + (r + r * r * p);
  const uint32_t half = (uint32_t)((int32_t)n >> 1);
  return y * lepton_of_bits32((127u + half) << 23) * lepton_of_bits32((127u + n - half) << 23);
}
LEPTON_LONG float lepton_exp2f(const float x) { return (float)lepton_exp2((double)x); }
LEPTON_LONG float lepton_exp10f(const float x) { return (float)lepton_exp10((double)x); }
LEPTON_LONG float lepton_expm1f(const float x) { return (float)lepton_expm1((double)x); }

/* ---- logarithms ---- */

/* x = m · 2^e with m in [sqrt(1/2), sqrt(2)); x positive and finite. */
LEPTON_SHORT double lepton_mantissa(const double x, int32_t *e) {
  const int small = x < 0x1p-1022;
  uint64_t bits = lepton_bits64(small ? x * 0x1p54 : x);
  bits += 0x3ff0000000000000ull - 0x3fe6a09e667f3bcdull;
  *e = (int32_t)(bits >> 52) - 1023 - (small ? 54 : 0);
  return lepton_of_bits64((bits & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull);
}
/* 2·atanh(s) = s·(2 + z·(2/3 + what this returns)), z = s² <= 0.0295 */
LEPTON_SHORT double lepton_log_series(const double z) {
  double p = 2.0 / 25.0;
  p = p * z + 2.0 / 23.0;
  p = p * z + 2.0 / 21.0;
  p = p * z + 2.0 / 19.0;
  p = p * z + 2.0 / 17.0;
  p = p * z + 2.0 / 15.0;
  p = p * z + 2.0 / 13.0;
  p = p * z + 2.0 / 11.0;
  p = p * z + 2.0 / 9.0;
  p = p * z + 2.0 / 7.0;
  p = p * z + 2.0 / 5.0;
  return p * z;
}
/* log(1 + f) + extra for 1 + f in [sqrt(1/2), sqrt(2)) */
LEPTON_SHORT double lepton_log_near_one(const double f, const double extra) {
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  return f - (half - (s * (half + z * (2.0 / 3.0 + lepton_log_series(z))) + extra));
}
LEPTON_SHORT int lepton_log_special(const double x, double *y) {
  if (x > 0.0 && x < LEPTON_INFINITY) return 0;
  *y = x == 0.0 ? -LEPTON_INFINITY : x < 0.0 ? LEPTON_NAN : x;
  return 1;
}
LEPTON_LONG double lepton_log(const double x) {
  double y;
  int32_t e;
  if (lepton_log_special(x, &y)) return y;
  const double f = lepton_mantissa(x, &e) - 1.0;
  return (double)e * LEPTON_LN2_HIGH + lepton_log_near_one(f, (double)e * LEPTON_LN2_LOW);
}
LEPTON_LONG double lepton_log2(const double x) {
  double y;
  int32_t e;
  if (lepton_log_special(x, &y)) return y;
  const double f = lepton_mantissa(x, &e) - 1.0;
  return (double)e + lepton_log_near_one(f, 0.0) * 0x1.71547652b82fep+0;
}
LEPTON_LONG double lepton_log10(const double x) {
  double y;
  int32_t e;
  if (lepton_log_special(x, &y)) return y;
  const double f = lepton_mantissa(x, &e) - 1.0;
  return (double)e * 0x1.34413508p-2 +
         (lepton_log_near_one(f, 0.0) * 0x1.bcb7b1526e50ep-2 + (double)e * 0x1.f79fef311f12bp-34);
}
LEPTON_LONG double lepton_log1p(const double x) {
  if (x == -1.0) return -LEPTON_INFINITY;
  const double u = 1.0 + x;
  if (u == 1.0) return x;
  if (!(u < 0x1p54)) return lepton_log(x);
  if (u < 0.0) return LEPTON_NAN;
  int32_t e;
  const double f = lepton_mantissa(u, &e) - 1.0, lost = u >= 2.0 ? 1.0 - (u - x) : x - (u - 1.0);
  if (e == 0) return lepton_log_near_one(f, lost / u);
  return (double)e * LEPTON_LN2_HIGH + lepton_log_near_one(f, (double)e * LEPTON_LN2_LOW + lost / u);
}
LEPTON_SHORT float lepton_logf(const float x) {
  const float scaled = x < 0x1p-126f ? x * 0x1p23f : x;
  const uint32_t bits = lepton_bits32(scaled) + (0x3f800000u - 0x3f3504f3u);
  const float e = (float)((int32_t)(bits >> 23) - 127) - (x < 0x1p-126f ? 23.0f : 0.0f);
  const float f = lepton_of_bits32((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f, z = f * f;
  float p = 0x1.1d8eaep-4f;
  p = p * f - 0x1.d635bcp-4f;
  p = p * f + 0x1.dea282p-4f;
  p = p * f - 0x1.fcf4c6p-4f;
  p = p * f + 0x1.23d21ap-3f;
  p = p * f - 0x1.555b4ap-3f;
  p = p * f + 0x1.999d5ap-3f;
  p = p * f - 0x1.fffffcp-3f;
  p = p * f + 0x1.555554p-2f;
  const float y = e * 0x1.62e4p-1f + (f + ((f * z * p + e * 0x1.7f7d1cp-20f) - 0.5f * z));
  const float special = x == 0.0f ? -(float)LEPTON_INFINITY : x < 0.0f ? (float)LEPTON_NAN : x;
  return x > 0.0f && x < (float)LEPTON_INFINITY ? y : special;
}
LEPTON_LONG float lepton_log2f(const float x) { return (float)lepton_log2((double)x); }
LEPTON_LONG float lepton_log10f(const float x) { return (float)lepton_log10((double)x); }
LEPTON_LONG float lepton_log1pf(const float x) { return (float)lepton_log1p((double)x); }

/* ---- powers ---- */

/* High part of 26 bits, so that products of two parts are exact (|x| < 2^990). */
LEPTON_SHORT double lepton_head(const double x) { return lepton_of_bits64(lepton_bits64(x) & 0xfffffffff8000000ull); }
/* a·b − p where p is the rounded product */
LEPTON_SHORT double lepton_product_error(const double a, const double b, const double p) {
  const double ah = lepton_head(a), al = a - ah, bh = lepton_head(b), bl = b - bh;
  return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
}
/* log(x) as a sum of two doubles, for positive finite x. Relative error about 2^-66. */
LEPTON_SHORT double lepton_log_pair(const double x, double *low) {
  int32_t e;
  const double m = lepton_mantissa(x, &e);
  const double numerator = m - 1.0, g = m + 1.0, g_low = m - (g - 1.0);
  const double s = numerator / g, sg = s * g;
  const double s_low = (((numerator - sg) - lepton_product_error(s, g, sg)) - s * g_low) / g;
  const double z = s * s, z_low = lepton_product_error(s, s, z) + 2.0 * s * s_low;
  const double cube = s * z, cube_low = lepton_product_error(s, z, cube) + (s * z_low + s_low * z);
  const double third = cube * 0x1.5555555555555p-1;
  const double third_low = lepton_product_error(cube, 0x1.5555555555555p-1, third) +
                           (cube * 0x1.5555555555555p-55 + cube_low * 0x1.5555555555555p-1);
  const double further = s * z * lepton_log_series(z);
  /* e · ln 2, then 2 s, then 2/3 s³: each smaller than the one before, unless that is zero. */
  const double whole = (double)e * LEPTON_LN2_HIGH, whole_low = (double)e * LEPTON_LN2_LOW;
  const double sum = whole + 2.0 * s, sum_low = e == 0 ? 0.0 : (whole - sum) + 2.0 * s;
  const double all = sum + third, all_low = (sum - all) + third;
  const double tail = all_low + (sum_low + (whole_low + (2.0 * s_low + (third_low + further))));
  const double high = all + tail;
  *low = (all - high) + tail;
  return high;
}
/* exact: logarithm and product in pairs of doubles; otherwise in doubles, enough for a float result. */
LEPTON_SHORT double lepton_power(const double x, const double y, const int exact) {
  if (y == 0.0 || x == 1.0) return 1.0;
  if (x != x || y != y) return x + y;
  const double ax = lepton_fabs(x), ay = lepton_fabs(y);
  const int whole = lepton_trunc(y) == y, odd = whole && ay < 0x1p53 && lepton_trunc(0.5 * y) != 0.5 * y;
  if (ay == LEPTON_INFINITY) return ax == 1.0 ? 1.0 : (ax > 1.0) == (y > 0.0) ? LEPTON_INFINITY : 0.0;
  if (ax == 0.0 || ax == LEPTON_INFINITY) {
    const double y0 = (ax == 0.0) == (y > 0.0) ? 0.0 : LEPTON_INFINITY;
    return odd ? lepton_copysign(y0, x) : y0;
  }
  if (x < 0.0 && !whole) return LEPTON_NAN;
  double result;
  if (ax == 1.0) result = 1.0;
  else if (ay > 0x1p64) result = (ax > 1.0) == (y > 0.0) ? LEPTON_INFINITY : 0.0;
  else if (exact) {
    double low;
    const double high = lepton_log_pair(ax, &low), product = y * high;
    const double tail = lepton_product_error(y, high, product) + y * low;
    result = lepton_fabs(product) > 800.0 ? lepton_exp(product) : lepton_exp_scaled(product, tail, 0);
  } else {
    result = lepton_exp(y * lepton_log(ax));
  }
  return x < 0.0 && odd ? -result : result;
}
LEPTON_LONG double lepton_pow(const double x, const double y) { return lepton_power(x, y, 1); }
LEPTON_LONG float lepton_powf(const float x, const float y) { return (float)lepton_power((double)x, (double)y, 0); }
LEPTON_LONG double lepton_hypot(const double x, const double y) {
  const double a = lepton_fabs(x), b = lepton_fabs(y);
  if (a == LEPTON_INFINITY || b == LEPTON_INFINITY) return LEPTON_INFINITY;
  const double large = a > b ? a : b;
  const double unit = large > 0x1p500 ? 0x1p600 : large < 0x1p-500 ? 0x1p-600 : 1.0;
  const double p = a / unit, q = b / unit;
  return lepton_sqrt(p * p + q * q) * unit;
}
LEPTON_LONG float lepton_hypotf(const float x, const float y) { return (float)lepton_hypot((double)x, (double)y); }

/* ---- hyperbolic functions ---- */

LEPTON_LONG double lepton_tanh(const double x) {
  const double a = lepton_fabs(x);
  if (a < 0x1p-28) return x;
  double y;
  if (a >= 1.0) {
    y = 1.0 - 2.0 / (lepton_expm1(2.0 * (a > 30.0 ? 30.0 : a)) + 2.0);
  } else {
    const double t = lepton_expm1(-2.0 * a);
    y = -t / (t + 2.0);
  }
  return lepton_copysign(y, x);
}
LEPTON_LONG double lepton_sinh(const double x) {
  const double a = lepton_fabs(x);
  if (a < 0x1p-28) return x;
  if (a >= 22.0) return lepton_copysign(lepton_exp_scaled(a, 0.0, -1), x);
  const double t = lepton_expm1(a);
  return lepton_copysign(0.5 * (a < 1.0 ? 2.0 * t - t * t / (t + 1.0) : t + t / (t + 1.0)), x);
}
LEPTON_LONG double lepton_cosh(const double x) {
  const double half = lepton_exp_scaled(lepton_fabs(x), 0.0, -1);
  return half + 0.25 / half;
}
LEPTON_LONG double lepton_asinh(const double x) {
  const double a = lepton_fabs(x);
  if (a < 0x1p-28) return x;
  if (!(a < 0x1p28)) return lepton_copysign(lepton_log(a) + 0x1.62e42fefa39efp-1, x);
  if (a > 2.0) return lepton_copysign(lepton_log(2.0 * a + 1.0 / (lepton_sqrt(a * a + 1.0) + a)), x);
  return lepton_copysign(lepton_log1p(a + a * a / (1.0 + lepton_sqrt(1.0 + a * a))), x);
}
LEPTON_LONG double lepton_acosh(const double x) {
  if (x < 1.0) return LEPTON_NAN;
  if (!(x < 0x1p28)) return lepton_log(x) + 0x1.62e42fefa39efp-1;
  if (x > 2.0) return lepton_log(2.0 * x - 1.0 / (x + lepton_sqrt(x * x - 1.0)));
  const double t = x - 1.0;
  return lepton_log1p(t + lepton_sqrt(2.0 * t + t * t));
}
LEPTON_LONG double lepton_atanh(const double x) {
  const double a = lepton_fabs(x), t = 2.0 * a;
  if (a < 0x1p-28) return x;
  if (a > 1.0) return LEPTON_NAN;
  if (a == 1.0) return lepton_copysign(LEPTON_INFINITY, x);
  return lepton_copysign(0.5 * lepton_log1p(a < 0.5 ? t + t * a / (1.0 - a) : t / (1.0 - a)), x);
}
LEPTON_SHORT float lepton_tanhf(const float x) {
  const float a = lepton_fabsf(x), z = a * a;
  float p = 0x1.2977d8p-9f;
  p = p * z - 0x1.10bbf4p-7f;
  p = p * z + 0x1.648e8ep-6f;
  p = p * z - 0x1.ba0718p-5f;
  p = p * z + 0x1.1110e4p-3f;
  p = p * z - 0x1.555556p-2f;
  const float small = a + a * z * p;
  const float large = 1.0f - 2.0f / (lepton_expf(2.0f * (a > 10.0f ? 10.0f : a)) + 1.0f);
  return lepton_copysignf(a < 0.625f ? small : large, x);
}
/* 1 / (1 + exp(−x)), accurate in both tails */
LEPTON_SHORT float lepton_sigmoidf(const float x) {
  const float e = lepton_expf(-lepton_fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
LEPTON_LONG float lepton_sinhf(const float x) { return (float)lepton_sinh((double)x); }
LEPTON_LONG float lepton_coshf(const float x) { return (float)lepton_cosh((double)x); }
LEPTON_LONG float lepton_asinhf(const float x) { return (float)lepton_asinh((double)x); }
LEPTON_LONG float lepton_acoshf(const float x) { return (float)lepton_acosh((double)x); }
LEPTON_LONG float lepton_atanhf(const float x) { return (float)lepton_atanh((double)x); }

/* ---- the error function: x · P(x²) below 1, then 1 − exp(−x²) · Q((x − 2) / (x + 2)) ---- */

LEPTON_LONG double lepton_erf(const double x) {
  double a = lepton_fabs(x);
  if (a < 1.0) {
    const double z = a * a;
    double p = 0x1.3c01fd3a74542p-42;
    p = p * z - 0x1.b40e7abf9fp-38;
    p = p * z + 0x1.9a0fcb5e22c5bp-34;
    p = p * z - 0x1.517ce02f1265fp-30;
    p = p * z + 0x1.fcbb312b48443p-27;
    p = p * z - 0x1.5f73c3bf14b91p-23;
    p = p * z + 0x1.b9e6c38e5cf3dp-20;
    p = p * z - 0x1.f4d25bf9af03ap-17;
    p = p * z + 0x1.f9a326f7ac5b1p-14;
    p = p * z - 0x1.c02db40035f1ep-11;
    p = p * z + 0x1.565bcd0e6a2eep-8;
    p = p * z - 0x1.b82ce31288b47p-6;
    p = p * z + 0x1.ce2f21a042be2p-4;
    p = p * z - 0x1.812746b0379e7p-2;
    p = p * z + 0x1.06eba8214db69p-3;
    return x + x * p;
  }
  a = a > 6.0 ? 6.0 : a;
  const double t = (a - 2.0) / (a + 2.0);
  double q = -0x1.30be46f379823p-20;
  q = q * t + 0x1.559a2f0faada6p-20;
  q = q * t + 0x1.0d39558a33004p-18;
  q = q * t + 0x1.5e89dbd23021dp-20;
  q = q * t - 0x1.d5b4578dde1bbp-17;
  q = q * t - 0x1.ce6ac975b91e0p-16;
  q = q * t + 0x1.cdd4519ae1742p-16;
  q = q * t + 0x1.6da887a2804f7p-13;
  q = q * t + 0x1.6d5ee91b54222p-15;
  q = q * t - 0x1.016b5b63ce721p-10;
  q = q * t - 0x1.bc25a48873fcfp-11;
  q = q * t + 0x1.ca95ed50b7c81p-8;
  q = q * t + 0x1.e9471597be87ap-9;
  q = q * t - 0x1.437f0b68c0489p-4;
  q = q * t + 0x1.eeea7dc8a78a1p-3;
  q = q * t - 0x1.b57034efd3f74p-2;
  q = q * t + 0x1.058671b52c776p-2;
  return lepton_copysign(1.0 - lepton_exp(-a * a) * q, x);
}
LEPTON_SHORT float lepton_erff(const float x) {
  float a = lepton_fabsf(x);
  const float z = a * a;
  float p = 0x1.1c41acp-20f;
  p = p * z - 0x1.d2b852p-17f;
  p = p * z + 0x1.f57e9cp-14f;
  p = p * z - 0x1.bfe158p-11f;
  p = p * z + 0x1.56588cp-8f;
  p = p * z - 0x1.b82cbap-6f;
  p = p * z + 0x1.ce2f20p-4f;
  p = p * z - 0x1.812746p-2f;
  p = p * z + 0x1.06eba8p-3f;
  const float small = a + a * p;
  a = a > 4.0f ? 4.0f : a;
  const float t = (a - 2.0f) / (a + 2.0f);
  float q = -0x1.ef02f6p-11f;
  q = q * t - 0x1.b69d34p-11f;
  q = q * t + 0x1.ca6a34p-8f;
  q = q * t + 0x1.e92de2p-9f;
  q = q * t - 0x1.437efcp-4f;
  q = q * t + 0x1.eeea80p-3f;
  q = q * t - 0x1.b57034p-2f;
  q = q * t + 0x1.058672p-2f;
  const float large = 1.0f - lepton_expf(-a * a) * q;
  return lepton_copysignf(lepton_fabsf(x) < 1.0f ? small : large, x);
}

/* ---- angles ---- */

#define LEPTON_HALF_PI_HIGH 0x1.921fb54442d18p+0
#define LEPTON_HALF_PI_LOW 0x1.1a62633145c07p-54

/* 2/pi in words of 32 bits, the binary point before the first */
static const uint32_t lepton_two_over_pi[40] __attribute__((unused)) = {
    0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u,
    0xb7246e3au, 0x424dd2e0u, 0x06492eeau, 0x09d1921cu, 0xfe1deb1cu, 0xb129a73eu, 0xe88235f5u, 0x2ebb4484u,
    0xe99c7026u, 0xb45f7e41u, 0x3991d639u, 0x835339f4u, 0x9c845f8bu, 0xbdf9283bu, 0x1ff897ffu, 0xde05980fu,
    0xef2f118bu, 0x5a0a6d1fu, 0x6d367ecfu, 0x27cb09b7u, 0x4f463f66u, 0x9e5fea2du, 0x7527bac7u, 0xebe5f17bu,
    0x3d0739f7u, 0x8a5292eau, 0x6bfb5fb1u, 0x1f8d5d08u, 0x56033046u, 0xfc7b6babu, 0xf0cfbc20u, 0x9af4361du};

/* 32 bits of 2/pi from bit `first` on (bit 0 is worth 1/2; earlier bits are zero) */
LEPTON_SHORT uint32_t lepton_two_over_pi_bits(const int32_t first) {
  const int32_t word = (first + 64) / 32 - 2, shift = (first + 64) % 32;
  const uint32_t high = word >= 0 ? lepton_two_over_pi[word] : 0;
  const uint32_t low = word + 1 >= 0 ? lepton_two_over_pi[word + 1] : 0;
  return shift ? high << shift | low >> (32 - shift) : high;
}
/* Payne and Hanek: the angle x > 0 as quarter turns (returned, modulo 4) and a rest of two doubles. */
LEPTON_LONG int lepton_reduce_exactly(const double x, double *rest, double *rest_low) {
  const uint64_t bits = lepton_bits64(x), m = (bits & 0x000fffffffffffffull) | 0x0010000000000000ull;
  const int32_t e = (int32_t)(bits >> 52) - 1075;
  /* Bits worth 4 and more, times the whole number m, are whole turns: leave them out. */
  uint32_t product[7] = {0};
  for (int part = 0; part < 2; part++) {
    const uint64_t factor = part ? m >> 32 : m & 0xffffffffu;
    uint64_t carry = 0;
    for (int i = 5; i >= part; i--) {
      const int place = i - part;
      carry += factor * lepton_two_over_pi_bits(e - 2 + 32 * i) + product[place];
      product[place] = (uint32_t)carry;
      carry >>= 32;
    }
  }
  /* Two integer bits and 190 of fraction; a fraction of a half and more belongs to the next quarter. */
  int quarter = (int)(product[0] >> 30);
  uint32_t f[7];
  for (int i = 0; i < 6; i++) f[i] = product[i] << 2 | (i < 5 ? product[i + 1] >> 30 : 0);
  f[6] = 0;
  const int negative = f[0] >> 31;
  if (negative) {
    quarter = (quarter + 1) & 3;
    uint32_t carry = 1;
    for (int i = 5; i >= 0; i--) {
      f[i] = ~f[i] + carry;
      carry = carry && f[i] == 0;
    }
  }
  int32_t word = 0;
  while (word < 3 && f[word] == 0) word++;
  const double high = (double)f[word] * 0x1p32, middle = (double)f[word + 1];
  const double sum = high + middle, low = (middle - (sum - high)) + (double)f[word + 2] * 0x1p-32;
  const double unit = lepton_of_bits64((uint64_t)(1023 - 64 - 32 * word) << 52) * (negative ? -1.0 : 1.0);
  const double a = sum * unit, b = low * unit;
  const double angle = a * LEPTON_HALF_PI_HIGH;
  const double tail = lepton_product_error(a, LEPTON_HALF_PI_HIGH, angle) +
                      (a * LEPTON_HALF_PI_LOW + b * LEPTON_HALF_PI_HIGH);
  *rest = angle + tail;
  *rest_low = (angle - *rest) + tail;
  return quarter;
}
/* The finite angle x as quarter turns (returned, modulo 4) and a rest of at most about pi/4. */
LEPTON_SHORT int lepton_reduce(const double x, double *rest, double *rest_low) {
  const double a = lepton_fabs(x);
  int quarter = 0;
  if (a <= 0x1.921fb54442d18p-1) {
    *rest = x;
    *rest_low = 0.0;
    return 0;
  }
  double r = 0.0, low = 0.0;
  if (a < 0x1p20) {
    int32_t n;
    const double k = lepton_nearest(a * 0x1.45f306dc9c883p-1, &n);
    /* pi/2 in parts of 33, 33 and 53 bits: the first two products are exact. */
    const double first = a - k * 0x1.921fb544p+0, second = k * 0x1.0b4611a6p-34, third = k * 0x1.3198a2e037073p-69;
    const double t = first - second, lost = (first - t) - second;
    r = t - (third - lost);
    low = (t - r) - (third - lost);
    quarter = n & 3;
  }
  /* Where the difference cancelled, its error counts. */
  if (lepton_fabs(r) < 0x1p-20) quarter = lepton_reduce_exactly(a, &r, &low);
  *rest = x < 0.0 ? -r : r;
  *rest_low = x < 0.0 ? -low : low;
  return x < 0.0 ? (4 - quarter) & 3 : quarter;
}
LEPTON_SHORT double lepton_sine_of_rest(const double r, const double low) {
  const double z = r * r;
  double p = 1.0 / 355687428096000.0;
  p = p * z - 1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return r + (r * z * p + low * (1.0 - 0.5 * z));
}
LEPTON_SHORT double lepton_cosine_of_rest(const double r, const double low) {
  const double z = r * r, half = 0.5 * z, w = 1.0 - half;
  double p = -1.0 / 6402373705728000.0;
  p = p * z + 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  return w + (((1.0 - w) - half) + (z * z * p - r * low));
}
LEPTON_LONG double lepton_sin(const double x) {
  if (!(lepton_fabs(x) < LEPTON_INFINITY)) return x - x;
  if (lepton_fabs(x) < 0x1p-27) return x;
  double r, low;
  const int quarter = lepton_reduce(x, &r, &low);
  const double y = quarter & 1 ? lepton_cosine_of_rest(r, low) : lepton_sine_of_rest(r, low);
  return quarter & 2 ? -y : y;
}
LEPTON_LONG double lepton_cos(const double x) {
  if (!(lepton_fabs(x) < LEPTON_INFINITY)) return x - x;
  double r, low;
  const int quarter = lepton_reduce(x, &r, &low);
  const double y = quarter & 1 ? lepton_sine_of_rest(r, low) : lepton_cosine_of_rest(r, low);
  return (quarter + 1) & 2 ? -y : y;
}
LEPTON_LONG double lepton_tan(const double x) {
  if (!(lepton_fabs(x) < LEPTON_INFINITY)) return x - x;
  if (lepton_fabs(x) < 0x1p-27) return x;
  double r, low;
  const int quarter = lepton_reduce(x, &r, &low);
  const double sine = lepton_sine_of_rest(r, low), cosine = lepton_cosine_of_rest(r, low);
  return quarter & 1 ? -cosine / sine : sine / cosine;
}
/* atan of eighths, as sums of two doubles */
static const double lepton_atan_eighths[9][2] __attribute__((unused)) = {
    {0.0, 0.0},
    {0x1.fd5ba9aac2f6ep-4, -0x1.cd37686760c17p-59},
    {0x1.f5b75f92c80ddp-3, 0x1.8ab6e3cf7afbdp-57},
    {0x1.6f61941e4def1p-2, -0x1.c63aae6f6e918p-56},
    {0x1.dac670561bb4fp-2, 0x1.a2b7f222f65e2p-56},
    {0x1.1e00babdefeb4p-1, -0x1.928df287a668fp-58},
    {0x1.4978fa3269ee1p-1, 0x1.2419a87f2a458p-56},
    {0x1.700a7c5784634p-1, -0x1.8c34d25aadef6p-56},
    {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55}};
/* atan(numerator / denominator) for 0 <= numerator <= denominator, 0 < denominator, both exact */
LEPTON_SHORT double lepton_atan_of_ratio(const double numerator, const double denominator, double *low) {
  int32_t n;
  const double ratio = numerator / denominator, c = lepton_nearest(ratio * 8.0, &n) * 0.125;
  const double t = n ? (numerator - c * denominator) / (denominator + c * numerator) : ratio, z = t * t;
  double p = 1.0 / 17.0;
  p = -p * z + 1.0 / 15.0;
  p = -p * z + 1.0 / 13.0;
  p = -p * z + 1.0 / 11.0;
  p = -p * z + 1.0 / 9.0;
  p = -p * z + 1.0 / 7.0;
  p = -p * z + 1.0 / 5.0;
  p = -p * z + 1.0 / 3.0;
  const double rest = lepton_atan_eighths[n][1] - t * z * p;
  *low = n ? t + rest : rest;
  return n ? lepton_atan_eighths[n][0] : t;
}
LEPTON_LONG double lepton_atan(const double x) {
  const double a = lepton_fabs(x);
  double low;
  if (x != x || a < 0x1p-28) return x;
  if (a > 0x1p60) return lepton_copysign(LEPTON_HALF_PI_HIGH, x);
  if (a <= 1.0) {
    const double high = lepton_atan_of_ratio(a, 1.0, &low);
    return lepton_copysign(high + low, x);
  }
  const double high = lepton_atan_of_ratio(1.0, a, &low);
  const double left = LEPTON_HALF_PI_HIGH - high, lost = (LEPTON_HALF_PI_HIGH - left) - high;
  return lepton_copysign(left + (lost + (LEPTON_HALF_PI_LOW - low)), x);
}
LEPTON_LONG double lepton_atan2(const double y, const double x) {
  if (x != x || y != y) return x + y;
  const double ax = lepton_fabs(x), ay = lepton_fabs(y);
  const int left = (int)(lepton_bits64(x) >> 63);
  double angle;
  if (ay == 0.0) angle = 0.0;
  else if (ax == LEPTON_INFINITY && ay == LEPTON_INFINITY) angle = 0x1.921fb54442d18p-1;
  else angle = lepton_atan(ay / ax);
  if (left) angle = 2.0 * LEPTON_HALF_PI_HIGH - (angle - 2.0 * LEPTON_HALF_PI_LOW);
  return lepton_copysign(angle, y);
}
/* (asin(sqrt(z)) / sqrt(z) − 1) for z in [0, 1/4] */
LEPTON_SHORT double lepton_asin_rest(const double z) {
  double p = 0x1.d72b2bc8155f8p-6;
  p = p * z - 0x1.e6aaa8a0a04ccp-7;
  p = p * z + 0x1.1d189408314eep-6;
  p = p * z + 0x1.65a9c4dfcf8b2p-8;
  p = p * z + 0x1.52420b04b37bep-7;
  p = p * z + 0x1.782651caa6547p-7;
  p = p * z + 0x1.c9cf07674736ap-7;
  p = p * z + 0x1.1c4d35cf95421p-6;
  p = p * z + 0x1.6e8bb1c8209a2p-6;
  p = p * z + 0x1.f1c71c1db0623p-6;
  p = p * z + 0x1.6db6db6e31f13p-5;
  p = p * z + 0x1.3333333332ecap-4;
  p = p * z + 0x1.5555555555556p-3;
  return p * z;
}
/* acos(a) / 2 for a in [1/2, 1] as a sum of two doubles: asin of sqrt((1 − a) / 2) */
LEPTON_SHORT double lepton_half_acos(const double a, double *low) {
  const double z = 0.5 * (1.0 - a), s = lepton_sqrt(z), head = lepton_head(s);
  *low = (z - head * head) / (s + head + (s == 0.0)) + s * lepton_asin_rest(z);
  return head;
}
LEPTON_LONG double lepton_asin(const double x) {
  const double a = lepton_fabs(x);
  if (!(a <= 1.0)) return LEPTON_NAN;
  if (a < 0x1p-27) return x;
  if (a < 0.5) return x + x * lepton_asin_rest(x * x);
  double low;
  const double head = lepton_half_acos(a, &low);
  const double quarter = 0.5 * LEPTON_HALF_PI_HIGH;
  const double y = quarter - ((2.0 * low - LEPTON_HALF_PI_LOW) - (quarter - 2.0 * head));
  return lepton_copysign(y, x);
}
LEPTON_LONG double lepton_acos(const double x) {
  const double a = lepton_fabs(x);
  if (!(a <= 1.0)) return LEPTON_NAN;
  if (a < 0.5) return LEPTON_HALF_PI_HIGH - (x - (LEPTON_HALF_PI_LOW - x * lepton_asin_rest(x * x)));
  double low;
  const double head = lepton_half_acos(a, &low);
  if (x > 0.0) return 2.0 * (head + low);
  return 2.0 * (LEPTON_HALF_PI_HIGH - (head + (low - LEPTON_HALF_PI_LOW)));
}
LEPTON_LONG float lepton_sinf(const float x) { return (float)lepton_sin((double)x); }
LEPTON_LONG float lepton_cosf(const float x) { return (float)lepton_cos((double)x); }
LEPTON_LONG float lepton_tanf(const float x) { return (float)lepton_tan((double)x); }
LEPTON_LONG float lepton_asinf(const float x) { return (float)lepton_asin((double)x); }
LEPTON_LONG float lepton_acosf(const float x) { return (float)lepton_acos((double)x); }
LEPTON_LONG float lepton_atanf(const float x) { return (float)lepton_atan((double)x); }
LEPTON_LONG float lepton_atan2f(const float y, const float x) { return (float)lepton_atan2((double)y, (double)x); }

/* ---- under the names of C's library, for generated code; as calls only, so that variables may be called so ---- */

#define fabsf(x) lepton_fabsf(x)
#define fabs(x) lepton_fabs(x)
#define nearbyintf(x) lepton_nearbyintf(x)
#define nearbyint(x) lepton_nearbyint(x)
#define rintf(x) lepton_nearbyintf(x)
#define rint(x) lepton_nearbyint(x)
#define truncf(x) lepton_truncf(x)
#define trunc(x) lepton_trunc(x)
#define floorf(x) lepton_floorf(x)
#define floor(x) lepton_floor(x)
#define ceilf(x) lepton_ceilf(x)
#define ceil(x) lepton_ceil(x)
#define roundf(x) lepton_roundf(x)
#define round(x) lepton_round(x)
#define sqrtf(x) lepton_sqrtf(x)
#define sqrt(x) lepton_sqrt(x)
#define expf(x) lepton_expf(x)
#define exp(x) lepton_exp(x)
#define exp2f(x) lepton_exp2f(x)
#define exp2(x) lepton_exp2(x)
#define exp10f(x) lepton_exp10f(x)
#define exp10(x) lepton_exp10(x)
#define expm1f(x) lepton_expm1f(x)
#define expm1(x) lepton_expm1(x)
#define logf(x) lepton_logf(x)
#define log(x) lepton_log(x)
#define log2f(x) lepton_log2f(x)
#define log2(x) lepton_log2(x)
#define log10f(x) lepton_log10f(x)
#define log10(x) lepton_log10(x)
#define log1pf(x) lepton_log1pf(x)
#define log1p(x) lepton_log1p(x)
#define tanhf(x) lepton_tanhf(x)
#define tanh(x) lepton_tanh(x)
#define sinhf(x) lepton_sinhf(x)
#define sinh(x) lepton_sinh(x)
#define coshf(x) lepton_coshf(x)
#define cosh(x) lepton_cosh(x)
#define asinhf(x) lepton_asinhf(x)
#define asinh(x) lepton_asinh(x)
#define acoshf(x) lepton_acoshf(x)
#define acosh(x) lepton_acosh(x)
#define atanhf(x) lepton_atanhf(x)
#define atanh(x) lepton_atanh(x)
#define erff(x) lepton_erff(x)
#define erf(x) lepton_erf(x)
#define sinf(x) lepton_sinf(x)
#define sin(x) lepton_sin(x)
#define cosf(x) lepton_cosf(x)
#define cos(x) lepton_cos(x)
#define tanf(x) lepton_tanf(x)
#define tan(x) lepton_tan(x)
#define asinf(x) lepton_asinf(x)
#define asin(x) lepton_asin(x)
#define acosf(x) lepton_acosf(x)
#define acos(x) lepton_acos(x)
#define atanf(x) lepton_atanf(x)
#define atan(x) lepton_atan(x)
#define copysignf(x, y) lepton_copysignf(x, y)
#define copysign(x, y) lepton_copysign(x, y)
#define fminf(x, y) lepton_fminf(x, y)
#define fmin(x, y) lepton_fmin(x, y)
#define fmaxf(x, y) lepton_fmaxf(x, y)
#define fmax(x, y) lepton_fmax(x, y)
#define fmodf(x, y) lepton_fmodf(x, y)
#define fmod(x, y) lepton_fmod(x, y)
#define ldexpf(x, y) lepton_ldexpf(x, y)
#define ldexp(x, y) lepton_ldexp(x, y)
#define powf(x, y) lepton_powf(x, y)
#define pow(x, y) lepton_pow(x, y)
#define hypotf(x, y) lepton_hypotf(x, y)
#define hypot(x, y) lepton_hypot(x, y)
#define atan2f(x, y) lepton_atan2f(x, y)
#define atan2(x, y) lepton_atan2(x, y)

#endif
