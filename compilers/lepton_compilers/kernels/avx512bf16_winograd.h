/* Winograd's short convolutions of bfloat16: 3 x 3 kernels at stride 1, tiles of 2 x 2 outputs from 4 x 4 inputs.
 *
 * A tile is transformed in float32, rounded to bfloat16 once more, and multiplied at 16 places with transformed
 * weights: 16 products for 36. The order of the transform's sums is that of lepton_sdk.program.bfloat16_winograd. It
 * stands on avx512bf16.h.
 */
#ifndef LEPTON_AVX512BF16_WINOGRAD_H
#define LEPTON_AVX512BF16_WINOGRAD_H

/* One dimension of the input's transform. */
LEPTON_KERNEL void forward_bf16(const __m512 *d, __m512 *t) {
  t[0] = _mm512_sub_ps(d[0], d[2]);
  t[1] = _mm512_add_ps(d[1], d[2]);
  t[2] = _mm512_sub_ps(d[2], d[1]);
  t[3] = _mm512_sub_ps(d[1], d[3]);
}
/* One dimension of the output's transform. */
LEPTON_KERNEL void back_bf16(const __m512 *t, __m512 *y) {
  y[0] = _mm512_add_ps(_mm512_add_ps(t[0], t[1]), t[2]);
  y[1] = _mm512_sub_ps(_mm512_sub_ps(t[1], t[2]), t[3]);
}

/* One tile of one block of channels, whose window begins at (top, left), to places `apart` elements apart. whole:
 * it lies inside the map. */
