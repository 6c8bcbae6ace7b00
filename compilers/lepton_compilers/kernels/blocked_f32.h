/* float32 kernels on feature maps blocked by 16 channels, one image a call, for every instruction set whose header gives
 *
 *   lanes_f32          a vector of LEPTON_FLOATS floats, 16 or a part of them
 *   LEPTON_CHANNELS    input channels that the functions below take at a time, besides one: 1, 2 or 4
 *   LEPTON_CHAINS      of so many vectors of a row's sums: into how many each is split, so that their latency overlaps;
 *                      1, 2, 4 or 8
 *   load_f32, store_f32, every_f32, fused_f32, raised_f32, lowered_f32, larger_f32
 *   add_products_f32   n input channels of mr pixels, `pixel` apart, by nv vectors of weights, those of each channel `step` apart
 *   add_columns_f32    the same for the three columns of a kernel row, weights [channel][column]; columns of the window
 *                      before `first` and from `valid` on lie beside the map and are left out
 *
 * Multiply and add are fused. Maps are [block][pixel][16]. Padding channels are never multiplied; vectors of nothing else
 * are neither read nor written. Weights come in panels of nv blocks of output channels, [...][input channel][nv][16].
 * A tile is mr neighbours of a row by a panel; its sums are [pixel][vector]. Distances are in floats. lo, hi: bits of the
 * result's bounds. A NaN passes through bounds.
 */
#ifndef LEPTON_BLOCKED_F32_H
#define LEPTON_BLOCKED_F32_H

#define LEPTON_VECTORS(channels) (((channels) + LEPTON_FLOATS - 1) / LEPTON_FLOATS)
#define LEPTON_BLOCKS(channels) (((channels) + 15) / 16)
#define LEPTON_SUMS_F32 32

/* Where vector v of a pixel lies in a map. */
LEPTON_KERNEL ptrdiff_t vector_at(const int v, const ptrdiff_t block) {
  return v * LEPTON_FLOATS / 16 * block + v * LEPTON_FLOATS % 16;
}

/* ---- from sums to results ---- */

/* apart: floats from y to a residual of y's layout, added before the bounds where `adds`. */
typedef struct {
  float lo, hi;
  int adds;
  ptrdiff_t apart;
} float_finish;

LEPTON_KERNEL float_finish bounded(const int lo, const int hi) {
  const float_finish finish = {float_of_bits(lo), float_of_bits(hi), 0, 0};
  return finish;
}
LEPTON_KERNEL float_finish bounded_sum(const uint8_t *y, const uint8_t *residual, const int lo, const int hi) {
  const float_finish finish = {float_of_bits(lo), float_of_bits(hi), 1, ((intptr_t)residual - (intptr_t)y) / 4};
  return finish;
}
/* The largest float32 means no bound. */
LEPTON_KERNEL lanes_f32 within(lanes_f32 v, const float_finish f) {
  if (f.lo > -__FLT_MAX__) v = raised_f32(v, f.lo);
  if (f.hi < __FLT_MAX__) v = lowered_f32(v, f.hi);
  return v;
}
/* n: how many of the results exist; more than a vector holds means all */
LEPTON_KERNEL void finish_f32(float *y, lanes_f32 v, const int n, const float_finish f) {
  if (f.adds) v += load_f32((const float *)((intptr_t)y + f.apart * 4));
  v = within(v, f);
  if (n >= LEPTON_FLOATS) {
    store_f32(y, v);
  } else {
    store_some_f32(y, v, n);
  }
}

/* A share of the weights that come next, on their way into the second-level cache while this tile computes. */
LEPTON_KERNEL void prefetch_f32(const float *from, const int lines) {
  LEPTON_UNROLL for (int i = 0; i < lines; i++) __builtin_prefetch(from + i * 16, 0, 2);
}
/* Lines that each of `steps` parts of a panel fetches of the next one; 0 where all weights stay in the cache. */
LEPTON_KERNEL int prefetch_share_f32(const ptrdiff_t panel, const ptrdiff_t all, const int steps) {
  return all > 65536 ? (int)((panel / 16 + steps - 1) / steps) : 0;
}

/* ---- layout ---- */

