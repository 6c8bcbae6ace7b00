/* Micro-kernels of int16 activations with int8 weights; they stand on portable.h, elementwise.h and vision.h.
 *
 * They compute docs/arithmetic.md, int16, bit for bit: integers, and one float64 product an output of dense.
 */
#ifndef LEPTON_INT16_H
#define LEPTON_INT16_H

/* So many products of an int16 and an int8 in -127 .. 127 fit in 32 bits. */
#define LEPTON_INT16_RUN 512

LEPTON_KERNEL int64_t clamp_wide(const int64_t v, const int lo, const int hi) { return v < lo ? lo : v > hi ? hi : v; }

/* x * mantissa * 2^(exponent - 31): half up to the mantissa's bits, then half away from zero; the compiler has
   proven that x * 2^exponent fits in 32 bits. */
LEPTON_KERNEL int32_t scaled(const int32_t x, const int mantissa, const int exponent) {
  const int left = LEPTON_MAX(exponent, 0), right = LEPTON_MAX(-exponent, 0);
  const int32_t high = (int32_t)(((int64_t)x * ((int64_t)1 << left) * mantissa + ((int64_t)1 << 30)) >> 31);
  const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1);
  return (high >> right) + ((high & mask) > (mask >> 1) + (right ? high < 0 : 0));
}

LEPTON_KERNEL int16_t requantise_int16(const int64_t accumulator, const int32_t multiplier, const int32_t shift,
                                       const int lo, const int hi) {
  return (int16_t)clamp_wide((accumulator * multiplier + ((int64_t)1 << (shift - 1))) >> shift, lo, hi);
}

/* The same where 32 bits hold the accumulator and the shift is in 17 .. 46: the rounding's one bit lies in the upper half
   of the accumulator times 2^16 multipliers, so the lower half decides nothing. */
LEPTON_KERNEL int16_t requantise_narrow(const int32_t accumulator, const int32_t multiplier, const int32_t shift,
                                        const int lo, const int hi) {
  const int32_t high = (int32_t)(((int64_t)accumulator * (multiplier * 65536)) >> 32);
  return (int16_t)clamp_int((high + (1 << (shift - 17))) >> (shift - 16), lo, hi);
}

LEPTON_KERNEL int64_t dot_int16(const int16_t *restrict x, const int8_t *restrict w, const int n) {
  int64_t sum = 0;
  for (int start = 0; start < n; start += LEPTON_INT16_RUN) {
    const int end = LEPTON_MIN(start + LEPTON_INT16_RUN, n);
    int32_t part = 0;
    for (int i = start; i < end; i++) part += (int32_t)x[i] * (int32_t)w[i];
    sum += part;
  }
  return sum;
}

/* ---- sums of products ---- */

/* 16 sums, and weights of 16 channels by a pair of inputs, [16][2]. */
typedef int32_t int32_sums __attribute__((vector_size(64), aligned(4)));
typedef int16_t pair_weights __attribute__((vector_size(64), aligned(2)));
typedef int8_t narrow_weights __attribute__((vector_size(32), aligned(1)));
#if defined(__AVX2__)
#include <immintrin.h>
#endif
LEPTON_KERNEL void pairs_at(const int8_t *w, pair_weights *pairs) {
  narrow_weights narrow;
  __builtin_memcpy(&narrow, w, 32);
  *pairs = __builtin_convertvector(narrow, pair_weights);
}
LEPTON_KERNEL void add_pair_products(int32_sums *sums, const int32_t pair, const pair_weights *w) {
#if defined(__AVX512VNNI__)
  *sums = (int32_sums)_mm512_dpwssd_epi32((__m512i)*sums, _mm512_set1_epi32(pair), (__m512i)*w);
#elif defined(__AVX512BW__)
  *sums += (int32_sums)_mm512_madd_epi16(_mm512_set1_epi32(pair), (__m512i)*w);
#elif defined(__AVX2__)
  int32_sums products;
  __m256i half;
  for (int i = 0; i < 2; i++) {
    __builtin_memcpy(&half, (const uint8_t *)w + 32 * i, 32);
    half = _mm256_madd_epi16(_mm256_set1_epi32(pair), half);
    __builtin_memcpy((uint8_t *)&products + 32 * i, &half, 32);
  }
  *sums += products;
#else
  const int32_t first = (int16_t)pair, second = pair >> 16;
  LEPTON_UNROLL for (int l = 0; l < 16; l++) (*sums)[l] += first * (*w)[2 * l] + second * (*w)[2 * l + 1];
#endif
}

