/* int8 softmax of many rows for x86-64 with AVX512-VNNI: 16 rows at once, one a lane.
 *
 * Every row's sum still takes its values in their order; rows stand beside each other, so that no addition waits for the
 * one before. Where there is VBMI, values are looked up 64 at a time in registers, a byte of the floats after the other.
 */
#ifndef LEPTON_AVX512VNNI_SOFTMAX_H
#define LEPTON_AVX512VNNI_SOFTMAX_H

/* Of 4 x 4 bytes in every quarter, rows become columns; the same again undoes it. */
LEPTON_KERNEL __m512i transpose_bytes(const __m512i x) {
  return _mm512_shuffle_epi8(
      x, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
}

#ifdef __AVX512VBMI__
/* Bytes b of 256 floats, plane[4 b] to plane[4 b + 3] */
LEPTON_KERNEL void split_table(const float *table, __m512i plane[16]) {
  const __m512i fourth = _mm512_set_epi8(
      124, 120, 116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64, 60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20,
      16, 12, 8, 4, 0, 124, 120, 116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64, 60, 56, 52, 48, 44, 40, 36,
      32, 28, 24, 20, 16, 12, 8, 4, 0);
  LEPTON_UNROLL for (int b = 0; b < 4; b++) {
    const __m512i at = _mm512_add_epi8(fourth, _mm512_set1_epi8((char)b));
    LEPTON_UNROLL for (int h = 0; h < 4; h++) {
      const float *from = table + h * 64;
      const __m512i low = _mm512_permutex2var_epi8(load512(from), at, load512(from + 16));
      const __m512i high = _mm512_permutex2var_epi8(load512(from + 32), at, load512(from + 48));
      plane[b * 4 + h] = _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
    }
  }
}
/* Floats of 4 columns of 16 rows; index: [4 rows][4 columns][4 rows] */
LEPTON_KERNEL void look_up(const float *table, const __m512i plane[16], const __m512i index, __m512 value[4]) {
  (void)table;
  const __mmask64 upper = _mm512_movepi8_mask(index);
  __m512i byte[4];
  LEPTON_UNROLL for (int b = 0; b < 4; b++) {
    const __m512i *p = plane + b * 4;
    byte[b] = _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(p[0], index, p[1]),
                                     _mm512_permutex2var_epi8(p[2], index, p[3]));
  }
  const __m512i low0 = _mm512_unpacklo_epi8(byte[0], byte[1]), low1 = _mm512_unpacklo_epi8(byte[2], byte[3]);
  const __m512i high0 = _mm512_unpackhi_epi8(byte[0], byte[1]), high1 = _mm512_unpackhi_epi8(byte[2], byte[3]);
  value[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low0, low1));
  value[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low0, low1));
  value[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(high0, high1));
  value[3] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(high0, high1));
}
#else
LEPTON_KERNEL void split_table(const float *table, __m512i plane[16]) { (void)table, (void)plane; }
LEPTON_KERNEL void look_up(const float *table, const __m512i plane[16], const __m512i index, __m512 value[4]) {
  (void)plane;
  /* columns into quarters */
  const __m512i by_column = _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), index);
  value[0] = _mm512_i32gather_ps(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(by_column)), table, 4);
  value[1] = _mm512_i32gather_ps(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(by_column, 1)), table, 4);
  value[2] = _mm512_i32gather_ps(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(by_column, 2)), table, 4);
  value[3] = _mm512_i32gather_ps(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(by_column, 3)), table, 4);
}
#endif

/* 16 columns of up to 16 rows: quarter i of four[g] holds columns 4 g to 4 g + 3 of rows 4 i to 4 i + 3 */
LEPTON_KERNEL void store_rows(int8_t *y, const __m512i four[4], const int rows, const int n, const int columns) {
  __m512i row[4];
  transpose_quarters(four, row);
  const __mmask16 keep = (__mmask16)first_bytes(LEPTON_MIN(n, 16));
  LEPTON_UNROLL for (int j = 0; j < 4; j++) {
    int8_t *to = y + (ptrdiff_t)j * columns;
    if (j < rows) _mm_mask_storeu_epi8(to, keep, _mm512_castsi512_si128(row[j]));
    to += (ptrdiff_t)4 * columns;
    if (j + 4 < rows) _mm_mask_storeu_epi8(to, keep, _mm512_extracti32x4_epi32(row[j], 1));
    to += (ptrdiff_t)4 * columns;
    if (j + 8 < rows) _mm_mask_storeu_epi8(to, keep, _mm512_extracti32x4_epi32(row[j], 2));
    to += (ptrdiff_t)4 * columns;
    if (j + 12 < rows) _mm_mask_storeu_epi8(to, keep, _mm512_extracti32x4_epi32(row[j], 3));
  }
}