LEPTON_KERNEL void pack_block_f32(const float *x, float *y, const int pixels, const int channels, const int n) {
  LEPTON_LOOP for (int p = 0; p < pixels; p++)
    LEPTON_UNROLL for (int v = 0; v < LEPTON_VECTORS(n); v++) {
      const int at = v * LEPTON_FLOATS;
      store_f32(y + (ptrdiff_t)p * 16 + at, load_some_f32(x + (ptrdiff_t)p * channels + at, n - at));
    }
}
LEPTON_KERNEL void unpack_block_f32(const float *x, float *y, const int pixels, const int channels, const int n) {
  LEPTON_LOOP for (int p = 0; p < pixels; p++)
    LEPTON_UNROLL for (int v = 0; v < LEPTON_VECTORS(n); v++) {
      const int at = v * LEPTON_FLOATS;
      store_some_f32(y + (ptrdiff_t)p * channels + at, load_f32(x + (ptrdiff_t)p * 16 + at), n - at);
    }
}
/* [pixels][channels] to [blocks][pixels][16], and back. map: pixels that blocks lie apart, of which `pixels` are moved. */
LEPTON_KERNEL void pack_range_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int map,
                                  const int channels) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  const int b = channels / 16;
  LEPTON_LOOP for (int i = 0; i < b; i++)
    pack_block_f32(x + i * 16, y + (ptrdiff_t)i * map * 16, pixels, channels, 16);
  if (channels % 16) pack_block_f32(x + b * 16, y + (ptrdiff_t)b * map * 16, pixels, channels, channels % 16);
}
LEPTON_KERNEL void unpack_range_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int map,
                                    const int channels) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  const int b = channels / 16;
  LEPTON_LOOP for (int i = 0; i < b; i++)
    unpack_block_f32(x + (ptrdiff_t)i * map * 16, y + i * 16, pixels, channels, 16);
  if (channels % 16) unpack_block_f32(x + (ptrdiff_t)b * map * 16, y + b * 16, pixels, channels, channels % 16);
}
LEPTON_KERNEL void pack_f32(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int channels) {
  pack_range_f32(x, y, pixels, pixels, channels);
}
LEPTON_KERNEL void unpack_f32(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int channels) {
  unpack_range_f32(x, y, pixels, pixels, channels);
}

/* Maps of rows of `row` floats, [maps][h][row], with a border of zeros: top and bottom in rows, left and right in
 * floats. */
LEPTON_KERNEL void pad_f32(uint8_t *restrict x, uint8_t *restrict y, const int maps, const int h, const int row,
                           const int top, const int bottom, const int left, const int right) {
  const ptrdiff_t wide = left + row + right;
  for (int m = 0; m < maps; m++) {
    uint8_t *to = y + m * (h + top + bottom) * wide * 4;
    __builtin_memset(to, 0, (size_t)(top * wide + left) * 4);
    for (int r = 0; r < h; r++) {
      uint8_t *at = to + ((top + r) * wide + left) * 4;
      __builtin_memcpy(at, x + ((ptrdiff_t)m * h + r) * row * 4, (size_t)row * 4);
      if (r < h - 1) __builtin_memset(at + (ptrdiff_t)row * 4, 0, (size_t)(left + right) * 4);
    }
    __builtin_memset(to + ((top + h - 1) * wide + left + row) * 4, 0, (size_t)(right + bottom * wide) * 4);
  }
}

/* ---- rows of pixels by columns of weights: 1 x 1 convolutions, dense layers, Winograd's products ---- */

LEPTON_KERNEL void start_tile_f32(lanes_f32 *sum, const float *bias, const int mr, const int nv) {
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const lanes_f32 start = bias ? load_f32(bias + v * LEPTON_FLOATS) : every_f32(0);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
}
/* n: channels of the panel; dense: y ends with them */
LEPTON_KERNEL void finish_tile_f32(float *y, const lanes_f32 *sum, const ptrdiff_t y_pixel, const ptrdiff_t y_block,
                                   const int mr, const int n, const int dense, const float_finish finish) {
  const int nv = LEPTON_VECTORS(n);
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      finish_f32(y + p * y_pixel + vector_at(v, y_block), sum[p * nv + v], dense ? n - v * LEPTON_FLOATS : LEPTON_FLOATS,
                 finish);
}

/* pixel, block: floats between neighbouring pixels and between blocks of 16 input channels of x; y_pixel, y_block:
 * those of y. No bias: null. */
