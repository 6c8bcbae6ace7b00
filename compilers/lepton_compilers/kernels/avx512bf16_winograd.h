/* Winograd's short convolutions over bfloat16 maps: transforms and products are float32, of operands rounded once.
 *
 * Where four products in one cost less than products at twice the speed. It stands on avx512f_winograd.h, whose
 * transforms and products these are, and on avx512bf16.h.
 */
#ifndef LEPTON_AVX512BF16_WINOGRAD_H
#define LEPTON_AVX512BF16_WINOGRAD_H

/* As winograd_input. */
LEPTON_KERNEL void winograd_input_bf16(const uint16_t *x, const int h, const int w, const int top, const int left,
                                       float *to, const ptrdiff_t apart, const int m) {
  const int n = m + 2;
  const int whole = top >= 0 && left >= 0 && top + n <= h && left + n <= w;
  __m512 half[36];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    __m512 column[6], turned[6];
    LEPTON_UNROLL for (int j = 0; j < n; j++) {
      const uint16_t *at = x + ((ptrdiff_t)(top + j) * w + left + i) * 16;
      const int inside = whole || (top + j >= 0 && top + j < h && left + i >= 0 && left + i < w);
      const __m256i held = _mm256_maskz_loadu_epi16((__mmask16)(inside ? 0xffff : 0), at);
      column[j] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(held), 16));
    }
    winograd_forward(column, turned, m);
    LEPTON_UNROLL for (int j = 0; j < n; j++) half[j * n + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < n; j++) {
    __m512 turned[6];
    winograd_forward(half + j * n, turned, m);
    LEPTON_UNROLL for (int i = 0; i < n; i++) _mm512_storeu_ps(to + (j * n + i) * apart, turned[i]);
  }
}

/* As winograd_output; at: element of y where the block begins. */
LEPTON_KERNEL void winograd_output_bf16(const float *from, const ptrdiff_t apart, const float *bias, const ptrdiff_t at,
                                        const int oh, const int ow, const int top, const int left, const int m,
                                        const bf16_finish finish) {
  const int n = m + 2;
  __m512 half[24];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    __m512 column[6], turned[4];
    LEPTON_UNROLL for (int j = 0; j < n; j++) column[j] = load_f32(from + (j * n + i) * apart);
    winograd_back(column, turned, m);
    LEPTON_UNROLL for (int j = 0; j < m; j++) half[j * n + i] = turned[j];
  }
  const __m512 start = load_f32(bias);
  LEPTON_UNROLL for (int j = 0; j < m; j++) {
    __m512 turned[4];
    winograd_back(half + j * n, turned, m);
    LEPTON_UNROLL for (int i = 0; i < m; i++)
      if (top + j < oh && left + i < ow)
        finish_bf16(at + ((ptrdiff_t)(top + j) * ow + left + i) * 16, plus(turned[i], start), 16, finish);
  }
}

/* `count` tiles from number `first` on: places [(m + 2)^2][block][tile][16] before and after the products. */
LEPTON_KERNEL void winograd_tiles_bf16(const uint16_t *x, const float *weight, const float *bias, float *before,
                                       float *after, const int h, const int w, const int c, const int oh, const int ow,
                                       const int o, const int pt, const int pl, const int m, const int first,
                                       const int count, const int mr, const int nv, const bf16_finish finish) {
  const int across = (ow + m - 1) / m, places = (m + 2) * (m + 2), in = (c + 15) / 16, out = (o + 15) / 16;
  const ptrdiff_t block = (ptrdiff_t)count * 16;
  LEPTON_LOOP for (int b = 0; b < in; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m - pt, left = (first + t) % across * m - pl;
      winograd_input_bf16(x + (ptrdiff_t)b * h * w * 16, h, w, top, left, before + b * block + t * 16, in * block, m);
    }
  LEPTON_LOOP for (int place = 0; place < places; place++)
    product_map(before + place * in * block, count, 16, block, c, weight + (ptrdiff_t)place * c * out * 16, 0,
                after + place * out * block, 16, block, out, mr, nv, 16, bounded((int)0xff800000, 0x7f800000));
  LEPTON_LOOP for (int b = 0; b < out; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m, left = (first + t) % across * m;
      winograd_output_bf16(after + b * block + t * 16, out * block, bias + b * 16, (ptrdiff_t)b * oh * ow * 16, oh, ow,
                           top, left, m, finish);
    }
}

/* Tiles from number `begin` to `end`, `together` at a time; scratch holds their places before and after the products. */
LEPTON_KERNEL void winograd_map_bf16(const uint8_t *x, const uint8_t *weight, const uint8_t *bias, uint8_t *scratch,
                                     const int h, const int w, const int c, const int oh, const int ow, const int o,
                                     const int pt, const int pl, const int m, const int together, const int mr,
                                     const int nv, const int begin, const int end, const bf16_finish finish) {
  const int places = (m + 2) * (m + 2), rest = (end - begin) % together;
  float *before = (float *)scratch, *after = before + (ptrdiff_t)places * ((c + 15) / 16) * together * 16;
  LEPTON_LOOP for (int first = begin; first < end - rest; first += together)
    winograd_tiles_bf16((const uint16_t *)x, (const float *)weight, (const float *)bias, before, after, h, w, c, oh, ow,
                        o, pt, pl, m, first, together, mr, nv, finish);
  if (rest)
    winograd_tiles_bf16((const uint16_t *)x, (const float *)weight, (const float *)bias, before, after, h, w, c, oh, ow,
                        o, pt, pl, m, end - rest, rest, LEPTON_MIN(mr, rest), nv, finish);
}

LEPTON_KERNEL void winograd_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                 uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                 const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                 const int together, const int mr, const int nv, const int y_bytes, const int lo,
                                 const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, 0,
                    winograd_tile_count(oh, ow, m), bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void winograd_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                     uint8_t *y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                     const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                     const int together, const int mr, const int nv, const int y_bytes,
                                     const int r_bytes, const int lo, const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, 0,
                    winograd_tile_count(oh, ow, m), bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}

/* Some tiles: `begin` to `end`. */
LEPTON_KERNEL void winograd_range_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                       uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w,
                                       const int c, const int oh, const int ow, const int o, const int pt, const int pl,
                                       const int m, const int together, const int mr, const int nv, const int begin,
                                       const int end, const int y_bytes, const int lo, const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, begin, end,
                    bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void winograd_range_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                           uint8_t *residual, uint8_t *y, uint8_t *restrict scratch, const int h,
                                           const int w, const int c, const int oh, const int ow, const int o,
                                           const int pt, const int pl, const int m, const int together, const int mr,
                                           const int nv, const int begin, const int end, const int y_bytes,
                                           const int r_bytes, const int lo, const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, begin, end,
                    bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}
#endif
