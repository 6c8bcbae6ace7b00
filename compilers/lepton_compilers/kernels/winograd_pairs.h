/* Winograd's short convolutions in integers: 3 x 3 kernels at stride 1, 2 x 2 outputs a tile, exactly the direct sum.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015: a tile of 4 x 4 inputs is transformed,
 * multiplied place by place with transformed weights, and transformed back: 16 products for 36. Their weights' transform
 * halves; here it doubles instead, in both directions, and the sums come out times 4. Inputs less their zero point are
 * within 9 bits and become 11, weights within 8 become 12: pmaddwd takes both. Products may leave int32 and wrap; four
 * times the sum does not (winograd_pairs.py), so that it is right again.
 *
 * On the maps, weights and tiles of pairs.h.
 */
#ifndef LEPTON_WINOGRAD_PAIRS_H
#define LEPTON_WINOGRAD_PAIRS_H

/* int16 before the products and int32 after them, on the stack: 16 places of `together` tiles by the channels */
#define LEPTON_WINOGRAD_BEFORE 8192
#define LEPTON_WINOGRAD_AFTER 4096

typedef int16_t tile_lanes __attribute__((vector_size(2 * LEPTON_SHORTS), aligned(2)));
typedef uint32_t place_lanes __attribute__((vector_size(4 * LEPTON_LANES), aligned(4)));
typedef int32_t total_lanes __attribute__((vector_size(4 * LEPTON_LANES), aligned(4)));

LEPTON_KERNEL void winograd_forward(const tile_lanes *d, tile_lanes *t, const int step) {
  t[0] = d[0] - d[2 * step];
  t[step] = d[step] + d[2 * step];
  t[2 * step] = d[2 * step] - d[step];
  t[3 * step] = d[step] - d[3 * step];
}
/* Some channels of the tile whose window begins at (top, left), to places `apart` elements apart. */
LEPTON_KERNEL void winograd_input(const map_t *x, const int h, const int w, const int top, const int left,
                                  const int whole, map_t *to, const int apart) {
  tile_lanes half[16], turned[16];
  LEPTON_UNROLL for (int i = 0; i < 4; i++) {
    tile_lanes row[4];
    LEPTON_UNROLL for (int j = 0; j < 4; j++) {
      const int inside = whole || (top + i >= 0 && top + i < h && left + j >= 0 && left + j < w);
      row[j] = (tile_lanes){0};
      if (inside) row[j] = *(const tile_lanes *)(x + ((ptrdiff_t)(top + i) * w + left + j) * 16);
    }
    winograd_forward(row, half + 4 * i, 1);
  }
  LEPTON_UNROLL for (int j = 0; j < 4; j++) winograd_forward(half + j, turned + j, 4);
  LEPTON_UNROLL for (int i = 0; i < 16; i++) *(tile_lanes *)(to + (ptrdiff_t)i * apart) = turned[i];
}

/* mr tiles at one place, before [tile][channel] to after [tile][output] */
LEPTON_KERNEL void winograd_products(const map_t *before, const int c, const weight_t *weight, int32_t *after,
                                     const int mr, const int n) {
  const int pairs = (c + 1) / 2, inner = (c + 15) / 16 * 16, vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES;
  sums_t sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int i = 0; i < mr * vectors; i++) sum[i] = (sums_t){0};
  LEPTON_LOOP for (int b = 0; b < pairs / 8; b++) {
    add_units(sum, before, inner, weight, 8, mr, vectors);
    before += 16;
    weight += 8 * vectors * LEPTON_SHORTS;
  }
  add_units(sum, before, inner, weight, pairs % 8, mr, vectors);
  LEPTON_UNROLL for (int i = 0; i < mr * vectors; i++) *(place_lanes *)(after + i * LEPTON_LANES) = (place_lanes)sum[i];
}

