/* Recurrent layers in int8, a whole sequence a call, for every instruction set. They stand on int8_fours.h.
 *
 * They compute arithmetic number 1 bit for bit (docs/arithmetic.md, Lstm and Gru): sums are exact, gates int16 by tables
 * of 513 entries. What the gates get from x, scaled and with the bias, stands in `of_x` for all steps already:
 * [t][batch][panel][gate][16] float32, a panel being 16 units. Weights lie as they are read, [panel][k / 4][gate][16][4],
 * their sums over k and multipliers as [panel][gate][16]; lanes beyond the last unit are zero. y is [t][batch][units];
 * `batch` sequences lie side by side, of which a call takes the first `rows`.
 */
#ifndef LEPTON_RECURRENT_H
#define LEPTON_RECURRENT_H

LEPTON_KERNEL int32_t saturate_int16(const int32_t v) { return v < -32768 ? -32768 : v > 32767 ? 32767 : v; }
LEPTON_KERNEL int32_t shifted(const int32_t v, const int bits) { return (v + (1 << (bits - 1))) >> bits; }
/* Linear between the entries of a table, 128 apart; both are one load. index: 0 to 65535 */
LEPTON_KERNEL int32_t between_entries(const int32_t index, const int16_t *table) {
  int32_t both;
  __builtin_memcpy(&both, table + (index >> 7), 4);
  const int32_t low = (int16_t)both, high = both >> 16;
  return low + (((high - low) * (index & 127) + 64) >> 7);
}
/* A gate's function at p / 4096, in steps of 1/32768. */
LEPTON_KERNEL int32_t gate_of(const float real, const int16_t *table) {
  return between_entries(saturate_int16(round_even(real)) + 32768, table);
}

/* ---- y = from + multiplier * sum of (x - zero) * w ---- */

typedef int32_t int32_fours __attribute__((vector_size(sizeof(fours_t))));

/* What products are made of, from the panel and gate on that a tile begins with: sums of weights and multipliers stand
 * side by side for neighbouring gates. */
typedef struct {
  const int8_t *weight;
  const int32_t *sums;
  const float *multiplier;
} gate_weights;
/* y = from + ...; from: gates side by side, the last at `last` where that is not null, the same for all rows; y: `block`
 * floats from gate to gate. Distances are in floats. */
typedef struct {
  const float *from, *last;
  float *y;
  ptrdiff_t from_row, y_row, block;
} gate_results;

