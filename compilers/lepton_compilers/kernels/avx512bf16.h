/* Products of bfloat16 for x86-64 with AVX512-BF16, one image a call; sums are float32, as in docs/arithmetic.md.
 *
 * Feature maps lie as those of blocked_f32.h, [block][pixel][16], in bfloat16: the two bytes that a float32 begins with.
 * vdpbf16ps multiplies a pair of neighbouring input channels, one dword broadcast, with 16 pairs of weights; they come
 * in panels of nv blocks, [...][pair of input channels][nv][16][2]. A channel that has no partner is paired with zero,
 * not with what lies beside it. Distances are in elements. Results are bfloat16 or float32: y_bytes an element; so is
 * a residual, of r_bytes. It stands on avx512f.h
 * and blocked_f32.h.
 */
#ifndef LEPTON_AVX512BF16_H
#define LEPTON_AVX512BF16_H

LEPTON_KERNEL __m512 load_bf16(const uint16_t *p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
LEPTON_KERNEL void store_bf16(uint16_t *p, const __m512 v) {
  const __m256bh rounded = _mm512_cvtneps_pbh(v);
  __builtin_memcpy(p, &rounded, 32);
}
/* 16 values of a map whose elements have `bytes`, from element `at` on */
LEPTON_KERNEL __m512 load_map(const uint8_t *map, const ptrdiff_t at, const int bytes) {
  return bytes == 2 ? load_bf16((const uint16_t *)map + at) : load_f32((const float *)map + at);
}

/* ---- from sums to results ---- */

/* residual: null where nothing is added. */
typedef struct {
  float_finish bounds;
  uint8_t *y;
  int y_bytes;
  const uint8_t *residual;
  int r_bytes;
} bf16_finish;

LEPTON_KERNEL bf16_finish bounded_bf16(uint8_t *y, const int y_bytes, const int lo, const int hi) {
  const bf16_finish finish = {bounded(lo, hi), y, y_bytes, 0, 4};
  return finish;
}
LEPTON_KERNEL bf16_finish bounded_sum_bf16(uint8_t *y, const int y_bytes, const uint8_t *residual, const int r_bytes,
                                           const int lo, const int hi) {
  const bf16_finish finish = {bounded(lo, hi), y, y_bytes, residual, r_bytes};
  return finish;
}
/* the first `lanes` of 16 results, to element `at` of y on; fewer than 16 only of float32 */
LEPTON_KERNEL void finish_bf16(const ptrdiff_t at, __m512 v, const int lanes, const bf16_finish f) {
  if (f.residual) v = _mm512_add_ps(v, load_map(f.residual, at, f.r_bytes));
  v = within(v, f.bounds);
  if (f.y_bytes == 2) {
    store_bf16((uint16_t *)f.y + at, v);
  } else {
    _mm512_mask_storeu_ps((float *)f.y + at, lanes >= 16 ? 0xffff : first_lanes(lanes), v);
  }
}

/* ---- layout ---- */

/* [pixels][channels] of float32 to [blocks][pixels][16], and back; padding channels become 0 */
LEPTON_KERNEL void pack_bf16(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int channels) {
  const float *x = (const float *)x_;
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const __mmask16 lanes = first_lanes(LEPTON_MIN(16, channels - b * 16));
    LEPTON_LOOP for (int p = 0; p < pixels; p++)
      store_bf16((uint16_t *)y_ + ((ptrdiff_t)b * pixels + p) * 16,
                 _mm512_maskz_loadu_ps(lanes, x + (ptrdiff_t)p * channels + b * 16));
  }
}
LEPTON_KERNEL void unpack_bf16(uint8_t *restrict x_, uint8_t *restrict y_, const int pixels, const int channels) {
  float *y = (float *)y_;
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const __mmask16 lanes = first_lanes(LEPTON_MIN(16, channels - b * 16));
    LEPTON_LOOP for (int p = 0; p < pixels; p++)
      _mm512_mask_storeu_ps(y + (ptrdiff_t)p * channels + b * 16, lanes,
                            load_bf16((const uint16_t *)x_ + ((ptrdiff_t)b * pixels + p) * 16));
  }
}

