/* float32 kernels for x86-64 with AVX-512, one image a call; multiply and add are fused.
 *
 * Feature maps lie in blocks of 16 channels, [block][pixel][16]; a vector is 16 output channels of one pixel.
 * Padding channels are stored, never multiplied. Weights come in panels of nv blocks, [...][input channel][nv][16].
 * Distances are in floats. lo, hi: bits of the result's bounds. A NaN passes through bounds.
 */
#ifndef LEPTON_AVX512F_H
#define LEPTON_AVX512F_H
#include <immintrin.h>


LEPTON_KERNEL __m512 load_f32(const float *p) { return _mm512_loadu_ps(p); }
LEPTON_KERNEL __mmask16 first_lanes(const int n) { return (__mmask16)((1u << n) - 1); }

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
LEPTON_KERNEL __m512 within(__m512 v, const float_finish f) {
  /* Of two operands one of which is NaN these instructions give the second. The largest float32 means no bound. */
  if (f.lo > -__FLT_MAX__) v = _mm512_max_ps(_mm512_set1_ps(f.lo), v);
  if (f.hi < __FLT_MAX__) v = _mm512_min_ps(_mm512_set1_ps(f.hi), v);
  return v;
}
/* the first `lanes` of 16 results */
LEPTON_KERNEL void finish_f32(float *y, __m512 v, const int lanes, const float_finish f) {
  if (f.adds) v = _mm512_add_ps(v, load_f32((const float *)((intptr_t)y + f.apart * 4)));
  v = within(v, f);
  if (lanes >= 16) {
    _mm512_storeu_ps(y, v);
  } else {
    _mm512_mask_storeu_ps(y, first_lanes(lanes), v);
  }
}

/* A share of the weights that come next, on their way into the second-level cache while this tile computes. */
LEPTON_KERNEL void prefetch_f32(const float *from, const int lines) {
  LEPTON_UNROLL for (int i = 0; i < lines; i++) _mm_prefetch((const char *)(from + i * 16), _MM_HINT_T1);
}
/* Lines that each of `steps` parts of a panel fetches of the next one; 0 where all weights stay in the cache. */
LEPTON_KERNEL int prefetch_share_f32(const ptrdiff_t panel, const ptrdiff_t all, const int steps) {
  return all > 65536 ? (int)((panel / 16 + steps - 1) / steps) : 0;
}

/* ---- layout ---- */

/* [pixels][channels] to [blocks][pixels][16], and back; padding channels become 0. map: pixels that blocks lie apart,
 * of which `pixels` are moved. */
LEPTON_KERNEL void pack_range_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int map,
                                  const int channels) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const __mmask16 lanes = first_lanes(LEPTON_MIN(16, channels - b * 16));
    LEPTON_LOOP for (int p = 0; p < pixels; p++)
      _mm512_storeu_ps(y + ((ptrdiff_t)b * map + p) * 16,
                       _mm512_maskz_loadu_ps(lanes, x + (ptrdiff_t)p * channels + b * 16));
  }
}
LEPTON_KERNEL void unpack_range_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int map,
                                    const int channels) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const __mmask16 lanes = first_lanes(LEPTON_MIN(16, channels - b * 16));
    LEPTON_LOOP for (int p = 0; p < pixels; p++)
      _mm512_mask_storeu_ps(y + (ptrdiff_t)p * channels + b * 16, lanes,
                            load_f32(x + ((ptrdiff_t)b * map + p) * 16));
  }
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

/* pixel, block: floats between neighbouring pixels and between blocks of 16 input channels of x; y_pixel, y_block:
 * those of y. lanes: channels of the last block that exist in y. No bias: null. */