/* One vector of outputs from 16 places `apart` apart: sums [row][column] */
LEPTON_KERNEL void winograd_back(const int32_t *after, const int apart, const int32_t *bias, sums_t *sum,
                                 const int vectors) {
  place_lanes half[8], four[4];
  LEPTON_UNROLL for (int j = 0; j < 4; j++) {
    place_lanes m[4];
    LEPTON_UNROLL for (int i = 0; i < 4; i++) m[i] = *(const place_lanes *)(after + (ptrdiff_t)(i * 4 + j) * apart);
    half[j] = m[0] + m[1] + m[2];
    half[4 + j] = m[1] - m[2] - m[3];
  }
  LEPTON_UNROLL for (int i = 0; i < 2; i++) {
    const place_lanes *m = half + 4 * i;
    four[2 * i] = m[0] + m[1] + m[2];
    four[2 * i + 1] = m[1] - m[2] - m[3];
  }
  const place_lanes start = *(const place_lanes *)bias;
  LEPTON_UNROLL for (int i = 0; i < 4; i++)
    sum[i * vectors] = (sums_t)((place_lanes)((total_lanes)four[i] >> 2) + start);
}
/* The outputs of one tile and panel from (top, left) on; those outside the map are dropped. */
LEPTON_KERNEL void winograd_output(const int32_t *after, const int apart, const int32_t *bias, const float *m, map_t *y,
                                   const int y_block, const int oh, const int ow, const int top, const int left,
                                   const int n, const lepton_finish finish) {
  const int vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES;
  sums_t sum[4 * LEPTON_SUMS];
  LEPTON_UNROLL for (int v = 0; v < vectors; v++)
    winograd_back(after + v * LEPTON_LANES, apart, bias + v * LEPTON_LANES, sum + v, vectors);
  LEPTON_UNROLL for (int i = 0; i < 4; i++)
    if (top + i / 2 < oh && left + i % 2 < ow)
      store_tile(y + ((ptrdiff_t)(top + i / 2) * ow + left + i % 2) * 16, sum + i * vectors, y_block, 1, vectors, m,
                 finish);
}

/* A panel of n output channels of `count` tiles from number `first` on. */
LEPTON_KERNEL void winograd_panel(const map_t *before, int32_t *after, const int c, const weight_t *weight,
                                  const int32_t *bias, const float *m, map_t *y, const int y_block, const int oh,
                                  const int ow, const int first, const int count, const int mr, const int n,
                                  const lepton_finish finish) {
  const int inner = (c + 15) / 16 * 16, lanes = (n + LEPTON_LANES - 1) / LEPTON_LANES * LEPTON_LANES;
  const int across = (ow + 1) / 2, apart = count * lanes;
  LEPTON_LOOP for (int place = 0; place < 16; place++) {
    const map_t *from = before + (ptrdiff_t)place * count * inner;
    int32_t *to = after + (ptrdiff_t)place * apart;
    LEPTON_LOOP for (int t = 0; t < count / mr * mr; t += mr)
      winograd_products(from + (ptrdiff_t)t * inner, c, weight, to + t * lanes, mr, n);
    if (count % mr) {
      const int t = count / mr * mr;
      winograd_products(from + (ptrdiff_t)t * inner, c, weight, to + t * lanes, count % mr, n);
    }
    weight += LEPTON_TAP(c, n);
  }
  LEPTON_LOOP for (int t = 0; t < count; t++)
    winograd_output(after + t * lanes, apart, bias, m, y, y_block, oh, ow, (first + t) / across * 2,
                    (first + t) % across * 2, n, finish);
}
LEPTON_KERNEL void winograd_tiles(const map_t *x, const weight_t *weight, const int32_t *bias, const float *m, map_t *y,
                                  const int block, const int y_block, const int h, const int w, const int c,
                                  const int oh, const int ow, const int o, const int top, const int left,
                                  const int first, const int count, const int mr, const int nv,
                                  const lepton_finish finish) {
  map_t before[LEPTON_WINOGRAD_BEFORE];
  int32_t after[LEPTON_WINOGRAD_AFTER];
  const int across = (ow + 1) / 2, inner = (c + 15) / 16 * 16, n = nv * 16, whole = o / n * n;
  LEPTON_LOOP for (int b = 0; b < inner / 16; b++)
    LEPTON_LOOP for (int t = 0; t < count; t++) {
      const int above = (first + t) / across * 2 - top, beside = (first + t) % across * 2 - left;
      const int fits = above >= 0 && beside >= 0 && above + 4 <= h && beside + 4 <= w;
      LEPTON_LOOP for (int l = 0; l < 16; l += LEPTON_SHORTS) {
        const map_t *from = x + (ptrdiff_t)b * block + l;
        map_t *to = before + (ptrdiff_t)t * inner + b * 16 + l;
        if (fits)
          winograd_input(from, h, w, above, beside, 1, to, count * inner);
        else
          winograd_input(from, h, w, above, beside, 0, to, count * inner);
      }
    }
  LEPTON_LOOP for (int v = 0; v < whole; v += n)
    winograd_panel(before, after, c, weight + v / n * LEPTON_TAP(c, n) * 16, bias + v, m + v,
                   y + (ptrdiff_t)v / 16 * y_block, y_block, oh, ow, first, count, mr, n, finish);
  if (o > whole)
    winograd_panel(before, after, c, weight + whole / n * LEPTON_TAP(c, n) * 16, bias + whole, m + whole,
                   y + (ptrdiff_t)whole / 16 * y_block, y_block, oh, ow, first, count, mr, o - whole, finish);
}

