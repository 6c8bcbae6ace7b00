/* Micro-kernels of int8 recurrent layers: a whole sequence a call, x and y [t][batch][…]. They stand on sequence.h.
 *
 * The integer forms compute arithmetic number 1 bit for bit (docs/arithmetic.md, Lstm and Gru): sums are exact,
 * gates int16 by tables of 513 entries. Weights lie by input, [inputs][gates * units], so that neighbouring gates
 * are neighbouring lanes.
 */
#ifndef LEPTON_RECURRENT_H
#define LEPTON_RECURRENT_H

LEPTON_KERNEL int32_t saturate_int16(const int32_t v) { return v < -32768 ? -32768 : v > 32767 ? 32767 : v; }
LEPTON_KERNEL int32_t shifted(const int32_t v, const int bits) { return (v + (1 << (bits - 1))) >> bits; }
/* A gate's function at p / 4096, in steps of 1/32768: linear between the entries of its table. */
LEPTON_KERNEL int32_t gate_of(const float real, const int16_t *table) {
  const int32_t index = saturate_int16(round_even(real)) + 32768;
  const int16_t *at = table + (index >> 7);
  return at[0] + (((at[1] - at[0]) * (index & 127) + 64) >> 7);
}

/* y[g] = sum of (x[i] - zero) * w[i][g], 16 gates at a time */
#define LEPTON_INTEGER_PRODUCTS(NAME, TYPE)                                                                       \
  LEPTON_KERNEL void NAME(const TYPE *x, const int8_t *w, int32_t *y, const int inner, const int first,           \
                          const int last, const int stride, const int zero) {                                     \
    for (int g = first; g < last; g += 16) {                                                                      \
      const int n = LEPTON_MIN(16, last - g);                                                                     \
      int32_lanes sum = {0};                                                                                      \
      for (int i = 0; i < inner; i++) sum += (x[i] - zero) * load_int8_lanes(w + (ptrdiff_t)i * stride + g, n);   \
      for (int l = 0; l < n; l++) y[g + l] = sum[l];                                                              \
    }                                                                                                             \
  }
LEPTON_INTEGER_PRODUCTS(products_int8, int8_t)
LEPTON_INTEGER_PRODUCTS(products_int16, int16_t)

/* c: int16 at 2^-bits, first and last cell. Weights by input. gates: float [4 * units], then two such of int32. */
LEPTON_KERNEL void lstm_int8(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict r_, uint8_t *restrict b_,
                             uint8_t *restrict m_, uint8_t *restrict rm_, uint8_t *restrict sigmoid_,
                             uint8_t *restrict tanh_, uint8_t *restrict h0_, uint8_t *restrict c_, uint8_t *y_,
                             uint8_t *restrict gates_, const int has_h, const int reverse, const int steps,
                             const int batch, const int inputs, const int units, const int zx, const int zh,
                             const int h_bits, const int bits) {
  const int8_t *weight = (const int8_t *)w_, *recurrent = (const int8_t *)r_;
  const float *bias = (const float *)b_, *m = (const float *)m_, *rm = (const float *)rm_;
  const int16_t *sigmoid = (const int16_t *)sigmoid_, *tangent = (const int16_t *)tanh_;
  float *gates = (float *)gates_;
  int32_t *fixed = (int32_t *)gates_ + 4 * units, *moving = fixed + 4 * units;
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    for (int n = 0; n < batch; n++) {
      const int8_t *x = (const int8_t *)x_ + (at * batch + n) * inputs;
      const int8_t *h = (s ? (const int8_t *)y_ + before * batch * units : (const int8_t *)h0_) + (ptrdiff_t)n * units;
      int8_t *y = (int8_t *)y_ + (at * batch + n) * units;
      int16_t *c = (int16_t *)c_ + (ptrdiff_t)n * units;
      products_int8(x, weight, fixed, inputs, 0, 4 * units, 4 * units, zx);
      if (s || has_h) {
        products_int8(h, recurrent, moving, units, 0, 4 * units, 4 * units, zh);
      } else {
        for (int g = 0; g < 4 * units; g++) moving[g] = 0;
      }
      for (int g = 0; g < 4 * units; g++) {
        const float still = (float)fixed[g] * m[g] + bias[g];
        gates[g] = still + (float)moving[g] * rm[g];
      }
      for (int u = 0; u < units; u++) {
        const int32_t i = gate_of(gates[u], sigmoid), f = gate_of(gates[units + u], sigmoid);
        const int32_t g = gate_of(gates[2 * units + u], tangent), o = gate_of(gates[3 * units + u], sigmoid);
        const int32_t cell = saturate_int16(shifted(f * c[u], 15) + shifted(i * g, 30 - bits));
        const int32_t read = saturate_int16(cell * (1 << (12 - bits)));
        const int16_t *entry = tangent + ((read + 32768) >> 7);
        const int32_t t = entry[0] + (((entry[1] - entry[0]) * ((read + 32768) & 127) + 64) >> 7);
        c[u] = (int16_t)cell;
        y[u] = requantise(o * t, float_of_bits(h_bits), zh, -128, 127);
      }
    }
  }
}

