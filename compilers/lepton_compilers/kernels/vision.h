/* Micro-kernels of transposed convolution, resizing, reductions over axes, arg-extremes and mirrored borders.
 *
 * As portable.h, on which they stand: NHWC, one image a call where the map is the unit, literal parameters.
 */
#ifndef LEPTON_VISION_H
#define LEPTON_VISION_H

/* ---- transposed convolution: each output pixel gathers the taps that reach it ---- */

/* weights [o][kh][kw][c] */
LEPTON_KERNEL void conv_transpose_int8(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                       uint8_t *restrict m_, uint8_t *restrict y_, const int h, const int w,
                                       const int c, const int oh, const int ow, const int o, const int kh,
                                       const int kw, const int sh, const int sw, const int pt, const int pl,
                                       const int zx, const int zy, const int lo, const int hi) {
  const int8_t *x = (const int8_t *)x_, *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *multiplier = (const float *)m_;
  int8_t *y = (int8_t *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++)
      for (int oc = 0; oc < o; oc++) {
        int32_t sum = bias[oc];
        for (int ky = (oy + pt) % sh; ky < kh; ky += sh) {
          const int iy = (oy + pt - ky) / sh;
          if (oy + pt < ky || iy >= h) continue;
          for (int kx = (ox + pl) % sw; kx < kw; kx += sw) {
            const int ix = (ox + pl - kx) / sw;
            if (ox + pl < kx || ix >= w) continue;
            const int8_t *from = x + ((ptrdiff_t)iy * w + ix) * c;
            const int8_t *by = weight + (((ptrdiff_t)oc * kh + ky) * kw + kx) * c;
            int32_t dot = 0;
            for (int i = 0; i < c; i++) dot += (int32_t)(int16_t)(from[i] - zx) * (int32_t)by[i];
            sum = add_wrapped(sum, dot);
          }
        }
        y[((ptrdiff_t)oy * ow + ox) * o + oc] = requantise(sum, multiplier[oc], zy, lo, hi);
      }
}

/* weights [o/16][kh][kw][c][16]; has_bias == 0: b_ is not read */
LEPTON_KERNEL void conv_transpose_float(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                        uint8_t *restrict y_, const int has_bias, const int h, const int w,
                                        const int c, const int oh, const int ow, const int o, const int kh,
                                        const int kw, const int sh, const int sw, const int pt, const int pl,
                                        const int lo_bits, const int hi_bits) {
#pragma clang fp contract(fast)
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  float *y = (float *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++)
      for (int ob = 0; ob < o; ob += 16) {
        const int n = LEPTON_MIN(16, o - ob);
        float16_lanes sum = {0};
        if (has_bias) sum = load_lanes(bias + ob, n);
        for (int ky = (oy + pt) % sh; ky < kh; ky += sh) {
          const int iy = (oy + pt - ky) / sh;
          if (oy + pt < ky || iy >= h) continue;
          for (int kx = (ox + pl) % sw; kx < kw; kx += sw) {
            const int ix = (ox + pl - kx) / sw;
            if (ox + pl < kx || ix >= w) continue;
            const float *from = x + ((ptrdiff_t)iy * w + ix) * c;
            const float *by = weight + ((((ptrdiff_t)(ob / 16) * kh + ky) * kw + kx) * c) * 16;
            for (int i = 0; i < c; i++) {
              float16_lanes lanes;
              __builtin_memcpy(&lanes, by + (ptrdiff_t)i * 16, 64);
              sum += from[i] * lanes;
            }
          }
        }
        store_clamped(y + ((ptrdiff_t)oy * ow + ox) * o + ob, sum, n, lo, hi);
      }
}

/* ---- resizing: rows, columns are int32 lists of source places ---- */

