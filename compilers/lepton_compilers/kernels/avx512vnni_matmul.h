/* Products of two int8 matrices of the network for x86-64 with AVX512-VNNI: dense tensors in and out.
 *
 * With u = b + 128, w = zb + 128 and K products a sum: the sum of (a - za)(b - zb) is the sum of a * u, which vpdpbusd
 * computes four a step, less za times the column's sum of u, less w times the row's sum of a, plus K * za * w. All of it
 * wraps modulo 2^32; what remains fits in int32.
 */
#ifndef LEPTON_AVX512VNNI_MATMUL_H
#define LEPTON_AVX512VNNI_MATMUL_H
#include <immintrin.h>

/* n of 16 bytes; the rest become 0 once 128 is added. Nothing behind them is touched, and nothing at all for n <= 0. */
LEPTON_KERNEL __m128i load_or_least(const int8_t *p, const int n) {
  if (n >= 16) return _mm_loadu_si128((const __m128i *)p);
  return _mm_mask_loadu_epi8(_mm_set1_epi8((char)0x80), (__mmask16)(n > 0 ? (1u << n) - 1 : 0), p);
}
LEPTON_KERNEL __m512i join_quarters(const __m128i q[4]) {
  __m512i joined = _mm512_castsi128_si512(q[0]);
  joined = _mm512_inserti32x4(joined, q[1], 1);
  joined = _mm512_inserti32x4(joined, q[2], 2);
  return _mm512_inserti32x4(joined, q[3], 3);
}

/* Of 4 x 4 int32 in every quarter, rows become columns; the same again undoes it. */
LEPTON_KERNEL void transpose_quarters(const __m512i row[4], __m512i column[4]) {
  const __m512i low0 = _mm512_unpacklo_epi32(row[0], row[1]), low1 = _mm512_unpacklo_epi32(row[2], row[3]);
  const __m512i high0 = _mm512_unpackhi_epi32(row[0], row[1]), high1 = _mm512_unpackhi_epi32(row[2], row[3]);
  column[0] = _mm512_unpacklo_epi64(low0, low1), column[1] = _mm512_unpackhi_epi64(low0, low1);
  column[2] = _mm512_unpacklo_epi64(high0, high1), column[3] = _mm512_unpackhi_epi64(high0, high1);
}

/* n of 16 bytes of up to 16 rows that stand `step` apart: four[g] holds bytes 4 g to 4 g + 3 of one row after the other */
LEPTON_KERNEL void load_columns(const int8_t *x, const int step, const int rows, const int n, __m512i four[4]) {
  __m512i row[4];
  LEPTON_UNROLL for (int j = 0; j < 4; j++) {
    __m128i part[4];
    LEPTON_UNROLL for (int i = 0; i < 4; i++)
      part[i] = load_or_least(x + (ptrdiff_t)(4 * i + j) * step, 4 * i + j < rows ? n : 0);
    row[j] = join_quarters(part);
  }
  transpose_quarters(row, four);
}

/* b as u8, [block of 16 columns][ceil(inner / 4)][16][4]; starts: what a column's sums start at, [16] a block.
 * transposed: b is [columns][inner], else [inner][columns]. */
