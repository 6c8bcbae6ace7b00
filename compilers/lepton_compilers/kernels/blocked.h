/* int8 kernels on feature maps blocked by 16 channels, one image a call, for every instruction set whose header gives
 *
 *   map_t, weight_t   elements of maps and weights: a map holds q, or q - zero point; bounds and zy (finish.h) count the same way
 *   LEPTON_UNIT       input channels that lie side by side in weights, [tap][channel / unit][output][unit]
 *   LEPTON_LANES      what a panel's output channels are rounded up to
 *   conv_tile, conv3x3_tile, depthwise_tile, depthwise3x3_tile
 *
 * Maps are [block][pixel][16] and may be read 64 bytes before and after their ends; what is read there, and in padding
 * channels, meets zero weights. A tile is mr neighbours of a row by a panel of nv blocks of output channels. Distances
 * are in elements.
 *
 * 3 x 3 tiles leave out what lies beside the map: kernel rows before ky0 and from ky1 on, columns before `first` and from
 * `valid` on, counted from the window of the tile's first pixel. Where a map holds q, what is left out is worth the zero
 * point times its weight, which is in the biases: bias_step apart stand those for windows that lose nothing, their left
 * column, their right one, both; four times that apart the same for windows that lose their first row, last, both.
 */
#ifndef LEPTON_BLOCKED_H
#define LEPTON_BLOCKED_H

#define LEPTON_GROUPS(c) (((c) + LEPTON_UNIT - 1) / LEPTON_UNIT)
/* weights of one tap of a panel with n output channels */
#define LEPTON_TAP(c, n) ((ptrdiff_t)LEPTON_GROUPS(c) * LEPTON_UNIT * (((n) + LEPTON_LANES - 1) / LEPTON_LANES) * LEPTON_LANES)

typedef int8_t dense_lanes __attribute__((vector_size(16), aligned(1)));
typedef map_t map_lanes __attribute__((vector_size(16 * sizeof(map_t)), aligned(1)));
typedef int32_t int_lanes __attribute__((vector_size(64), aligned(4)));
typedef uint32_t wrapping_lanes __attribute__((vector_size(64), aligned(4)));

LEPTON_KERNEL int_lanes widened(const map_t *x) { return __builtin_convertvector(*(const map_lanes *)x, int_lanes); }
LEPTON_KERNEL int_lanes clamp_lanes(const int_lanes v, const int lo, const int hi) {
  const int_lanes least = (int_lanes){0} + lo, most = (int_lanes){0} + hi, raised = LEPTON_LANES_MAX(v, least);
  return LEPTON_LANES_MIN(raised, most);
}
LEPTON_KERNEL void store_lanes(map_t *y, const int_lanes v) {
  *(map_lanes *)y = __builtin_convertvector(v, map_lanes);
}

/* ---- layout ---- */

/* n of 16 channels of one pixel, int8; the others become the zero point */
LEPTON_KERNEL void pack_pixel(const uint8_t *x, map_t *y, const int n, const int zero) {
  dense_lanes q = (dense_lanes){0} + (int8_t)zero;
  __builtin_memcpy(&q, x, (size_t)n);
  *(map_lanes *)y = __builtin_convertvector(q, map_lanes) - (map_t)zero;
}
LEPTON_KERNEL void unpack_pixel(const map_t *x, uint8_t *y, const int n, const int zero) {
  const dense_lanes q = __builtin_convertvector(*(const map_lanes *)x + (map_t)zero, dense_lanes);
  __builtin_memcpy(y, &q, (size_t)n);
}
/* int8 [pixels][channels] to [blocks][pixels][16], less `zero`, and back */
LEPTON_KERNEL void pack_map(uint8_t *restrict x, uint8_t *restrict y_, const int pixels, const int channels,
                            const int zero) {
  map_t *y = (map_t *)y_;
  for (int b = 0; b < channels / 16; b++)
    for (int p = 0; p < pixels; p++)
      pack_pixel(x + (ptrdiff_t)p * channels + b * 16, y + ((ptrdiff_t)b * pixels + p) * 16, 16, zero);
  if (channels % 16)
    for (int b = channels / 16, p = 0; p < pixels; p++)
      pack_pixel(x + (ptrdiff_t)p * channels + b * 16, y + ((ptrdiff_t)b * pixels + p) * 16, channels % 16, zero);
}
LEPTON_KERNEL void unpack_map(uint8_t *restrict x_, uint8_t *restrict y, const int pixels, const int channels,
                              const int zero) {
  const map_t *x = (const map_t *)x_;
  for (int b = 0; b < channels / 16; b++)
    for (int p = 0; p < pixels; p++)
      unpack_pixel(x + ((ptrdiff_t)b * pixels + p) * 16, y + (ptrdiff_t)p * channels + b * 16, 16, zero);
  if (channels % 16)
    for (int b = channels / 16, p = 0; p < pixels; p++)
      unpack_pixel(x + ((ptrdiff_t)b * pixels + p) * 16, y + (ptrdiff_t)p * channels + b * 16, channels % 16, zero);
}