LEPTON_KERNEL void product_tile(const float *x, const ptrdiff_t pixel, const ptrdiff_t block, const int c,
                                const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                                const ptrdiff_t y_block, const int mr, const int n, const int dense, const float *next,
                                const int lines, const float_finish finish) {
  const int nv = LEPTON_VECTORS(n), step = LEPTON_BLOCKS(n) * 16;
  lanes_f32 sum[LEPTON_SUMS_F32];
  start_tile_f32(sum, bias, mr, nv);
  LEPTON_LOOP for (int b = 0; b < c / 16; b++) {
    prefetch_f32(next + (ptrdiff_t)b * lines * 16, lines);
    const float *from = x;
    LEPTON_LOOP for (int quarter = 0; quarter < 4; quarter++) {
      LEPTON_UNROLL for (int k = 0; k < 4; k += LEPTON_CHANNELS)
        add_products_f32(sum, from + k, pixel, weight + k * step, step, LEPTON_CHANNELS, mr, nv);
      from += 4;
      weight += 4 * step;
    }
    x += block;
  }
  LEPTON_LOOP for (int k = 0; k < c % 16 / LEPTON_CHANNELS; k++) {
    add_products_f32(sum, x, pixel, weight, step, LEPTON_CHANNELS, mr, nv);
    x += LEPTON_CHANNELS;
    weight += LEPTON_CHANNELS * step;
  }
  LEPTON_UNROLL for (int k = 0; k < c % LEPTON_CHANNELS; k++)
    add_products_f32(sum, x + k, pixel, weight + k * step, step, 1, mr, nv);
  finish_tile_f32(y, sum, y_pixel, y_block, mr, n, dense, finish);
}

LEPTON_KERNEL void product_panel(const float *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                                 const int c, const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                                 const ptrdiff_t y_block, const int mr, const int n, const int dense, const int lines,
                                 const float_finish finish) {
  const float *next = weight + (ptrdiff_t)c * LEPTON_BLOCKS(n) * 16;
  LEPTON_LOOP for (int p = 0; p < pixels / mr * mr; p += mr) {
    product_tile(x + p * pixel, pixel, block, c, weight, bias, y + p * y_pixel, y_pixel, y_block, mr, n, dense, next,
                 lines, finish);
    next += (ptrdiff_t)(c / 16) * lines * 16;
  }
  if (pixels % mr) {
    const ptrdiff_t p = pixels / mr * mr;
    product_tile(x + p * pixel, pixel, block, c, weight, bias, y + p * y_pixel, y_pixel, y_block, pixels % mr, n, dense,
                 next, lines, finish);
  }
}

LEPTON_KERNEL void product_map(const float *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                               const int c, const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                               const ptrdiff_t y_block, const int o, const int mr, const int nv, const int dense,
                               const float_finish finish) {
  const int tiles = (pixels + mr - 1) / mr, n = nv * 16, whole = (o - 1) / n * n;
  const int lines = prefetch_share_f32((ptrdiff_t)c * n, (ptrdiff_t)c * LEPTON_BLOCKS(o) * 16,
                                       tiles * LEPTON_MAX(c / 16, 1));
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    product_panel(x, pixels, pixel, block, c, weight + (ptrdiff_t)v * c, bias ? bias + v : bias,
                  y + v / 16 * y_block, y_pixel, y_block, mr, n, dense, lines, finish);
  product_panel(x, pixels, pixel, block, c, weight + (ptrdiff_t)whole * c, bias ? bias + whole : bias,
                y + whole / 16 * y_block, y_pixel, y_block, mr, o - whole, dense, 0, finish);
}

/* `pixels` of a map of `map` pixels, which is how far blocks lie apart */
LEPTON_KERNEL void pointwise_range_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                       uint8_t *restrict y, const int pixels, const int map, const int c, const int o,
                                       const int mr, const int nv, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)map * 16;
  product_map((const float *)x, pixels, 16, block, c, (const float *)weight, (const float *)bias, (float *)y, 16, block,
              o, mr, nv, 0, bounded(lo, hi));
}
LEPTON_KERNEL void pointwise_range_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                           uint8_t *residual, uint8_t *y, const int pixels, const int map, const int c,
                                           const int o, const int mr, const int nv, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)map * 16;
  product_map((const float *)x, pixels, 16, block, c, (const float *)weight, (const float *)bias, (float *)y, 16, block,
              o, mr, nv, 0, bounded_sum(y, residual, lo, hi));
}
LEPTON_KERNEL void pointwise_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                 uint8_t *restrict y, const int pixels, const int c, const int o, const int mr,
                                 const int nv, const int lo, const int hi) {
  pointwise_range_f32(x, weight, bias, y, pixels, pixels, c, o, mr, nv, lo, hi);
}
LEPTON_KERNEL void pointwise_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                     uint8_t *y, const int pixels, const int c, const int o, const int mr, const int nv,
                                     const int lo, const int hi) {
  pointwise_range_add_f32(x, weight, bias, residual, y, pixels, pixels, c, o, mr, nv, lo, hi);
}