/* pixel: bytes of one place's channels */
LEPTON_KERNEL void resize_nearest(uint8_t *restrict x, uint8_t *restrict rows_, uint8_t *restrict columns_,
                                  uint8_t *restrict y, const int w, const int oh, const int ow, const int pixel) {
  const int32_t *rows = (const int32_t *)rows_, *columns = (const int32_t *)columns_;
  for (int i = 0; i < oh; i++)
    for (int j = 0; j < ow; j++)
      __builtin_memcpy(y + ((ptrdiff_t)i * ow + j) * pixel, x + ((ptrdiff_t)rows[i] * w + columns[j]) * pixel,
                       (size_t)pixel);
}

/* rows [oh][2], columns [ow][2]: both neighbours; weights of the second, in 0 .. 2048 */
LEPTON_KERNEL void resize_bilinear_int8(uint8_t *restrict x_, uint8_t *restrict rows_, uint8_t *restrict columns_,
                                        uint8_t *restrict down_, uint8_t *restrict across_, uint8_t *restrict y_,
                                        const int w, const int c, const int oh, const int ow) {
  const int8_t *x = (const int8_t *)x_;
  const int32_t *rows = (const int32_t *)rows_, *columns = (const int32_t *)columns_;
  const int32_t *down = (const int32_t *)down_, *across = (const int32_t *)across_;
  int8_t *y = (int8_t *)y_;
  for (int i = 0; i < oh; i++)
    for (int j = 0; j < ow; j++) {
      const int8_t *above = x + (ptrdiff_t)rows[2 * i] * w * c, *below = x + (ptrdiff_t)rows[2 * i + 1] * w * c;
      const ptrdiff_t left = (ptrdiff_t)columns[2 * j] * c, right = (ptrdiff_t)columns[2 * j + 1] * c;
      int8_t *to = y + ((ptrdiff_t)i * ow + j) * c;
      for (int k = 0; k < c; k++) {
        const int32_t top = above[left + k] * 2048 + (above[right + k] - above[left + k]) * across[j];
        const int32_t bottom = below[left + k] * 2048 + (below[right + k] - below[left + k]) * across[j];
        to[k] = (int8_t)((top * 2048 + (bottom - top) * down[i] + (1 << 21)) >> 22);
      }
    }
}

/* weights in 0 .. 1 */
LEPTON_KERNEL void resize_bilinear_float(uint8_t *restrict x_, uint8_t *restrict rows_, uint8_t *restrict columns_,
                                         uint8_t *restrict down_, uint8_t *restrict across_, uint8_t *restrict y_,
                                         const int w, const int c, const int oh, const int ow) {
  const float *x = (const float *)x_, *down = (const float *)down_, *across = (const float *)across_;
  const int32_t *rows = (const int32_t *)rows_, *columns = (const int32_t *)columns_;
  float *y = (float *)y_;
  for (int i = 0; i < oh; i++)
    for (int j = 0; j < ow; j++) {
      const float *above = x + (ptrdiff_t)rows[2 * i] * w * c, *below = x + (ptrdiff_t)rows[2 * i + 1] * w * c;
      const ptrdiff_t left = (ptrdiff_t)columns[2 * j] * c, right = (ptrdiff_t)columns[2 * j + 1] * c;
      float *to = y + ((ptrdiff_t)i * ow + j) * c;
      for (int k = 0; k < c; k++) {
        const float top = above[left + k] + (above[right + k] - above[left + k]) * across[j];
        const float bottom = below[left + k] + (below[right + k] - below[left + k]) * across[j];
        to[k] = top + (bottom - top) * down[i];
      }
    }
}

/* ---- reductions: kept axes k0 .. k2, reduced axes r0 .. r2, each with its step in x, outermost first ---- */

#define LEPTON_REDUCED                                                                                              \
  uint8_t *restrict x_, uint8_t *restrict y_, const int k0, const int k1, const int k2, const int ks0,              \
      const int ks1, const int ks2, const int r0, const int r1, const int r2, const int rs0, const int rs1,         \
      const int rs2
/* Neighbours of the innermost kept axis 32 at a time, then what is left; STEP makes `a` (an accumulator) of `a`
 * and `v`. */