LEPTON_KERNEL void product_tile(const float *x, const ptrdiff_t pixel, const ptrdiff_t block, const int c,
                                const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                                const ptrdiff_t y_block, const int mr, const int nv, const int lanes, const float *next,
                                const int lines, const float_finish finish) {
  __m512 sum[30];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512 start = bias ? load_f32(bias + 16 * v) : _mm512_setzero_ps();
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int b = 0; b < c / 16; b++) {
    prefetch_f32(next + (ptrdiff_t)b * lines * 16, lines);
    const float *from = x;
    LEPTON_LOOP for (int quarter = 0; quarter < 4; quarter++) {
      LEPTON_UNROLL for (int k = 0; k < 4; k++) {
        __m512 by[4];
        LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load_f32(weight + (k * nv + v) * 16);
        LEPTON_UNROLL for (int p = 0; p < mr; p++) {
          const __m512 one = _mm512_set1_ps(from[p * pixel + k]);
          LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_fmadd_ps(one, by[v], sum[p * nv + v]);
        }
      }
      from += 4;
      weight += 4 * nv * 16;
    }
    x += block;
  }
  LEPTON_LOOP for (int k = 0; k < c % 16; k++) {
    __m512 by[4];
    LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load_f32(weight + v * 16);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512 one = _mm512_set1_ps(x[p * pixel + k]);
      LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_fmadd_ps(one, by[v], sum[p * nv + v]);
    }
    weight += nv * 16;
  }
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      finish_f32(y + p * y_pixel + v * y_block, sum[p * nv + v], v == nv - 1 ? lanes : 16, finish);
}

LEPTON_KERNEL void product_panel(const float *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                                 const int c, const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                                 const ptrdiff_t y_block, const int mr, const int nv, const int lanes, const int lines,
                                 const float_finish finish) {
  const float *next = weight + (ptrdiff_t)c * nv * 16;
  LEPTON_LOOP for (int p = 0; p < pixels / mr * mr; p += mr) {
    product_tile(x + p * pixel, pixel, block, c, weight, bias, y + p * y_pixel, y_pixel, y_block, mr, nv, lanes, next,
                 lines, finish);
    next += (ptrdiff_t)(c / 16) * lines * 16;
  }
  if (pixels % mr) {
    const ptrdiff_t p = pixels / mr * mr;
    product_tile(x + p * pixel, pixel, block, c, weight, bias, y + p * y_pixel, y_pixel, y_block, pixels % mr, nv,
                 lanes, next, lines, finish);
  }
}

/* lanes: channels of y's very last block that exist there */
LEPTON_KERNEL void product_map(const float *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                               const int c, const float *weight, const float *bias, float *y, const ptrdiff_t y_pixel,
                               const ptrdiff_t y_block, const int blocks, const int mr, const int nv, const int lanes,
                               const float_finish finish) {
  const int tiles = (pixels + mr - 1) / mr, rest = blocks % nv, whole = rest ? blocks - rest : blocks - nv;
  const int lines = prefetch_share_f32((ptrdiff_t)c * nv * 16, (ptrdiff_t)c * blocks * 16,
                                       tiles * LEPTON_MAX(c / 16, 1));
  LEPTON_LOOP for (int v = 0; v < whole; v += nv)
    product_panel(x, pixels, pixel, block, c, weight + (ptrdiff_t)v * c * 16, bias ? bias + v * 16 : bias,
                  y + v * y_block, y_pixel, y_block, mr, nv, 16, lines, finish);
  product_panel(x, pixels, pixel, block, c, weight + (ptrdiff_t)whole * c * 16, bias ? bias + whole * 16 : bias,
                y + whole * y_block, y_pixel, y_block, mr, rest ? rest : nv, lanes, 0, finish);
}

/* `pixels` of a map of `map` pixels, which is how far blocks lie apart */
LEPTON_KERNEL void pointwise_range_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                       uint8_t *restrict y, const int pixels, const int map, const int c, const int o,
                                       const int mr, const int nv, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)map * 16;
  product_map((const float *)x, pixels, 16, block, c, (const float *)weight, (const float *)bias, (float *)y, 16, block,
              (o + 15) / 16, mr, nv, 16, bounded(lo, hi));
}
LEPTON_KERNEL void pointwise_range_add_f32(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                           uint8_t *residual, uint8_t *y, const int pixels, const int map, const int c,
                                           const int o, const int mr, const int nv, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)map * 16;
  product_map((const float *)x, pixels, 16, block, c, (const float *)weight, (const float *)bias, (float *)y, 16, block,
              (o + 15) / 16, mr, nv, 16, bounded_sum(y, residual, lo, hi));
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
              (o + 15) / 16, mr, nv, o % 16 ? o % 16 : 16, bounded(lo, hi));
}
LEPTON_KERNEL void dense_f32(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                             uint8_t *restrict y, const int rows, const int step, const int inner, const int o,
                             const int mr, const int nv, const int lo, const int hi) {
  dense_range_f32(x, weight, bias, y, rows, step, inner, o, o, mr, nv, lo, hi);
}