/* rows of `inner` floats that lie `step` apart, to o columns of rows of `wide` */
LEPTON_KERNEL void dense_range_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                   uint8_t *restrict y, const int rows, const int step, const int inner, const int o,
                                   const int wide, const int mr, const int nv, const int lo, const int hi) {
  product_map((const float *)x, rows, step, 16, inner, (const float *)weight, (const float *)bias, (float *)y, wide, 16,
              o, mr, nv, 1, bounded(lo, hi));
}
LEPTON_KERNEL void dense_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                             uint8_t *restrict y, const int rows, const int step, const int inner, const int o,
                             const int mr, const int nv, const int lo, const int hi) {
  dense_range_f32(x, weight, bias, y, rows, step, inner, o, o, mr, nv, lo, hi);
}

/* One row by a panel of n channels; chains: sums that each is split in. */
LEPTON_KERNEL void row_panel(const float *x, const int inner, const float *weight, const float *bias, float *y,
                             const int n, const int chains, const float_finish finish) {
  const int nv = LEPTON_VECTORS(n), step = LEPTON_BLOCKS(n) * 16;
  const int channels = chains > 1 ? 1 : LEPTON_CHANNELS, together = LEPTON_MAX(chains, 4);
  lanes_f32 sum[LEPTON_SUMS_F32];
  start_tile_f32(sum, bias, 1, nv);
  LEPTON_UNROLL for (int i = nv; i < nv * chains; i++) sum[i] = every_f32(0);
  LEPTON_LOOP for (int k = 0; k < inner / together; k++) {
    LEPTON_UNROLL for (int i = 0; i < together; i += channels)
      add_products_f32(sum + i % chains * nv, x + i, 0, weight + i * step, step, channels, 1, nv);
    x += together;
    weight += together * step;
  }
  LEPTON_UNROLL for (int i = 0; i < inner % together; i++)
    add_products_f32(sum + i % chains * nv, x + i, 0, weight + i * step, step, 1, 1, nv);
  LEPTON_UNROLL for (int i = 1; i < chains; i++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] += sum[i * nv + v];
  finish_tile_f32(y, sum, 0, 16, 1, n, 1, finish);
}

LEPTON_KERNEL void row_f32(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict y_,
                           const int inner, const int o, const int nv, const int lo, const int hi) {
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  float *y = (float *)y_;
  const int n = nv * 16, whole = (o - 1) / n * n, last = o - whole;
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    row_panel(x, inner, weight + (ptrdiff_t)v * inner, bias + v, y + v, n, LEPTON_CHAINS(LEPTON_VECTORS(n)),
              bounded(lo, hi));
  row_panel(x, inner, weight + (ptrdiff_t)whole * inner, bias + whole, y + whole, last,
            LEPTON_CHAINS(LEPTON_VECTORS(last)), bounded(lo, hi));
}

/* ---- 3 x 3 convolution, stride 1 or 2, borders skipped ---- */

/* x: column 0 of the tile's first pixel, row 0 of its window; kernel rows ky0 to ky1 - 1 lie inside the map.
 * weights: [ky][c][kx][nv][16] */
LEPTON_KERNEL void conv3x3_tile_f32(const float *x, const ptrdiff_t row, const ptrdiff_t block, const int c,
                                    const float *weight, const float *bias, float *y, const ptrdiff_t y_block,
                                    const int mr, const int n, const int stride, const int ky0, const int ky1,
                                    const int first, const int valid, const float *next, const int lines,
                                    const float_finish finish) {
  const int nv = LEPTON_VECTORS(n), step = LEPTON_BLOCKS(n) * 16;
  lanes_f32 sum[LEPTON_SUMS_F32];
  start_tile_f32(sum, bias, mr, nv);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const float *by_channel = weight + (ptrdiff_t)ky * c * 3 * step;
    LEPTON_LOOP for (int k = 0; k < c / LEPTON_CHANNELS * LEPTON_CHANNELS; k += LEPTON_CHANNELS) {
      if (k % 16 == 0) {
        prefetch_f32(next, lines);
        next += lines * 16;
      }
      add_columns_f32(sum, x + ky * row + (k >> 4) * block + (k & 15), by_channel, step, LEPTON_CHANNELS, mr, nv, stride,
                      first, valid);
      by_channel += 3 * LEPTON_CHANNELS * step;
    }
    LEPTON_UNROLL for (int k = c / LEPTON_CHANNELS * LEPTON_CHANNELS; k < c; k++) {
      add_columns_f32(sum, x + ky * row + (k >> 4) * block + (k & 15), by_channel, step, 1, mr, nv, stride, first, valid);
      by_channel += 3 * step;
    }
  }
  finish_tile_f32(y, sum, 16, y_block, mr, n, 0, finish);
}