/* float32 to bfloat16 */
LEPTON_KERNEL void narrow_bf16(uint8_t *restrict x_, uint8_t *restrict y_, const int n) {
  const float *x = (const float *)x_;
  uint16_t *y = (uint16_t *)y_;
  for (ptrdiff_t i = 0; i < n / 16 * 16; i += 16) store_bf16(y + i, load_f32(x + i));
  if (n % 16) {
    const __m256bh last = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(first_lanes(n % 16), x + n / 16 * 16));
    __builtin_memcpy(y + n / 16 * 16, &last, n % 16 * 2);
  }
}
/* bfloat16 to float32; n: a multiple of 16 */
LEPTON_KERNEL void widen_bf16(uint8_t *restrict x, uint8_t *restrict y, const int n) {
  for (ptrdiff_t i = 0; i < n; i += 16) _mm512_storeu_ps((float *)y + i, load_bf16((const uint16_t *)x + i));
}

/* Maps of rows of `row` float32, [maps][h][row], as bfloat16 with a border of zeros: top and bottom in rows, left and
 * right in elements. */
LEPTON_KERNEL void border_bf16(uint8_t *restrict x, uint8_t *restrict y, const int maps, const int h, const int row,
                               const int top, const int bottom, const int left, const int right) {
  const ptrdiff_t wide = left + row + right;
  LEPTON_LOOP for (int m = 0; m < maps; m++) {
    uint8_t *to = y + m * (h + top + bottom) * wide * 2;
    __builtin_memset(to, 0, (size_t)(top * wide + left) * 2);
    LEPTON_LOOP for (int r = 0; r < h; r++) {
      uint8_t *at = to + ((top + r) * wide + left) * 2;
      narrow_bf16(x + ((ptrdiff_t)m * h + r) * row * 4, at, row);
      if (r < h - 1) __builtin_memset(at + (ptrdiff_t)row * 2, 0, (size_t)(left + right) * 2);
    }
    __builtin_memset(to + ((top + h - 1) * wide + left + row) * 2, 0, (size_t)(right + bottom * wide) * 2);
  }
}

/* ---- products ---- */

/* Two neighbouring channels of a pixel in every lane; or one and zero, though both are read. */
LEPTON_KERNEL __m512bh pair_bf16(const uint16_t *p, const int both) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  const __m512i held = _mm512_set1_epi32(pair);
  return (__m512bh)(both ? held : _mm512_and_si512(held, _mm512_set1_epi32(0xffff)));
}
LEPTON_KERNEL __m512bh load_pairs(const uint16_t *p) { return (__m512bh)_mm512_loadu_si512(p); }

LEPTON_KERNEL void finish_tile_bf16(const __m512 *sum, const ptrdiff_t at, const ptrdiff_t y_pixel,
                                    const ptrdiff_t y_block, const int mr, const int nv, const int lanes,
                                    const bf16_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      finish_bf16(at + p * y_pixel + v * y_block, sum[p * nv + v], v == nv - 1 ? lanes : 16, finish);
}
/* One pair of input channels of mr pixels by nv blocks. */
LEPTON_KERNEL void pair_step(__m512 *sum, const uint16_t *x, const ptrdiff_t pixel, const uint16_t *weight,
                             const int mr, const int nv, const int both) {
  __m512bh by[4];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load_pairs(weight + v * 32);
  LEPTON_UNROLL for (int p = 0; p < mr; p++) {
    const __m512bh one = pair_bf16(x + p * pixel, both);
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_dpbf16_ps(sum[p * nv + v], one, by[v]);
  }
}
/* All c input channels of mr pixels; gives where the weights go on. next, lines: what is fetched for later, of each
 * block of channels. */
