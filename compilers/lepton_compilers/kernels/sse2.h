/* Tiles of int8 products for any x86-64, behind the kernels of blocked.h.
 *
 * As on AVX2, maps hold q - zero point as int16, so that pmaddwd sums two products exactly in int32, and what lies
 * outside a map is zero. Weights are int16 pairs, [pair][vector][4][2], channels in order. A tile's sums are
 * [pixel][vector], 12 at most: 16 registers also hold pairs of inputs, weights and a product.
 */
#ifndef LEPTON_SSE2_H
#define LEPTON_SSE2_H
#include <emmintrin.h>

typedef int16_t map_t;
typedef int16_t weight_t;
typedef __m128i sums_t;
#define LEPTON_UNIT 2
#define LEPTON_LANES 4
#define LEPTON_SUMS 12

LEPTON_KERNEL __m128i load128(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
LEPTON_KERNEL __m128i broadcast_pair(const map_t *p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm_set1_epi32(pair);
}
LEPTON_KERNEL __m128i add_products(const __m128i sum, const __m128i pairs, const weight_t *weight) {
  return _mm_add_epi32(sum, _mm_madd_epi16(load128(weight), pairs));
}

/* ---- from sums to maps ---- */

LEPTON_KERNEL __m128i scale_and_round(const __m128i sum, const float *m, const int wide) {
  __m128 product = _mm_mul_ps(_mm_cvtepi32_ps(sum), _mm_loadu_ps(m));
  /* Too large becomes INT_MIN when converted; too small does as well, and saturates as it should. */
  if (wide) product = _mm_min_ps(product, _mm_set1_ps(1048576.0f));
  return _mm_cvtps_epi32(product);
}
LEPTON_KERNEL __m128i clamp_shorts(const __m128i v, const int lo, const int hi) {
  return _mm_min_epi16(_mm_max_epi16(v, _mm_set1_epi16((short)lo)), _mm_set1_epi16((short)hi));
}
/* Pairs of q and residual by their multipliers, which are below 2^30, in two parts: pmaddwd takes 16 bits each. */
LEPTON_KERNEL __m128i add_pairwise(const __m128i pairs, const lepton_finish f) {
  const int low = 32767;
  const __m128i by_low = _mm_set1_epi32((f.by_sum & low) | (f.by_residual & low) << 16);
  const __m128i by_high = _mm_set1_epi32(f.by_sum >> 15 | f.by_residual >> 15 << 16);
  const __m128i high = _mm_slli_epi32(_mm_madd_epi16(pairs, by_high), 15);
  const __m128i sum = _mm_add_epi32(_mm_madd_epi16(pairs, by_low), _mm_set1_epi32(f.base));
  return _mm_srai_epi32(_mm_add_epi32(sum, high), f.shift);
}
LEPTON_KERNEL __m128i add_residual(const __m128i q, const __m128i residual, const lepton_finish f) {
  const __m128i low = add_pairwise(_mm_unpacklo_epi16(q, residual), f);
  const __m128i high = add_pairwise(_mm_unpackhi_epi16(q, residual), f);
  return clamp_shorts(_mm_packs_epi32(low, high), f.sum_lo, f.sum_hi);
}
/* 8 channels of a pixel from their two vectors, or the lower 4 from one */
LEPTON_KERNEL void store_half(map_t *y, const __m128i *sum, const int vectors, const float *m, const lepton_finish finish) {
  __m128i q = scale_and_round(sum[0], m, finish.wide);
  q = _mm_packs_epi32(q, vectors > 1 ? scale_and_round(sum[1], m + 4, finish.wide) : _mm_setzero_si128());
  q = clamp_shorts(q, finish.lo, finish.hi);
  if (finish.adds) q = add_residual(q, load128(residual_of(y, finish)), finish);
  _mm_storeu_si128((__m128i *)y, q);
}
LEPTON_KERNEL void store_tile(map_t *y, const __m128i *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 2)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_half(y + (ptrdiff_t)(v / 4) * y_block + p * 16 + v % 4 * 4, sum + p * vectors + v, vectors - v, m + 4 * v,
                 finish);
}
LEPTON_KERNEL void start_tile(__m128i *sum, const int32_t *bias, const int mr, const int vectors) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * vectors + v] = load128(bias + 4 * v);
}

/* ---- convolutions ---- */

LEPTON_KERNEL void add_pairs(__m128i *sum, const map_t *x, const int pixel, const weight_t *weight, const int pairs,
                             const int mr, const int vectors) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++) {
    __m128i pair[LEPTON_SUMS];
    LEPTON_UNROLL for (int p = 0; p < mr; p++) pair[p] = broadcast_pair(x + (ptrdiff_t)p * pixel + i * 2);
    LEPTON_UNROLL for (int v = 0; v < vectors; v++) {
      __m128i by = load128(weight + (i * vectors + v) * 8);
      __asm__ volatile("" : "+x"(by));
      LEPTON_UNROLL for (int p = 0; p < mr; p++)
        sum[p * vectors + v] = _mm_add_epi32(sum[p * vectors + v], _mm_madd_epi16(pair[p], by));
    }
  }
}
LEPTON_KERNEL void conv_tile(const map_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int c, const weight_t *weight, const int32_t *bias,
                             const float *m, map_t *y, const int y_block, const int mr, const int n,
                             const lepton_finish finish) {
  const int pairs = (c + 1) / 2, vectors = (n + 3) / 4;
  __m128i sum[LEPTON_SUMS];
  start_tile(sum, bias, mr, vectors);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      const map_t *from = x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column;
      LEPTON_LOOP for (int b = 0; b < pairs / 8; b++) {
        add_pairs(sum, from, pixel, weight, 8, mr, vectors);
        from += block;
        weight += 8 * vectors * 8;
      }
      add_pairs(sum, from, pixel, weight, pairs % 8, mr, vectors);
      weight += pairs % 8 * vectors * 8;
    }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}

