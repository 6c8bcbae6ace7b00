/* Micro-kernels of training, float32; they stand on portable.h. Maps are NHWC, the whole batch a call.
 *
 * Lanes are whatever lies side by side in memory: output channels for the gradient of a convolution's
 * weights, input channels for the gradient of its input, inputs for dense layers. Sums run in a fixed order
 * on one thread, so that equal inputs give equal bits; multiply and add may fuse.
 */
#ifndef LEPTON_TRAINING_PORTABLE_H
#define LEPTON_TRAINING_PORTABLE_H

/* LEPTON_GRADIENT_BLOCKS: vectors of 16 lanes beside each other, where there are as many, by half of a tile each. */
#if defined(__AVX512F__)
#define LEPTON_GRADIENT_BLOCKS 2
#define LEPTON_GRADIENT_TILE 16
#elif defined(__AVX__) || defined(__aarch64__)
#define LEPTON_GRADIENT_BLOCKS 1
#define LEPTON_GRADIENT_TILE 4
#else
#define LEPTON_GRADIENT_BLOCKS 1
#define LEPTON_GRADIENT_TILE 2
#endif

LEPTON_KERNEL void store_first(float *y, const float16_lanes v, const int n) {
  if (n >= 16) {
    __builtin_memcpy(y, &v, 64);
  } else {
    for (int l = 0; l < n; l++) y[l] = v[l];
  }
}

LEPTON_KERNEL void zero_floats(float *y, const ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = 0.0f;
}

/* The first and one past the last output place whose input place, at offset `reach`, lies in 0 .. extent - 1. */
LEPTON_KERNEL int first_inside(const int reach, const int stride, const int outputs) {
  const int first = reach >= 0 ? 0 : (-reach + stride - 1) / stride;
  return LEPTON_MIN(first, outputs);
}
LEPTON_KERNEL int end_inside(const int reach, const int stride, const int outputs, const int extent) {
  return extent - 1 < reach ? 0 : LEPTON_MIN(outputs, (extent - 1 - reach) / stride + 1);
}

/* ---- convolution ---- */

/* One kernel place, `tile` input channels from `i` on by 16 output channels from `ob` on. */
LEPTON_KERNEL void conv2d_grad_weight_tile(const float *x, const float *dy, float *dw, const int images, const int h,
                                           const int w, const int c, const int oh, const int ow, const int o,
                                           const int sh, const int sw, const int top, const int left, const int i,
                                           const int tile, const int ob, const ptrdiff_t row) {
#pragma clang fp contract(fast)
  const int y0 = first_inside(top, sh, oh), y1 = end_inside(top, sh, oh, h);
  const int x0 = first_inside(left, sw, ow), x1 = end_inside(left, sw, ow, w);
  float16_lanes sum[tile];
  LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] = (float16_lanes){0};
  for (int n = 0; n < images; n++)
    for (int oy = y0; oy < y1; oy++) {
      const float *from = x + (((ptrdiff_t)n * h + oy * sh + top) * w + left) * c + i;
      const float *by = dy + ((ptrdiff_t)n * oh + oy) * ow * o + ob;
      for (int ox = x0; ox < x1; ox++) {
        const float16_lanes d = load_lanes(by + (ptrdiff_t)ox * o, o - ob);
        LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] += from[(ptrdiff_t)ox * sw * c + t] * d;
      }
    }
  LEPTON_UNROLL for (int t = 0; t < tile; t++)
    for (int l = 0; l < 16; l++)
      if (ob + l < o) dw[(ob + l) * row + i + t] = sum[t][l];
}

/* One kernel place, `tile` output channels from `ob` on by `blocks` of 16 input channels from `i` on, which lie side by
 * side in dw. */