LEPTON_KERNEL const uint16_t *channels_bf16(__m512 *sum, const uint16_t *x, const ptrdiff_t pixel,
                                            const ptrdiff_t block, const int c, const uint16_t *weight, const int mr,
                                            const int nv, const uint16_t *next, const int lines) {
  LEPTON_LOOP for (int b = 0; b < c / 16; b++) {
    prefetch_f32((const float *)next + (ptrdiff_t)b * lines * 16, lines);
    const uint16_t *from = x;
    LEPTON_LOOP for (int half = 0; half < 2; half++) {
      LEPTON_UNROLL for (int k = 0; k < 4; k++) pair_step(sum, from + 2 * k, pixel, weight + k * nv * 32, mr, nv, 1);
      from += 8;
      weight += 4 * nv * 32;
    }
    x += block;
  }
  LEPTON_LOOP for (int k = 0; k < c % 16 / 2; k++) {
    pair_step(sum, x + 2 * k, pixel, weight, mr, nv, 1);
    weight += nv * 32;
  }
  if (c % 2) {
    pair_step(sum, x + c % 16 - 1, pixel, weight, mr, nv, 0);
    weight += nv * 32;
  }
  return weight;
}

/* Lines that each of `steps` parts of a panel fetches of the next one; panel, all: elements of weights. */
LEPTON_KERNEL int prefetch_share_bf16(const ptrdiff_t panel, const ptrdiff_t all, const int steps) {
  return prefetch_share_f32((panel + 1) / 2, (all + 1) / 2, steps);
}

/* ---- rows of pixels by columns of weights: 1 x 1 convolutions, dense layers ---- */

LEPTON_KERNEL void product_panel_bf16(const uint16_t *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                                      const int c, const uint16_t *weight, const float *bias, const ptrdiff_t at,
                                      const ptrdiff_t y_pixel, const ptrdiff_t y_block, const int mr, const int nv,
                                      const int lanes, const int lines, const bf16_finish finish) {
  const uint16_t *next = weight + (ptrdiff_t)(c + 1) / 2 * nv * 32;
  LEPTON_LOOP for (int p = 0; p < pixels / mr * mr; p += mr) {
    __m512 sum[30];
    start_tile_f32(sum, bias, mr, nv);
    channels_bf16(sum, x + p * pixel, pixel, block, c, weight, mr, nv, next, lines);
    finish_tile_bf16(sum, at + p * y_pixel, y_pixel, y_block, mr, nv, lanes, finish);
    next += (ptrdiff_t)(c / 16) * lines * 32;
  }
  if (pixels % mr) {
    const ptrdiff_t p = pixels / mr * mr;
    __m512 sum[30];
    start_tile_f32(sum, bias, pixels % mr, nv);
    channels_bf16(sum, x + p * pixel, pixel, block, c, weight, pixels % mr, nv, next, lines);
    finish_tile_bf16(sum, at + p * y_pixel, y_pixel, y_block, pixels % mr, nv, lanes, finish);
  }
}

/* lanes: channels of y's very last block that exist there */
LEPTON_KERNEL void product_map_bf16(const uint16_t *x, const int pixels, const ptrdiff_t pixel, const ptrdiff_t block,
                                    const int c, const uint16_t *weight, const float *bias, const ptrdiff_t y_pixel,
                                    const ptrdiff_t y_block, const int blocks, const int mr, const int nv,
                                    const int lanes, const bf16_finish finish) {
  const ptrdiff_t a_block = (ptrdiff_t)(c + 1) / 2 * 32;
  const int tiles = (pixels + mr - 1) / mr, rest = blocks % nv, whole = rest ? blocks - rest : blocks - nv;
  const int lines = prefetch_share_bf16(a_block * nv, a_block * blocks, tiles * LEPTON_MAX(c / 16, 1));
  LEPTON_LOOP for (int v = 0; v < whole; v += nv)
    product_panel_bf16(x, pixels, pixel, block, c, weight + v * a_block, bias + v * 16, v * y_block, y_pixel, y_block,
                       mr, nv, 16, lines, finish);
  product_panel_bf16(x, pixels, pixel, block, c, weight + whole * a_block, bias + whole * 16, whole * y_block, y_pixel,
                     y_block, mr, rest ? rest : nv, lanes, 0, finish);
}