/* One row by a panel of nv blocks; chains: sums a block is split in, so that their latency overlaps. */
LEPTON_KERNEL void row_panel(const float *x, const int inner, const float *weight, const float *bias, float *y,
                             const int nv, const int chains, const int lanes, const float_finish finish) {
  __m512 sum[16];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = load_f32(bias + 16 * v);
  LEPTON_UNROLL for (int i = nv; i < nv * chains; i++) sum[i] = _mm512_setzero_ps();
  LEPTON_LOOP for (int k = 0; k < inner / chains; k++) {
    LEPTON_UNROLL for (int i = 0; i < chains; i++) {
      const __m512 one = _mm512_set1_ps(x[i]);
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[i * nv + v] = _mm512_fmadd_ps(one, load_f32(weight + (i * nv + v) * 16), sum[i * nv + v]);
    }
    x += chains;
    weight += chains * nv * 16;
  }
  LEPTON_UNROLL for (int i = 0; i < inner % chains; i++) {
    const __m512 one = _mm512_set1_ps(x[i]);
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      sum[i * nv + v] = _mm512_fmadd_ps(one, load_f32(weight + (i * nv + v) * 16), sum[i * nv + v]);
  }
  LEPTON_UNROLL for (int i = 1; i < chains; i++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = _mm512_add_ps(sum[v], sum[i * nv + v]);
  LEPTON_UNROLL for (int v = 0; v < nv; v++) finish_f32(y + v * 16, sum[v], v == nv - 1 ? lanes : 16, finish);
}

LEPTON_KERNEL void row_f32(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict y_,
                           const int inner, const int o, const int nv, const int lo, const int hi) {
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  float *y = (float *)y_;
  const int blocks = (o + 15) / 16, rest = blocks % nv, whole = rest ? blocks - rest : blocks - nv;
  const int lanes = o % 16 ? o % 16 : 16;
  LEPTON_LOOP for (int v = 0; v < whole; v += nv)
    row_panel(x, inner, weight + (ptrdiff_t)v * inner * 16, bias + v * 16, y + v * 16, nv, LEPTON_MAX(8 / nv, 1), 16,
              bounded(lo, hi));
  const int last = rest ? rest : nv;
  row_panel(x, inner, weight + (ptrdiff_t)whole * inner * 16, bias + whole * 16, y + whole * 16, last,
            LEPTON_MAX(8 / last, 1), lanes, bounded(lo, hi));
}

/* ---- 3 x 3 convolution, stride 1 or 2, borders skipped ---- */

/* x: column 0 of the tile's first pixel, row 0 of its window. first: columns that lie left of the map;
 * valid: columns from the window's start that lie inside it. weights: [ky][c][kx][nv][16] */
LEPTON_KERNEL void conv3x3_tile_f32(const float *x, const ptrdiff_t row, const ptrdiff_t block, const int c,
                                    const float *weight, const float *bias, float *y, const ptrdiff_t y_block,
                                    const int mr, const int nv, const int stride, const int ky0, const int ky1,
                                    const int first, const int valid, const float *next, const int lines,
                                    const float_finish finish) {
  __m512 sum[28];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512 start = load_f32(bias + 16 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const float *by_channel = weight + (ptrdiff_t)ky * c * 3 * nv * 16;
    LEPTON_LOOP for (int k = 0; k < c; k++) {
      if (k % 16 == 0) {
        prefetch_f32(next, lines);
        next += lines * 16;
      }
      const float *from = x + ky * row + (k >> 4) * block + (k & 15);
      __m512 by[12];
      LEPTON_UNROLL for (int i = 0; i < 3 * nv; i++) by[i] = load_f32(by_channel + i * 16);
      LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
        if (column < first || column >= valid) continue;
        const __m512 one = _mm512_set1_ps(from[column * 16]);
        LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
          const int p = (column - kx) / stride;
          if (column < kx || (column - kx) % stride || p >= mr) continue;
          LEPTON_UNROLL for (int v = 0; v < nv; v++)
            sum[p * nv + v] = _mm512_fmadd_ps(one, by[kx * nv + v], sum[p * nv + v]);
        }
      }
      by_channel += 3 * nv * 16;
    }
  }
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) finish_f32(y + v * y_block + p * 16, sum[p * nv + v], 16, finish);
}