/* narrow: 32 bits hold every sum with its bias. n <= 8 pixels of a row from ox on, one block of 16 output channels; zeros: c + 1 of them */
LEPTON_KERNEL void conv2d_int16_tile(const int16_t *restrict x, const int8_t *restrict weight,
                                     const int64_t *restrict bias, const int32_t *restrict multiplier,
                                     const int16_t *zeros, int16_t *restrict y, const int n, const int oy, const int ox,
                                     const int channels, const int h, const int w, const int c, const int o,
                                     const int kh, const int kw, const int sh, const int sw, const int pt, const int pl,
                                     const int dh, const int dw, const int narrow, const int lo, const int hi) {
  /* spilt: sums that 32 bits hold no longer, where there are so many products. */
  const int spills = !narrow && kh * kw * c > LEPTON_INT16_RUN;
  int64_t spilt[8][16];
  int32_t last[8][16];
  int32_sums sums[8];
  LEPTON_UNROLL for (int m = 0; m < n; m++) sums[m] = (int32_sums){0};
  if (spills) LEPTON_LOOP for (int m = 0; m < n; m++)
    for (int l = 0; l < 16; l++) spilt[m][l] = 0;
  int held = 0;
  const int pairs = (c + 1) / 2;
  for (int ky = 0; ky < kh; ky++) {
    const int iy = oy * sh - pt + ky * dh;
    if (iy < 0 || iy >= h) continue;
    for (int kx = 0; kx < kw; kx++) {
      const int16_t *from[8];
      LEPTON_UNROLL for (int m = 0; m < n; m++) {
        const int ix = (ox + m) * sw - pl + kx * dw;
        from[m] = ix < 0 || ix >= w ? zeros : x + ((ptrdiff_t)iy * w + ix) * c;
      }
      const int8_t *by = weight + (ptrdiff_t)(ky * kw + kx) * pairs * 32;
      for (int start = 0; start < c; start += LEPTON_INT16_RUN) {
        const int end = LEPTON_MIN(start + LEPTON_INT16_RUN, c);
        if (spills && held + end - start > LEPTON_INT16_RUN) {
          LEPTON_UNROLL for (int m = 0; m < n; m++) {
            __builtin_memcpy(last[m], &sums[m], 64);
            sums[m] = (int32_sums){0};
          }
          LEPTON_LOOP for (int m = 0; m < n; m++)
            for (int l = 0; l < 16; l++) spilt[m][l] += last[m][l];
          held = 0;
        }
        held += end - start;
        for (int i = start; i + 2 <= end; i += 2) {
          pair_weights two;
          pairs_at(by + (ptrdiff_t)i * 16, &two);
          LEPTON_UNROLL for (int m = 0; m < n; m++) {
            int32_t pair;
            __builtin_memcpy(&pair, from[m] + i, 4);
            add_pair_products(&sums[m], pair, &two);
          }
        }
        if (end & 1) {
          pair_weights one;
          pairs_at(by + (ptrdiff_t)(end - 1) * 16, &one);
          LEPTON_UNROLL for (int m = 0; m < n; m++)
            add_pair_products(&sums[m], (uint16_t)from[m][end - 1], &one);
        }
      }
    }
  }
  LEPTON_UNROLL for (int m = 0; m < n; m++) __builtin_memcpy(last[m], &sums[m], 64);
  if (narrow) {
    LEPTON_LOOP for (int m = 0; m < n; m++)
      for (int l = 0; l < channels; l++)
        y[(ptrdiff_t)m * o + l] = requantise_narrow((int32_t)bias[l] + last[m][l], multiplier[l], multiplier[o + l], lo, hi);
    return;
  }
  LEPTON_LOOP for (int m = 0; m < n; m++)
    for (int l = 0; l < channels; l++) {
      const int64_t sum = bias[l] + (spills ? spilt[m][l] : 0) + last[m][l];
      y[(ptrdiff_t)m * o + l] = requantise_int16(sum, multiplier[l], multiplier[o + l], lo, hi);
    }
}