#define LEPTON_FOR_REDUCED(IN, ACCUMULATOR, START, STEP, OUT, RESULT)                                               \
  const IN *x = (const IN *)x_;                                                                                     \
  OUT *y = (OUT *)y_;                                                                                               \
  for (int i0 = 0; i0 < k0; i0++)                                                                                   \
    for (int i1 = 0; i1 < k1; i1++, y += k2) {                                                                      \
      const IN *row = x + (ptrdiff_t)i0 * ks0 + (ptrdiff_t)i1 * ks1;                                                \
      for (int ib = 0; ib < k2; ib += 32) {                                                                         \
        const IN *from = row + (ptrdiff_t)ib * ks2;                                                                 \
        if (k2 - ib >= 32) {                                                                                        \
          LEPTON_REDUCED_LANES(32, IN, ACCUMULATOR, START, STEP, RESULT)                                            \
        } else {                                                                                                    \
          LEPTON_REDUCED_LANES(k2 - ib, IN, ACCUMULATOR, START, STEP, RESULT)                                       \
        }                                                                                                           \
      }                                                                                                             \
    }
#define LEPTON_REDUCED_LANES(N, IN, ACCUMULATOR, START, STEP, RESULT)                                               \
  ACCUMULATOR held[32];                                                                                             \
  for (int l = 0; l < (N); l++) held[l] = START;                                                                    \
  for (int j0 = 0; j0 < r0; j0++)                                                                                   \
    for (int j1 = 0; j1 < r1; j1++)                                                                                 \
      for (int j2 = 0; j2 < r2; j2++) {                                                                             \
        const IN *at = from + (ptrdiff_t)j0 * rs0 + (ptrdiff_t)j1 * rs1 + (ptrdiff_t)j2 * rs2;                      \
        for (int l = 0; l < (N); l++) {                                                                             \
          const IN v = at[(ptrdiff_t)l * ks2];                                                                      \
          const ACCUMULATOR a = held[l];                                                                            \
          held[l] = STEP;                                                                                           \
        }                                                                                                           \
      }                                                                                                             \
  for (int l = 0; l < (N); l++) {                                                                                   \
    const ACCUMULATOR a = held[l];                                                                                  \
    y[ib + l] = RESULT;                                                                                             \
  }

LEPTON_KERNEL int8_t reduce_rounded(const int32_t total, const float multiplier, const float bias) {
#pragma clang fp contract(off)
  return (int8_t)clamp_int(round_even((float)total * multiplier + bias), -128, 127);
}
LEPTON_KERNEL void reduce_sum_int8(LEPTON_REDUCED, const int m_bits, const int bias_bits) {
  const float multiplier = float_of_bits(m_bits), bias = float_of_bits(bias_bits);
  LEPTON_FOR_REDUCED(int8_t, int32_t, 0, a + v, int8_t, reduce_rounded(a, multiplier, bias))
}
/* factor: 1, or of a mean one over the count */
LEPTON_KERNEL void reduce_sum_float(LEPTON_REDUCED, const int factor_bits) {
  const float factor = float_of_bits(factor_bits);
  LEPTON_FOR_REDUCED(float, float, 0.0f, a + v, float, a * factor)
}
LEPTON_KERNEL void reduce_prod_float(LEPTON_REDUCED) { LEPTON_FOR_REDUCED(float, float, 1.0f, a * v, float, a) }
LEPTON_KERNEL void reduce_max_int8(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(int8_t, int8_t, -128, LEPTON_MAX(a, v), int8_t, a)
}
LEPTON_KERNEL void reduce_min_int8(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(int8_t, int8_t, 127, LEPTON_MIN(a, v), int8_t, a)
}
LEPTON_KERNEL void reduce_max_float(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(float, float, -__builtin_inff(), v > a || v != v ? v : a, float, a)
}
LEPTON_KERNEL void reduce_min_float(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(float, float, __builtin_inff(), v < a || v != v ? v : a, float, a)
}
LEPTON_KERNEL void reduce_sum_int32(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(int32_t, int32_t, 0, add_wrapped(a, v), int32_t, a)
}
LEPTON_KERNEL void reduce_max_int32(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(int32_t, int32_t, INT32_MIN, LEPTON_MAX(a, v), int32_t, a)
}
LEPTON_KERNEL void reduce_min_int32(LEPTON_REDUCED) {
  LEPTON_FOR_REDUCED(int32_t, int32_t, INT32_MAX, LEPTON_MIN(a, v), int32_t, a)
}