LEPTON_KERNEL void conv3x3_panel_f32(const float *x, const float *weight, const float *bias, float *y, const int h,
                                     const int w, const int c, const int oh, const int ow, const int stride,
                                     const int pt, const int pl, const int mr, const int nv, const int lines,
                                     const float_finish finish) {
  const ptrdiff_t row = (ptrdiff_t)w * 16, block = (ptrdiff_t)h * w * 16, y_block = (ptrdiff_t)oh * ow * 16;
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  const float *next = weight + (ptrdiff_t)c * 9 * nv * 16;
  const ptrdiff_t fetched = (ptrdiff_t)(c + 15) / 16 * 3 * lines * 16;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int top = oy * stride - pt;
    const int ky0 = top < 0 ? -top : 0, ky1 = top + 3 > h ? h - top : 3;
    const float *from = x + ((ptrdiff_t)top * w - pl) * 16;
    float *to = y + (ptrdiff_t)oy * ow * 16;
    if (tiles > 1) {
      conv3x3_tile_f32(from, row, block, c, weight, bias, to, y_block, mr, nv, stride, ky0, ky1, pl, 1 << 20, next,
                       lines, finish);
      next += fetched;
    }
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr) {
      conv3x3_tile_f32(from + (ptrdiff_t)ox * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)ox * 16,
                       y_block, mr, nv, stride, ky0, ky1, 0, 1 << 20, next, lines, finish);
      next += fetched;
    }
    conv3x3_tile_f32(from + (ptrdiff_t)last * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)last * 16,
                     y_block, ow - last, nv, stride, ky0, ky1, tiles > 1 ? 0 : pl, w + pl - last * stride, next, lines,
                     finish);
    next += fetched;
  }
}

LEPTON_KERNEL void conv3x3_map_f32(const uint8_t *x, const uint8_t *w_, const uint8_t *b, uint8_t *y_, const int h,
                                   const int w, const int c, const int oh, const int ow, const int o, const int stride,
                                   const int pt, const int pl, const int mr, const int nv, const float_finish finish) {
  const float *weight = (const float *)w_, *bias = (const float *)b;
  float *y = (float *)y_;
  const int blocks = (o + 15) / 16, tiles = oh * ((ow + mr - 1) / mr);
  const int lines = prefetch_share_f32((ptrdiff_t)c * 9 * nv * 16, (ptrdiff_t)c * 9 * blocks * 16,
                                       tiles * ((c + 15) / 16) * 3);
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv3x3_panel_f32((const float *)x, weight + (ptrdiff_t)v * c * 9 * 16, bias + v * 16,
                      y + (ptrdiff_t)v * oh * ow * 16, h, w, c, oh, ow, stride, pt, pl, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv3x3_panel_f32((const float *)x, weight + (ptrdiff_t)v * c * 9 * 16, bias + v * 16,
                      y + (ptrdiff_t)v * oh * ow * 16, h, w, c, oh, ow, stride, pt, pl, mr, blocks % nv, 0, finish);
  }
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
                                 const float *bias, float *y, const ptrdiff_t y_block, const int mr, const int nv,
                                 const float_finish finish) {
  __m512 sum[30];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512 start = load_f32(bias + 16 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++)
      LEPTON_LOOP for (int k = 0; k < c; k++) {
        const float *from = x + ky * row + kx * column + (k >> 4) * block + (k & 15);
        __m512 by[4];
        LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load_f32(weight + v * 16);
        LEPTON_UNROLL for (int p = 0; p < mr; p++) {
          const __m512 one = _mm512_set1_ps(from[p * pixel]);
          LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_fmadd_ps(one, by[v], sum[p * nv + v]);
        }
        weight += nv * 16;
      }
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) finish_f32(y + v * y_block + p * 16, sum[p * nv + v], 16, finish);
}

/* A 1 x 1 kernel has a shorter way to the same sums. */
LEPTON_KERNEL void conv_tile_any_f32(const float *x, const ptrdiff_t pixel, const ptrdiff_t column, const ptrdiff_t row,
                                     const ptrdiff_t block, const int kh, const int kw, const int c,
                                     const float *weight, const float *bias, float *y, const ptrdiff_t y_block,
                                     const int mr, const int nv, const float_finish finish) {
  if (kh * kw == 1) {
    product_tile(x, pixel, block, c, weight, bias, y, 16, y_block, mr, nv, 16, weight, 0, finish);
  } else {
    conv_tile_f32(x, pixel, column, row, block, kh, kw, c, weight, bias, y, y_block, mr, nv, finish);
  }
}

