/* Convolutions in tiles that take one place of the kernel after the other, for headers that give
 *
 *   sums_t        a vector of sums; a tile has LEPTON_SUMS at most
 *   start_tile    where the sums of mr pixels start, as bias_of finds it
 *   add_tap       c input channels of mr pixels, which lie `pixel` apart; those before p0 and from p1 on count as zero.
 *                 Gives the next tap's weights, which are [input / unit][output][unit]
 *   store_tile    from sums to a map
 */
#ifndef LEPTON_TAP_TILES_H
#define LEPTON_TAP_TILES_H

/* The same address, which the compiler takes for another: what is loaded from there for one tap is not kept in registers,
 * which the sums need, for the next. */
LEPTON_KERNEL const map_t *forgotten(const map_t *x) {
  __asm__("" : "+r"(x));
  return x;
}
LEPTON_KERNEL void conv_tile(const map_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int c, const weight_t *weight, const int32_t *bias,
                             const float *m, map_t *y, const int y_block, const int mr, const int n,
                             const lepton_finish finish) {
  const int vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES;
  sums_t sum[LEPTON_SUMS];
  start_tile(sum, bias, 0, mr, vectors, 0, 0, 0);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++)
      weight = add_tap(sum, x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column, pixel, block, c, weight, mr, vectors, 0, mr);
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}
LEPTON_KERNEL void conv3x3_tile(const map_t *x, const int row, const int block, const int c, const weight_t *weight,
                                const int32_t *bias, const int bias_step, const float *m, map_t *y, const int y_block,
                                const int mr, const int n, const int stride, const int ky0, const int ky1,
                                const int first, const int valid, const lepton_finish finish) {
  const int units = (c + LEPTON_UNIT - 1) / LEPTON_UNIT, vectors = (n + LEPTON_LANES - 1) / LEPTON_LANES;
  sums_t sum[LEPTON_SUMS];
  start_tile(sum, bias, bias_step, mr, vectors, stride, first, valid);
  weight += (ptrdiff_t)ky0 * 3 * units * LEPTON_UNIT * vectors * LEPTON_LANES;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++)
    LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
      const int p0 = kx < first, p1 = (mr - 1) * stride + kx < valid ? mr : mr - 1;
      const map_t *from = forgotten(x + (ptrdiff_t)ky * row + kx * 16);
      weight = add_tap(sum, from, stride * 16, block, c, weight, mr, vectors, p0, p1);
    }
  store_tile(y, sum, y_block, mr, vectors, m, finish);
}
#endif