LEPTON_KERNEL void pointwise_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                  uint8_t *restrict y, const int pixels, const int c, const int o, const int mr,
                                  const int nv, const int y_bytes, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)pixels * 16;
  product_map_bf16((const uint16_t *)x, pixels, 16, block, c, (const uint16_t *)weight, (const float *)bias, 16, block,
                   (o + 15) / 16, mr, nv, 16, bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void pointwise_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                      uint8_t *y, const int pixels, const int c, const int o, const int mr,
                                      const int nv, const int y_bytes, const int r_bytes, const int lo, const int hi) {
  const ptrdiff_t block = (ptrdiff_t)pixels * 16;
  product_map_bf16((const uint16_t *)x, pixels, 16, block, c, (const uint16_t *)weight, (const float *)bias, 16, block,
                   (o + 15) / 16, mr, nv, 16, bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}

/* rows of `inner` values that lie `step` apart, to rows of `o` float32 */
LEPTON_KERNEL void dense_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                              uint8_t *restrict y, const int rows, const int step, const int inner, const int o,
                              const int mr, const int nv, const int lo, const int hi) {
  product_map_bf16((const uint16_t *)x, rows, step, 16, inner, (const uint16_t *)weight, (const float *)bias, o, 16,
                   (o + 15) / 16, mr, nv, o % 16 ? o % 16 : 16, bounded_bf16(y, 4, lo, hi));
}

/* One row by a panel of nv blocks; chains: sums a block is split in, so that their latency overlaps. */
LEPTON_KERNEL void row_panel_bf16(const uint16_t *x, const int inner, const uint16_t *weight, const float *bias,
                                  const ptrdiff_t at, const int nv, const int chains, const int lanes,
                                  const bf16_finish finish) {
  __m512 sum[16];
  const int pairs = inner / 2;
  LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = load_f32(bias + 16 * v);
  LEPTON_UNROLL for (int i = nv; i < nv * chains; i++) sum[i] = _mm512_setzero_ps();
  LEPTON_LOOP for (int k = 0; k < pairs / chains; k++) {
    LEPTON_UNROLL for (int i = 0; i < chains; i++) {
      const __m512bh one = pair_bf16(x + 2 * i, 1);
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[i * nv + v] = _mm512_dpbf16_ps(sum[i * nv + v], one, load_pairs(weight + (i * nv + v) * 32));
    }
    x += 2 * chains;
    weight += chains * nv * 32;
  }
  LEPTON_UNROLL for (int i = 0; i < pairs % chains + inner % 2; i++) {
    const __m512bh one = pair_bf16(x + 2 * i, i < pairs % chains);
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      sum[v] = _mm512_dpbf16_ps(sum[v], one, load_pairs(weight + (i * nv + v) * 32));
  }
  LEPTON_UNROLL for (int i = 1; i < chains; i++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = _mm512_add_ps(sum[v], sum[i * nv + v]);
  LEPTON_UNROLL for (int v = 0; v < nv; v++) finish_bf16(at + v * 16, sum[v], v == nv - 1 ? lanes : 16, finish);
}

LEPTON_KERNEL void row_bf16(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict y,
                            const int inner, const int o, const int nv, const int lo, const int hi) {
  const uint16_t *weight = (const uint16_t *)w_;
  const float *bias = (const float *)b_;
  const ptrdiff_t a_block = (ptrdiff_t)(inner + 1) / 2 * 32;
  const int blocks = (o + 15) / 16, rest = blocks % nv, whole = rest ? blocks - rest : blocks - nv;
  const int lanes = o % 16 ? o % 16 : 16, last = rest ? rest : nv;
  const bf16_finish finish = bounded_bf16(y, 4, lo, hi);
  LEPTON_LOOP for (int v = 0; v < whole; v += nv)
    row_panel_bf16((const uint16_t *)x, inner, weight + v * a_block, bias + v * 16, v * 16, nv, LEPTON_MAX(8 / nv, 1),
                   16, finish);
  row_panel_bf16((const uint16_t *)x, inner, weight + whole * a_block, bias + whole * 16, whole * 16, last,
                 LEPTON_MAX(8 / last, 1), lanes, finish);
}

/* ---- 3 x 3 convolution, stride 1 or 2, borders skipped ---- */

/* One pair of input channels of a row of the window; by kx: weights [kx][nv][16][2]. */
LEPTON_KERNEL void window_step_bf16(__m512 *sum, const uint16_t *x, const uint16_t *weight, const int mr, const int nv,
                                    const int stride, const int first, const int valid, const int both) {
  __m512bh by[12];
  LEPTON_UNROLL for (int i = 0; i < 3 * nv; i++) by[i] = load_pairs(weight + i * 32);
  LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
    if (column < first || column >= valid) continue;
    const __m512bh one = pair_bf16(x + column * 16, both);
    LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
      const int p = (column - kx) / stride;
      if (column < kx || (column - kx) % stride || p >= mr) continue;
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[p * nv + v] = _mm512_dpbf16_ps(sum[p * nv + v], one, by[kx * nv + v]);
    }
  }
}