LEPTON_KERNEL void conv3x3_panel_f32(const float *x, const float *weight, const float *bias, float *y, const int h,
                                     const int w, const int c, const int oh, const int ow, const int stride,
                                     const int pt, const int pl, const int mr, const int n, const int lines,
                                     const float_finish finish) {
  const ptrdiff_t row = (ptrdiff_t)w * 16, block = (ptrdiff_t)h * w * 16, y_block = (ptrdiff_t)oh * ow * 16;
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  const float *next = weight + (ptrdiff_t)c * 9 * LEPTON_BLOCKS(n) * 16;
  const ptrdiff_t fetched = (ptrdiff_t)LEPTON_BLOCKS(c) * 3 * lines * 16;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int top = oy * stride - pt;
    const int ky0 = top < 0 ? -top : 0, ky1 = top + 3 > h ? h - top : 3;
    const float *from = x + ((ptrdiff_t)top * w - pl) * 16;
    float *to = y + (ptrdiff_t)oy * ow * 16;
    if (tiles > 1) {
      conv3x3_tile_f32(from, row, block, c, weight, bias, to, y_block, mr, n, stride, ky0, ky1, pl, 1 << 20, next,
                       lines, finish);
      next += fetched;
    }
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr) {
      conv3x3_tile_f32(from + (ptrdiff_t)ox * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)ox * 16,
                       y_block, mr, n, stride, ky0, ky1, 0, 1 << 20, next, lines, finish);
      next += fetched;
    }
    conv3x3_tile_f32(from + (ptrdiff_t)last * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)last * 16,
                     y_block, ow - last, n, stride, ky0, ky1, tiles > 1 ? 0 : pl, w + pl - last * stride, next, lines,
                     finish);
    next += fetched;
  }
}

LEPTON_KERNEL void conv3x3_map_f32(const uint8_t *x, const uint8_t *w_, const uint8_t *b, uint8_t *y_, const int h,
                                   const int w, const int c, const int oh, const int ow, const int o, const int stride,
                                   const int pt, const int pl, const int mr, const int nv, const float_finish finish) {
  const float *weight = (const float *)w_, *bias = (const float *)b;
  float *y = (float *)y_;
  const int n = nv * 16, whole = o / n * n, tiles = oh * ((ow + mr - 1) / mr);
  const int lines = prefetch_share_f32((ptrdiff_t)c * 9 * n, (ptrdiff_t)c * 9 * LEPTON_BLOCKS(o) * 16,
                                       tiles * LEPTON_BLOCKS(c) * 3);
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    conv3x3_panel_f32((const float *)x, weight + (ptrdiff_t)v * c * 9, bias + v, y + (ptrdiff_t)v * oh * ow, h, w, c, oh,
                      ow, stride, pt, pl, mr, n, lines, finish);
  if (o > whole)
    conv3x3_panel_f32((const float *)x, weight + (ptrdiff_t)whole * c * 9, bias + whole, y + (ptrdiff_t)whole * oh * ow,
                      h, w, c, oh, ow, stride, pt, pl, mr, o - whole, 0, finish);
}

LEPTON_KERNEL void conv3x3_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                               uint8_t *restrict y, const int h, const int w, const int c, const int oh, const int ow,
                               const int o, const int stride, const int pt, const int pl, const int mr, const int nv,
                               const int lo, const int hi) {
  conv3x3_map_f32(x, weight, bias, y, h, w, c, oh, ow, o, stride, pt, pl, mr, nv, bounded(lo, hi));
}
LEPTON_KERNEL void conv3x3_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                   uint8_t *y, const int h, const int w, const int c, const int oh, const int ow,
                                   const int o, const int stride, const int pt, const int pl, const int mr,
                                   const int nv, const int lo, const int hi) {
  conv3x3_map_f32(x, weight, bias, y, h, w, c, oh, ow, o, stride, pt, pl, mr, nv, bounded_sum(y, residual, lo, hi));
}

/* ---- any convolution without a border ---- */

/* Taps (ky, kx): weights [ky][kx][c][nv][16]. pixel, column, row: floats between neighbours of the tile, of a
 * kernel row, of kernel rows. */