/* 3 x 3: a pair of inputs, broadcast once a kernel row, serves its three columns. weights [ky][pair][kx][vector][4][2] */
LEPTON_KERNEL void add_pairs3(__m128i *sum, const map_t *x, const weight_t *weight, const int pairs, const int mr,
                              const int vectors, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++)
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const __m128i pair = broadcast_pair(x + column * 16 + i * 2);
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p = (column - kx) / stride;
        if (column < kx || (column - kx) % stride || p >= mr) continue;
        LEPTON_UNROLL for (int v = 0; v < vectors; v++)
          sum[p * vectors + v] = add_products(sum[p * vectors + v], pair, weight + ((i * 3 + kx) * vectors + v) * 8);
      }
    }
}
LEPTON_KERNEL void conv3x3_tile(const map_t *x, const int row, const int block, const int c, const weight_t *weight,
                                const int32_t *bias, const int bias_step, const float *m, map_t *y, const int y_block,
                                const int mr, const int n, const int stride, const int ky0, const int ky1,
                                const int first, const int valid, const lepton_finish finish) {
  const int pairs = (c + 1) / 2, vectors = (n + 3) / 4;
  __m128i sum[LEPTON_SUMS];
  start_tile(sum, bias, mr, vectors);
  weight += (ptrdiff_t)ky0 * pairs * 3 * vectors * 8;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    LEPTON_LOOP for (int b = 0; b < pairs / 8; b++) {
      add_pairs3(sum, from, weight, 8, mr, vectors, stride, first, valid);
      from += block;
      weight += 8 * 3 * vectors * 8;
    }
    add_pairs3(sum, from, weight, pairs % 8, mr, vectors, stride, first, valid);
    weight += pairs % 8 * 3 * vectors * 8;
  }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}

/* ---- depthwise convolutions: 8 channels at a time, so that a tile's sums stay in registers ---- */

/* sum + both halves of interleaved taps by weights [8][2] */
LEPTON_KERNEL void add_taps(__m128i *sum, const __m128i low, const __m128i high, const weight_t *weight) {
  sum[0] = add_products(sum[0], low, weight);
  sum[1] = add_products(sum[1], high, weight + 8);
}

/* One pixel: taps of a row by twos, weights [ky][ceil(kw / 2)][16][2]. column, row: between kernel columns, rows. */
LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y,
                                  const lepton_finish finish) {
  __m128i sum[4];
  start_tile(sum, bias, 1, 4);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx += 2)
      LEPTON_UNROLL for (int half = 0; half < 2; half++) {
        const map_t *from = x + (ptrdiff_t)kx * column + half * 8;
        const __m128i a = load128(from), b = kx + 1 < kw ? load128(from + column) : _mm_setzero_si128();
        add_taps(sum + 2 * half, _mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b), weight + kx / 2 * 32 + half * 16);
      }
    x += row;
    weight += (kw + 1) / 2 * 32;
  }
  store_tile(y, sum, 0, 1, 4, m, finish);
}

/* One row of mr pixels: neighbouring columns, interleaved once, serve the two outputs of one window each that begin
 * there and the two whose windows end there. weights [ky][4][16][2]: taps (0, 1), (2, -), (-, 0), (1, 2). */
LEPTON_KERNEL void depthwise3x3_half(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const float *m, map_t *y, const int mr, const int stride, const int ky0,
                                     const int ky1, const int first, const int valid, const lepton_finish finish) {
  __m128i sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) start_tile(sum + 2 * p, bias, 1, 2);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    const weight_t *by = weight + ky * 128;
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column += 2) {
      const int outside = column < first || column >= valid, next_outside = column + 1 < first || column + 1 >= valid;
      if (outside && next_outside) continue;
      const __m128i a = outside ? _mm_setzero_si128() : load128(from + column * 16);
      const int unused = column + 1 >= (mr - 1) * stride + 3;
      const __m128i b = unused ? a : next_outside ? _mm_setzero_si128() : load128(from + (column + 1) * 16);
      const __m128i low = _mm_unpacklo_epi16(a, b), high = _mm_unpackhi_epi16(a, b);
      const int p = column / stride;
      if (p < mr) add_taps(sum + 2 * p, low, high, by);
      if (column >= 2) add_taps(sum + 2 * (column - 2) / stride, low, high, by + 32);
      if (stride == 1 && p + 1 < mr) add_taps(sum + 2 * (p + 1), low, high, by + 64);
      if (stride == 1 && p >= 1 && p <= mr) add_taps(sum + 2 * (p - 1), low, high, by + 96);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++) store_half(y + p * 16, sum + 2 * p, 2, m, finish);
}
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride,
                                     const int ky0, const int ky1, const int first, const int valid,
                                     const lepton_finish finish) {
  LEPTON_LOOP for (int half = 0; half < 2; half++)
    depthwise3x3_half(x + half * 8, row, weight + half * 16, bias + half * 8, m + half * 8, y + half * 8, mr, stride, ky0,
                      ky1, first, valid, finish);
}
#endif