/* x: column 0 of the tile's first pixel, row 0 of its window. first: columns that lie left of the map;
 * valid: columns from the window's start that lie inside it. weights: [ky][pair][kx][nv][16][2] */
LEPTON_KERNEL void conv3x3_tile_bf16(const uint16_t *x, const ptrdiff_t row, const ptrdiff_t block, const int c,
                                     const uint16_t *weight, const float *bias, const ptrdiff_t at,
                                     const ptrdiff_t y_block, const int mr, const int nv, const int stride,
                                     const int ky0, const int ky1, const int first, const int valid,
                                     const uint16_t *next, const int lines, const bf16_finish finish) {
  __m512 sum[28];
  start_tile_f32(sum, bias, mr, nv);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const uint16_t *by_pair = weight + (ptrdiff_t)ky * ((c + 1) / 2) * 3 * nv * 32, *from = x + ky * row;
    LEPTON_LOOP for (int k = 0; k < c / 2; k++) {
      if (k % 8 == 0) {
        prefetch_f32((const float *)next, lines);
        next += lines * 32;
      }
      window_step_bf16(sum, from + (k >> 3) * block + (k & 7) * 2, by_pair, mr, nv, stride, first, valid, 1);
      by_pair += 3 * nv * 32;
    }
    if (c % 2)
      window_step_bf16(sum, from + (c >> 4) * block + (c & 15) - 1, by_pair, mr, nv, stride, first, valid, 0);
  }
  finish_tile_bf16(sum, at, 16, y_block, mr, nv, 16, finish);
}