LEPTON_KERNEL void fill_elements(map_t *y, const map_t value, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = value;
}
/* `blocks` maps, each with a border of `value` around it */
LEPTON_KERNEL void pad_map(uint8_t *restrict x_, uint8_t *restrict y_, const int blocks, const int h, const int w,
                           const int top, const int bottom, const int left, const int right, const int value) {
  const map_t *x = (const map_t *)x_;
  map_t *y = (map_t *)y_;
  const int wide = (left + w + right) * 16;
  LEPTON_LOOP for (int b = 0; b < blocks; b++) {
    fill_elements(y, (map_t)value, top * wide + left * 16);
    y += top * wide + left * 16;
    LEPTON_LOOP for (int r = 0; r < h; r++) {
      for (int p = 0; p < w; p++) *(map_lanes *)(y + p * 16) = *(const map_lanes *)(x + p * 16);
      x += w * 16;
      fill_elements(y + w * 16, (map_t)value, r < h - 1 ? (left + right) * 16 : 0);
      y += r < h - 1 ? wide : w * 16;
    }
    fill_elements(y, (map_t)value, bottom * wide + right * 16);
    y += bottom * wide + right * 16;
  }
}
/* a dense int8 map as rows of bytes less `zero`, with a border of `value`: [top + h + bottom][left + row + right] */
LEPTON_KERNEL void pad_rows(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int row, const int top,
                            const int bottom, const int left, const int right, const int value, const int zero) {
  const int8_t *x = (const int8_t *)x_;
  map_t *y = (map_t *)y_;
  const int wide = left + row + right;
  fill_elements(y, (map_t)value, top * wide + left);
  y += top * wide + left;
  LEPTON_LOOP for (int r = 0; r < h; r++) {
    for (int i = 0; i < row; i++) y[i] = (map_t)(x[i] - zero);
    x += row;
    fill_elements(y + row, (map_t)value, r < h - 1 ? left + right : 0);
    y += r < h - 1 ? wide : row;
  }
  fill_elements(y, (map_t)value, right + bottom * wide);
}

/* The windows of a few-channel map with its border, one after the other: `each` elements a pixel, kh runs of `run`.
 * What follows the last run is never written to on purpose; it meets zero weights. */
LEPTON_KERNEL void gather_windows(uint8_t *restrict x_, uint8_t *restrict y_, const int oh, const int ow, const int kh,
                                  const int run, const int pixel, const int row, const int step, const int each) {
  map_t *y = (map_t *)y_;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
    LEPTON_LOOP for (int ox = 0; ox < ow; ox++, y += each) {
      const map_t *from = (const map_t *)x_ + (ptrdiff_t)oy * step + (ptrdiff_t)ox * pixel;
      /* Each store may reach into the next run, which overwrites it. */
      LEPTON_UNROLL for (int ky = 0; ky < kh; ky++)
        LEPTON_UNROLL for (int i = 0; i < run; i += 16)
          *(map_lanes *)(y + ky * run + i) = *(const map_lanes *)(from + (ptrdiff_t)ky * row + i);
    }
}

/* ---- convolutions, dense ---- */