LEPTON_KERNEL void conv_tile_f32(const float *x, const ptrdiff_t pixel, const ptrdiff_t column, const ptrdiff_t row,
                                 const ptrdiff_t block, const int kh, const int kw, const int c, const float *weight,
                                 const float *bias, float *y, const ptrdiff_t y_block, const int mr, const int n,
                                 const float_finish finish) {
  const int nv = LEPTON_VECTORS(n), step = LEPTON_BLOCKS(n) * 16;
  lanes_f32 sum[LEPTON_SUMS_F32];
  start_tile_f32(sum, bias, mr, nv);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      const float *from = x + ky * row + kx * column;
      LEPTON_LOOP for (int k = 0; k < c / LEPTON_CHANNELS * LEPTON_CHANNELS; k += LEPTON_CHANNELS) {
        add_products_f32(sum, from + (k >> 4) * block + (k & 15), pixel, weight, step, LEPTON_CHANNELS, mr, nv);
        weight += LEPTON_CHANNELS * step;
      }
      LEPTON_UNROLL for (int k = c / LEPTON_CHANNELS * LEPTON_CHANNELS; k < c; k++) {
        add_products_f32(sum, from + (k >> 4) * block + (k & 15), pixel, weight, step, 1, mr, nv);
        weight += step;
      }
    }
  finish_tile_f32(y, sum, 16, y_block, mr, n, 0, finish);
}

/* A 1 x 1 kernel has a shorter way to the same sums. */
LEPTON_KERNEL void conv_tile_any_f32(const float *x, const ptrdiff_t pixel, const ptrdiff_t column, const ptrdiff_t row,
                                     const ptrdiff_t block, const int kh, const int kw, const int c,
                                     const float *weight, const float *bias, float *y, const ptrdiff_t y_block,
                                     const int mr, const int n, const float_finish finish) {
  if (kh * kw == 1) {
    product_tile(x, pixel, block, c, weight, bias, y, 16, y_block, mr, n, 0, weight, 0, finish);
  } else {
    conv_tile_f32(x, pixel, column, row, block, kh, kw, c, weight, bias, y, y_block, mr, n, finish);
  }
}

LEPTON_KERNEL void conv_panel_f32(const float *x, const int pixel, const int column, const int row, const int step,
                                  const int block, const int kh, const int kw, const int c, const float *weight,
                                  const float *bias, float *y, const int oh, const int ow, const int mr, const int n,
                                  const float_finish finish) {
  const ptrdiff_t y_block = (ptrdiff_t)oh * ow * 16;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const float *from = x + (ptrdiff_t)oy * step;
    float *to = y + (ptrdiff_t)oy * ow * 16;
    LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
      conv_tile_any_f32(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias,
                        to + (ptrdiff_t)ox * 16, y_block, mr, n, finish);
    if (ow % mr) {
      const ptrdiff_t ox = ow / mr * mr;
      conv_tile_any_f32(from + ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias, to + ox * 16, y_block,
                        ow % mr, n, finish);
    }
  }
}

LEPTON_KERNEL void conv_map_f32(const uint8_t *x, const uint8_t *w_, const uint8_t *b, uint8_t *y_, const int pixel,
                                const int column, const int row, const int step, const int block, const int kh,
                                const int kw, const int c, const int oh, const int ow, const int o, const int mr,
                                const int nv, const float_finish finish) {
  const float *weight = (const float *)w_, *bias = (const float *)b;
  float *y = (float *)y_;
  const int n = nv * 16, whole = o / n * n;
  const ptrdiff_t taps = (ptrdiff_t)kh * kw * c;
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    conv_panel_f32((const float *)x, pixel, column, row, step, block, kh, kw, c, weight + v * taps, bias + v,
                   y + (ptrdiff_t)v * oh * ow, oh, ow, mr, n, finish);
  if (o > whole)
    conv_panel_f32((const float *)x, pixel, column, row, step, block, kh, kw, c, weight + whole * taps, bias + whole,
                   y + (ptrdiff_t)whole * oh * ow, oh, ow, mr, o - whole, finish);
}

/* pixel, column, row, step: floats between output columns, kernel columns, kernel rows, output rows, in x */
LEPTON_KERNEL void conv_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict y,
                            const int pixel, const int column, const int row, const int step, const int block,
                            const int kh, const int kw, const int c, const int oh, const int ow, const int o,
                            const int mr, const int nv, const int lo, const int hi) {
  conv_map_f32(x, weight, bias, y, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv, bounded(lo, hi));
}
LEPTON_KERNEL void conv_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                uint8_t *y, const int pixel, const int column, const int row, const int step,
                                const int block, const int kh, const int kw, const int c, const int oh, const int ow,
                                const int o, const int mr, const int nv, const int lo, const int hi) {
  conv_map_f32(x, weight, bias, y, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv,
               bounded_sum(y, residual, lo, hi));
}