LEPTON_KERNEL void conv2d_grad_weight_turned(const float *x, const float *dy, float *dw, const int images, const int h,
                                             const int w, const int c, const int oh, const int ow, const int o,
                                             const int sh, const int sw, const int top, const int left, const int i,
                                             const int blocks, const int ob, const int tile, const ptrdiff_t row) {
#pragma clang fp contract(fast)
  const int y0 = first_inside(top, sh, oh), y1 = end_inside(top, sh, oh, h);
  const int x0 = first_inside(left, sw, ow), x1 = end_inside(left, sw, ow, w);
  float16_lanes sum[tile * blocks];
  LEPTON_UNROLL for (int t = 0; t < tile * blocks; t++) sum[t] = (float16_lanes){0};
  for (int n = 0; n < images; n++)
    for (int oy = y0; oy < y1; oy++) {
      const float *from = x + (((ptrdiff_t)n * h + oy * sh + top) * w + left + (ptrdiff_t)x0 * sw) * c + i;
      const float *by = dy + (((ptrdiff_t)n * oh + oy) * ow + x0) * o + ob;
      LEPTON_LOOP for (int ox = x0; ox < x1; ox++) {
        float16_lanes at[blocks];
        LEPTON_UNROLL for (int k = 0; k < blocks; k++) at[k] = load_lanes(from + k * 16, 16);
        LEPTON_UNROLL for (int t = 0; t < tile; t++) {
          const float one = by[t];
          LEPTON_UNROLL for (int k = 0; k < blocks; k++) sum[t * blocks + k] += one * at[k];
        }
        from += sw * c;
        by += o;
      }
    }
  LEPTON_UNROLL for (int t = 0; t < tile; t++)
    LEPTON_UNROLL for (int k = 0; k < blocks; k++)
      store_first(dw + (ob + t) * row + i + k * 16, sum[t * blocks + k], 16);
}

/* output channels from `begin`, a multiple of 16, to `end` */
LEPTON_KERNEL void conv2d_grad_weight_range(uint8_t *restrict x_, uint8_t *restrict dy_, uint8_t *restrict dw_,
                                            const int images, const int h, const int w, const int c, const int oh,
                                            const int ow, const int o, const int kh, const int kw, const int sh,
                                            const int sw, const int pt, const int pl, const int dh, const int dw,
                                            const int begin, const int end) {
  const float *x = (const float *)x_, *dy = (const float *)dy_;
  const ptrdiff_t row = (ptrdiff_t)kh * kw * c;
  const int tile = LEPTON_MIN(c, LEPTON_GRADIENT_TILE), whole = c - c % tile;
  /* Whole blocks of input channels need no turning when they are stored. */
  const int blocks = c % (16 * LEPTON_GRADIENT_BLOCKS) ? 1 : LEPTON_GRADIENT_BLOCKS;
  const int outputs = LEPTON_GRADIENT_TILE / blocks, turned = c % 16 == 0 ? (end - begin) / outputs * outputs : 0;
  for (int ky = 0; ky < kh; ky++)
    for (int kx = 0; kx < kw; kx++) {
      float *to = (float *)dw_ + ((ptrdiff_t)ky * kw + kx) * c;
      const int top = ky * dh - pt, left = kx * dw - pl;
      for (int ob = begin; ob < begin + turned; ob += outputs)
        for (int i = 0; i < c; i += blocks * 16)
          conv2d_grad_weight_turned(x, dy, to, images, h, w, c, oh, ow, o, sh, sw, top, left, i, blocks, ob, outputs,
                                    row);
      for (int ob = begin + turned; ob < end; ob += 16) {
        for (int i = 0; i < whole; i += tile)
          conv2d_grad_weight_tile(x, dy, to, images, h, w, c, oh, ow, o, sh, sw, top, left, i, tile, ob, row);
        for (int i = whole; i < c; i++)
          conv2d_grad_weight_tile(x, dy, to, images, h, w, c, oh, ow, o, sh, sw, top, left, i, 1, ob, row);
      }
    }
}
LEPTON_KERNEL void conv2d_grad_weight(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict dweight,
                                      const int images, const int h, const int w, const int c, const int oh,
                                      const int ow, const int o, const int kh, const int kw, const int sh, const int sw,
                                      const int pt, const int pl, const int dh, const int dw) {
  conv2d_grad_weight_range(x, dy, dweight, images, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, 0, o);
}

/* Weights [o][kh][kw][c] to lanes [c/16][kh][kw][o][16]; turned: both kernel axes backwards, which makes the
 * gradient of an input a convolution of dy. */
LEPTON_KERNEL void pack_taps_float(uint8_t *restrict w_, uint8_t *restrict y_, const int o, const int kh, const int kw,
                                   const int c, const int turned) {
  const float *weight = (const float *)w_;
  float *y = (float *)y_;
  for (int b = 0; b < (c + 15) / 16; b++)
    for (int k = 0; k < kh * kw; k++)
      for (int i = 0; i < o; i++) {
        const float *from = weight + ((ptrdiff_t)i * kh * kw + (turned ? kh * kw - 1 - k : k)) * c + b * 16;
        store_first(y + (((ptrdiff_t)b * kh * kw + k) * o + i) * 16, load_lanes(from, c - b * 16), 16);
      }
}