/* nb blocks of 16 gates of `rows` rows; step: bytes from four inputs' weights to the next four's */
LEPTON_KERNEL void integer_gates(const int8_t *x, const ptrdiff_t x_row, const gate_weights by, const int step,
                                 const int inner, const int zero, const gate_results to, const int rows, const int nb,
                                 const int chains) {
  enum { VECTORS = LEPTON_FOURS_VECTORS };
  fours_t sum[LEPTON_MAX(LEPTON_FOURS_ROWS * LEPTON_FOURS_TILE_BLOCKS, 16) * VECTORS];
  const int8_t *weight = by.weight;
  LEPTON_UNROLL for (int i = 0; i < rows * chains * nb * VECTORS; i++) sum[i] = (fours_t){0};
  LEPTON_LOOP for (int k = 0; k < inner / (4 * chains); k++) {
    LEPTON_UNROLL for (int i = 0; i < chains; i++)
      LEPTON_UNROLL for (int r = 0; r < rows; r++) {
        const four_t four = four_inputs(x + r * x_row + 4 * i, 4);
        LEPTON_UNROLL for (int b = 0; b < nb; b++)
          add_four_products(sum + ((r * chains + i) * nb + b) * VECTORS, four, weight + i * step + b * 64);
      }
    x += 4 * chains;
    weight += chains * step;
  }
  LEPTON_UNROLL for (int i = 0; i < (inner % (4 * chains) + 3) / 4; i++)
    LEPTON_UNROLL for (int r = 0; r < rows; r++) {
      const four_t four = four_inputs(x + r * x_row + 4 * i, LEPTON_MIN(4, inner % (4 * chains) - 4 * i));
      LEPTON_UNROLL for (int b = 0; b < nb; b++)
        add_four_products(sum + ((r * chains + i) * nb + b) * VECTORS, four, weight + i * step + b * 64);
    }
  LEPTON_UNROLL for (int b = 0; b < nb; b++)
    LEPTON_UNROLL for (int r = 0; r < rows; r++) {
      fours_t *all = sum + (r * chains * nb + b) * VECTORS;
      LEPTON_UNROLL for (int i = 1; i < chains; i++)
        LEPTON_UNROLL for (int v = 0; v < VECTORS; v++)
          all[v] = (fours_t)((int32_fours)all[v] + (int32_fours)all[i * nb * VECTORS + v]);
      int32_t sums[16];
      sums_of_fours(all, sums);
      const float *from = to.last && b == nb - 1 ? to.last : to.from + r * to.from_row + b * 16;
      float *y = to.y + r * to.y_row + b * to.block;
      LEPTON_IN_PLACE for (int l = 0; l < 16; l++) {
        const uint32_t start = (uint32_t)by.sums[b * 16 + l] * (uint32_t)(inner ? zero + LEPTON_FOURS_OFFSET : 0);
        const float scaled = (float)(int32_t)((uint32_t)sums[l] - start) * by.multiplier[b * 16 + l];
        y[l] = scaled + from[l];
      }
    }
}
/* All gates of a panel, so many blocks at a time */
LEPTON_KERNEL void integer_panel(const int8_t *x, const ptrdiff_t x_row, const gate_weights by, const int inner,
                                 const int zero, const gate_results to, const int blocks, const int rows,
                                 const int most) {
  LEPTON_UNROLL for (int b = 0; b < blocks; b += most) {
    const int nb = LEPTON_MIN(most, blocks - b), vectors = nb * LEPTON_FOURS_VECTORS;
    const gate_weights weights = {by.weight + b * 64, by.sums + b * 16, by.multiplier + b * 16};
    const gate_results results = {to.from + b * 16, b + nb == blocks ? to.last : 0, to.y + b * to.block,
                                  to.from_row,      to.y_row,                        to.block};
    integer_gates(x, x_row, weights, blocks * 64, inner, zero, results, rows, nb,
                  rows > 1 ? 1 : (LEPTON_FOURS_SUMS + vectors - 1) / vectors);
  }
}
/* panel: floats from a panel of y to the next; from_panel: of `from`; last: [panels * 16] or null */
LEPTON_KERNEL void integer_rows(const int8_t *x, const ptrdiff_t x_row, const gate_weights by, const int inner,
                                const int zero, const gate_results to, const int from_panel, const int panel,
                                const int panels, const int blocks, const int rows) {
  const int whole = rows / LEPTON_FOURS_ROWS * LEPTON_FOURS_ROWS;
  const ptrdiff_t nbytes = (ptrdiff_t)(inner + 3) / 4 * blocks * 64;
  LEPTON_LOOP for (int p = 0; p < panels; p++) {
    const gate_weights weights = {by.weight + p * nbytes, by.sums + p * blocks * 16, by.multiplier + p * blocks * 16};
    gate_results results = {to.from + p * from_panel, to.last ? to.last + p * 16 : 0, to.y + p * panel,
                            to.from_row,              to.y_row,                       to.block};
    const int8_t *at = x;
    LEPTON_LOOP for (int r = 0; r < whole; r += LEPTON_FOURS_ROWS) {
      integer_panel(at, x_row, weights, inner, zero, results, blocks, LEPTON_FOURS_ROWS,
                    LEPTON_FOURS_ROWS > 1 ? LEPTON_FOURS_TILE_BLOCKS : LEPTON_FOURS_BLOCKS);
      at += LEPTON_FOURS_ROWS * x_row;
      results.from += LEPTON_FOURS_ROWS * to.from_row;
      results.y += LEPTON_FOURS_ROWS * to.y_row;
    }
    if (rows % LEPTON_FOURS_ROWS)
      integer_panel(at, x_row, weights, inner, zero, results, blocks, rows % LEPTON_FOURS_ROWS,
                    rows % LEPTON_FOURS_ROWS > 1 ? LEPTON_FOURS_TILE_BLOCKS : LEPTON_FOURS_BLOCKS);
  }
}

