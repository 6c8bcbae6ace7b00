/* Tiles of int8 products for x86-64 with AVX-VNNI, 256 bits wide, behind the kernels of blocked.h.
 *
 * Maps hold q + 128: vpdpbusd sums 4 unsigned inputs, broadcast, by 4 x 8 signed weights, [k / 4][vector][8][4], vectors
 * as avx2_lanes.h has them. A tile's sums are [pixel][vector], 12 at most: 16 registers also hold a broadcast input and
 * the weights.
 */
#ifndef LEPTON_AVXVNNI_H
#define LEPTON_AVXVNNI_H

typedef uint8_t map_t;
typedef int8_t weight_t;
#define LEPTON_UNIT 4

LEPTON_KERNEL __m256i broadcast_four(const map_t *p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}
LEPTON_KERNEL __m256i add_fours(const __m256i sum, const __m256i inputs, const __m256i weights) {
  return _mm256_dpbusd_avx_epi32(sum, inputs, weights);
}

/* ---- from sums to maps ---- */

/* One pixel of one block, 16 int16 as the map counts, from its two vectors or from one. */
LEPTON_KERNEL __m256i finished_pixel(const map_t *y, const __m256i *sum, const int vectors, const float *m,
                                     const lepton_finish finish) {
  const __m256i first = scale_and_round(sum[0], m, finish.wide);
  __m256i q = vectors > 1 ? packed(first, scale_and_round(sum[1], m + 8, finish.wide)) : packed_alone(first);
  if (finish.zy) q = _mm256_adds_epi16(q, _mm256_set1_epi16((short)finish.zy));
  if (!finish.adds) return q;
  const __m256i residual = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)residual_of(y, finish)));
  q = clamp_shorts(q, finish.lo, finish.hi);
  const __m256i low = add_weighted(interleaved_low(q, residual), finish);
  const __m256i high = add_weighted(interleaved_high(q, residual), finish);
  const __m256i sums = packed(low, high);
  return finish.sum_zy ? _mm256_adds_epi16(sums, _mm256_set1_epi16((short)finish.sum_zy)) : sums;
}
/* mr pixels of one block, by twos; their sums stand `step` apart */
LEPTON_KERNEL void store_pixels(map_t *y, const __m256i *sum, const int step, const int mr, const int vectors,
                                const float *m, const lepton_finish finish) {
  const int lo = finish.adds ? finish.sum_lo : finish.lo, hi = finish.adds ? finish.sum_hi : finish.hi;
  LEPTON_UNROLL for (int p = 0; p < mr; p += 2) {
    const int two = p + 1 < mr;
    const __m256i first = finished_pixel(y + p * 16, sum + p * step, vectors, m, finish);
    const __m256i second = two ? finished_pixel(y + (p + 1) * 16, sum + (p + 1) * step, vectors, m, finish) : first;
    __m256i bytes = _mm256_packus_epi16(first, second);
    if (lo > 0) bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8((char)lo));
    if (hi < 255) bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8((char)hi));
    bytes = _mm256_permute4x64_epi64(bytes, 0xd8);
    if (two)
      _mm256_storeu_si256((__m256i *)(y + p * 16), bytes);
    else
      _mm_storeu_si128((__m128i *)(y + p * 16), _mm256_castsi256_si128(bytes));
  }
}
LEPTON_KERNEL void store_tile(map_t *y, const __m256i *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 2)
    store_pixels(y + (ptrdiff_t)(v / 2) * y_block, sum + v, vectors, mr, vectors - v, m + 8 * v, finish);
}

/* ---- convolutions: broadcast_tiles.h ---- */

LEPTON_KERNEL void add_units(__m256i *sum, const map_t *x, const int pixel, const weight_t *weight, const int groups,
                             const int mr, const int vectors) {
  LEPTON_UNROLL for (int g = 0; g < groups; g++) {
    __m256i by[LEPTON_SUMS];
    LEPTON_UNROLL for (int v = 0; v < vectors; v++) by[v] = load_vector(weight + (g * vectors + v) * 32);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m256i four = broadcast_four(x + (ptrdiff_t)p * pixel + g * 4);
      LEPTON_UNROLL for (int v = 0; v < vectors; v++)
        sum[p * vectors + v] = add_fours(sum[p * vectors + v], four, by[v]);
    }
  }
}
LEPTON_KERNEL void add_columns(__m256i *sum, const map_t *x, const weight_t *weight, const int groups, const int mr,
                               const int vectors, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int g = 0; g < groups; g++) {
    __m256i by[3 * LEPTON_SUMS];
    LEPTON_UNROLL for (int i = 0; i < 3 * vectors; i++) by[i] = load_vector(weight + (g * 3 * vectors + i) * 32);
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const __m256i four = broadcast_four(x + column * 16 + g * 4);
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p = (column - kx) / stride;
        if (column < kx || (column - kx) % stride || p >= mr) continue;
        LEPTON_UNROLL for (int v = 0; v < vectors; v++)
          sum[p * vectors + v] = add_fours(sum[p * vectors + v], four, by[kx * vectors + v]);
      }
    }
  }
}