/* One kernel place's products for `tile` places that all have an output place: one address instead of one each, which would not fit in registers. */
LEPTON_KERNEL void strided_sums(float16_lanes *sum, const float *dy, const float *weight, const ptrdiff_t block,
                                const int o, const int tile, const int blocks) {
#pragma clang fp contract(fast)
  LEPTON_LOOP for (int i = 0; i < o; i++) {
    float16_lanes taps[blocks];
    LEPTON_UNROLL for (int k = 0; k < blocks; k++) taps[k] = load_lanes(weight + k * block + (ptrdiff_t)i * 16, 16);
    LEPTON_UNROLL for (int t = 0; t < tile; t++) {
      const float one = dy[(ptrdiff_t)t * o + i];
      LEPTON_UNROLL for (int k = 0; k < blocks; k++) sum[t * blocks + k] += one * taps[k];
    }
  }
}

/* `blocks` of 16 channels, the last of `lanes`, of `tile` places of one row of dx, from column ix on, sw apart: the same
 * columns of the kernel reach all of them, each from the next output place. Where there is none, zeros are read. */
LEPTON_KERNEL void conv2d_grad_input_tile(const float *dy, const float *weight, const float *zeros, float *dx,
                                          const int c, const int lanes, const int iy, const int ix, const int w,
                                          const int oh, const int ow, const int o, const int kh, const int kw,
                                          const int sh, const int sw, const int pt, const int pl, const int dh,
                                          const int dw, const int tile, const int blocks) {
#pragma clang fp contract(fast)
  float16_lanes sum[tile * blocks];
  LEPTON_UNROLL for (int t = 0; t < tile * blocks; t++) sum[t] = (float16_lanes){0};
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    const int ry = iy + pt - ky * dh;
    if (ry < 0 || ry % sh != 0 || ry / sh >= oh) continue;
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      /* Columns may lie left of the map: sw * dw * kw is added for a remainder that is never negative. */
      const int rx = ix + pl - kx * dw;
      if ((rx + sw * dw * kw) % sw != 0) continue;
      const float *by = weight + ((ptrdiff_t)ky * kw + kx) * o * 16;
      const float *line = dy + (ptrdiff_t)(ry / sh) * ow * o;
      if (rx >= 0 && rx + (tile - 1) * sw < ow * sw) {
        strided_sums(sum, line + (ptrdiff_t)(rx / sw) * o, by, (ptrdiff_t)kh * kw * o * 16, o, tile, blocks);
        continue;
      }
      const float *from[tile];
      LEPTON_UNROLL for (int t = 0; t < tile; t++) {
        const int at = rx + t * sw;
        from[t] = at >= 0 && at < ow * sw ? line + (ptrdiff_t)(at / sw) * o : zeros;
      }
      LEPTON_LOOP for (int i = 0; i < o; i++) {
        float16_lanes taps[blocks];
        LEPTON_UNROLL for (int k = 0; k < blocks; k++)
          taps[k] = load_lanes(by + ((ptrdiff_t)k * kh * kw * o + i) * 16, 16);
        LEPTON_UNROLL for (int t = 0; t < tile; t++) {
          const float one = from[t][i];
          LEPTON_UNROLL for (int k = 0; k < blocks; k++) sum[t * blocks + k] += one * taps[k];
        }
      }
    }
  }
  LEPTON_UNROLL for (int t = 0; t < tile; t++)
    LEPTON_UNROLL for (int k = 0; k < blocks; k++)
      if (ix + t * sw < w)
        store_first(dx + (ptrdiff_t)t * sw * c + k * 16, sum[t * blocks + k], k < blocks - 1 ? 16 : lanes);
}