/* pixel, column, row, step: distances between output columns, kernel columns, kernel rows and output rows, in x */
LEPTON_KERNEL void conv_panel(const map_t *x, const int pixel, const int column, const int row, const int step,
                              const int block, const int kh, const int kw, const int c, const weight_t *weight,
                              const int32_t *bias, const float *m, map_t *y, const int oh, const int ow, const int mr,
                              const int n, const lepton_finish finish) {
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const map_t *from = x + (ptrdiff_t)oy * step;
    map_t *to = y + (ptrdiff_t)oy * ow * 16;
    LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
      conv_tile(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias, m,
                to + (ptrdiff_t)ox * 16, oh * ow * 16, mr, n, finish);
    if (ow % mr) {
      const int ox = ow / mr * mr;
      conv_tile(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, c, weight, bias, m,
                to + (ptrdiff_t)ox * 16, oh * ow * 16, ow % mr, n, finish);
    }
  }
}
/* Any convolution whose windows lie inside x; 1 x 1 and dense too. c channels at every tap, 16 to a block. */
LEPTON_KERNEL void conv_panels(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_, uint8_t *y_,
                               const int pixel, const int column, const int row, const int step, const int block,
                               const int kh, const int kw, const int c, const int oh, const int ow, const int o,
                               const int mr, const int nv, const lepton_finish finish) {
  const weight_t *weight = (const weight_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  map_t *y = (map_t *)y_;
  const int n = nv * 16, whole = o / n * n;
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    conv_panel((const map_t *)x, pixel, column, row, step, block, kh, kw, c, weight + v / n * LEPTON_TAP(c, n) * kh * kw,
               bias + v, m + v, y + (ptrdiff_t)v * oh * ow, oh, ow, mr, n, finish);
  if (o > whole)
    conv_panel((const map_t *)x, pixel, column, row, step, block, kh, kw, c,
               weight + whole / n * LEPTON_TAP(c, n) * kh * kw, bias + whole, m + whole, y + (ptrdiff_t)whole * oh * ow,
               oh, ow, mr, o - whole, finish);
}
LEPTON_KERNEL void conv_map(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                            uint8_t *restrict y_, const int pixel, const int column, const int row, const int step,
                            const int block, const int kh, const int kw, const int c, const int oh, const int ow,
                            const int o, const int mr, const int nv, const int zy, const int lo, const int hi,
                            const int wide) {
  conv_panels(x, w_, b_, m_, y_, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv,
              plain_finish(zy, lo, hi, wide));
}
/* and a residual; the last seven arguments: those of the addition */
LEPTON_KERNEL void conv_add_map(uint8_t *x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                uint8_t *residual, uint8_t *y_, const int pixel, const int column, const int row,
                                const int step, const int block, const int kh, const int kw, const int c, const int oh,
                                const int ow, const int o, const int mr, const int nv, const int zy, const int lo,
                                const int hi, const int wide, ADDITION_PARAMETERS) {
  conv_panels(x, w_, b_, m_, y_, pixel, column, row, step, block, kh, kw, c, oh, ow, o, mr, nv,
              adding_finish(y_, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}

/* top: rows of border above the map; likewise left. Windows may leave the map by one row or column on each side. */
LEPTON_KERNEL void conv3x3_panel(const map_t *x, const weight_t *weight, const int32_t *bias, const int bias_step,
                                 const float *m, map_t *y, const int h, const int w, const int c, const int oh,
                                 const int ow, const int stride, const int top, const int left, const int mr,
                                 const int n, const lepton_finish finish) {
  const int row = w * 16, block = h * w * 16, y_block = oh * ow * 16, everything = 1 << 20;
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int above = oy * stride - top;
    const int ky0 = above < 0 ? -above : 0, ky1 = above + 3 > h ? h - above : 3;
    const map_t *from = x + ((ptrdiff_t)above * w - left) * 16;
    const int32_t *start = bias + ((above < 0) + 2 * (above + 3 > h)) * 4 * bias_step;
    map_t *to = y + (ptrdiff_t)oy * ow * 16;
    if (tiles > 1)
      conv3x3_tile(from, row, block, c, weight, start, bias_step, m, to, y_block, mr, n, stride, ky0, ky1, left, everything, finish);
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr)
      conv3x3_tile(from + (ptrdiff_t)ox * stride * 16, row, block, c, weight, start, bias_step, m, to + (ptrdiff_t)ox * 16, y_block,
                   mr, n, stride, ky0, ky1, 0, everything, finish);
    conv3x3_tile(from + (ptrdiff_t)last * stride * 16, row, block, c, weight, start, bias_step, m, to + (ptrdiff_t)last * 16,
                 y_block, ow - last, n, stride, ky0, ky1, tiles > 1 ? 0 : left, w + left - last * stride, finish);
  }
}
/* 3 x 3 at stride 1 or 2 */
LEPTON_KERNEL void conv3x3_panels(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_,
                                  uint8_t *y_, const int h, const int w, const int c, const int oh, const int ow,
                                  const int o, const int stride, const int top, const int left, const int bias_step,
                                  const int mr, const int nv, const lepton_finish finish) {
  const weight_t *weight = (const weight_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  map_t *y = (map_t *)y_;
  const int n = nv * 16, whole = o / n * n;
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    conv3x3_panel((const map_t *)x, weight + v / n * LEPTON_TAP(c, n) * 9, bias + v, bias_step, m + v, y + (ptrdiff_t)v * oh * ow, h,
                  w, c, oh, ow, stride, top, left, mr, n, finish);
  if (o > whole)
    conv3x3_panel((const map_t *)x, weight + whole / n * LEPTON_TAP(c, n) * 9, bias + whole, bias_step, m + whole,
                  y + (ptrdiff_t)whole * oh * ow, h, w, c, oh, ow, stride, top, left, mr, o - whole, finish);
}
LEPTON_KERNEL void conv3x3_map(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                               uint8_t *restrict y_, const int h, const int w, const int c, const int oh, const int ow,
                               const int o, const int stride, const int top, const int left, const int bias_step,
                               const int mr, const int nv, const int zy, const int lo, const int hi, const int wide) {
  conv3x3_panels(x, w_, b_, m_, y_, h, w, c, oh, ow, o, stride, top, left, bias_step, mr, nv,
                 plain_finish(zy, lo, hi, wide));
}
LEPTON_KERNEL void conv3x3_add_map(uint8_t *x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                   uint8_t *residual, uint8_t *y_, const int h, const int w, const int c, const int oh,
                                   const int ow, const int o, const int stride, const int top, const int left,
                                   const int bias_step, const int mr, const int nv, const int zy, const int lo,
                                   const int hi, const int wide, ADDITION_PARAMETERS) {
  conv3x3_panels(x, w_, b_, m_, y_, h, w, c, oh, ow, o, stride, top, left, bias_step, mr, nv,
                 adding_finish(y_, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}

/* ---- depthwise ---- */

/* Any window inside x. taps: weights of a block of 16 channels. */
LEPTON_KERNEL void depthwise_map(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                 uint8_t *restrict y_, const int h, const int w, const int c, const int oh, const int ow,
                                 const int kh, const int kw, const int sh, const int sw, const int dh, const int dw,
                                 const int taps, const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const map_t *x = (const map_t *)x_;
  map_t *y = (map_t *)y_;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++)
        depthwise_tile(x + (((ptrdiff_t)b * h + oy * sh) * w + ox * sw) * 16, dw * 16, dh * w * 16, kh, kw,
                       (const weight_t *)w_ + (ptrdiff_t)b * taps, (const int32_t *)b_ + b * 16,
                       (const float *)m_ + b * 16, y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16, finish);
}

/* 3 x 3 at stride 1 or 2 */
LEPTON_KERNEL void depthwise3x3_map(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                    uint8_t *restrict m_, uint8_t *restrict y_, const int h, const int w, const int c,
                                    const int oh, const int ow, const int stride, const int top, const int left,
                                    const int bias_step, const int mr, const int taps, const int zy, const int lo,
                                    const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr, row = w * 16, everything = 1 << 20;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    const weight_t *weight = (const weight_t *)w_ + (ptrdiff_t)b * taps;
    const int32_t *bias = (const int32_t *)b_ + b * 16;
    const float *m = (const float *)m_ + b * 16;
    const map_t *x = (const map_t *)x_ + ((ptrdiff_t)b * h * w - left) * 16;
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
      const int above = oy * stride - top;
      const int ky0 = above < 0 ? -above : 0, ky1 = above + 3 > h ? h - above : 3;
      const map_t *from = x + (ptrdiff_t)above * row;
      const int32_t *start = bias + ((above < 0) + 2 * (above + 3 > h)) * 4 * bias_step;
      map_t *to = (map_t *)y_ + ((ptrdiff_t)b * oh + oy) * ow * 16;
      if (tiles > 1)
        depthwise3x3_tile(from, row, weight, start, bias_step, m, to, mr, stride, ky0, ky1, left, everything, finish);
      LEPTON_LOOP for (int ox = mr; ox < last; ox += mr)
        depthwise3x3_tile(from + (ptrdiff_t)ox * stride * 16, row, weight, start, bias_step, m, to + (ptrdiff_t)ox * 16, mr, stride,
                          ky0, ky1, 0, everything, finish);
      depthwise3x3_tile(from + (ptrdiff_t)last * stride * 16, row, weight, start, bias_step, m, to + (ptrdiff_t)last * 16, ow - last,
                        stride, ky0, ky1, tiles > 1 ? 0 : left, w + left - last * stride, finish);
    }
  }
}

/* ---- elements and windows ---- */

/* base: what is left of the zero points, and the rounding; n is a multiple of 16 */
LEPTON_KERNEL void add_map(uint8_t *a_, uint8_t *b_, uint8_t *y_, const int n, const int base, const int ma,
                           const int mb, const int shift, const int zy, const int lo, const int hi) {
  const map_t *a = (const map_t *)a_, *b = (const map_t *)b_;
  map_t *y = (map_t *)y_;
  LEPTON_LOOP for (ptrdiff_t i = 0; i < n; i += 16) {
    /* Padding channels may hold anything: their sums wrap. */
    const wrapping_lanes sum = (wrapping_lanes)widened(a + i) * (uint32_t)ma +
                               (wrapping_lanes)widened(b + i) * (uint32_t)mb + (uint32_t)base;
    store_lanes(y + i, clamp_lanes(((int_lanes)sum >> shift) + zy, lo, hi));
  }
}

/* arguments as average_pool_int8; zx: what a map's zero is above the zero point, zy as in docs/arithmetic.md but counted
 * as the map counts; offset: a map's value plus this is q */
LEPTON_KERNEL void average_pool_map(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                    const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                    const int pt, const int pl, const int same, const int sx_bits, const int sy_bits,
                                    const int zx, const int offset, const int zy, const int lo, const int hi) {
  const map_t *x = (const map_t *)x_;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
        const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
        const int count = (y1 - y0) * (x1 - x0);
        const float multiplier = float_of_bits(sx_bits) / (float_of_bits(sy_bits) * (float)count);
        int_lanes total = (int_lanes){0} + count * (same ? offset : -zx);
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) total += widened(x + (((ptrdiff_t)b * h + iy) * w + ix) * 16);
        map_t *y = (map_t *)y_ + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16;
        LEPTON_UNROLL for (int l = 0; l < 16; l++) {
          const int32_t half = count / 2, s = total[l];
          const int32_t mean = (s > 0 ? (s + half) / count : -((half - s) / count)) - offset;
          y[l] = (map_t)clamp_int(same ? mean : round_even((float)s * multiplier) + zy, lo, hi);
        }
      }
}