/* ---- depthwise ---- */

/* ry rows by mr columns of one vector of channels; rows r0 to r1 - 1 of the window lie inside the map, columns as in
 * add_columns_f32. weights [ky][kx][16] */
LEPTON_KERNEL void depthwise3x3_tile_f32(const float *x, const ptrdiff_t row, const float *weight, const float *bias,
                                         float *y, const ptrdiff_t y_row, const int ry, const int mr, const int stride,
                                         const int r0, const int r1, const int first, const int valid,
                                         const float_finish finish) {
  lanes_f32 sum[16];
  const lanes_f32 start = load_f32(bias);
  LEPTON_UNROLL for (int i = 0; i < ry * mr; i++) sum[i] = start;
  LEPTON_UNROLL for (int r = 0; r < (ry - 1) * stride + 3; r++) {
    if (r < r0 || r >= r1) continue;
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const lanes_f32 pixel = load_f32(x + r * row + column * 16);
      LEPTON_UNROLL for (int o = 0; o < ry; o++) {
        const int ky = r - o * stride;
        if (ky < 0 || ky > 2) continue;
        LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
          const int p = (column - kx) / stride;
          if (column < kx || (column - kx) % stride || p >= mr) continue;
          sum[o * mr + p] = fused_f32(pixel, load_f32(weight + (ky * 3 + kx) * 16), sum[o * mr + p]);
        }
      }
    }
  }
  LEPTON_UNROLL for (int o = 0; o < ry; o++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      finish_f32(y + o * y_row + p * 16, sum[o * mr + p], LEPTON_FLOATS, finish);
}

LEPTON_KERNEL void depthwise3x3_rows_f32(const float *x, const float *weight, const float *bias, float *y, const int w,
                                         const int ow, const int stride, const int pl, const int mr, const int ry,
                                         const int r0, const int r1, const float_finish finish) {
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  const ptrdiff_t row = (ptrdiff_t)w * 16, y_row = (ptrdiff_t)ow * 16;
  if (tiles > 1)
    depthwise3x3_tile_f32(x, row, weight, bias, y, y_row, ry, mr, stride, r0, r1, pl, 1 << 20, finish);
  LEPTON_LOOP for (int ox = mr; ox < last; ox += mr)
    depthwise3x3_tile_f32(x + (ptrdiff_t)ox * stride * 16, row, weight, bias, y + (ptrdiff_t)ox * 16, y_row, ry, mr,
                          stride, r0, r1, 0, 1 << 20, finish);
  depthwise3x3_tile_f32(x + (ptrdiff_t)last * stride * 16, row, weight, bias, y + (ptrdiff_t)last * 16, y_row, ry,
                        ow - last, stride, r0, r1, tiles > 1 ? 0 : pl, w + pl - last * stride, finish);
}

/* Rows inside the map are one form, those that the border cuts others: each is specialised by what it skips. */
LEPTON_KERNEL void depthwise3x3_f32(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                    uint8_t *restrict y_, const int h, const int w, const int c, const int oh,
                                    const int ow, const int stride, const int pt, const int pl, const int mr,
                                    const int ry, const int lo, const int hi) {
  const float_finish finish = bounded(lo, hi);
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(c); v++) {
    const float *weight = (const float *)w_ + vector_at(v, 144), *bias = (const float *)b_ + v * LEPTON_FLOATS;
    const float *from = (const float *)x_ + vector_at(v, (ptrdiff_t)h * w * 16) - pl * 16;
    float *to = (float *)y_ + vector_at(v, (ptrdiff_t)oh * ow * 16);
    LEPTON_LOOP for (int oy = 0; oy < oh; oy += ry) {
      const int top = oy * stride - pt, window = (ry - 1) * stride + 3;
      const float *at = from + (ptrdiff_t)top * w * 16;
      float *out = to + (ptrdiff_t)oy * ow * 16;
      if (oh % ry && oy + ry > oh) {
        depthwise3x3_rows_f32(at, weight, bias, out, w, ow, stride, pl, mr, oh % ry, -top, h - top, finish);
      } else if (top >= 0 && top + window <= h) {
        depthwise3x3_rows_f32(at, weight, bias, out, w, ow, stride, pl, mr, ry, 0, window, finish);
      } else {
        depthwise3x3_rows_f32(at, weight, bias, out, w, ow, stride, pl, mr, ry, -top, h - top, finish);
      }
    }
  }
}

