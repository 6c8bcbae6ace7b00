/* Winograd's short convolutions, float32: 3 x 3 kernels at stride 1, m x m outputs a tile, m = 2 or 4.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015: a tile of (m + 2)^2 inputs is transformed,
 * multiplied place by place with transformed weights, and transformed back: (m + 2)^2 products for 9 m^2. It stands on
 * blocked_f32.h and rounds differently than the direct sum.
 */
#ifndef LEPTON_WINOGRAD_F32_H
#define LEPTON_WINOGRAD_F32_H

/* by * a + b */
LEPTON_KERNEL lanes_f32 scaled_plus(const float by, const lanes_f32 a, const lanes_f32 b) {
  return fused_f32(every_f32(by), a, b);
}

/* One dimension of the input's transform: d of m + 2 places to t. */
LEPTON_KERNEL void winograd_forward_f32(const lanes_f32 *d, lanes_f32 *t, const int m) {
  if (m == 2) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[1] - d[3];
    return;
  }
  const lanes_f32 even4 = scaled_plus(-4, d[2], d[4]), odd4 = scaled_plus(-4, d[1], d[3]);
  const lanes_f32 even1 = d[4] - d[2], odd1 = d[3] - d[1];
  t[0] = scaled_plus(4, d[0], scaled_plus(-5, d[2], d[4]));
  t[1] = even4 + odd4;
  t[2] = even4 - odd4;
  t[3] = scaled_plus(2, odd1, even1);
  t[4] = scaled_plus(-2, odd1, even1);
  t[5] = scaled_plus(4, d[1], scaled_plus(-5, d[3], d[5]));
}

/* One dimension of the output's transform: t of m + 2 places to m. */
LEPTON_KERNEL void winograd_back_f32(const lanes_f32 *t, lanes_f32 *y, const int m) {
  const lanes_f32 sum1 = t[1] + t[2], difference1 = t[1] - t[2];
  if (m == 2) {
    y[0] = t[0] + sum1;
    y[1] = difference1 - t[3];
    return;
  }
  const lanes_f32 sum2 = t[3] + t[4], difference2 = t[3] - t[4];
  y[0] = t[0] + sum1 + sum2;
  y[1] = scaled_plus(2, difference2, difference1);
  y[2] = scaled_plus(4, sum2, sum1);
  y[3] = scaled_plus(8, difference2, difference1) + t[5];
}

/* What a row of a window reads that lies above or below the map. */
static const float winograd_border_f32[6 * 16] __attribute__((aligned(64))) = {0};

/* One tile of one vector of channels, whose window begins at (top, left), to places `apart` floats apart. */
LEPTON_KERNEL void winograd_input_f32(const float *x, const int h, const int w, const int top, const int left, float *to,
                                  const ptrdiff_t apart, const int m) {
  const int n = m + 2;
  const float *row[6];
  LEPTON_UNROLL for (int j = 0; j < n; j++)
    row[j] = top + j >= 0 && top + j < h ? x + ((ptrdiff_t)(top + j) * w + left) * 16 : winograd_border_f32;
  lanes_f32 half[36];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    lanes_f32 column[6], turned[6];
    if (left + i >= 0 && left + i < w) {
      LEPTON_UNROLL for (int j = 0; j < n; j++) column[j] = load_f32(row[j] + i * 16);
      winograd_forward_f32(column, turned, m);
    } else {
      LEPTON_UNROLL for (int j = 0; j < n; j++) turned[j] = every_f32(0);
    }
    LEPTON_UNROLL for (int j = 0; j < n; j++) half[j * n + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < n; j++) {
    lanes_f32 turned[6];
    winograd_forward_f32(half + j * n, turned, m);
    LEPTON_UNROLL for (int i = 0; i < n; i++) store_f32(to + (j * n + i) * apart, turned[i]);
  }
}

/* One tile of one vector of channels, whose outputs begin at (top, left); those outside the map are dropped. */
LEPTON_KERNEL void winograd_output_f32(const float *from, const ptrdiff_t apart, const float *bias, float *y, const int oh,
                                   const int ow, const int top, const int left, const int m,
                                   const float_finish finish) {
  const int n = m + 2, even = oh % m == 0 && ow % m == 0;
  lanes_f32 half[24];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    lanes_f32 column[6], turned[4];
    LEPTON_UNROLL for (int j = 0; j < n; j++) column[j] = load_f32(from + (j * n + i) * apart);
    winograd_back_f32(column, turned, m);
    LEPTON_UNROLL for (int j = 0; j < m; j++) half[j * n + i] = turned[j];
  }
  const lanes_f32 start = load_f32(bias);
  LEPTON_UNROLL for (int j = 0; j < m; j++) {
    lanes_f32 turned[4];
    winograd_back_f32(half + j * n, turned, m);
    LEPTON_UNROLL for (int i = 0; i < m; i++)
      if (even || (top + j < oh && left + i < ow))
        finish_f32(y + ((ptrdiff_t)(top + j) * ow + left + i) * 16, turned[i] + start, LEPTON_FLOATS, finish);
  }
}