/* ---- bytes without a sign ---- */

LEPTON_KERNEL void table_uint8(uint8_t *x, uint8_t *restrict table, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = table[x[i]];
}

/* ---- the first of the extremes along an axis of n: index written as `wide` ? int64 : int32 ---- */

#define LEPTON_ARG(TYPE)                                                                                            \
  for (int o = 0; o < outer; o++)                                                                                   \
    for (int i = 0; i < inner; i++) {                                                                               \
      const TYPE *x = (const TYPE *)x_ + (ptrdiff_t)o * n * inner + i;                                              \
      /* the value first, which needs no branch, then its place */                                                  \
      TYPE best = x[0];                                                                                             \
      for (int k = 1; k < n; k++) {                                                                                 \
        const TYPE v = x[(ptrdiff_t)k * inner];                                                                     \
        best = largest ? (v > best ? v : best) : (v < best ? v : best);                                             \
      }                                                                                                             \
      int32_t at = 0;                                                                                               \
      while (at < n - 1 && x[(ptrdiff_t)at * inner] != best) at++;                                                  \
      if (wide)                                                                                                     \
        ((int64_t *)y_)[(ptrdiff_t)o * inner + i] = at;                                                             \
      else                                                                                                          \
        ((int32_t *)y_)[(ptrdiff_t)o * inner + i] = at;                                                             \
    }
LEPTON_KERNEL void arg_int8(uint8_t *restrict x_, uint8_t *restrict y_, const int outer, const int n, const int inner,
                            const int largest, const int wide) {
  LEPTON_ARG(int8_t)
}
LEPTON_KERNEL void arg_int32(uint8_t *restrict x_, uint8_t *restrict y_, const int outer, const int n, const int inner,
                             const int largest, const int wide) {
  LEPTON_ARG(int32_t)
}
LEPTON_KERNEL void arg_float(uint8_t *restrict x_, uint8_t *restrict y_, const int outer, const int n, const int inner,
                             const int largest, const int wide) {
  LEPTON_ARG(float)
}

/* ---- mirrored borders: extents n of x, m of y, b places before; edge: whether the outermost is repeated ---- */

LEPTON_KERNEL int mirrored(const int at, const int n, const int edge) {
  if (at < 0) return -at - edge;
  return at < n ? at : 2 * n - 2 + edge - at;
}
LEPTON_KERNEL void mirror_pad(uint8_t *restrict x, uint8_t *restrict y, const int size, const int edge, const int n0,
                              const int n1, const int n2, const int n3, const int n4, const int n5, const int m0,
                              const int m1, const int m2, const int m3, const int m4, const int m5, const int b0,
                              const int b1, const int b2, const int b3, const int b4, const int b5) {
  for (int a = 0; a < m0; a++)
    for (int b = 0; b < m1; b++)
      for (int c = 0; c < m2; c++)
        for (int d = 0; d < m3; d++)
          for (int e = 0; e < m4; e++) {
            ptrdiff_t row = mirrored(a - b0, n0, edge);
            row = row * n1 + mirrored(b - b1, n1, edge);
            row = row * n2 + mirrored(c - b2, n2, edge);
            row = row * n3 + mirrored(d - b3, n3, edge);
            row = row * n4 + mirrored(e - b4, n4, edge);
            for (int f = 0; f < m5; f++, y += size)
              __builtin_memcpy(y, x + (row * n5 + mirrored(f - b5, n5, edge)) * size, (size_t)size);
          }
}
#endif
