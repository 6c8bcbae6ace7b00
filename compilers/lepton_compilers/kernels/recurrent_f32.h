/* Recurrent layers in float32, a whole sequence a call, for every instruction set: lanes are the compiler's.
 *
 * What the gates get from x stands in `of_x` for all steps already, bias included: [t][batch][panel][gate][16], a panel
 * being 16 units. The recurrent weights lie as a step reads them, [panel][h][gate][16], so that the gates of 16 units
 * come out together; lanes beyond the last unit are zero. y is [t][batch][units]. `batch` sequences lie side by side, of
 * which a call takes the first `rows`.
 *
 * A step reads all recurrent weights, from the second-level cache where they fit there: that bounds it. Every other
 * step goes through the panels backwards and finds the last ones still in the first-level cache.
 */
#ifndef LEPTON_RECURRENT_F32_H
#define LEPTON_RECURRENT_F32_H

/* Vectors that hold a block of 16 gates, blocks whose sums fill the registers, sequences that share what is read. */
#if defined(__AVX512F__)
#define LEPTON_GATE_VECTORS 1
#define LEPTON_GATE_BLOCKS 4
#define LEPTON_GATE_ROWS 4
#elif defined(__AVX__)
#define LEPTON_GATE_VECTORS 2
#define LEPTON_GATE_BLOCKS 4
#define LEPTON_GATE_ROWS 1
#elif defined(__aarch64__)
#define LEPTON_GATE_VECTORS 4
#define LEPTON_GATE_BLOCKS 4
#define LEPTON_GATE_ROWS 1
#elif defined(__SSE2__) || defined(__ARM_NEON)
#define LEPTON_GATE_VECTORS 4
#define LEPTON_GATE_BLOCKS 2
#define LEPTON_GATE_ROWS 1
#else
#define LEPTON_GATE_VECTORS 8
#define LEPTON_GATE_BLOCKS 1
#define LEPTON_GATE_ROWS 1
#endif
/* Additions that must be under way at a time, so that none waits for another. */
#define LEPTON_GATE_SUMS 8

LEPTON_KERNEL void store_sixteen(float *y, const float16_lanes v) { __builtin_memcpy(y, &v, 64); }
/* Sums that each gate is split in. */
LEPTON_KERNEL int gate_chains(const int blocks) {
  return LEPTON_MAX(1, (LEPTON_GATE_SUMS + blocks * LEPTON_GATE_VECTORS - 1) / (blocks * LEPTON_GATE_VECTORS));
}

/* The next `steps` inputs of `rows` states by nb blocks of weights; `step`: floats from one input's to the next's. */
LEPTON_KERNEL void add_gate_products(float16_lanes *sum, const float *h, const ptrdiff_t h_row, const float *weight,
                                     const int step, const int steps, const int rows, const int nb, const int chains) {
#pragma clang fp contract(fast)
  LEPTON_UNROLL for (int k = 0; k < steps; k++) {
    float16_lanes by[LEPTON_GATE_BLOCKS];
    LEPTON_UNROLL for (int b = 0; b < nb; b++) by[b] = load_lanes(weight + k * step + b * 16, 16);
    LEPTON_UNROLL for (int r = 0; r < rows; r++) {
      const float one = h[r * h_row + k];
      LEPTON_UNROLL for (int b = 0; b < nb; b++) sum[(r * chains + k % chains) * nb + b] += one * by[b];
    }
  }
}
/* y = from + h R of nb blocks of a panel; from: blocks side by side, the last at `last` where that is not null, the same
 * for all rows; y: `wide` apart */