/* weights [o / 16][kh][kw][pairs of c][16][2]; multipliers [2][o]; zeros: c + 1 */
LEPTON_KERNEL void conv2d_int16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict multiplier, uint8_t *zeros, uint8_t *restrict y, const int h,
                                const int w, const int c, const int oh, const int ow, const int o, const int kh,
                                const int kw, const int sh, const int sw, const int pt, const int pl, const int dh,
                                const int dw, const int narrow, const int lo, const int hi) {
  const ptrdiff_t panel = (ptrdiff_t)kh * kw * ((c + 1) / 2) * 32;
  for (int b = 0; b < (o + 15) / 16; b++) {
    /* A literal where it can be. */
    const int channels = o % 16 ? LEPTON_MIN(16, o - b * 16) : 16;
    const int8_t *by = (const int8_t *)weight + b * panel;
    const int64_t *start = (const int64_t *)bias + b * 16;
    const int32_t *factor = (const int32_t *)multiplier + b * 16;
    for (int oy = 0; oy < oh; oy++) {
      int16_t *to = (int16_t *)y + (ptrdiff_t)oy * ow * o + b * 16;
      int ox = 0;
      for (; ox + 8 <= ow; ox += 8)
        conv2d_int16_tile((const int16_t *)x, by, start, factor, (const int16_t *)zeros, to + (ptrdiff_t)ox * o, 8, oy,
                          ox, channels, h, w, c, o, kh, kw, sh, sw, pt, pl, dh, dw, narrow, lo, hi);
      if (ow % 8)
        conv2d_int16_tile((const int16_t *)x, by, start, factor, (const int16_t *)zeros, to + (ptrdiff_t)ox * o, ow % 8,
                          oy, ox, channels, h, w, c, o, kh, kw, sh, sw, pt, pl, dh, dw, narrow, lo, hi);
    }
  }
}

/* weights [o][kh][kw][c / groups]; multipliers [2][o]: factors, then right shifts */
LEPTON_KERNEL void grouped_conv2d_int16(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                        uint8_t *restrict m_, uint8_t *restrict y_, const int groups, const int h,
                                        const int w, const int c, const int oh, const int ow, const int o, const int kh,
                                        const int kw, const int sh, const int sw, const int pt, const int pl,
                                        const int dh, const int dw, const int lo, const int hi) {
  const int16_t *x = (const int16_t *)x_;
  const int8_t *weight = (const int8_t *)w_;
  const int64_t *bias = (const int64_t *)b_;
  const int32_t *multiplier = (const int32_t *)m_;
  int16_t *y = (int16_t *)y_;
  const int inner = c / groups, each = o / groups;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++)
      for (int oc = 0; oc < o; oc++) {
        int64_t sum = bias[oc];
        for (int ky = 0; ky < kh; ky++) {
          const int iy = oy * sh - pt + ky * dh;
          if (iy < 0 || iy >= h) continue;
          for (int kx = 0; kx < kw; kx++) {
            const int ix = ox * sw - pl + kx * dw;
            if (ix < 0 || ix >= w) continue;
            sum += dot_int16(x + ((ptrdiff_t)iy * w + ix) * c + (ptrdiff_t)(oc / each) * inner,
                             weight + (((ptrdiff_t)oc * kh + ky) * kw + kx) * inner, inner);
          }
        }
        y[((ptrdiff_t)oy * ow + ox) * o + oc] = requantise_int16(sum, multiplier[oc], multiplier[o + oc], lo, hi);
      }
}

/* One pixel of n <= 16 channels; x, weight: at the first tap and channel. rows, columns: taps inside the map. */
LEPTON_KERNEL void depthwise_int16_block(const int16_t *restrict x, const int8_t *restrict weight,
                                         const int64_t *restrict bias, const int32_t *restrict multiplier,
                                         int16_t *restrict y, const int n, const int rows, const int columns,
                                         const ptrdiff_t row, const ptrdiff_t column, const int kw,
                                         const int o, const int spills, const int narrow, const int lo, const int hi) {
  int64_t total[16];
  int32_t sum[16];
  for (int l = 0; l < n; l++) {
    total[l] = bias[l];
    sum[l] = narrow ? (int32_t)bias[l] : 0;
  }
  int held = 0;
  for (int ky = 0; ky < rows; ky++)
    for (int kx = 0; kx < columns; kx++) {
      const int16_t *from = x + ky * row + kx * column;
      const int8_t *by = weight + ((ptrdiff_t)ky * kw + kx) * o;
      for (int l = 0; l < n; l++) sum[l] += (int32_t)from[l] * (int32_t)by[l];
      if (!spills || ++held < LEPTON_INT16_RUN) continue;
      held = 0;
      for (int l = 0; l < n; l++) {
        total[l] += sum[l];
        sum[l] = 0;
      }
    }
  for (int l = 0; l < n; l++)
    y[l] = narrow ? requantise_narrow(sum[l], multiplier[l], multiplier[o + l], lo, hi)
                  : requantise_int16(total[l] + sum[l], multiplier[l], multiplier[o + l], lo, hi);
}

