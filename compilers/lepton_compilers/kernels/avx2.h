/* Tiles of int8 products for x86-64 with AVX2, behind the kernels of blocked.h.
 *
 * Maps hold q - zero point as int16, so that vpmaddwd sums two products exactly in int32 and what lies outside a map is
 * zero, whatever bias_step says. Weights are int16 pairs, [pair][vector][8][2], vectors as avx2_lanes.h
 * has them. A tile's sums are [pixel][vector], 12 at most: 16 registers also hold a broadcast pair and a product.
 */
#ifndef LEPTON_AVX2_H
#define LEPTON_AVX2_H

typedef int16_t map_t;
typedef int16_t weight_t;
typedef __m256i sums_t;
#define LEPTON_UNIT 2
#define LEPTON_LANES 8
#define LEPTON_SUMS 12

LEPTON_KERNEL __m256i broadcast_pair(const map_t *p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}
/* sum + pair * weights, read by the multiplication itself: each is used too seldom to be worth a load of its own */
LEPTON_KERNEL __m256i add_products(const __m256i sum, const __m256i pair, const weight_t *weight) {
  __m256i products;
  __asm__("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(pair), "m"(*(const __m256i_u *)weight));
  return _mm256_add_epi32(sum, products);
}

/* ---- from sums to maps ---- */

LEPTON_KERNEL __m256i add_residual(const __m256i q, const __m256i residual, const lepton_finish f) {
  const __m256i low = add_weighted(_mm256_unpacklo_epi16(q, residual), f);
  const __m256i high = add_weighted(_mm256_unpackhi_epi16(q, residual), f);
  return clamp_shorts(_mm256_packs_epi32(low, high), f.sum_lo, f.sum_hi);
}
/* One pixel of one block from its two vectors, or from one where the block has 8 channels or fewer. */
LEPTON_KERNEL void store_pixel(map_t *y, const __m256i *sum, const int vectors, const float *m,
                               const lepton_finish finish) {
  const __m256i first = scale_and_round(sum[0], m, finish.wide);
  __m256i q;
  if (vectors > 1)
    q = _mm256_packs_epi32(first, scale_and_round(sum[1], m + 8, finish.wide));
  else
    q = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, _mm256_setzero_si256()), 0xd8);
  q = clamp_shorts(q, finish.lo, finish.hi);
  if (finish.adds) q = add_residual(q, load256(residual_of(y, finish)), finish);
  _mm256_storeu_si256((__m256i *)y, q);
}
LEPTON_KERNEL void store_tile(map_t *y, const __m256i *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 2)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_pixel(y + (ptrdiff_t)(v / 2) * y_block + p * 16, sum + p * vectors + v, vectors - v, m + 8 * v,
                  finish);
}

/* ---- convolutions ---- */

LEPTON_KERNEL void add_pairs(__m256i *sum, const map_t *x, const int pixel, const weight_t *weight, const int pairs,
                             const int mr, const int vectors) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m256i pair = broadcast_pair(x + (ptrdiff_t)p * pixel + i * 2);
      LEPTON_UNROLL for (int v = 0; v < vectors; v++)
        sum[p * vectors + v] = add_products(sum[p * vectors + v], pair, weight + (i * vectors + v) * 16);
    }
}
LEPTON_KERNEL void conv_tile(const map_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int c, const weight_t *weight, const int32_t *bias,
                             const float *m, map_t *y, const int y_block, const int mr, const int n, const lepton_finish finish) {
  const int pairs = (c + 1) / 2, vectors = (n + 7) / 8;
  __m256i sum[LEPTON_SUMS];
  start_tile(sum, bias, mr, vectors);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      const map_t *from = x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column;
      LEPTON_LOOP for (int b = 0; b < pairs / 8; b++) {
        add_pairs(sum, from, pixel, weight, 8, mr, vectors);
        from += block;
        weight += 8 * vectors * 16;
      }
      add_pairs(sum, from, pixel, weight, pairs % 8, mr, vectors);
      weight += pairs % 8 * vectors * 16;
    }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}