LEPTON_KERNEL void winograd_input_bf16(const uint16_t *x, const int h, const int w, const int top, const int left,
                                       uint16_t *to, const ptrdiff_t apart, const int whole) {
  __m512 half[16];
  LEPTON_UNROLL for (int i = 0; i < 4; i++) {
    __m512 column[4], turned[4];
    LEPTON_UNROLL for (int j = 0; j < 4; j++) {
      const int inside = whole || (top + j >= 0 && top + j < h && left + i >= 0 && left + i < w);
      column[j] = inside ? load_bf16(x + ((ptrdiff_t)(top + j) * w + left + i) * 16) : _mm512_setzero_ps();
    }
    forward_bf16(column, turned);
    LEPTON_UNROLL for (int j = 0; j < 4; j++) half[j * 4 + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < 4; j++) {
    __m512 turned[4];
    forward_bf16(half + j * 4, turned);
    LEPTON_UNROLL for (int i = 0; i < 4; i++) store_bf16(to + (j * 4 + i) * apart, turned[i]);
  }
}

/* One tile of one block of channels, whose outputs begin at (top, left); those outside the map are dropped. at: element
 * of y where the block begins. */
LEPTON_KERNEL void winograd_output_bf16(const float *from, const ptrdiff_t apart, const __m512 bias, const ptrdiff_t at,
                                        const int oh, const int ow, const int top, const int left,
                                        const bf16_finish finish) {
  __m512 half[8];
  LEPTON_UNROLL for (int i = 0; i < 4; i++) {
    __m512 column[4], turned[2];
    LEPTON_UNROLL for (int j = 0; j < 4; j++) column[j] = load_f32(from + (j * 4 + i) * apart);
    back_bf16(column, turned);
    LEPTON_UNROLL for (int j = 0; j < 2; j++) half[j * 4 + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < 2; j++) {
    __m512 turned[2];
    back_bf16(half + j * 4, turned);
    LEPTON_UNROLL for (int i = 0; i < 2; i++)
      if (top + j < oh && left + i < ow)
        finish_bf16(at + ((ptrdiff_t)(top + j) * ow + left + i) * 16, _mm512_add_ps(turned[i], bias), 16, finish);
  }
}

/* Products of one place: [block][tile][16] by weights [pair][nv][16][2] to [nv][tile][16] of float32. lines: what is
 * fetched of the weights that follow, for each block of channels of each tile of products. */
LEPTON_KERNEL void winograd_products_bf16(const uint16_t *x, const int count, const int c, const uint16_t *weight,
                                          float *y, const int mr, const int nv, const int lines) {
  const ptrdiff_t block = (ptrdiff_t)count * 16;
  const uint16_t *next = weight + (ptrdiff_t)(c + 1) / 2 * nv * 32;
  LEPTON_LOOP for (int p = 0; p < count / mr * mr; p += mr) {
    __m512 sum[30];
    start_tile_f32(sum, 0, mr, nv);
    channels_bf16(sum, x + p * 16, 16, block, c, weight, mr, nv, next, lines);
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      LEPTON_UNROLL for (int i = 0; i < mr; i++) _mm512_storeu_ps(y + v * block + (p + i) * 16, sum[i * nv + v]);
    next += (ptrdiff_t)(c / 16) * lines * 32;
  }
  if (count % mr) {
    const int p = count / mr * mr, rest = count % mr;
    __m512 sum[30];
    start_tile_f32(sum, 0, rest, nv);
    channels_bf16(sum, x + p * 16, 16, block, c, weight, rest, nv, next, lines);
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      LEPTON_UNROLL for (int i = 0; i < rest; i++) _mm512_storeu_ps(y + v * block + (p + i) * 16, sum[i * nv + v]);
  }
}

/* A panel of nv blocks of output channels of `count` tiles, number `first` and on, whose transformed inputs are in
 * `before`; after: [16][nv][tile][16]. */
LEPTON_KERNEL void winograd_panel_bf16(const uint16_t *before, float *after, const int c, const uint16_t *weight,
                                       const float *bias, const ptrdiff_t at, const int oh, const int ow,
                                       const int first, const int count, const int mr, const int nv,
                                       const bf16_finish finish) {
  const int across = (ow + 1) / 2, products = (count + mr - 1) / mr, lines = (8 * nv + products - 1) / products;
  const ptrdiff_t block = (ptrdiff_t)count * 16, apart = block * nv, x_place = block * ((c + 15) / 16);
  LEPTON_LOOP for (int place = 0; place < 16; place++)
    winograd_products_bf16(before + place * x_place, count, c, weight + (ptrdiff_t)place * ((c + 1) / 2) * nv * 32,
                           after + place * apart, mr, nv, lines);
  LEPTON_LOOP for (int v = 0; v < nv; v++) {
    const __m512 start = load_f32(bias + v * 16);
    LEPTON_LOOP for (int t = 0; t < count; t++)
      winograd_output_bf16(after + v * block + t * 16, apart, start, at + (ptrdiff_t)v * oh * ow * 16, oh, ow,
                           (first + t) / across * 2, (first + t) % across * 2, finish);
  }
}

/* `count` tiles from number `first` on. */
LEPTON_KERNEL void winograd_tiles_bf16(const uint16_t *x, const uint16_t *weight, const float *bias, uint16_t *before,
                                       float *after, const int h, const int w, const int c, const int oh, const int ow,
                                       const int o, const int pt, const int pl, const int first, const int count,
                                       const int mr, const int nv, const bf16_finish finish) {
  const int across = (ow + 1) / 2, in = (c + 15) / 16, out = (o + 15) / 16, rest = out % nv;
  const ptrdiff_t block = (ptrdiff_t)count * 16, a_block = (ptrdiff_t)((c + 1) / 2) * 16 * 32;
  LEPTON_LOOP for (int b = 0; b < in; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * 2 - pt, left = (first + t) % across * 2 - pl;
      const uint16_t *map = x + (ptrdiff_t)b * h * w * 16;
      uint16_t *to = before + b * block + t * 16;
      if (top >= 0 && left >= 0 && top + 4 <= h && left + 4 <= w) {
        winograd_input_bf16(map, h, w, top, left, to, in * block, 1);
      } else {
        winograd_input_bf16(map, h, w, top, left, to, in * block, 0);
      }
    }
  LEPTON_LOOP for (int v = 0; v < out - rest; v += nv)
    winograd_panel_bf16(before, after, c, weight + v * a_block, bias + v * 16, (ptrdiff_t)v * oh * ow * 16, oh, ow,
                        first, count, mr, nv, finish);
  if (rest) {
    const int v = out - rest;
    winograd_panel_bf16(before, after, c, weight + v * a_block, bias + v * 16, (ptrdiff_t)v * oh * ow * 16, oh, ow,
                        first, count, mr, rest, finish);
  }
}

/* Tiles from number `begin` to `end`, `together` at a time: their transformed inputs and the products of a panel stand
 * in scratch. weights: [panel][place][pair][nv][16][2]. */
LEPTON_KERNEL void winograd_map_bf16(const uint8_t *x, const uint8_t *weight, const uint8_t *bias, uint8_t *scratch,
                                     const int h, const int w, const int c, const int oh, const int ow, const int o,
                                     const int pt, const int pl, const int together, const int mr, const int nv,
                                     const int begin, const int end, const bf16_finish finish) {
  const int rest = (end - begin) % together;
  float *after = (float *)scratch;
  uint16_t *before = (uint16_t *)(after + (ptrdiff_t)16 * nv * together * 16);
  LEPTON_LOOP for (int first = begin; first < end - rest; first += together)
    winograd_tiles_bf16((const uint16_t *)x, (const uint16_t *)weight, (const float *)bias, before, after, h, w, c, oh,
                        ow, o, pt, pl, first, together, mr, nv, finish);
  if (rest)
    winograd_tiles_bf16((const uint16_t *)x, (const uint16_t *)weight, (const float *)bias, before, after, h, w, c, oh,
                        ow, o, pt, pl, end - rest, rest, LEPTON_MIN(mr, rest), nv, finish);
}

LEPTON_KERNEL void winograd_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                 uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                 const int oh, const int ow, const int o, const int pt, const int pl,
                                 const int together, const int mr, const int nv, const int begin, const int end,
                                 const int y_bytes, const int lo, const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, together, mr, nv, begin, end,
                    bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void winograd_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                     uint8_t *y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                     const int oh, const int ow, const int o, const int pt, const int pl,
                                     const int together, const int mr, const int nv, const int begin, const int end,
                                     const int y_bytes, const int r_bytes, const int lo, const int hi) {
  winograd_map_bf16(x, weight, bias, scratch, h, w, c, oh, ow, o, pt, pl, together, mr, nv, begin, end,
                    bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}
#endif