/* state: int16 [batch * units] in steps of 1/32768, first and last. after: the reset comes after the product. */
LEPTON_KERNEL void gru_int8(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict r_, uint8_t *restrict b_,
                            uint8_t *restrict rb_, uint8_t *restrict m_, uint8_t *restrict rm_,
                            uint8_t *restrict sigmoid_, uint8_t *restrict tanh_, uint8_t *restrict state_,
                            uint8_t *restrict first_, uint8_t *y_, uint8_t *restrict gates_, uint8_t *restrict left_,
                            const int after, const int reverse, const int steps, const int batch, const int inputs,
                            const int units, const int zx, const int zh, const int h_bits) {
  const int8_t *weight = (const int8_t *)w_, *recurrent = (const int8_t *)r_;
  const float *bias = (const float *)b_, *rb = (const float *)rb_, *m = (const float *)m_, *rm = (const float *)rm_;
  const int16_t *sigmoid = (const int16_t *)sigmoid_, *tangent = (const int16_t *)tanh_;
  const float hidden = float_of_bits(h_bits);
  int16_t *state = (int16_t *)state_, *left = (int16_t *)left_;
  int8_t *first = (int8_t *)first_;
  float *gates = (float *)gates_;
  int32_t *sums = (int32_t *)gates_ + 3 * units;
  for (int i = 0; i < batch * units; i++) first[i] = requantise(state[i], hidden, zh, -128, 127);
  for (int s = 0; s < steps; s++) {
    const ptrdiff_t at = reverse ? steps - 1 - s : s, before = reverse ? at + 1 : at - 1;
    for (int n = 0; n < batch; n++) {
      const int8_t *x = (const int8_t *)x_ + (at * batch + n) * inputs;
      const int8_t *h = (s ? (const int8_t *)y_ + before * batch * units : first) + (ptrdiff_t)n * units;
      int8_t *y = (int8_t *)y_ + (at * batch + n) * units;
      int16_t *held = state + (ptrdiff_t)n * units;
      products_int8(x, weight, sums, inputs, 0, 3 * units, 3 * units, zx);
      for (int g = 0; g < 3 * units; g++) gates[g] = (float)sums[g] * m[g] + bias[g];
      products_int8(h, recurrent, sums, units, 0, after ? 3 * units : 2 * units, 3 * units, zh);
      for (int g = 0; g < 2 * units; g++) gates[g] += (float)sums[g] * rm[g];
      if (!after) {
        for (int u = 0; u < units; u++) left[u] = (int16_t)shifted(gate_of(gates[u], sigmoid) * (h[u] - zh), 15);
        products_int16(left, recurrent, sums, units, 2 * units, 3 * units, 3 * units, 0);
      }
      for (int u = 0; u < units; u++) {
        const int row = 2 * units + u;
        if (after) {
          const float sum = (float)sums[row] * rm[row] + rb[u];
          gates[row] += ((float)gate_of(gates[u], sigmoid) * (1.0f / 32768.0f)) * sum;
        } else {
          gates[row] += (float)sums[row] * rm[row];
        }
      }
      for (int u = 0; u < units; u++) {
        const int32_t z = gate_of(gates[units + u], sigmoid), new = gate_of(gates[2 * units + u], tangent);
        held[u] = (int16_t)saturate_int16(held[u] + shifted((32768 - z) * (new - held[u]), 15));
        y[u] = requantise(held[u], hidden, zh, -128, 127);
      }
    }
  }
}

#endif
