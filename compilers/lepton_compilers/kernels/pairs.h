/* int8 products by pairs for x86-64 without VNNI, on the lanes that sse2.h or avx2.h gives.
 *
 * Maps hold q - zero point as int16, so that pmaddwd sums two products exactly in int32 and what lies outside a map is
 * zero, whatever bias_step says. Weights are int16 pairs, [pair][vector][lane][2]. Such a header gives
 *
 *   sums_t             a vector of LEPTON_LANES sums, or of twice as many int16; a tile has LEPTON_SUMS at most
 *   load_vector, zero_vector, start_tile, scale_and_round, clamp_shorts, add_weighted
 *   broadcast_pair     two neighbouring channels of a pixel in every lane
 *   add_products       sum + pairs * weights
 *   interleaved_low, interleaved_high
 *                      the int16 of two vectors side by side, the sums of whose products are one vector each
 *   packed, packed_alone
 *                      int16 of the two vectors of sums that those make, saturated; of a last one without a second
 */
#ifndef LEPTON_PAIRS_H
#define LEPTON_PAIRS_H

#define LEPTON_SHORTS (2 * LEPTON_LANES)

/* ---- from sums to maps ---- */

LEPTON_KERNEL sums_t add_residual(const sums_t q, const sums_t residual, const lepton_finish f) {
  const sums_t low = add_weighted(interleaved_low(q, residual), f);
  const sums_t high = add_weighted(interleaved_high(q, residual), f);
  return clamp_shorts(packed(low, high), f.sum_lo, f.sum_hi);
}
/* Some channels of one pixel from their two vectors, or from one where `vectors` is 1. */
LEPTON_KERNEL void store_two(map_t *y, const sums_t *sum, const int vectors, const float *m, const lepton_finish finish) {
  const sums_t first = scale_and_round(sum[0], m, finish.wide);
  sums_t q = vectors > 1 ? packed(first, scale_and_round(sum[1], m + LEPTON_LANES, finish.wide)) : packed_alone(first);
  q = clamp_shorts(q, finish.lo, finish.hi);
  if (finish.adds) q = add_residual(q, load_vector(residual_of(y, finish)), finish);
  __builtin_memcpy(y, &q, sizeof(q));
}
LEPTON_KERNEL void store_tile(map_t *y, const sums_t *sum, const int y_block, const int mr, const int vectors,
                              const float *m, const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v += 2) {
    map_t *to = y + (ptrdiff_t)(v * LEPTON_LANES / 16) * y_block + v * LEPTON_LANES % 16;
    LEPTON_UNROLL for (int p = 0; p < mr; p++)
      store_two(to + p * 16, sum + p * vectors + v, vectors - v, m + v * LEPTON_LANES, finish);
  }
}

/* ---- convolutions: broadcast_tiles.h ---- */

LEPTON_KERNEL void add_columns(sums_t *sum, const map_t *x, const weight_t *weight, const int pairs, const int mr,
                               const int vectors, const int stride, const int first, const int valid) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++)
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
      if (column < first || column >= valid) continue;
      const sums_t pair = broadcast_pair(x + column * 16 + i * 2);
      LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
        const int p = (column - kx) / stride;
        if (column < kx || (column - kx) % stride || p >= mr) continue;
        LEPTON_UNROLL for (int v = 0; v < vectors; v++)
          sum[p * vectors + v] =
              add_products(sum[p * vectors + v], pair, weight + ((i * 3 + kx) * vectors + v) * LEPTON_SHORTS);
      }
    }
}

/* ---- depthwise convolutions: as many channels at a time as two vectors of sums have ---- */

/* sum[2] + interleaved taps by weights [2][lane][2] */
LEPTON_KERNEL void add_taps(sums_t *sum, const sums_t low, const sums_t high, const weight_t *weight) {
  sum[0] = add_products(sum[0], low, weight);
  sum[1] = add_products(sum[1], high, weight + LEPTON_SHORTS);
}

/* One pixel: taps of a row by twos, weights [ky][ceil(kw / 2)][16][2]. column, row: between kernel columns, rows. */
LEPTON_KERNEL void depthwise_tile(const map_t *x, const int column, const int row, const int kh, const int kw,
                                  const weight_t *weight, const int32_t *bias, const float *m, map_t *y,
                                  const lepton_finish finish) {
  sums_t sum[16 / LEPTON_LANES];
  start_tile(sum, bias, 1, 16 / LEPTON_LANES);
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int kx = 0; kx < kw; kx += 2)
      LEPTON_UNROLL for (int at = 0; at < 16; at += LEPTON_SHORTS) {
        const map_t *from = x + (ptrdiff_t)kx * column + at;
        const sums_t a = load_vector(from), b = kx + 1 < kw ? load_vector(from + column) : zero_vector();
        add_taps(sum + at / LEPTON_LANES, interleaved_low(a, b), interleaved_high(a, b), weight + kx / 2 * 32 + at * 2);
      }
    x += row;
    weight += (kw + 1) / 2 * 32;
  }
  store_tile(y, sum, 0, 1, 16 / LEPTON_LANES, m, finish);
}

/* One row of mr pixels: neighbouring columns, interleaved once, serve the two outputs of one window each that begin
 * there and the two whose windows end there. weights [ky][4][16][2]: taps (0, 1), (2, -), (-, 0), (1, 2). */
LEPTON_KERNEL void depthwise3x3_two(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                    const float *m, map_t *y, const int mr, const int stride, const int ky0,
                                    const int ky1, const int first, const int valid, const lepton_finish finish) {
  sums_t sum[LEPTON_SUMS];
  LEPTON_UNROLL for (int p = 0; p < mr; p++) start_tile(sum + 2 * p, bias, 1, 2);
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const map_t *from = x + (ptrdiff_t)ky * row;
    const weight_t *by = weight + ky * 128;
    LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column += 2) {
      const int outside = column < first || column >= valid, next_outside = column + 1 < first || column + 1 >= valid;
      if (outside && next_outside) continue;
      const sums_t a = outside ? zero_vector() : load_vector(from + column * 16);
      const int unused = column + 1 >= (mr - 1) * stride + 3;
      const sums_t b = unused ? a : next_outside ? zero_vector() : load_vector(from + (column + 1) * 16);
      const sums_t low = interleaved_low(a, b), high = interleaved_high(a, b);
      const int p = column / stride;
      if (p < mr) add_taps(sum + 2 * p, low, high, by);
      if (column >= 2) add_taps(sum + 2 * (column - 2) / stride, low, high, by + 32);
      if (stride == 1 && p + 1 < mr) add_taps(sum + 2 * (p + 1), low, high, by + 64);
      if (stride == 1 && p >= 1 && p <= mr) add_taps(sum + 2 * (p - 1), low, high, by + 96);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++) store_two(y + p * 16, sum + 2 * p, 2, m, finish);
}
LEPTON_KERNEL void depthwise3x3_tile(const map_t *x, const int row, const weight_t *weight, const int32_t *bias,
                                     const int bias_step, const float *m, map_t *y, const int mr, const int stride,
                                     const int ky0, const int ky1, const int first, const int valid,
                                     const lepton_finish finish) {
  LEPTON_LOOP for (int at = 0; at < 16; at += LEPTON_SHORTS)
    depthwise3x3_two(x + at, row, weight + at * 2, bias + at, m + at, y + at, mr, stride, ky0, ky1, first, valid,
                     finish);
}
#endif