LEPTON_KERNEL void conv_panel_f32(const float *x, const int pixel, const int column, const int row, const int step,
                                  const int block, const int kh, const int kw, const int c, const float *weight,
                                  const float *bias, float *y, const int oh, const int ow, const int mr, const int nv,
                                  const float_finish finish) {
  const ptrdiff_t y_block = (ptrdiff_t)oh * ow * 16;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const float *from = x + (ptrdiff_t)oy * step;
    float *to = y + (ptrdiff_t)oy * ow * 16;
    LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
      conv_tile_any_f32(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias,
                        to + (ptrdiff_t)ox * 16, y_block, mr, nv, finish);
    if (ow % mr) {
      const ptrdiff_t ox = ow / mr * mr;
      conv_tile_any_f32(from + ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias, to + ox * 16, y_block,
                        ow % mr, nv, finish);
    }
  }
}

LEPTON_KERNEL void conv_map_f32(const uint8_t *x, const uint8_t *w_, const uint8_t *b, uint8_t *y_, const int pixel,
                                const int column, const int row, const int step, const int block, const int kh,
                                const int kw, const int c, const int oh, const int ow, const int o, const int mr,
                                const int nv, const float_finish finish) {
  const float *weight = (const float *)w_, *bias = (const float *)b;
  float *y = (float *)y_;
  const int blocks = (o + 15) / 16;
  const ptrdiff_t taps = (ptrdiff_t)kh * kw * c;
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv_panel_f32((const float *)x, pixel, column, row, step, block, kh, kw, c, weight + v * taps * 16, bias + v * 16,
                   y + (ptrdiff_t)v * oh * ow * 16, oh, ow, mr, nv, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv_panel_f32((const float *)x, pixel, column, row, step, block, kh, kw, c, weight + v * taps * 16, bias + v * 16,
                   y + (ptrdiff_t)v * oh * ow * 16, oh, ow, mr, blocks % nv, finish);
  }
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

/* ry rows by mr columns of one block; rows r0 to r1 - 1 of the window lie inside the map, columns as in
 * conv3x3_tile_f32. weights [ky][kx][16] */
LEPTON_KERNEL void depthwise3x3_tile_f32(const float *x, const ptrdiff_t row, const float *weight, const float *bias,
                                         float *y, const ptrdiff_t y_row, const int ry, const int mr, const int stride,
                                         const int r0, const int r1, const int first, const int valid,
                                         const float_finish finish) {
  __m512 sum[16];
  const __m512 start = load_f32(bias);
  LEPTON_UNROLL for (int i = 0; i < ry * mr; i++) sum[i] = start;
  LEPTON_UNROLL for (int r = 0; r < (ry - 1) * stride + 3; r++) {
    if (r < r0 || r >= r1) continue;
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const __m512 pixel = load_f32(x + r * row + column * 16);
      LEPTON_UNROLL for (int o = 0; o < ry; o++) {
        const int ky = r - o * stride;
        if (ky < 0 || ky > 2) continue;
        LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
          const int p = (column - kx) / stride;
          if (column < kx || (column - kx) % stride || p >= mr) continue;
          sum[o * mr + p] = _mm512_fmadd_ps(pixel, load_f32(weight + (ky * 3 + kx) * 16), sum[o * mr + p]);
        }
      }
    }
  }
  LEPTON_UNROLL for (int o = 0; o < ry; o++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) finish_f32(y + o * y_row + p * 16, sum[o * mr + p], 16, finish);
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
  const float *weight = (const float *)w_, *bias = (const float *)b_;
  const float_finish finish = bounded(lo, hi);
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    const float *from = (const float *)x_ + ((ptrdiff_t)b * h * w - pl) * 16;
    float *to = (float *)y_ + (ptrdiff_t)b * oh * ow * 16;
    LEPTON_LOOP for (int oy = 0; oy < oh; oy += ry) {
      const int top = oy * stride - pt, window = (ry - 1) * stride + 3;
      const float *at = from + (ptrdiff_t)top * w * 16;
      float *out = to + (ptrdiff_t)oy * ow * 16;
      if (oh % ry && oy + ry > oh) {
        depthwise3x3_rows_f32(at, weight + b * 144, bias + b * 16, out, w, ow, stride, pl, mr, oh % ry, -top, h - top,
                              finish);
      } else if (top >= 0 && top + window <= h) {
        depthwise3x3_rows_f32(at, weight + b * 144, bias + b * 16, out, w, ow, stride, pl, mr, ry, 0, window, finish);
      } else {
        depthwise3x3_rows_f32(at, weight + b * 144, bias + b * 16, out, w, ow, stride, pl, mr, ry, -top, h - top,
                              finish);
      }
    }
  }
}

