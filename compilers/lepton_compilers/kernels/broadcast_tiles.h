/* Convolutions in tiles whose sums are [pixel][vector], for headers that broadcast LEPTON_UNIT input channels of a pixel
 * to vectors of weights. Such a header gives
 *
 *   sums_t        a vector of LEPTON_LANES sums; a tile has LEPTON_SUMS at most
 *   start_tile    biases for each of mr pixels
 *   add_units     some times LEPTON_UNIT input channels of mr pixels, which lie `pixel` apart; weights
 *                 [input / unit][vector][lane][unit]
 *   add_columns   the same for the three columns of a kernel row, each input broadcast once; weights
 *                 [input / unit][column][vector][lane][unit]; columns as blocked.h counts them
 *   store_tile    from sums to a map
 */
#ifndef LEPTON_BROADCAST_TILES_H
#define LEPTON_BROADCAST_TILES_H

#define LEPTON_BLOCK_UNITS (16 / LEPTON_UNIT)

/* weights [kh][kw][input / unit][vector][lane][unit] */
LEPTON_KERNEL void conv_tile(const map_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int c, const weight_t *weight, const int32_t *bias,
                             const float *m, map_t *y, const int y_block, const int mr, const int n,
                             const lepton_finish finish) {
  const int units = (c + LEPTON_UNIT - 1) / LEPTON_UNIT, rest = units % LEPTON_BLOCK_UNITS;
  const int vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES, step = vectors * LEPTON_LANES * LEPTON_UNIT;
  sums_t sum[LEPTON_SUMS];
  start_tile(sum, bias, mr, vectors);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++) {
      const map_t *from = x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column;
      LEPTON_LOOP for (int b = 0; b < units / LEPTON_BLOCK_UNITS; b++) {
        add_units(sum, from, pixel, weight, LEPTON_BLOCK_UNITS, mr, vectors);
        from += block;
        weight += LEPTON_BLOCK_UNITS * step;
      }
      add_units(sum, from, pixel, weight, rest, mr, vectors);
      weight += rest * step;
    }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}

/* weights [ky][input / unit][kx][vector][lane][unit] */
LEPTON_KERNEL void conv3x3_tile(const map_t *x, const int row, const int block, const int c, const weight_t *weight,
                                const int32_t *bias, const int bias_step, const float *m, map_t *y, const int y_block,
                                const int mr, const int n, const int stride, const int ky0, const int ky1,
                                const int first, const int valid, const lepton_finish finish) {
  const int units = (c + LEPTON_UNIT - 1) / LEPTON_UNIT, rest = units % LEPTON_BLOCK_UNITS;
  const int vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES, step = 3 * vectors * LEPTON_LANES * LEPTON_UNIT;
  sums_t sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    start_tile(sum + p * vectors, bias_of(bias, bias_step, p * stride, first, valid), 1, vectors);
  weight += (ptrdiff_t)ky0 * units * step;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    LEPTON_LOOP for (int b = 0; b < units / LEPTON_BLOCK_UNITS; b++) {
      add_columns(sum, from, weight, LEPTON_BLOCK_UNITS, mr, vectors, stride, first, valid);
      from += block;
      weight += LEPTON_BLOCK_UNITS * step;
    }
    add_columns(sum, from, weight, rest, mr, vectors, stride, first, valid);
    weight += rest * step;
  }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}
#endif