LEPTON_KERNEL void conv2d_grad_input_blocks(const float *dy, const float *weight, const float *zeros, float *dx,
                                            const int h, const int w, const int c, const int oh, const int ow,
                                            const int o, const int kh, const int kw, const int sh, const int sw,
                                            const int pt, const int pl, const int dh, const int dw, const int cb,
                                            const int blocks) {
  const int places = (w + sw - 1) / sw;
  const int tile = blocks == 1 && places >= LEPTON_GRADIENT_TILE ? LEPTON_GRADIENT_TILE : LEPTON_MIN(8, LEPTON_GRADIENT_TILE);
  const float *taps = weight + (ptrdiff_t)(cb / 16) * kh * kw * o * 16;
  for (int iy = 0; iy < h; iy++)
    for (int first = 0; first < LEPTON_MIN(sw, w); first++)
      for (int ix = first; ix < w; ix += sw * tile)
        conv2d_grad_input_tile(dy, taps, zeros, dx + ((ptrdiff_t)iy * w + ix) * c + cb, c,
                               LEPTON_MIN(16, c - cb - (blocks - 1) * 16), iy, ix, w, oh, ow, o, kh, kw, sh, sw, pt, pl,
                               dh, dw, tile, blocks);
}

/* Any stride; weights as pack_taps_float leaves them, not turned. A place of the kernel reaches an input place
 * from one output place or from none. */
LEPTON_KERNEL void conv2d_grad_input_strided(uint8_t *restrict dy_, uint8_t *restrict w_, uint8_t *restrict dx_,
                                             const int h, const int w, const int c, const int oh, const int ow,
                                             const int o, const int kh, const int kw, const int sh, const int sw,
                                             const int pt, const int pl, const int dh, const int dw) {
  const float *dy = (const float *)dy_, *weight = (const float *)w_;
  float *dx = (float *)dx_;
  const int wide = LEPTON_GRADIENT_BLOCKS * 16, together = c / wide * wide;
  float zeros[o];
  for (int i = 0; i < o; i++) zeros[i] = 0.0f;
  for (int cb = 0; cb < together; cb += wide)
    conv2d_grad_input_blocks(dy, weight, zeros, dx, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, cb,
                             LEPTON_GRADIENT_BLOCKS);
  for (int cb = together; cb < c; cb += 16)
    conv2d_grad_input_blocks(dy, weight, zeros, dx, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, cb, 1);
}

/* ---- depthwise convolution; output channel i reads input channel i / (o / c) ---- */

/* The values of 16 output channels' inputs at one place. */
LEPTON_KERNEL float16_lanes depthwise_inputs(const float *from, const int each, const int ob, const int n) {
  if (each == 1) return load_lanes(from + ob, n);
  float16_lanes value = {0};
  for (int l = 0; l < 16; l++)
    if (l < n) value[l] = from[(ob + l) / each];
  return value;
}

/* output channels from `begin`, a multiple of 16, to `end` */
LEPTON_KERNEL void depthwise_grad_weight_range(uint8_t *restrict x_, uint8_t *restrict dy_, uint8_t *restrict dw_,
                                         const int images, const int h, const int w, const int c, const int oh,
                                         const int ow, const int o, const int kh, const int kw, const int sh,
                                         const int sw, const int pt, const int pl, const int dh, const int dw,
                                         const int begin, const int end) {
#pragma clang fp contract(fast)
  const float *x = (const float *)x_, *dy = (const float *)dy_;
  float *to = (float *)dw_;
  const int each = o / c;
  for (int ob = begin; ob < end; ob += 16) {
    const int lanes = LEPTON_MIN(16, o - ob);
    for (int ky = 0; ky < kh; ky++)
      for (int kx = 0; kx < kw; kx++) {
        const int top = ky * dh - pt, left = kx * dw - pl;
        const int y0 = first_inside(top, sh, oh), y1 = end_inside(top, sh, oh, h);
        const int x0 = first_inside(left, sw, ow), x1 = end_inside(left, sw, ow, w);
        /* Two sums hide half of the additions' latency. */
        float16_lanes even = {0}, odd = {0};
        for (int n = 0; n < images; n++)
          for (int oy = y0; oy < y1; oy++) {
            const float *from = x + (((ptrdiff_t)n * h + oy * sh + top) * w + left) * c;
            const float *by = dy + ((ptrdiff_t)n * oh + oy) * ow * o + ob;
            int ox = x0;
            for (; ox + 1 < x1; ox += 2) {
              even += depthwise_inputs(from + (ptrdiff_t)ox * sw * c, each, ob, lanes) *
                      load_lanes(by + (ptrdiff_t)ox * o, lanes);
              odd += depthwise_inputs(from + (ptrdiff_t)(ox + 1) * sw * c, each, ob, lanes) *
                     load_lanes(by + (ptrdiff_t)(ox + 1) * o, lanes);
            }
            if (ox < x1)
              even += depthwise_inputs(from + (ptrdiff_t)ox * sw * c, each, ob, lanes) *
                      load_lanes(by + (ptrdiff_t)ox * o, lanes);
          }
        store_first(to + ((ptrdiff_t)ky * kw + kx) * o + ob, even + odd, lanes);
      }
  }
}
LEPTON_KERNEL void depthwise_grad_weight(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict dweight,
                                         const int images, const int h, const int w, const int c, const int oh,
                                         const int ow, const int o, const int kh, const int kw, const int sh,
                                         const int sw, const int pt, const int pl, const int dh, const int dw) {
  depthwise_grad_weight_range(x, dy, dweight, images, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, 0, o);
}