LEPTON_KERNEL void pack_columns(const int8_t *b, uint8_t *packed, int32_t *starts, const int inner, const int columns,
                                const int transposed, const int za, const int w) {
  const int groups = (inner + 3) / 4;
  const __m512i sign = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi8(1);
  const __m512i both = _mm512_set1_epi32((int32_t)((uint32_t)inner * (uint32_t)za * (uint32_t)w));
  LEPTON_LOOP for (int c = 0; c < columns; c += 16) {
    const int n = LEPTON_MIN(16, columns - c);
    uint8_t *to = packed + (ptrdiff_t)c / 16 * groups * 64;
    __m512i total = _mm512_setzero_si512();
    LEPTON_LOOP for (int g = 0; g < groups; g += transposed ? 4 : 1) {
      __m512i four[4];
      if (transposed) {
        load_columns(b + (ptrdiff_t)c * inner + g * 4, inner, n, inner - g * 4, four);
      } else {
        __m128i part[4];
        LEPTON_UNROLL for (int k = 0; k < 4; k++)
          part[k] = load_or_least(b + (ptrdiff_t)(g * 4 + k) * columns + c, g * 4 + k < inner ? n : 0);
        four[0] = transpose_pixels(join_quarters(part), 15);
      }
      LEPTON_UNROLL for (int i = 0; i < 4; i++) {
        if (g + i >= groups || (i > 0 && !transposed)) continue;
        const __m512i u = _mm512_xor_si512(four[i], sign);
        total = _mm512_dpbusd_epi32(total, u, ones);
        _mm512_storeu_si512(to + (ptrdiff_t)(g + i) * 64, u);
      }
    }
    _mm512_storeu_si512(starts + c, _mm512_sub_epi32(both, _mm512_mullo_epi32(total, _mm512_set1_epi32(za))));
  }
}

/* -w times the sum of every row of a */
LEPTON_KERNEL void sum_rows(const int8_t *a, int32_t *sums, const int rows, const int inner, const int w) {
  const __m512i ones = _mm512_set1_epi8(1);
  LEPTON_LOOP for (int r = 0; r < rows; r++, a += inner) {
    __m512i total = _mm512_setzero_si512();
    LEPTON_LOOP for (int k = 0; k < inner / 64 * 64; k += 64) total = _mm512_dpbusd_epi32(total, ones, load512(a + k));
    if (inner % 64)
      total = _mm512_dpbusd_epi32(
          total, ones, _mm512_maskz_loadu_epi8((1ull << (inner % 64)) - 1, a + (ptrdiff_t)(inner / 64) * 64));
    sums[r] = (int32_t)(0u - (uint32_t)w * (uint32_t)_mm512_reduce_add_epi32(total));
  }
}

/* mr rows by nv blocks, of which n columns are stored; sums: of the rows */
LEPTON_KERNEL void matmul_tile(const int8_t *a, const int inner, const uint8_t *packed, const int32_t *starts,
                               const int32_t *sums, int8_t *y, const int columns, const int n, const int mr,
                               const int nv, const float multiplier, const lepton_finish finish) {
  const ptrdiff_t block = (ptrdiff_t)((inner + 3) / 4) * 64;
  __m512i sum[28];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    const __m512i row = _mm512_set1_epi32(sums[p]);
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_add_epi32(load512(starts + 16 * v), row);
  }
  LEPTON_LOOP for (int g = 0; g < inner / 4; g++) {
    __m512i by[4];
    LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load512(packed + v * block + (ptrdiff_t)g * 64);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512i four = broadcast4((const uint8_t *)a + (ptrdiff_t)p * inner + g * 4);
      LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], by[v], four);
    }
  }
  if (inner % 4) {
    const int g = inner / 4;
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512i four = _mm512_broadcastd_epi32(
          _mm_maskz_loadu_epi8((__mmask16)((1u << (inner % 4)) - 1), a + (ptrdiff_t)p * inner + g * 4));
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], load512(packed + v * block + (ptrdiff_t)g * 64), four);
    }
  }
  const __m512 by = _mm512_set1_ps(multiplier);
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    __m512i q[4];
    LEPTON_UNROLL for (int v = 0; v < 4; v++)
      q[v] = v < nv ? requantise_lanes(sum[p * nv + v], by, finish.wide) : _mm512_setzero_si512();
    const __m512i bytes = _mm512_xor_si512(bytes_of_pixels(q[0], q[1], q[2], q[3], finish.zy, finish.lo, finish.hi),
                                           _mm512_set1_epi8((char)0x80));
    int8_t *to = y + (ptrdiff_t)p * columns;
    if (n == 64) {
      _mm512_storeu_si512(to, bytes);
    } else if (n == 32) {
      _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(bytes));
    } else {
      _mm512_mask_storeu_epi8(to, first_bytes(n), bytes);
    }
  }
}