LEPTON_KERNEL void conv3x3_panel_bf16(const uint16_t *x, const uint16_t *weight, const float *bias, const ptrdiff_t at,
                                      const int h, const int w, const int c, const int oh, const int ow,
                                      const int stride, const int pt, const int pl, const int mr, const int nv,
                                      const int lines, const bf16_finish finish) {
  const ptrdiff_t row = (ptrdiff_t)w * 16, block = (ptrdiff_t)h * w * 16, y_block = (ptrdiff_t)oh * ow * 16;
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  const uint16_t *next = weight + (ptrdiff_t)(c + 1) / 2 * 9 * nv * 32;
  const ptrdiff_t fetched = (ptrdiff_t)(c / 2 + 7) / 8 * 3 * lines * 32;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int top = oy * stride - pt;
    const int ky0 = top < 0 ? -top : 0, ky1 = top + 3 > h ? h - top : 3;
    const uint16_t *from = x + ((ptrdiff_t)top * w - pl) * 16;
    const ptrdiff_t to = at + (ptrdiff_t)oy * ow * 16;
    if (tiles > 1) {
      conv3x3_tile_bf16(from, row, block, c, weight, bias, to, y_block, mr, nv, stride, ky0, ky1, pl, 1 << 20, next,
                        lines, finish);
      next += fetched;
    }
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr) {
      conv3x3_tile_bf16(from + (ptrdiff_t)ox * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)ox * 16,
                        y_block, mr, nv, stride, ky0, ky1, 0, 1 << 20, next, lines, finish);
      next += fetched;
    }
    conv3x3_tile_bf16(from + (ptrdiff_t)last * stride * 16, row, block, c, weight, bias, to + (ptrdiff_t)last * 16,
                      y_block, ow - last, nv, stride, ky0, ky1, tiles > 1 ? 0 : pl, w + pl - last * stride, next, lines,
                      finish);
    next += fetched;
  }
}

LEPTON_KERNEL void conv3x3_map_bf16(const uint8_t *x, const uint8_t *w_, const uint8_t *b, const int h, const int w,
                                    const int c, const int oh, const int ow, const int o, const int stride,
                                    const int pt, const int pl, const int mr, const int nv, const bf16_finish finish) {
  const uint16_t *weight = (const uint16_t *)w_;
  const float *bias = (const float *)b;
  const ptrdiff_t a_block = (ptrdiff_t)(c + 1) / 2 * 9 * 32, y_block = (ptrdiff_t)oh * ow * 16;
  const int blocks = (o + 15) / 16, tiles = oh * ((ow + mr - 1) / mr);
  const int lines = prefetch_share_bf16(a_block * nv, a_block * blocks, tiles * ((c / 2 + 7) / 8) * 3);
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv3x3_panel_bf16((const uint16_t *)x, weight + v * a_block, bias + v * 16, v * y_block, h, w, c, oh, ow, stride,
                       pt, pl, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv3x3_panel_bf16((const uint16_t *)x, weight + v * a_block, bias + v * 16, v * y_block, h, w, c, oh, ow, stride,
                       pt, pl, mr, blocks % nv, 0, finish);
  }
}