/* rows: up to 16. scratch: for 4 columns 64 bytes of indices, and 256 of values */
LEPTON_KERNEL void softmax_tile(const int8_t *x, const float *table, const __m512i plane[16], uint8_t *scratch,
                                int8_t *y, const int rows, const int n) {
  const int groups = (n + 3) / 4;
  const __m512i sign = _mm512_set1_epi8((char)0x80);
  float *values = (float *)(scratch + (ptrdiff_t)groups * 64);
  __m512i largest = _mm512_setzero_si512();
  LEPTON_LOOP for (int g = 0; g < groups; g += 4) {
    __m512i four[4];
    load_columns(x + g * 4, n, rows, n - g * 4, four);
    LEPTON_UNROLL for (int i = 0; i < 4; i++) {
      if (g + i >= groups) continue;
      const __m512i u = transpose_bytes(_mm512_xor_si512(four[i], sign));
      largest = _mm512_max_epu8(largest, u);
      _mm512_storeu_si512(scratch + (ptrdiff_t)(g + i) * 64, u);
    }
  }
  largest = _mm512_max_epu8(largest, _mm512_shuffle_epi32(largest, _MM_PERM_BADC));
  largest = _mm512_max_epu8(largest, _mm512_shuffle_epi32(largest, _MM_PERM_CDAB));
  const __m512i to_last = _mm512_xor_si512(largest, _mm512_set1_epi8((char)0xff));
  __m512 sum = _mm512_setzero_ps();
  LEPTON_LOOP for (int g = 0; g < groups; g++) {
    __m512 value[4];
    look_up(table, plane, _mm512_add_epi8(load512(scratch + (ptrdiff_t)g * 64), to_last), value);
    LEPTON_UNROLL for (int c = 0; c < 4; c++) {
      _mm512_storeu_ps(values + (ptrdiff_t)(g * 4 + c) * 16, value[c]);
      if (c == 0 || g * 4 + c < n) sum = _mm512_add_ps(sum, value[c]);
    }
  }
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_mul_ps(sum, _mm512_set1_ps(1.0f / 256.0f)));
  const __m512 half = _mm512_set1_ps(0.5f);
  LEPTON_LOOP for (int g = 0; g < groups; g += 4) {
    __m512i four[4];
    LEPTON_UNROLL for (int i = 0; i < 4; i++) {
      __m512i q[4];
      if (g + i >= groups) {
        four[i] = sign;
        continue;
      }
      LEPTON_UNROLL for (int c = 0; c < 4; c++) {
        const __m512 value = _mm512_loadu_ps(values + (ptrdiff_t)((g + i) * 4 + c) * 16);
        q[c] = _mm512_cvttps_epi32(_mm512_add_ps(_mm512_mul_ps(value, inverse), half));
      }
      /* 256 becomes 255 */
      const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(q[0], q[1]), _mm512_packus_epi32(q[2], q[3]));
      four[i] = _mm512_xor_si512(transpose_bytes(bytes), sign);
    }
    store_rows(y + g * 4, four, rows, n - g * 4, n);
  }
}

/* scratch: 320 * ceil(n / 4) bytes */
LEPTON_KERNEL void softmax_rows_int8(uint8_t *restrict x_, uint8_t *restrict table_, uint8_t *restrict scratch,
                                     uint8_t *restrict y_, const int rows, const int n) {
  const int8_t *x = (const int8_t *)x_;
  const float *table = (const float *)table_;
  int8_t *y = (int8_t *)y_;
  __m512i plane[16];
  split_table(table, plane);
  LEPTON_LOOP for (int r = 0; r < rows / 16 * 16; r += 16)
    softmax_tile(x + (ptrdiff_t)r * n, table, plane, scratch, y + (ptrdiff_t)r * n, 16, n);
  if (rows % 16) {
    const ptrdiff_t r = rows / 16 * 16;
    softmax_tile(x + r * n, table, plane, scratch, y + r * n, rows % 16, n);
  }
}
#endif