/* Any window: weights [block][ky][kx][16]; borders are skipped. */
LEPTON_KERNEL void depthwise_f32(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict y_,
                                 const int h, const int w, const int c, const int oh, const int ow, const int kh,
                                 const int kw, const int sh, const int sw, const int pt, const int pl, const int dh,
                                 const int dw, const int lo, const int hi) {
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(c); v++) {
    const float *x = (const float *)x_ + vector_at(v, (ptrdiff_t)h * w * 16);
    const float *weight = (const float *)w_ + vector_at(v, (ptrdiff_t)kh * kw * 16);
    const lanes_f32 start = load_f32((const float *)b_ + v * LEPTON_FLOATS);
    float *y = (float *)y_ + vector_at(v, (ptrdiff_t)oh * ow * 16);
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        lanes_f32 sum = start;
        LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
          const int iy = oy * sh - pt + ky * dh;
          if (iy < 0 || iy >= h) continue;
          LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
            const int ix = ox * sw - pl + kx * dw;
            if (ix < 0 || ix >= w) continue;
            sum = fused_f32(load_f32(x + ((ptrdiff_t)iy * w + ix) * 16), load_f32(weight + (ky * kw + kx) * 16), sum);
          }
        }
        finish_f32(y + ((ptrdiff_t)oy * ow + ox) * 16, sum, LEPTON_FLOATS, bounded(lo, hi));
      }
  }
}

/* ---- windows and elements ---- */

/* The places y0 to y1 - 1, x0 to x1 - 1 of the window at (oy, ox) lie inside the map. */
#define LEPTON_WINDOWS_F32(START, EACH, RESULT)                                                          \
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(c); v++) {                                              \
    const float *x = (const float *)x_ + vector_at(v, (ptrdiff_t)h * w * 16);                            \
    float *y = (float *)y_ + vector_at(v, (ptrdiff_t)oh * ow * 16);                                      \
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++) LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {            \
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);                 \
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);                 \
      lanes_f32 best = START;                                                                            \
      for (int iy = y0; iy < y1; iy++)                                                                   \
        for (int ix = x0; ix < x1; ix++) {                                                               \
          const lanes_f32 at = load_f32(x + ((ptrdiff_t)iy * w + ix) * 16);                              \
          best = EACH;                                                                                   \
        }                                                                                                \
      finish_f32(y + ((ptrdiff_t)oy * ow + ox) * 16, RESULT, LEPTON_FLOATS, bounded(lo, hi));            \
    }                                                                                                    \
  }

LEPTON_KERNEL void max_pool_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                const int pt, const int pl, const int lo, const int hi) {
  LEPTON_WINDOWS_F32(every_f32(-__builtin_inff()), larger_f32(best, at), best)
}

LEPTON_KERNEL void average_pool_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                    const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                    const int pt, const int pl, const int lo, const int hi) {
  LEPTON_WINDOWS_F32(every_f32(0), best + at, best * every_f32(1.0f / (float)((y1 - y0) * (x1 - x0))))
}

/* Four sums, so that a long window does not wait for one. */
LEPTON_KERNEL void global_average_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int c,
                                      const int lo, const int hi) {
  LEPTON_LOOP for (int v = 0; v < LEPTON_VECTORS(c); v++) {
    const float *x = (const float *)x_ + vector_at(v, (ptrdiff_t)pixels * 16);
    lanes_f32 sum[4] = {every_f32(0), every_f32(0), every_f32(0), every_f32(0)};
    LEPTON_LOOP for (int p = 0; p < pixels / 4; p++) {
      LEPTON_UNROLL for (int i = 0; i < 4; i++) sum[i] += load_f32(x + i * 16);
      x += 64;
    }
    LEPTON_UNROLL for (int i = 0; i < pixels % 4; i++) sum[i] += load_f32(x + i * 16);
    const lanes_f32 total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    finish_f32((float *)y_ + v * LEPTON_FLOATS, total * every_f32(1.0f / (float)pixels), LEPTON_FLOATS, bounded(lo, hi));
  }
}

/* n: a multiple of 16 */
LEPTON_KERNEL void add_f32(uint8_t *a, uint8_t *b, uint8_t *y, const int n, const int lo, const int hi) {
  for (ptrdiff_t i = 0; i < n; i += LEPTON_FLOATS)
    store_f32((float *)y + i, within(load_f32((const float *)a + i) + load_f32((const float *)b + i), bounded(lo, hi)));
}
LEPTON_KERNEL void clamp_f32(uint8_t *x, uint8_t *y, const int n, const int lo, const int hi) {
  for (ptrdiff_t i = 0; i < n; i += LEPTON_FLOATS)
    store_f32((float *)y + i, within(load_f32((const float *)x + i), bounded(lo, hi)));
}
#endif