LEPTON_KERNEL void gate_blocks(const float *h, const ptrdiff_t h_row, const float *weight, const int step, const int inner,
                               const float *from, const ptrdiff_t from_row, const float *last, float *y,
                               const ptrdiff_t y_row, const int wide, const int rows, const int nb, const int chains) {
  const int together = chains > 4 ? chains : 4;
  float16_lanes sum[LEPTON_GATE_ROWS * LEPTON_GATE_BLOCKS * LEPTON_GATE_SUMS];
  LEPTON_UNROLL for (int i = 0; i < rows * chains * nb; i++) sum[i] = (float16_lanes){0};
  LEPTON_UNROLL for (int r = 0; r < rows; r++)
    LEPTON_UNROLL for (int b = 0; b < nb; b++)
      sum[r * chains * nb + b] = load_lanes(last && b == nb - 1 ? last : from + r * from_row + b * 16, 16);
  LEPTON_LOOP for (int k = 0; k < inner / together; k++) {
    add_gate_products(sum, h, h_row, weight, step, together, rows, nb, chains);
    h += together;
    weight += (ptrdiff_t)together * step;
  }
  add_gate_products(sum, h, h_row, weight, step, inner % together, rows, nb, chains);
  LEPTON_UNROLL for (int r = 0; r < rows; r++)
    LEPTON_UNROLL for (int b = 0; b < nb; b++) {
      float16_lanes all = sum[r * chains * nb + b];
      LEPTON_UNROLL for (int i = 1; i < chains; i++) all += sum[(r * chains + i) * nb + b];
      store_sixteen(y + r * y_row + b * wide, all);
    }
}
LEPTON_KERNEL void gate_rows(const float *h, const ptrdiff_t h_row, const float *weight, const int inner,
                             const float *from, const ptrdiff_t from_row, const float *last, float *y,
                             const ptrdiff_t y_row, const int wide, const int blocks, const int rows) {
  const int step = blocks * 16;
  LEPTON_UNROLL for (int b = 0; b < blocks; b += LEPTON_GATE_BLOCKS) {
    const int nb = LEPTON_MIN(LEPTON_GATE_BLOCKS, blocks - b);
    gate_blocks(h, h_row, weight + b * 16, step, inner, from + b * 16, from_row, b + nb == blocks ? last : 0,
                y + (ptrdiff_t)b * wide, y_row, wide, rows, nb, rows > 1 ? 1 : gate_chains(nb));
  }
}
/* y [rows][gate][panels * 16] = from + h [rows][inner] R. from: as gate_blocks has it, `panel` floats from one panel to
 * the next; last: [panels * 16] or null; backwards: the last panel first. */
LEPTON_KERNEL void gates_of_step(const float *h, const ptrdiff_t h_row, const float *weight, const int inner,
                                 const float *from, const ptrdiff_t from_row, const int panel, const float *last,
                                 float *y, const ptrdiff_t y_row, const int panels, const int blocks, const int rows,
                                 const int backwards) {
  const int whole = rows / LEPTON_GATE_ROWS * LEPTON_GATE_ROWS;
  LEPTON_LOOP for (int i = 0; i < panels; i++) {
    const int p = backwards ? panels - 1 - i : i;
    const float *by = weight + (ptrdiff_t)p * inner * blocks * 16, *start = from + (ptrdiff_t)p * panel;
    const float *last_start = last ? last + p * 16 : last;
    float *to = y + p * 16;
    LEPTON_LOOP for (int r = 0; r < whole; r += LEPTON_GATE_ROWS)
      gate_rows(h + r * h_row, h_row, by, inner, start + r * from_row, from_row, last_start, to + r * y_row, y_row,
                panels * 16, blocks, LEPTON_GATE_ROWS);
    if (rows % LEPTON_GATE_ROWS)
      gate_rows(h + whole * h_row, h_row, by, inner, start + whole * from_row, from_row, last_start, to + whole * y_row,
                y_row, panels * 16, blocks, rows % LEPTON_GATE_ROWS);
  }
}