/* ---- depthwise convolutions ---- */

/* Channels of two neighbouring pixels side by side: 0-7, then 8-15. Pixels outside the map count as zero. */
LEPTON_KERNEL __m256i interleaved(const map_t *a, const map_t *b, const int a_inside, const int b_inside) {
  const __m256i by_twos = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  __m256i two;
  if (a_inside && b_inside && b == a + 16)
    two = load_vector(a);
  else
    two = _mm256_set_m128i(b_inside ? _mm_loadu_si128((const __m128i *)b) : _mm_setzero_si128(),
                           a_inside ? _mm_loadu_si128((const __m128i *)a) : _mm_setzero_si128());
  return _mm256_shuffle_epi8(_mm256_permute4x64_epi64(two, 0xd8), by_twos);
}
/* sum[2] + four taps of 16 channels by weights [2][8][4] */
LEPTON_KERNEL void add_taps(__m256i *sum, const __m256i low, const __m256i high, const weight_t *weight) {
  sum[0] = add_fours(sum[0], low, load_vector(weight));
  sum[1] = add_fours(sum[1], high, load_vector(weight + 32));
}

/* One pixel: taps of a row by fours, weights [ky][ceil(kw / 4)][2][8][4]. column, row: between kernel columns, rows. */
LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y,
                                  const lepton_finish finish) {
  __m256i sum[2];
  start_tile(sum, bias, 1, 2);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx += 4) {
      const map_t *from = x + (ptrdiff_t)kx * column;
      const __m256i a = interleaved(from, from + column, 1, kx + 1 < kw);
      const __m256i b = kx + 2 < kw ? interleaved(from + 2 * (ptrdiff_t)column, from + 3 * (ptrdiff_t)column, 1, kx + 3 < kw)
                                    : zero_vector();
      add_taps(sum, interleaved_low(a, b), interleaved_high(a, b), weight + kx / 4 * 64);
    }
    x += row;
    weight += (kw + 3) / 4 * 64;
  }
  store_pixels(y, sum, 2, 1, 2, m, finish);
}

/* One row of mr pixels: four neighbouring columns, transposed, are what a window's row takes and its right neighbour's
 * as well. weights [ky][2][2][8][4]: taps (0, 1, 2, -) and (-, 0, 1, 2). */
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride,
                                     const int ky0, const int ky1, const int first, const int valid,
                                     const lepton_finish finish) {
  const int columns = (mr - 1) * stride + 3;
  __m256i sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    start_tile(sum + 2 * p, bias_of(bias, bias_step, p * stride, first, valid), 1, 2);
  x += (ptrdiff_t)ky0 * row;
  weight += ky0 * 128;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    __m256i pair[LEPTON_SUMS + 1];
    LEPTON_UNROLL for (int column = 0; column < columns; column += 2) {
      /* What follows the last window's end meets zero weights. */
      const int a_inside = column >= first && column < valid, b_inside = column + 1 >= first && column + 1 < valid;
      pair[column / 2] = interleaved(x + column * 16, x + column * 16 + 16, a_inside, b_inside);
    }
    LEPTON_UNROLL for (int p = 0; p < mr; p += 2 / stride) {
      const __m256i a = pair[p * stride / 2], b = pair[p * stride / 2 + 1];
      const __m256i low = interleaved_low(a, b), high = interleaved_high(a, b);
      add_taps(sum + 2 * p, low, high, weight);
      if (stride == 1 && p + 1 < mr) add_taps(sum + 2 * p + 2, low, high, weight + 64);
    }
    x += row;
    weight += 128;
  }
  store_pixels(y, sum, 2, mr, 2, m, finish);
}
#endif