LEPTON_KERNEL void depthwise_grad_input(uint8_t *restrict dy_, uint8_t *restrict w_, uint8_t *restrict dx_,
                                        const int h, const int w, const int c, const int oh, const int ow, const int o,
                                        const int kh, const int kw, const int sh, const int sw, const int pt,
                                        const int pl, const int dh, const int dw) {
#pragma clang fp contract(fast)
  const float *dy = (const float *)dy_, *weight = (const float *)w_;
  float *dx = (float *)dx_;
  const int each = o / c;
  for (int iy = 0; iy < h; iy++)
    for (int ix = 0; ix < w; ix++) {
      float *to = dx + ((ptrdiff_t)iy * w + ix) * c;
      zero_floats(to, c);
      for (int ky = 0; ky < kh; ky++) {
        const int ry = iy + pt - ky * dh;
        if (ry < 0 || ry % sh != 0 || ry / sh >= oh) continue;
        for (int kx = 0; kx < kw; kx++) {
          const int rx = ix + pl - kx * dw;
          if (rx < 0 || rx % sw != 0 || rx / sw >= ow) continue;
          const float *from = dy + ((ptrdiff_t)(ry / sh) * ow + rx / sw) * o;
          const float *by = weight + ((ptrdiff_t)ky * kw + kx) * o;
          for (int i = 0; i < c; i++)
            for (int j = 0; j < each; j++) to[i] += from[i * each + j] * by[i * each + j];
        }
      }
    }
}

/* ---- dense ---- */

/* `tile` rows of dy by 16 inputs: dx[n][i] = sum over o of dy[n][o] w[o][i] */
LEPTON_KERNEL void dense_grad_input_tile(const float *dy, const float *weight, float *dx, const int tile, const int o,
                                         const int inner, const int lanes) {
#pragma clang fp contract(fast)
  float16_lanes sum[tile];
  LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] = (float16_lanes){0};
  for (int i = 0; i < o; i++) {
    const float16_lanes by = load_lanes(weight + (ptrdiff_t)i * inner, lanes);
    LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] += dy[(ptrdiff_t)t * o + i] * by;
  }
  LEPTON_UNROLL for (int t = 0; t < tile; t++) store_first(dx + (ptrdiff_t)t * inner, sum[t], lanes);
}

/* `columns` inputs of `inner` */
LEPTON_KERNEL void dense_grad_input_range(uint8_t *restrict dy_, uint8_t *restrict w_, uint8_t *restrict dx_,
                                          const int rows, const int inner, const int columns, const int o) {
  const float *dy = (const float *)dy_, *weight = (const float *)w_;
  float *dx = (float *)dx_;
  const int tile = LEPTON_MIN(rows, LEPTON_GRADIENT_TILE), whole = rows - rows % tile;
  const int even = columns - columns % 16;
  for (int n = 0; n < rows; n += n < whole ? tile : 1) {
    const float *from = dy + (ptrdiff_t)n * o;
    float *to = dx + (ptrdiff_t)n * inner;
    for (int i = 0; i < even; i += 16)
      if (n < whole)
        dense_grad_input_tile(from, weight + i, to + i, tile, o, inner, 16);
      else
        dense_grad_input_tile(from, weight + i, to + i, 1, o, inner, 16);
    if (even < columns) {
      if (n < whole)
        dense_grad_input_tile(from, weight + even, to + even, tile, o, inner, columns - even);
      else
        dense_grad_input_tile(from, weight + even, to + even, 1, o, inner, columns - even);
    }
  }
}
LEPTON_KERNEL void dense_grad_input(uint8_t *restrict dy, uint8_t *restrict weight, uint8_t *restrict dx,
                                    const int rows, const int inner, const int o) {
  dense_grad_input_range(dy, weight, dx, rows, inner, inner, o);
}