LEPTON_KERNEL void matmul_panel(const int8_t *a, const int rows, const int inner, const uint8_t *packed,
                                const int32_t *starts, const int32_t *sums, int8_t *y, const int columns, const int n,
                                const int mr, const int nv, const float multiplier, const lepton_finish finish) {
  LEPTON_LOOP for (int r = 0; r < rows / mr * mr; r += mr)
    matmul_tile(a + (ptrdiff_t)r * inner, inner, packed, starts, sums + r, y + (ptrdiff_t)r * columns, columns, n, mr, nv,
                multiplier, finish);
  if (rows % mr) {
    const int r = rows / mr * mr;
    matmul_tile(a + (ptrdiff_t)r * inner, inner, packed, starts, sums + r, y + (ptrdiff_t)r * columns, columns, n,
                rows % mr, nv, multiplier, finish);
  }
}

/* Up to four leading axes of extents n, steps of a and b along them in elements, as sequence.h has them. b is packed once
 * for neighbours that share it. packed: 64 * blocks of 16 columns * (ceil(inner / 4) + 1) + 4 * rows bytes.
 * zy, lo and hi in u8 numbers. */
LEPTON_KERNEL void matmul_vnni(uint8_t *restrict a_, uint8_t *restrict b_, uint8_t *restrict packed,
                               uint8_t *restrict y_, const int n0, const int n1, const int n2, const int n3,
                               const int a0, const int a1, const int a2, const int a3, const int b0, const int b1,
                               const int b2, const int b3, const int rows, const int inner, const int columns,
                               const int transposed, const int mr, const int nv, const int za, const int zb,
                               const int m_bits, const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const float multiplier = float_of_bits(m_bits);
  const int groups = (inner + 3) / 4, blocks = (columns + 15) / 16, whole = columns / (nv * 16), w = zb + 128;
  int32_t *starts = (int32_t *)(packed + (ptrdiff_t)blocks * groups * 64), *sums = starts + blocks * 16;
  int8_t *y = (int8_t *)y_;
  const int8_t *last = 0;
  LEPTON_LOOP for (int i0 = 0; i0 < n0; i0++)
    LEPTON_LOOP for (int i1 = 0; i1 < n1; i1++)
      LEPTON_LOOP for (int i2 = 0; i2 < n2; i2++)
        LEPTON_LOOP for (int i3 = 0; i3 < n3; i3++, y += (ptrdiff_t)rows * columns) {
          const int8_t *a = (const int8_t *)a_ + (ptrdiff_t)i0 * a0 + (ptrdiff_t)i1 * a1 + (ptrdiff_t)i2 * a2 +
                            (ptrdiff_t)i3 * a3;
          const int8_t *b = (const int8_t *)b_ + (ptrdiff_t)i0 * b0 + (ptrdiff_t)i1 * b1 + (ptrdiff_t)i2 * b2 +
                            (ptrdiff_t)i3 * b3;
          if (b != last) pack_columns(b, packed, starts, inner, columns, transposed, za, w);
          last = b;
          sum_rows(a, sums, rows, inner, w);
          LEPTON_LOOP for (int v = 0; v < whole * nv; v += nv)
            matmul_panel(a, rows, inner, packed + (ptrdiff_t)v * groups * 64, starts + v * 16, sums, y + v * 16, columns,
                         nv * 16, mr, nv, multiplier, finish);
          if (columns % (nv * 16)) {
            const int v = whole * nv;
            matmul_panel(a, rows, inner, packed + (ptrdiff_t)v * groups * 64, starts + v * 16, sums, y + v * 16, columns,
                         columns - v * 16, mr, blocks - v, multiplier, finish);
          }
        }
}
#endif