/* weights [kh][kw][o]; output channel i reads input channel i / (o / c) */
LEPTON_KERNEL void depthwise_int16(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                   uint8_t *restrict m_, uint8_t *restrict y_, const int h, const int w, const int c,
                                   const int oh, const int ow, const int o, const int kh, const int kw, const int sh,
                                   const int sw, const int pt, const int pl, const int dh, const int dw,
                                   const int narrow, const int lo, const int hi) {
  const int64_t *bias = (const int64_t *)b_;
  const int32_t *multiplier = (const int32_t *)m_;
  const int each = o / c, spills = !narrow && kh * kw > LEPTON_INT16_RUN;
  for (int oy = 0; oy < oh; oy++) {
    const int top = oy * sh - pt, ky0 = top < 0 ? (-top + dh - 1) / dh : 0;
    const int rows = LEPTON_MAX(LEPTON_MIN(kh, (h - top + dh - 1) / dh) - ky0, 0);
    for (int ox = 0; ox < ow; ox++) {
      const int left = ox * sw - pl, kx0 = left < 0 ? (-left + dw - 1) / dw : 0;
      const int columns = LEPTON_MAX(LEPTON_MIN(kw, (w - left + dw - 1) / dw) - kx0, 0);
      const int16_t *x = (const int16_t *)x_ + ((ptrdiff_t)(top + ky0 * dh) * w + left + kx0 * dw) * c;
      const int8_t *weight = (const int8_t *)w_ + ((ptrdiff_t)ky0 * kw + kx0) * o;
      int16_t *y = (int16_t *)y_ + ((ptrdiff_t)oy * ow + ox) * o;
      const ptrdiff_t row = (ptrdiff_t)dh * w * c, column = (ptrdiff_t)dw * c;
      int ob = 0;
      if (each == 1)
        for (; ob + 16 <= o; ob += 16)
          depthwise_int16_block(x + ob, weight + ob, bias + ob, multiplier + ob, y + ob, 16, rows, columns, row,
                                column, kw, o, spills, narrow, lo, hi);
      if (each == 1 && o % 16)
        depthwise_int16_block(x + ob, weight + ob, bias + ob, multiplier + ob, y + ob, o % 16, rows, columns, row,
                              column, kw, o, spills, narrow, lo, hi);
      if (each > 1)
        for (; ob < o; ob++)
          depthwise_int16_block(x + ob / each, weight + ob, bias + ob, multiplier + ob, y + ob, 1, rows,
                                columns, row, column, kw, o, spills, narrow, lo, hi);
    }
  }
}

/* x [rows][inner], weights [o][inner], multipliers [o] float64 */
LEPTON_KERNEL void dense_int16(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                               uint8_t *restrict y_, const int rows, const int inner, const int o, const int lo,
                               const int hi) {
  const int16_t *x = (const int16_t *)x_;
  const int8_t *weight = (const int8_t *)w_;
  const int64_t *bias = (const int64_t *)b_;
  const double *multiplier = (const double *)m_;
  int16_t *y = (int16_t *)y_;
  for (int r = 0; r < rows; r++)
    for (int oc = 0; oc < o; oc++) {
      const int64_t sum = bias[oc] + dot_int16(x + (ptrdiff_t)r * inner, weight + (ptrdiff_t)oc * inner, inner);
      double product = (double)sum * multiplier[oc];
      product = product < -65536.0 ? -65536.0 : product > 65536.0 ? 65536.0 : product;
      const int32_t whole = (int32_t)product;
      const int32_t half = (int32_t)(2.0 * (product - (double)whole));
      y[(ptrdiff_t)r * o + oc] = (int16_t)clamp_int(whole + half, lo, hi);
    }
}

/* ---- windows ---- */