LEPTON_KERNEL void max_pool_map(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                const int pt, const int pl, const int lo, const int hi) {
  const map_t *x = (const map_t *)x_;
  const map_lanes least = (map_lanes){0} + (map_t)lo, most = (map_lanes){0} + (map_t)hi;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
        const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
        map_lanes best = least;
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++)
            best = LEPTON_LANES_MAX(best, *(const map_lanes *)(x + (((ptrdiff_t)b * h + iy) * w + ix) * 16));
        map_t *y = (map_t *)y_ + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16;
        *(map_lanes *)y = LEPTON_LANES_MIN(best, most);
      }
}

LEPTON_KERNEL void clamp_map(uint8_t *x_, uint8_t *y_, const int n, const int lo, const int hi) {
  const map_t *x = (const map_t *)x_;
  map_t *y = (map_t *)y_;
  for (ptrdiff_t i = 0; i < n; i++) y[i] = (map_t)clamp_int(x[i], lo, hi);
}

/* table: 256 values of y by q + 128; offset: what makes x that. Padding channels take any of them. */
LEPTON_KERNEL void table_map(uint8_t *x_, uint8_t *restrict table_, uint8_t *y_, const int n, const int offset) {
  const map_t *x = (const map_t *)x_, *table = (const map_t *)table_;
  map_t *y = (map_t *)y_;
  for (ptrdiff_t i = 0; i < n; i++) y[i] = table[(x[i] + offset) & 255];
}
#endif