/* Any window: weights [block][ky][kx][16]; borders are skipped. */
LEPTON_KERNEL void depthwise_f32(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict y_,
                                 const int h, const int w, const int c, const int oh, const int ow, const int kh,
                                 const int kw, const int sh, const int sw, const int pt, const int pl, const int dh,
                                 const int dw, const int lo, const int hi) {
  const float *x = (const float *)x_, *bias = (const float *)b_;
  float *y = (float *)y_;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const float *weight = (const float *)w_ + (ptrdiff_t)b * kh * kw * 16;
        __m512 sum = load_f32(bias + b * 16);
        LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
          const int iy = oy * sh - pt + ky * dh;
          if (iy < 0 || iy >= h) continue;
          LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
            const int ix = ox * sw - pl + kx * dw;
            if (ix < 0 || ix >= w) continue;
            sum = _mm512_fmadd_ps(load_f32(x + (((ptrdiff_t)b * h + iy) * w + ix) * 16),
                                  load_f32(weight + (ky * kw + kx) * 16), sum);
          }
        }
        finish_f32(y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16, sum, 16, bounded(lo, hi));
      }
}

/* ---- windows and elements ---- */

/* The places y0 to y1 - 1, x0 to x1 - 1 of the window at (oy, ox) lie inside the map. */
#define LEPTON_WINDOWS_F32(START, EACH, RESULT)                                                       \
  const float *x = (const float *)x_;                                                                 \
  float *y = (float *)y_;                                                                             \
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)                                                 \
      LEPTON_LOOP for (int oy = 0; oy < oh; oy++) LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {       \
    const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);                \
    const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);                \
    __m512 best = START;                                                                              \
    for (int iy = y0; iy < y1; iy++)                                                                  \
      for (int ix = x0; ix < x1; ix++) {                                                              \
        const __m512 at = load_f32(x + (((ptrdiff_t)b * h + iy) * w + ix) * 16);                      \
        best = EACH;                                                                                  \
      }                                                                                               \
    finish_f32(y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16, RESULT, 16, bounded(lo, hi));           \
  }

LEPTON_KERNEL void max_pool_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                const int pt, const int pl, const int lo, const int hi) {
  LEPTON_WINDOWS_F32(_mm512_set1_ps(-__builtin_inff()), _mm512_max_ps(best, at), best)
}

/* Four sums, so that a long window does not wait for one. */
LEPTON_KERNEL void global_average_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int c,
                                      const int lo, const int hi) {
  const float *x = (const float *)x_;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    LEPTON_LOOP for (int p = 0; p < pixels / 4; p++) {
      LEPTON_UNROLL for (int i = 0; i < 4; i++) sum[i] = _mm512_add_ps(sum[i], load_f32(x + i * 16));
      x += 64;
    }
    LEPTON_UNROLL for (int i = 0; i < pixels % 4; i++) sum[i] = _mm512_add_ps(sum[i], load_f32(x + i * 16));
    x += pixels % 4 * 16;
    const __m512 total = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
    finish_f32((float *)y_ + b * 16, _mm512_mul_ps(total, _mm512_set1_ps(1.0f / (float)pixels)), 16, bounded(lo, hi));
  }
}

LEPTON_KERNEL void average_pool_f32(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                    const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                    const int pt, const int pl, const int lo, const int hi) {
  LEPTON_WINDOWS_F32(_mm512_setzero_ps(), _mm512_add_ps(best, at),
                     _mm512_mul_ps(best, _mm512_set1_ps(1.0f / (float)((y1 - y0) * (x1 - x0)))))
}

/* n: a multiple of 16 */
LEPTON_KERNEL void add_f32(uint8_t *a, uint8_t *b, uint8_t *y, const int n, const int lo, const int hi) {
  for (ptrdiff_t i = 0; i < n; i += 16)
    _mm512_storeu_ps((float *)y + i, within(_mm512_add_ps(load_f32((const float *)a + i), load_f32((const float *)b + i)),
                                            bounded(lo, hi)));
}
LEPTON_KERNEL void clamp_f32(uint8_t *x, uint8_t *y, const int n, const int lo, const int hi) {
  for (ptrdiff_t i = 0; i < n; i += 16)
    _mm512_storeu_ps((float *)y + i, within(load_f32((const float *)x + i), bounded(lo, hi)));
}
#endif