LEPTON_KERNEL void average_pool_int16(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                      const int oh, const int ow, const int kh, const int kw, const int sh,
                                      const int sw, const int pt, const int pl, const int lo, const int hi) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  /* Windows that no border cuts: a literal divides. */
  const int whole = pt == 0 && pl == 0 && (oh - 1) * sh + kh <= h && (ow - 1) * sw + kw <= w;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      const int64_t count = whole ? kh * kw : (int64_t)(y1 - y0) * (x1 - x0), half = count / 2;
      int16_t *to = y + ((ptrdiff_t)oy * ow + ox) * c;
      if (kh * kw <= 32768) {
        /* 32 bits hold the sum and its rounding. */
        for (int start = 0; start < c; start += 64) {
          const int n = LEPTON_MIN(64, c - start);
          int32_t sums[64] = {0};
          for (int iy = y0; iy < y1; iy++)
            for (int ix = x0; ix < x1; ix++)
              for (int i = 0; i < n; i++) sums[i] += x[((ptrdiff_t)iy * w + ix) * c + start + i];
          for (int i = 0; i < n; i++) {
            const int32_t by = (int32_t)count, rest = (int32_t)half;
            to[start + i] = (int16_t)clamp_int((sums[i] > 0 ? sums[i] + rest : sums[i] - rest) / by, lo, hi);
          }
        }
        continue;
      }
      for (int i = 0; i < c; i++) {
        int64_t sum = 0;
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) sum += x[((ptrdiff_t)iy * w + ix) * c + i];
        to[i] = (int16_t)clamp_wide((sum > 0 ? sum + half : sum - half) / count, lo, hi);
      }
    }
}

LEPTON_KERNEL void max_pool_int16(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                  const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                  const int pt, const int pl, const int lo, const int hi) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      int16_t *to = y + ((ptrdiff_t)oy * ow + ox) * c;
      for (int i = 0; i < c; i++) {
        int32_t best = -32768;
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) best = LEPTON_MAX(best, x[((ptrdiff_t)iy * w + ix) * c + i]);
        to[i] = (int16_t)clamp_int(best, lo, hi);
      }
    }
}

LEPTON_KERNEL void reduce_mean_int16(LEPTON_REDUCED, const int m, const int e) {
  LEPTON_FOR_REDUCED(int16_t, int32_t, 0, a + v, int16_t, (int16_t)clamp_int(scaled(a, m, e), -32768, 32767))
}

/* ---- elements ---- */

/* sign: 1 for a sum, -1 for a difference */
LEPTON_KERNEL void stretched_add_int16(LEPTON_STRETCHED, const int sign, const int ma, const int ea, const int mb,
                                       const int eb, const int my, const int ey, const int lo, const int hi) {
  LEPTON_FOR_STRETCHED(int16_t, (int16_t)clamp_int(scaled(scaled(p * 32768, ma, ea) + sign * scaled(q * 32768, mb, eb),
                                                          my, ey),
                                                   lo, hi))
}

LEPTON_KERNEL void stretched_mul_int16(LEPTON_STRETCHED, const int m, const int e, const int lo, const int hi) {
  LEPTON_FOR_STRETCHED(int16_t, (int16_t)clamp_int(scaled(p * q, m, e), lo, hi))
}

LEPTON_KERNEL void clamp_int16(uint8_t *x_, uint8_t *y_, const int n, const int lo, const int hi) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) y[i] = (int16_t)clamp_int(x[i], lo, hi);
}

#define LEPTON_REQUANTIZE(NAME, FROM, TO)                                                                             \
  LEPTON_KERNEL void NAME(uint8_t *x_, uint8_t *y_, const int n, const int zx, const int m, const int e, const int zy, \
                          const int lo, const int hi) {                                                               \
    const FROM *x = (const FROM *)x_;                                                                                 \
    TO *y = (TO *)y_;                                                                                                 \
    LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) y[i] = (TO)clamp_int(scaled(x[i] - zx, m, e) + zy, lo, hi);     \
  }
LEPTON_REQUANTIZE(requantize_int16_int16, int16_t, int16_t)
LEPTON_REQUANTIZE(requantize_int16_int8, int16_t, int8_t)
LEPTON_REQUANTIZE(requantize_int8_int16, int8_t, int16_t)