/* block, y_block: elements from one block of channels to the next; top, left: border of zeros before the map; together:
 * tiles that are transformed at a time, such that `before` and `after` hold them. weights [panel][16][pair][lane][2] */
LEPTON_KERNEL void winograd_maps(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_, uint8_t *y_,
                                 const int block, const int y_block, const int h, const int w, const int c,
                                 const int oh, const int ow, const int o, const int top, const int left,
                                 const int together, const int mr, const int nv, const lepton_finish finish) {
  const int tiles = (oh + 1) / 2 * ((ow + 1) / 2), whole = tiles / together * together;
  LEPTON_LOOP for (int first = 0; first < whole; first += together)
    winograd_tiles((const map_t *)x, (const weight_t *)w_, (const int32_t *)b_, (const float *)m_, (map_t *)y_, block,
                   y_block, h, w, c, oh, ow, o, top, left, first, together, mr, nv, finish);
  if (tiles > whole)
    winograd_tiles((const map_t *)x, (const weight_t *)w_, (const int32_t *)b_, (const float *)m_, (map_t *)y_, block,
                   y_block, h, w, c, oh, ow, o, top, left, whole, tiles - whole, mr, nv, finish);
}
LEPTON_KERNEL void winograd_map(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                uint8_t *restrict y_, const int block, const int y_block, const int h, const int w,
                                const int c, const int oh, const int ow, const int o, const int top, const int left,
                                const int together, const int mr, const int nv, const int zy, const int lo,
                                const int hi, const int wide) {
  winograd_maps(x, w_, b_, m_, y_, block, y_block, h, w, c, oh, ow, o, top, left, together, mr, nv,
                plain_finish(zy, lo, hi, wide));
}
LEPTON_KERNEL void winograd_add_map(uint8_t *x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                    uint8_t *residual, uint8_t *y_, const int block, const int y_block, const int h,
                                    const int w, const int c, const int oh, const int ow, const int o, const int top,
                                    const int left, const int together, const int mr, const int nv, const int zy,
                                    const int lo, const int hi, const int wide, ADDITION_PARAMETERS) {
  winograd_maps(x, w_, b_, m_, y_, block, y_block, h, w, c, oh, ow, o, top, left, together, mr, nv,
                adding_finish(y_, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}
#endif