/* of_x of `rows` rows of x */
LEPTON_KERNEL void gate_products_int8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict sums_,
                                      uint8_t *restrict m_, uint8_t *restrict bias_, uint8_t *restrict of_x,
                                      const int rows, const int inputs, const int panels, const int blocks,
                                      const int zx) {
  const gate_weights by = {(const int8_t *)w_, (const int32_t *)sums_, (const float *)m_};
  const gate_results to = {(const float *)bias_, 0, (float *)of_x, 0, (ptrdiff_t)panels * blocks * 16, 16};
  integer_rows((const int8_t *)x, inputs, by, inputs, zx, to, blocks * 16, blocks * 16, panels, blocks, rows);
}

/* c: int16 at 2^-bits, before the first step, then after the last. gates: float [rows][4][panels * 16]. has_h: whether
 * h0 is not zero. */
LEPTON_KERNEL void lstm_int8(uint8_t *restrict of_x, uint8_t *restrict w_, uint8_t *restrict sums_,
                             uint8_t *restrict m_, uint8_t *restrict sigmoid_, uint8_t *restrict tanh_,
                             uint8_t *restrict h0_, uint8_t *restrict c_, uint8_t *y_, uint8_t *restrict gates_,
                             const int has_h, const int reverse, const int steps, const int batch, const int rows,
                             const int units, const int zh, const int h_bits, const int bits) {
  const int panels = (units + 15) / 16, wide = panels * 16;
  const ptrdiff_t row = 4 * wide;
  const gate_weights by = {(const int8_t *)w_, (const int32_t *)sums_, (const float *)m_};
  const int16_t *sigmoid = (const int16_t *)sigmoid_, *tangent = (const int16_t *)tanh_;
  const float hidden = float_of_bits(h_bits);
  float *gates = (float *)gates_;
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    const int8_t *h = s ? (const int8_t *)y_ + before * batch * units : (const int8_t *)h0_;
    const gate_results to = {(const float *)of_x + at * batch * row, 0, gates, row, row, wide};
    integer_rows(h, units, by, s || has_h ? units : 0, zh, to, 64, 16, panels, 4, rows);
    for (int n = 0; n < rows; n++) {
      const float *in = gates + n * row, *forget = in + wide, *new = forget + wide, *out = new + wide;
      int8_t *y = (int8_t *)y_ + (at * batch + n) * units;
      int16_t *c = (int16_t *)c_ + (ptrdiff_t)n * units;
      LEPTON_IN_PLACE for (int u = 0; u < units; u++) {
        const int32_t kept = shifted(gate_of(forget[u], sigmoid) * c[u], 15);
        const int32_t added = shifted(gate_of(in[u], sigmoid) * gate_of(new[u], tangent), 30 - bits);
        const int32_t cell = saturate_int16(kept + added);
        const int32_t t = between_entries(saturate_int16(cell * (1 << (12 - bits))) + 32768, tangent);
        c[u] = (int16_t)cell;
        y[u] = requantise(gate_of(out[u], sigmoid) * t, hidden, zh, -128, 127);
      }
    }
  }
}

/* y[u] = sum of x[i] * w[i][u], 16 units at a time; w: [inner][panels * 16] */
LEPTON_KERNEL void products_int16(const int16_t *x, const int8_t *w, int32_t *y, const int inner, const int panels) {
  for (int p = 0; p < panels; p++) {
    int32_lanes sum = {0};
    for (int i = 0; i < inner; i++) sum += x[i] * load_int8_lanes(w + ((ptrdiff_t)i * panels + p) * 16, 16);
    __builtin_memcpy(y + p * 16, &sum, 64);
  }
}