/* `tile` outputs by 16 inputs: dw[o][i] = sum over rows of dy[n][o] x[n][i] */
LEPTON_KERNEL void dense_grad_weight_tile(const float *x, const float *dy, float *dw, const int rows, const int inner,
                                          const int o, const int tile, const int lanes) {
#pragma clang fp contract(fast)
  float16_lanes sum[tile];
  LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] = (float16_lanes){0};
  for (int n = 0; n < rows; n++) {
    const float16_lanes from = load_lanes(x + (ptrdiff_t)n * inner, lanes);
    LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] += dy[(ptrdiff_t)n * o + t] * from;
  }
  LEPTON_UNROLL for (int t = 0; t < tile; t++) store_first(dw + (ptrdiff_t)t * inner, sum[t], lanes);
}

/* outputs from `begin`, a multiple of the tile, to `end` */
LEPTON_KERNEL void dense_grad_weight_range(uint8_t *restrict x_, uint8_t *restrict dy_, uint8_t *restrict dw_,
                                           const int rows, const int inner, const int o, const int begin,
                                           const int end) {
  const float *x = (const float *)x_, *dy = (const float *)dy_;
  float *dw = (float *)dw_;
  const int tile = LEPTON_MIN(o, LEPTON_GRADIENT_TILE), whole = o - o % tile;
  const int even = inner - inner % 16;
  for (int b = begin; b < end; b += b < whole ? tile : 1) {
    float *to = dw + (ptrdiff_t)b * inner;
    for (int i = 0; i < even; i += 16)
      if (b < whole)
        dense_grad_weight_tile(x + i, dy + b, to + i, rows, inner, o, tile, 16);
      else
        dense_grad_weight_tile(x + i, dy + b, to + i, rows, inner, o, 1, 16);
    if (even < inner) {
      if (b < whole)
        dense_grad_weight_tile(x + even, dy + b, to + even, rows, inner, o, tile, inner - even);
      else
        dense_grad_weight_tile(x + even, dy + b, to + even, rows, inner, o, 1, inner - even);
    }
  }
}
LEPTON_KERNEL void dense_grad_weight(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict dw, const int rows,
                                     const int inner, const int o) {
  dense_grad_weight_range(x, dy, dw, rows, inner, o, 0, o);
}

/* ---- elements and windows ---- */

LEPTON_KERNEL void bias_grad(uint8_t *restrict dy_, uint8_t *restrict db_, const int rows, const int c) {
  const float *dy = (const float *)dy_;
  float *db = (float *)db_;
  for (int cb = 0; cb < c; cb += 16) {
    float16_lanes sum[4] = {{0}};
    int r = 0;
    for (; r + 3 < rows; r += 4)
      LEPTON_UNROLL for (int k = 0; k < 4; k++) sum[k] += load_lanes(dy + (ptrdiff_t)(r + k) * c + cb, c - cb);
    for (; r < rows; r++) sum[0] += load_lanes(dy + (ptrdiff_t)r * c + cb, c - cb);
    store_first(db + cb, (sum[0] + sum[1]) + (sum[2] + sum[3]), c - cb);
  }
}

/* y = the sum of `runs` runs of n floats, in their order */
LEPTON_KERNEL void add_runs(uint8_t *restrict x_, uint8_t *restrict y_, const int runs, const int n) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  for (ptrdiff_t i = 0; i < n; i++) {
    float sum = x[i];
    for (int r = 1; r < runs; r++) sum += x[r * (ptrdiff_t)n + i];
    y[i] = sum;
  }
}

/* 16 lanes by name: dx may lie over dy, and a compiler that has to ask whether they overlap goes one by one. */
LEPTON_KERNEL void relu_grad(uint8_t *dy_, uint8_t *restrict y_, uint8_t *dx_, const int n, const int lo_bits,
                             const int hi_bits) {
  const float *dy = (const float *)dy_, *y = (const float *)y_;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  float *dx = (float *)dx_;
  const ptrdiff_t whole = n - n % 16;
  for (ptrdiff_t i = 0; i < whole; i += 16) {
    const float16_lanes at = load_lanes(y + i, 16);
    bits16_lanes bits;
    __builtin_memcpy(&bits, dy + i, 64);
    /* A mask instead of a choice: vectors without a blend would fall back to branches. */
    bits &= (bits16_lanes)(at > lo) & (bits16_lanes)(at < hi);
    __builtin_memcpy(dx + i, &bits, 64);
  }
  for (ptrdiff_t i = whole; i < n; i++)
    dx[i] = float_of_bits(bits_of_float(dy[i]) & -(int32_t)((y[i] > lo) & (y[i] < hi)));
}