LEPTON_KERNEL void conv3x3_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict y, const int h, const int w, const int c, const int oh, const int ow,
                                const int o, const int stride, const int pt, const int pl, const int mr, const int nv,
                                const int y_bytes, const int lo, const int hi) {
  conv3x3_map_bf16(x, weight, bias, h, w, c, oh, ow, o, stride, pt, pl, mr, nv, bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void conv3x3_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                    uint8_t *y, const int h, const int w, const int c, const int oh, const int ow,
                                    const int o, const int stride, const int pt, const int pl, const int mr,
                                    const int nv, const int y_bytes, const int r_bytes, const int lo, const int hi) {
  conv3x3_map_bf16(x, weight, bias, h, w, c, oh, ow, o, stride, pt, pl, mr, nv,
                   bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}

/* ---- any convolution without a border ---- */

/* Taps (ky, kx): weights [ky][kx][pair][nv][16][2]. pixel, column, row: elements between neighbours of the tile, of a
 * kernel row, of kernel rows. */
LEPTON_KERNEL void conv_tile_bf16(const uint16_t *x, const ptrdiff_t pixel, const ptrdiff_t column, const ptrdiff_t row,
                                  const ptrdiff_t block, const int kh, const int kw, const int c,
                                  const uint16_t *weight, const float *bias, const ptrdiff_t at,
                                  const ptrdiff_t y_block, const int mr, const int nv, const uint16_t *next,
                                  const int lines, const bf16_finish finish) {
  __m512 sum[30];
  start_tile_f32(sum, bias, mr, nv);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      weight = channels_bf16(sum, x + ky * row + kx * column, pixel, block, c, weight, mr, nv, next, lines);
      next += (ptrdiff_t)(c / 16) * lines * 32;
    }
  finish_tile_bf16(sum, at, 16, y_block, mr, nv, 16, finish);
}

LEPTON_KERNEL void conv_panel_bf16(const uint16_t *x, const int pixel, const int column, const int row, const int step,
                                   const int block, const int kh, const int kw, const int c, const uint16_t *weight,
                                   const float *bias, const ptrdiff_t at, const int oh, const int ow, const int mr,
                                   const int nv, const int lines, const bf16_finish finish) {
  const ptrdiff_t y_block = (ptrdiff_t)oh * ow * 16, fetched = (ptrdiff_t)kh * kw * (c / 16) * lines * 32;
  const uint16_t *next = weight + (ptrdiff_t)kh * kw * ((c + 1) / 2) * nv * 32;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const uint16_t *from = x + (ptrdiff_t)oy * step;
    const ptrdiff_t to = at + (ptrdiff_t)oy * ow * 16;
    LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr) {
      conv_tile_bf16(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias,
                     to + (ptrdiff_t)ox * 16, y_block, mr, nv, next, lines, finish);
      next += fetched;
    }
    if (ow % mr) {
      const ptrdiff_t ox = ow / mr * mr;
      conv_tile_bf16(from + ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias, to + ox * 16, y_block,
                     ow % mr, nv, next, lines, finish);
      next += fetched;
    }
  }
}

LEPTON_KERNEL void conv_map_bf16(const uint8_t *x, const uint8_t *w_, const uint8_t *b, const int pixel,
                                 const int column, const int row, const int step, const int block, const int kh,
                                 const int kw, const int c, const int oh, const int ow, const int o, const int mr,
                                 const int nv, const bf16_finish finish) {
  const uint16_t *weight = (const uint16_t *)w_;
  const float *bias = (const float *)b;
  const int blocks = (o + 15) / 16, tiles = oh * ((ow + mr - 1) / mr);
  const ptrdiff_t a_block = (ptrdiff_t)kh * kw * ((c + 1) / 2) * 32, y_block = (ptrdiff_t)oh * ow * 16;
  const int lines = prefetch_share_bf16(a_block * nv, a_block * blocks, tiles * kh * kw * LEPTON_MAX(c / 16, 1));
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv_panel_bf16((const uint16_t *)x, pixel, column, row, step, block, kh, kw, c, weight + v * a_block,
                    bias + v * 16, v * y_block, oh, ow, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv_panel_bf16((const uint16_t *)x, pixel, column, row, step, block, kh, kw, c, weight + v * a_block,
                    bias + v * 16, v * y_block, oh, ow, mr, blocks % nv, 0, finish);
  }
}

/* pixel, column, row, step: elements between output columns, kernel columns, kernel rows, output rows, in x */
LEPTON_KERNEL void conv_bf16(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict y,
                             const int pixel, const int column, const int row, const int step, const int block,
                             const int kh, const int kw, const int c, const int oh, const int ow, const int o,
                             const int mr, const int nv, const int y_bytes, const int lo, const int hi) {
  conv_map_bf16(x, weight, bias, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv,
                bounded_bf16(y, y_bytes, lo, hi));
}
LEPTON_KERNEL void conv_add_bf16(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *residual,
                                 uint8_t *y, const int pixel, const int column, const int row, const int step,
                                 const int block, const int kh, const int kw, const int c, const int oh, const int ow,
                                 const int o, const int mr, const int nv, const int y_bytes, const int r_bytes,
                                 const int lo, const int hi) {
  conv_map_bf16(x, weight, bias, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv,
                bounded_sum_bf16(y, y_bytes, residual, r_bytes, lo, hi));
}
#endif
