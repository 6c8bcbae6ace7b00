/* Winograd's short convolutions, float32: 3 x 3 kernels at stride 1, m x m outputs a tile, m = 2 or 4.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015: a tile of (m + 2)^2 inputs is transformed,
 * multiplied place by place with transformed weights, and transformed back: (m + 2)^2 products for 9 m^2. It stands on
 * avx512f.h and rounds differently than the direct sum.
 */
#ifndef LEPTON_AVX512F_WINOGRAD_H
#define LEPTON_AVX512F_WINOGRAD_H

LEPTON_KERNEL __m512 plus(const __m512 a, const __m512 b) { return _mm512_add_ps(a, b); }
LEPTON_KERNEL __m512 minus(const __m512 a, const __m512 b) { return _mm512_sub_ps(a, b); }
/* by * a + b */
LEPTON_KERNEL __m512 scaled_plus(const float by, const __m512 a, const __m512 b) {
  return _mm512_fmadd_ps(_mm512_set1_ps(by), a, b);
}

/* One dimension of the input's transform: d of m + 2 places to t. */
LEPTON_KERNEL void winograd_forward(const __m512 *d, __m512 *t, const int m) {
  if (m == 2) {
    t[0] = minus(d[0], d[2]);
    t[1] = plus(d[1], d[2]);
    t[2] = minus(d[2], d[1]);
    t[3] = minus(d[1], d[3]);
    return;
  }
  const __m512 even4 = scaled_plus(-4, d[2], d[4]), odd4 = scaled_plus(-4, d[1], d[3]);
  const __m512 even1 = minus(d[4], d[2]), odd1 = minus(d[3], d[1]);
  t[0] = scaled_plus(4, d[0], scaled_plus(-5, d[2], d[4]));
  t[1] = plus(even4, odd4);
  t[2] = minus(even4, odd4);
  t[3] = scaled_plus(2, odd1, even1);
  t[4] = scaled_plus(-2, odd1, even1);
  t[5] = scaled_plus(4, d[1], scaled_plus(-5, d[3], d[5]));
}

/* One dimension of the output's transform: t of m + 2 places to m. */
LEPTON_KERNEL void winograd_back(const __m512 *t, __m512 *y, const int m) {
  const __m512 sum1 = plus(t[1], t[2]), difference1 = minus(t[1], t[2]);
  if (m == 2) {
    y[0] = plus(t[0], sum1);
    y[1] = minus(difference1, t[3]);
    return;
  }
  const __m512 sum2 = plus(t[3], t[4]), difference2 = minus(t[3], t[4]);
  y[0] = plus(plus(t[0], sum1), sum2);
  y[1] = scaled_plus(2, difference2, difference1);
  y[2] = scaled_plus(4, sum2, sum1);
  y[3] = plus(scaled_plus(8, difference2, difference1), t[5]);
}