/* 3 x 3: a pair of inputs, broadcast once a kernel row, serves its three columns. weights [ky][pair][kx][vector][8][2] */
LEPTON_KERNEL void add_pairs3(__m256i *sum, const map_t *x, const weight_t *weight, const int pairs, const int mr,
                              const int vectors, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++)
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const __m256i pair = broadcast_pair(x + column * 16 + i * 2);
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p = (column - kx) / stride;
        if (column < kx || (column - kx) % stride || p >= mr) continue;
        LEPTON_UNROLL for (int v = 0; v < vectors; v++)
          sum[p * vectors + v] = add_products(sum[p * vectors + v], pair, weight + ((i * 3 + kx) * vectors + v) * 16);
      }
    }
}
LEPTON_KERNEL void conv3x3_tile(const map_t *x, const int row, const int block, const int c, const weight_t *weight,
                                const int32_t *bias, const int bias_step, const float *m, map_t *y, const int y_block,
                                const int mr, const int n, const int stride, const int ky0, const int ky1, const int first,
                                const int valid, const lepton_finish finish) {
  const int pairs = (c + 1) / 2, vectors = (n + 7) / 8;
  __m256i sum[LEPTON_SUMS];
  start_tile(sum, bias, mr, vectors);
  weight += (ptrdiff_t)ky0 * pairs * 3 * vectors * 16;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    LEPTON_LOOP for (int b = 0; b < pairs / 8; b++) {
      add_pairs3(sum, from, weight, 8, mr, vectors, stride, first, valid);
      from += block;
      weight += 8 * 3 * vectors * 16;
    }
    add_pairs3(sum, from, weight, pairs % 8, mr, vectors, stride, first, valid);
    weight += pairs % 8 * 3 * vectors * 16;
  }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}

/* ---- depthwise convolutions ---- */

/* sum + both halves of interleaved taps a, b by weights [2][8][2] */
LEPTON_KERNEL void add_taps(__m256i *sum, const __m256i low, const __m256i high, const weight_t *weight) {
  sum[0] = add_products(sum[0], low, weight);
  sum[1] = add_products(sum[1], high, weight + 16);
}

/* One pixel: taps of a row by twos, weights [ky][ceil(kw / 2)][2][8][2]. column, row: between kernel columns, rows. */
LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y, const lepton_finish finish) {
  __m256i sum[2];
  start_tile(sum, bias, 1, 2);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx += 2) {
      const __m256i a = load256(x + (ptrdiff_t)kx * column);
      const __m256i b = kx + 1 < kw ? load256(x + (ptrdiff_t)(kx + 1) * column) : _mm256_setzero_si256();
      add_taps(sum, _mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b), weight + kx / 2 * 32);
    }
    x += row;
    weight += (kw + 1) / 2 * 32;
  }
  store_pixel(y, sum, 2, m, finish);
}

/* One row of mr pixels: neighbouring columns, interleaved once, serve the two outputs of one window each that begin
 * there and the two whose windows end there. weights [ky][4][2][8][2]: taps (0, 1), (2, -), (-, 0), (1, 2). */
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride, const int ky0,
                                     const int ky1, const int first, const int valid, const lepton_finish finish) {
  __m256i sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) start_tile(sum + 2 * p, bias, 1, 2);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    const weight_t *by = weight + ky * 128;
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column += 2) {
      const int outside = column < first || column >= valid, next_outside = column + 1 < first || column + 1 >= valid;
      if (outside && next_outside) continue;
      const __m256i a = outside ? _mm256_setzero_si256() : load256(from + column * 16);
      const int unused = column + 1 >= (mr - 1) * stride + 3;
      const __m256i b = unused ? a : next_outside ? _mm256_setzero_si256() : load256(from + (column + 1) * 16);
      const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
      const int p = column / stride;
      if (p < mr) add_taps(sum + 2 * p, low, high, by);
      if (column >= 2) add_taps(sum + 2 * (column - 2) / stride, low, high, by + 32);
      if (stride == 1 && p + 1 < mr) add_taps(sum + 2 * (p + 1), low, high, by + 64);
      if (stride == 1 && p >= 1 && p <= mr) add_taps(sum + 2 * (p - 1), low, high, by + 96);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++) store_pixel(y + p * 16, sum + 2 * p, 2, m, finish);
}
#endif