/* The first place of the largest of 16 channels in the window (y0, x0) to (y1 - 1, x1 - 1), in row order. */
LEPTON_KERNEL bits16_lanes largest_places(const float *x, const int w, const int c, const int y0, const int y1,
                                          const int x0, const int x1, const int n) {
  float16_lanes best = load_lanes(x + ((ptrdiff_t)y0 * w + x0) * c, n);
  bits16_lanes winner = (bits16_lanes){0} + (y0 * w + x0);
  for (int iy = y0; iy < y1; iy++)
    for (int ix = x0; ix < x1; ix++) {
      const float16_lanes v = load_lanes(x + ((ptrdiff_t)iy * w + ix) * c, n);
      const bits16_lanes larger = (bits16_lanes)(v > best);
      winner = (((bits16_lanes){0} + (iy * w + ix)) & larger) | (winner & ~larger);
      best = chosen_lanes(larger, v, best);
    }
  return winner;
}

/* dy goes to the first largest value of each window. */
LEPTON_KERNEL void max_pool_grad(uint8_t *restrict dy_, uint8_t *restrict x_, uint8_t *restrict dx_, const int h,
                                 const int w, const int c, const int oh, const int ow, const int kh, const int kw,
                                 const int sh, const int sw, const int pt, const int pl) {
  const float *dy = (const float *)dy_, *x = (const float *)x_;
  float *dx = (float *)dx_;
  /* Where windows lie side by side and cover the map, each writes its places, zeros included. */
  const int apart = kh == sh && kw == sw && pt == 0 && pl == 0 && oh * kh == h && ow * kw == w;
  if (!apart) zero_floats(dx, (ptrdiff_t)h * w * c);
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      for (int cb = 0; cb < c; cb += 16) {
        const int n = LEPTON_MIN(16, c - cb);
        const bits16_lanes winner = largest_places(x + cb, w, c, y0, y1, x0, x1, n);
        const float16_lanes from = load_lanes(dy + ((ptrdiff_t)oy * ow + ox) * c + cb, n), none = {0};
        if (apart) {
          for (int iy = y0; iy < y1; iy++)
            for (int ix = x0; ix < x1; ix++)
              store_first(dx + ((ptrdiff_t)iy * w + ix) * c + cb,
                          chosen_lanes((bits16_lanes)(winner == iy * w + ix), from, none), n);
        } else {
          for (int l = 0; l < n; l++) dx[(ptrdiff_t)winner[l] * c + cb + l] += from[l];
        }
      }
    }
}

LEPTON_KERNEL void average_pool_grad(uint8_t *restrict dy_, uint8_t *restrict dx_, const int h, const int w,
                                     const int c, const int oh, const int ow, const int kh, const int kw, const int sh,
                                     const int sw, const int pt, const int pl) {
  const float *dy = (const float *)dy_;
  float *dx = (float *)dx_;
  zero_floats(dx, (ptrdiff_t)h * w * c);
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      const float part = 1.0f / (float)((y1 - y0) * (x1 - x0));
      const float *from = dy + ((ptrdiff_t)oy * ow + ox) * c;
      for (int iy = y0; iy < y1; iy++)
        for (int ix = x0; ix < x1; ix++)
          for (int i = 0; i < c; i++) dx[((ptrdiff_t)iy * w + ix) * c + i] += from[i] * part;
    }
}

/* ---- loss and update ---- */

/* log of a positive, normal float: x = m 2^e with m near 1, log m = 2 atanh((m - 1) / (m + 1)). The series to
 * s^9 is below 1e-9 for |s| <= 0.172. */
LEPTON_KERNEL float log_float(const float x) {
#pragma clang fp contract(off)
  const int32_t bits = bits_of_float(x);
  const int32_t e = (bits - 0x3f3504f3) >> 23; /* m in [sqrt(1/2), sqrt(2)) */
  const float m = float_of_bits(bits - (int32_t)((uint32_t)e << 23));
  const float s = (m - 1.0f) / (m + 1.0f), q = s * s;
  float p = 1.0f / 9.0f;
  p = p * q + 1.0f / 7.0f;
  p = p * q + 1.0f / 5.0f;
  p = p * q + 1.0f / 3.0f;
  const float r = 2.0f * s + 2.0f * s * (p * q);
  /* ln 2 in two parts: the first times e is exact. */
  return (float)e * 0.693359375f + (r - (float)e * 2.12194440e-4f);
}