/* One tile of one block of channels, whose window begins at (top, left), to places `apart` floats apart. */
LEPTON_KERNEL void winograd_input(const float *x, const int h, const int w, const int top, const int left, float *to,
                                  const ptrdiff_t apart, const int m) {
  const int n = m + 2;
  const int whole = top >= 0 && left >= 0 && top + n <= h && left + n <= w;
  __m512 half[36];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    __m512 column[6], turned[6];
    LEPTON_UNROLL for (int j = 0; j < n; j++) {
      const float *at = x + ((ptrdiff_t)(top + j) * w + left + i) * 16;
      const int inside = whole || (top + j >= 0 && top + j < h && left + i >= 0 && left + i < w);
      column[j] = _mm512_maskz_loadu_ps((__mmask16)(inside ? 0xffff : 0), at);
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

/* One tile of one block of channels, whose outputs begin at (top, left); those outside the map are dropped. */
LEPTON_KERNEL void winograd_output(const float *from, const ptrdiff_t apart, const float *bias, float *y, const int oh,
                                   const int ow, const int top, const int left, const int m,
                                   const float_finish finish) {
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
        finish_f32(y + ((ptrdiff_t)(top + j) * ow + left + i) * 16, plus(turned[i], start), 16, finish);
  }
}

/* `count` tiles from number `first` on: places [(m + 2)^2][block][tile][16] before and after the products. all: blocks
 * of output channels that the weights of a place hold, o of whose channels are computed. */
LEPTON_KERNEL void winograd_tiles(const float *x, const float *weight, const float *bias, float *y, float *before,
                                  float *after, const int h, const int w, const int c, const int oh, const int ow,
                                  const int o, const int all, const int pt, const int pl, const int m, const int first,
                                  const int count, const int mr, const int nv, const float_finish finish) {
  const int across = (ow + m - 1) / m, places = (m + 2) * (m + 2), in = (c + 15) / 16, out = (o + 15) / 16;
  const ptrdiff_t block = (ptrdiff_t)count * 16;
  LEPTON_LOOP for (int b = 0; b < in; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m - pt, left = (first + t) % across * m - pl;
      winograd_input(x + (ptrdiff_t)b * h * w * 16, h, w, top, left, before + b * block + t * 16, in * block, m);
    }
  LEPTON_LOOP for (int place = 0; place < places; place++)
    product_map(before + place * in * block, count, 16, block, c, weight + (ptrdiff_t)place * c * all * 16, 0,
                after + place * out * block, 16, block, out, mr, nv, 16, bounded((int)0xff800000, 0x7f800000));
  LEPTON_LOOP for (int b = 0; b < out; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m, left = (first + t) % across * m;
      winograd_output(after + b * block + t * 16, out * block, bias + b * 16, y + (ptrdiff_t)b * oh * ow * 16, oh, ow,
                      top, left, m, finish);
    }
}

/* Tiles from number `begin` to `end`, `together` at a time; scratch holds their places before and after the products. */
LEPTON_KERNEL void winograd_map(const uint8_t *x, const uint8_t *weight, const uint8_t *bias, uint8_t *y,
                                uint8_t *scratch, const int h, const int w, const int c, const int oh, const int ow,
                                const int o, const int pt, const int pl, const int m, const int together, const int mr,
                                const int nv, const int all, const int begin, const int end,
                                const float_finish finish) {
  const int places = (m + 2) * (m + 2), rest = (end - begin) % together;
  float *before = (float *)scratch, *after = before + (ptrdiff_t)places * ((c + 15) / 16) * together * 16;
  LEPTON_LOOP for (int first = begin; first < end - rest; first += together)
    winograd_tiles((const float *)x, (const float *)weight, (const float *)bias, (float *)y, before, after, h, w, c, oh,
                   ow, o, all, pt, pl, m, first, together, mr, nv, finish);
  if (rest)
    winograd_tiles((const float *)x, (const float *)weight, (const float *)bias, (float *)y, before, after, h, w, c, oh,
                   ow, o, all, pt, pl, m, end - rest, rest, LEPTON_MIN(mr, rest), nv, finish);
}

LEPTON_KERNEL int winograd_tile_count(const int oh, const int ow, const int m) {
  return ((oh + m - 1) / m) * ((ow + m - 1) / m);
}

LEPTON_KERNEL void winograd_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                const int together, const int mr, const int nv, const int lo, const int hi) {
  winograd_map(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, (o + 15) / 16, 0,
               winograd_tile_count(oh, ow, m), bounded(lo, hi));
}
LEPTON_KERNEL void winograd_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                    uint8_t *y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                    const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                    const int together, const int mr, const int nv, const int lo, const int hi) {
  winograd_map(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, (o + 15) / 16, 0,
               winograd_tile_count(oh, ow, m), bounded_sum(y, residual, lo, hi));
}

/* Some tiles of some output channels: o channels of `all` blocks, tiles `begin` to `end`. */
LEPTON_KERNEL void winograd_range_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                      uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w,
                                      const int c, const int oh, const int ow, const int o, const int pt, const int pl,
                                      const int m, const int together, const int mr, const int nv, const int all,
                                      const int begin, const int end, const int lo, const int hi) {
  winograd_map(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, all, begin, end,
               bounded(lo, hi));
}
LEPTON_KERNEL void winograd_range_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                          uint8_t *residual, uint8_t *y, uint8_t *restrict scratch, const int h,
                                          const int w, const int c, const int oh, const int ow, const int o,
                                          const int pt, const int pl, const int m, const int together, const int mr,
                                          const int nv, const int all, const int begin, const int end, const int lo,
                                          const int hi) {
  winograd_map(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, all, begin, end,
               bounded_sum(y, residual, lo, hi));
}
#endif