/* c: the cell before the first step, then after the last. gates: [rows][4][panels * 16]. has_h: whether h0 is not zero. */
LEPTON_KERNEL void lstm_f32(uint8_t *restrict of_x, uint8_t *restrict w_, uint8_t *restrict h0_, uint8_t *restrict c_,
                            uint8_t *y_, uint8_t *restrict gates_, const int has_h, const int reverse, const int steps,
                            const int batch, const int rows, const int units) {
  const int panels = (units + 15) / 16, wide = panels * 16;
  const ptrdiff_t row = 4 * wide;
  float *gates = (float *)gates_;
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    const float *from = (const float *)of_x + at * batch * row;
    const float *h = s ? (const float *)y_ + before * batch * units : (const float *)h0_;
    gates_of_step(h, units, (const float *)w_, s || has_h ? units : 0, from, row, 64, 0, gates, row, panels, 4, rows,
                  s & 1);
    for (int n = 0; n < rows; n++) {
      const float *in = gates + n * row, *forget = in + wide, *new = forget + wide, *out = new + wide;
      float *y = (float *)y_ + (at * batch + n) * units, *c = (float *)c_ + (ptrdiff_t)n * units;
      LEPTON_IN_PLACE for (int u = 0; u < units; u++) {
        const float cell = lepton_sigmoidf(forget[u]) * c[u] + lepton_sigmoidf(in[u]) * lepton_tanhf(new[u]);
        c[u] = cell;
        y[u] = lepton_sigmoidf(out[u]) * lepton_tanhf(cell);
      }
    }
  }
}

/* after: the reset comes after the product; then w [panel][h][3][16], and rb [panels * 16] is the new state's recurrent
 * bias. Else w [panel][h][2][16], then the new state's [panel][h][16]. gates: [rows][4][panels * 16]. */
LEPTON_KERNEL void gru_f32(uint8_t *restrict of_x, uint8_t *restrict w_, uint8_t *restrict rb_, uint8_t *restrict h0_,
                           uint8_t *y_, uint8_t *restrict gates_, const int after, const int reverse, const int steps,
                           const int batch, const int rows, const int units) {
  const int panels = (units + 15) / 16, wide = panels * 16;
  const ptrdiff_t row = 3 * wide, y_row = 4 * wide;
  const float *weight = (const float *)w_, *new_weight = weight + (ptrdiff_t)panels * units * 32;
  float *gates = (float *)gates_;
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    const float *from = (const float *)of_x + at * batch * row;
    const float *first = s ? (const float *)y_ + before * batch * units : (const float *)h0_;
    const int blocks = after ? 3 : 2;
    gates_of_step(first, units, weight, units, from, row, 48, after ? (const float *)rb_ : 0, gates, y_row, panels,
                  blocks, rows, s & 1);
    for (int n = 0; n < rows; n++) {
      float *reset = gates + n * y_row, *of_h = reset + 2 * wide, *new = of_h + wide;
      const float *h = first + (ptrdiff_t)n * units;
      if (after) {
        LEPTON_LOOP for (int p = 0; p < panels; p++)
          store_sixteen(new + p * 16, load_lanes(from + n * row + p * 48 + 32, 16));
        LEPTON_IN_PLACE for (int u = 0; u < units; u++) new[u] += lepton_sigmoidf(reset[u]) * of_h[u];
      } else {
        LEPTON_IN_PLACE for (int u = 0; u < units; u++) reset[u] = lepton_sigmoidf(reset[u]) * h[u];
      }
    }
    if (!after)
      gates_of_step(gates, y_row, new_weight, units, from + 32, row, 48, 0, gates + 3 * wide, y_row, panels, 1, rows,
                    s & 1);
    for (int n = 0; n < rows; n++) {
      const float *update = gates + n * y_row + wide, *new = update + 2 * wide, *h = first + (ptrdiff_t)n * units;
      float *y = (float *)y_ + (at * batch + n) * units;
      LEPTON_IN_PLACE for (int u = 0; u < units; u++) {
        const float state = lepton_tanhf(new[u]);
        y[u] = state + lepton_sigmoidf(update[u]) * (h[u] - state);
      }
    }
  }
}
#endif
