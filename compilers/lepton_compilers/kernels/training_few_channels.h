/* The gradient of a convolution's weights where a map has few channels, float32; it stands on training_portable.h.
 *
 * The taps of a kernel row lie side by side in a map that has its border written out: all taps of a kernel, not the
 * channels of one, are the tile that a vector of output gradients is multiplied by. Sums run in a fixed order.
 */
#ifndef LEPTON_TRAINING_FEW_CHANNELS_H
#define LEPTON_TRAINING_FEW_CHANNELS_H

#if defined(__AVX512F__)
#define LEPTON_MOST_TAPS 28
#else
#define LEPTON_MOST_TAPS LEPTON_GRADIENT_TILE
#endif

/* One image of h rows of `row` floats, with a border of zeros: top and bottom in rows, left and right in floats. */
LEPTON_KERNEL void border_floats(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int row, const int top,
                                 const int bottom, const int left, const int right) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  const ptrdiff_t wide = left + row + right;
  zero_floats(y, top * wide);
  for (int r = 0; r < h; r++) {
    float *to = y + (top + r) * wide;
    zero_floats(to, left);
    __builtin_memcpy(to + left, x + (ptrdiff_t)r * row, (size_t)row * 4);
    zero_floats(to + left + row, right);
  }
  zero_floats(y + (top + h) * wide, bottom * wide);
}

/* `tile` taps from `first` on by 16 output channels from `ob` on */
LEPTON_KERNEL void few_channels_tile(const float *x, const float *dy, float *dw, const int images, const ptrdiff_t map,
                                     const int row, const int step, const int pixel, const int oh, const int ow,
                                     const int o, const int run, const int taps, const int first, const int tile,
                                     const int ob) {
#pragma clang fp contract(fast)
  float16_lanes sum[tile];
  LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] = (float16_lanes){0};
  for (int n = 0; n < images; n++)
    for (int oy = 0; oy < oh; oy++) {
      const float *from = x + n * map + (ptrdiff_t)oy * step;
      const float *by = dy + ((ptrdiff_t)n * oh + oy) * ow * o + ob;
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const float16_lanes d = load_lanes(by, o - ob);
        LEPTON_UNROLL for (int t = 0; t < tile; t++) sum[t] += from[(first + t) / run * row + (first + t) % run] * d;
        from += pixel;
        by += o;
      }
    }
  LEPTON_UNROLL for (int t = 0; t < tile; t++)
    for (int l = 0; l < 16; l++)
      if (ob + l < o) dw[(ptrdiff_t)(ob + l) * taps + first + t] = sum[t][l];
}

/* x: images of `map` floats, bordered. row: floats between kernel rows; step, pixel: between output rows and columns;
 * run: taps of a kernel row, kh of which make a kernel. */
LEPTON_KERNEL void few_channels_grad_weight(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict dw,
                                            const int images, const int map, const int row, const int step,
                                            const int pixel, const int oh, const int ow, const int o, const int kh,
                                            const int run) {
  const int taps = kh * run, passes = (taps + LEPTON_MOST_TAPS - 1) / LEPTON_MOST_TAPS;
  const int tile = (taps + passes - 1) / passes;
  for (int ob = 0; ob < o; ob += 16)
    LEPTON_UNROLL for (int first = 0; first < taps; first += tile)
      few_channels_tile((const float *)x, (const float *)dy, (float *)dw, images, map, row, step, pixel, oh, ow, o, run,
                        taps, first, LEPTON_MIN(tile, taps - first), ob);
}

#endif