/* `count` tiles from number `first` on: places [(m + 2)^2][block][tile][16] before and after the products. all: blocks
 * of output channels that the weights of a place hold, o of whose channels are computed. */
LEPTON_KERNEL void winograd_tiles_f32(const float *x, const float *weight, const float *bias, float *y, float *before,
                                  float *after, const int h, const int w, const int c, const int oh, const int ow,
                                  const int o, const int all, const int pt, const int pl, const int m, const int first,
                                  const int count, const int mr, const int nv, const float_finish finish) {
  const int across = (ow + m - 1) / m, places = (m + 2) * (m + 2), in = LEPTON_BLOCKS(c), out = LEPTON_BLOCKS(o);
  const ptrdiff_t block = (ptrdiff_t)count * 16;
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(c); v++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m - pt, left = (first + t) % across * m - pl;
      winograd_input_f32(x + vector_at(v, (ptrdiff_t)h * w * 16), h, w, top, left, before + vector_at(v, block) + t * 16,
                     in * block, m);
    }
  LEPTON_LOOP for (int place = 0; place < places; place++)
    product_map(before + place * in * block, count, 16, block, c, weight + (ptrdiff_t)place * c * all * 16, 0,
                after + place * out * block, 16, block, o, mr, nv, 0, bounded((int)0xff800000, 0x7f800000));
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(o); v++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int top = (first + t) / across * m, left = (first + t) % across * m;
      winograd_output_f32(after + vector_at(v, block) + t * 16, out * block, bias + v * LEPTON_FLOATS,
                      y + vector_at(v, (ptrdiff_t)oh * ow * 16), oh, ow, top, left, m, finish);
    }
}

/* Tiles from number `begin` to `end`, `together` at a time; scratch holds their places before and after the products. */
LEPTON_KERNEL void winograd_map_f32(const uint8_t *x, const uint8_t *weight, const uint8_t *bias, uint8_t *y,
                                uint8_t *scratch, const int h, const int w, const int c, const int oh, const int ow,
                                const int o, const int pt, const int pl, const int m, const int together, const int mr,
                                const int nv, const int all, const int begin, const int end,
                                const float_finish finish) {
  const int places = (m + 2) * (m + 2), rest = (end - begin) % together;
  float *before = (float *)scratch, *after = before + (ptrdiff_t)places * LEPTON_BLOCKS(c) * together * 16;
  LEPTON_LOOP for (int first = begin; first < end - rest; first += together)
    winograd_tiles_f32((const float *)x, (const float *)weight, (const float *)bias, (float *)y, before, after, h, w, c, oh,
                   ow, o, all, pt, pl, m, first, together, mr, nv, finish);
  if (rest)
    winograd_tiles_f32((const float *)x, (const float *)weight, (const float *)bias, (float *)y, before, after, h, w, c, oh,
                   ow, o, all, pt, pl, m, end - rest, rest, LEPTON_MIN(mr, rest), nv, finish);
}

LEPTON_KERNEL int winograd_tile_count_f32(const int oh, const int ow, const int m) {
  return ((oh + m - 1) / m) * ((ow + m - 1) / m);
}

LEPTON_KERNEL void winograd_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                const int together, const int mr, const int nv, const int lo, const int hi) {
  winograd_map_f32(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, LEPTON_BLOCKS(o), 0,
               winograd_tile_count_f32(oh, ow, m), bounded(lo, hi));
}
LEPTON_KERNEL void winograd_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                    uint8_t *y, uint8_t *restrict scratch, const int h, const int w, const int c,
                                    const int oh, const int ow, const int o, const int pt, const int pl, const int m,
                                    const int together, const int mr, const int nv, const int lo, const int hi) {
  winograd_map_f32(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, LEPTON_BLOCKS(o), 0,
               winograd_tile_count_f32(oh, ow, m), bounded_sum(y, residual, lo, hi));
}

/* Some tiles of some output channels: o channels of `all` blocks, tiles `begin` to `end`. */
LEPTON_KERNEL void winograd_range_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                      uint8_t *restrict y, uint8_t *restrict scratch, const int h, const int w,
                                      const int c, const int oh, const int ow, const int o, const int pt, const int pl,
                                      const int m, const int together, const int mr, const int nv, const int all,
                                      const int begin, const int end, const int lo, const int hi) {
  winograd_map_f32(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, all, begin, end,
               bounded(lo, hi));
}
LEPTON_KERNEL void winograd_range_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                          uint8_t *residual, uint8_t *y, uint8_t *restrict scratch, const int h,
                                          const int w, const int c, const int oh, const int ow, const int o,
                                          const int pt, const int pl, const int m, const int together, const int mr,
                                          const int nv, const int all, const int begin, const int end, const int lo,
                                          const int hi) {
  winograd_map_f32(x, weight, bias, y, scratch, h, w, c, oh, ow, o, pt, pl, m, together, mr, nv, all, begin, end,
               bounded_sum(y, residual, lo, hi));
}
#endif