LEPTON_KERNEL void quantize_int16(uint8_t *restrict x_, uint8_t *restrict y_, const int n, const int inverse_bits) {
  const float *x = (const float *)x_;
  int16_t *y = (int16_t *)y_;
  for (ptrdiff_t i = 0; i < n; i++) {
    const float product = x[i] * float_of_bits(inverse_bits);
    y[i] = (int16_t)clamp_int(round_even(product == product ? product : 0.0f), -32768, 32767);
  }
}

LEPTON_KERNEL void dequantize_int16(uint8_t *restrict x_, uint8_t *restrict y_, const int n, const int scale_bits) {
  const int16_t *x = (const int16_t *)x_;
  float *y = (float *)y_;
  for (ptrdiff_t i = 0; i < n; i++) y[i] = (float)x[i] * float_of_bits(scale_bits);
}

/* ---- tables ---- */

/* 512 straight pieces of 128 values each */
LEPTON_KERNEL int16_t interpolated(const int32_t x, const int16_t *table) {
  const int16_t *at = table + 256 + (x >> 7);
  return (int16_t)(at[0] + (((at[1] - at[0]) * (x & 0x7f) + 64) >> 7));
}

LEPTON_KERNEL void table_int16(uint8_t *x_, uint8_t *restrict table, uint8_t *y_, const int n) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) y[i] = interpolated(x[i], (const int16_t *)table);
}

/* tables: e^v over -10 .. 0, then 1 / (1 + v) over 0 .. 1, both times 2^15 */
LEPTON_KERNEL void softmax_int16(uint8_t *restrict x_, uint8_t *restrict tables_, uint8_t *restrict y_, const int rows,
                                 const int n, const int m, const int e) {
  const int16_t *tables = (const int16_t *)tables_;
  for (int r = 0; r < rows; r++) {
    const int16_t *x = (const int16_t *)x_ + (ptrdiff_t)r * n;
    int16_t *y = (int16_t *)y_ + (ptrdiff_t)r * n;
    int32_t largest = -32768, sum = 0;
    for (int i = 0; i < n; i++) largest = LEPTON_MAX(largest, x[i]);
    for (int i = 0; i < n; i++) {
      y[i] = interpolated(clamp_int(scaled(x[i] - largest, m, e) + 32767, -32768, 32767), tables);
      sum += y[i];
    }
    const int headroom = __builtin_clz((uint32_t)sum) - 1, shift = 30 - headroom;
    const int32_t above_one = (int32_t)((((int64_t)sum << headroom) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
    const int32_t reciprocal = interpolated(clamp_int(above_one, -32768, 32767), tables + 513);
    for (int i = 0; i < n; i++)
      y[i] = (int16_t)clamp_int((y[i] * reciprocal + (1 << (shift - 1))) >> shift, 0, 32767);
  }
}

/* table: sigmoid(i / 24) * 2^16; x * m >> s is x in 1 / (3 * 2^12) */
LEPTON_KERNEL int32_t sigmoid_line(const int32_t magnitude, const int32_t *table, const int bits, const int32_t end) {
  const int32_t i = magnitude >> bits;
  if (i >= 255) return end;
  return (int32_t)((uint32_t)table[i] << bits) + (magnitude & ((1 << bits) - 1)) * (table[i + 1] - table[i]);
}

LEPTON_KERNEL void sigmoid_int16(uint8_t *x_, uint8_t *restrict table, uint8_t *y_, const int n, const int m,
                                 const int s) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) {
    const int32_t steps = (x[i] * m + ((1 << s) >> 1)) >> s;
    const int32_t line = sigmoid_line(steps < 0 ? -steps : steps, (const int32_t *)table, 9, 0x7fff << 10);
    y[i] = (int16_t)((steps >= 0 ? line + 512 : (1 << 25) - line + 511) >> 10);
  }
}

LEPTON_KERNEL void tanh_int16(uint8_t *x_, uint8_t *restrict table, uint8_t *y_, const int n, const int m,
                              const int s) {
  const int16_t *x = (const int16_t *)x_;
  int16_t *y = (int16_t *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) {
    const int32_t steps = (x[i] * m + ((1 << s) >> 1)) >> s;
    const int32_t line = sigmoid_line(steps < 0 ? -steps : steps, (const int32_t *)table, 8, 0xffff << 8);
    y[i] = (int16_t)((steps >= 0 ? line - (1 << 23) + 128 : (1 << 23) - line + 127) >> 8);
  }
}
#endif