/* state: int16 [batch * units] in steps of 1/32768, before the first step, then after the last; first: int8 of as many.
 * after: the reset comes after the product; then w, sums and m hold three gates, and rb [panels * 16] is the new state's
 * recurrent bias. Else they hold two; the new state's weights are new_ [units][panels * 16], its multipliers new_m_.
 * gates: float [rows][4][panels * 16]. */
LEPTON_KERNEL void gru_int8(uint8_t *restrict of_x, uint8_t *restrict w_, uint8_t *restrict sums_, uint8_t *restrict m_,
                            uint8_t *restrict rb_, uint8_t *restrict new_, uint8_t *restrict new_m_,
                            uint8_t *restrict sigmoid_, uint8_t *restrict tanh_, uint8_t *restrict state_,
                            uint8_t *restrict first_, uint8_t *y_, uint8_t *restrict gates_, const int after,
                            const int reverse, const int steps, const int batch, const int rows, const int units,
                            const int zh, const int h_bits) {
  const int panels = (units + 15) / 16, wide = panels * 16;
  const ptrdiff_t row = 3 * wide, gates_row = 4 * wide;
  const gate_weights by = {(const int8_t *)w_, (const int32_t *)sums_, (const float *)m_};
  const int16_t *sigmoid = (const int16_t *)sigmoid_, *tangent = (const int16_t *)tanh_;
  const float hidden = float_of_bits(h_bits);
  float *gates = (float *)gates_;
  for (int i = 0; i < rows * units; i++)
    ((int8_t *)first_)[i] = requantise(((const int16_t *)state_)[i], hidden, zh, -128, 127);
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    const float *from = (const float *)of_x + at * batch * row;
    const int8_t *states = s ? (const int8_t *)y_ + before * batch * units : (const int8_t *)first_;
    const gate_results to = {from, after ? (const float *)rb_ : 0, gates, row, gates_row, wide};
    integer_rows(states, units, by, units, zh, to, 48, 16, panels, after ? 3 : 2, rows);
    for (int n = 0; n < rows; n++) {
      float *reset = gates + n * gates_row, *update = reset + wide, *of_h = update + wide, *new = of_h + wide;
      const int8_t *h = states + (ptrdiff_t)n * units;
      int8_t *y = (int8_t *)y_ + (at * batch + n) * units;
      int16_t *held = (int16_t *)state_ + (ptrdiff_t)n * units;
      LEPTON_LOOP for (int p = 0; p < panels; p++)
        __builtin_memcpy(new + p * 16, from + n * row + p * 48 + 32, 64);
      if (after) {
        LEPTON_IN_PLACE for (int u = 0; u < units; u++)
          new[u] += ((float)gate_of(reset[u], sigmoid) * (1.0f / 32768.0f)) * of_h[u];
      } else {
        int16_t *left = (int16_t *)of_h;
        int32_t *sums = (int32_t *)reset;
        LEPTON_IN_PLACE for (int u = 0; u < units; u++)
          left[u] = (int16_t)shifted(gate_of(reset[u], sigmoid) * (h[u] - zh), 15);
        products_int16(left, (const int8_t *)new_, sums, units, panels);
        LEPTON_IN_PLACE for (int u = 0; u < units; u++) new[u] += (float)sums[u] * ((const float *)new_m_)[u];
      }
      LEPTON_IN_PLACE for (int u = 0; u < units; u++) {
        const int32_t z = gate_of(update[u], sigmoid), state = gate_of(new[u], tangent);
        held[u] = (int16_t)saturate_int16(held[u] + shifted((32768 - z) * (state - held[u]), 15));
        y[u] = requantise(held[u], hidden, zh, -128, 127);
      }
    }
  }
}
#endif