LEPTON_KERNEL float unmasked_rows(const int32_t *labels, const int rows, const int classes) {
  int32_t count = 0;
  for (int r = 0; r < rows; r++) count += (uint32_t)labels[r] < (uint32_t)classes;
  return (float)LEPTON_MAX(count, 1);
}

/* In 16 lanes where there are as many: each value would wait for the one before. */
LEPTON_KERNEL float largest_of(const float *x, const int n) {
  float largest = x[0];
  const int whole = n - n % 16;
  if (whole) {
    float16_lanes lanes = load_lanes(x, 16);
    for (int i = 16; i < whole; i += 16) {
      const float16_lanes at = load_lanes(x + i, 16);
      lanes = chosen_lanes((bits16_lanes)(at > lanes), at, lanes);
    }
    for (int l = 0; l < 16; l++) largest = LEPTON_MAX(largest, lanes[l]);
  }
  for (int i = whole; i < n; i++) largest = LEPTON_MAX(largest, x[i]);
  return largest;
}
LEPTON_KERNEL float sum_of(const float *x, const int n) {
  float sum = 0.0f;
  const int whole = n - n % 16;
  if (whole) {
    float16_lanes lanes = load_lanes(x, 16);
    for (int i = 16; i < whole; i += 16) lanes += load_lanes(x + i, 16);
    for (int l = 0; l < 16; l++) sum += lanes[l];
  }
  for (int i = whole; i < n; i++) sum += x[i];
  return sum;
}

LEPTON_KERNEL void softmax_cross_entropy(uint8_t *restrict logits_, uint8_t *restrict labels_, uint8_t *restrict loss_,
                                         uint8_t *restrict p_, const int rows, const int classes) {
  const int32_t *labels = (const int32_t *)labels_;
  float total = 0.0f;
  for (int r = 0; r < rows; r++) {
    const float *logits = (const float *)logits_ + (ptrdiff_t)r * classes;
    float *p = (float *)p_ + (ptrdiff_t)r * classes;
    const float largest = largest_of(logits, classes);
    for (int i = 0; i < classes; i++) p[i] = exp_float(logits[i] - largest);
    const float sum = sum_of(p, classes), inverse = 1.0f / sum;
    for (int i = 0; i < classes; i++) p[i] *= inverse;
    if ((uint32_t)labels[r] < (uint32_t)classes) total += log_float(sum) - (logits[labels[r]] - largest);
  }
  *(float *)loss_ = total / unmasked_rows(labels, rows, classes);
}

LEPTON_KERNEL void softmax_cross_entropy_grad(uint8_t *p_, uint8_t *restrict labels_, uint8_t *dlogits_, const int rows,
                                              const int classes) {
  const int32_t *labels = (const int32_t *)labels_;
  const float part = 1.0f / unmasked_rows(labels, rows, classes);
  for (int r = 0; r < rows; r++) {
    const float *p = (const float *)p_ + (ptrdiff_t)r * classes;
    float *d = (float *)dlogits_ + (ptrdiff_t)r * classes;
    if ((uint32_t)labels[r] >= (uint32_t)classes) {
      zero_floats(d, classes);
      continue;
    }
    const float label = (p[labels[r]] - 1.0f) * part;
    /* 16 lanes by name, as in relu_grad. */
    const int whole = classes - classes % 16;
    for (int i = 0; i < whole; i += 16) store_first(d + i, load_lanes(p + i, 16) * part, 16);
    for (int i = whole; i < classes; i++) d[i] = p[i] * part;
    d[labels[r]] = label;
  }
}

LEPTON_KERNEL void sgd_momentum(uint8_t *restrict parameter_, uint8_t *restrict velocity_, uint8_t *restrict gradient_,
                                uint8_t *restrict rate_, uint8_t *restrict momentum_, const int n) {
  float *parameter = (float *)parameter_, *velocity = (float *)velocity_;
  const float *gradient = (const float *)gradient_;
  const float rate = *(const float *)rate_, momentum = *(const float *)momentum_;
  for (ptrdiff_t i = 0; i < n; i++) {
    velocity[i] = momentum * velocity[i] + gradient[i];
    parameter[i] -= rate * velocity[i];
  }
}
#endif
