/* Gradients of weights that are spent where they arise, float32; it stands on training_portable.h. */
#ifndef LEPTON_TRAINING_UPDATES_H
#define LEPTON_TRAINING_UPDATES_H

/* outputs by blocks of 16 inputs whose sums stay in registers */
#if defined(__AVX512F__)
#define LEPTON_UPDATE_OUTPUTS 2
#define LEPTON_UPDATE_BLOCKS 8
#else
#define LEPTON_UPDATE_OUTPUTS LEPTON_GRADIENT_TILE
#define LEPTON_UPDATE_BLOCKS 1
#endif

#define LEPTON_STRIP_FLOATS 6144

/* sgd_momentum of n of 16 parameters, not fused: as the reference does it */
LEPTON_KERNEL void update_lanes(float *parameter, float *velocity, const float16_lanes gradient, const float rate,
                                const float momentum, const int n) {
#pragma clang fp contract(off)
  const float16_lanes v = momentum * load_lanes(velocity, n) + gradient;
  store_first(velocity, v, n);
  store_first(parameter, load_lanes(parameter, n) - rate * v, n);
}

LEPTON_KERNEL void dense_update_tile(const float *x, const float *dy, float *parameter, float *velocity,
                                     const float rate, const float momentum, const int rows, const int inner,
                                     const int all, const int outputs, const int blocks, const int lanes) {
#pragma clang fp contract(fast)
  float16_lanes sum[outputs * blocks];
  LEPTON_UNROLL for (int t = 0; t < outputs * blocks; t++) sum[t] = (float16_lanes){0};
  for (int n = 0; n < rows; n++) {
    float16_lanes from[blocks];
    LEPTON_UNROLL for (int b = 0; b < blocks; b++) from[b] = load_lanes(x + (ptrdiff_t)n * inner + b * 16, lanes);
    LEPTON_UNROLL for (int t = 0; t < outputs; t++) {
      const float by = dy[(ptrdiff_t)n * all + t];
      LEPTON_UNROLL for (int b = 0; b < blocks; b++) sum[t * blocks + b] += by * from[b];
    }
  }
  LEPTON_UNROLL for (int t = 0; t < outputs; t++)
    LEPTON_UNROLL for (int b = 0; b < blocks; b++)
      update_lanes(parameter + (ptrdiff_t)t * inner + b * 16, velocity + (ptrdiff_t)t * inner + b * 16,
                   sum[t * blocks + b], rate, momentum, lanes);
}

/* inputs from `begin` to `end` of some outputs */
LEPTON_KERNEL void dense_update_outputs(const float *x, const float *dy, float *parameter, float *velocity,
                                        const float rate, const float momentum, const int rows, const int inner,
                                        const int all, const int outputs, const int begin, const int end) {
  const int wide = LEPTON_UPDATE_BLOCKS * 16, whole = begin + (end - begin) / wide * wide;
  const int even = begin + (end - begin) / 16 * 16;
  LEPTON_LOOP for (int i = begin; i < whole; i += wide)
    dense_update_tile(x + i, dy, parameter + i, velocity + i, rate, momentum, rows, inner, all, outputs,
                      LEPTON_UPDATE_BLOCKS, 16);
  LEPTON_LOOP for (int i = whole; i < even; i += 16)
    dense_update_tile(x + i, dy, parameter + i, velocity + i, rate, momentum, rows, inner, all, outputs, 1, 16);
  if (even < end)
    dense_update_tile(x + even, dy, parameter + even, velocity + even, rate, momentum, rows, inner, all, outputs, 1,
                      end - even);
}

LEPTON_KERNEL void dense_update_strip(const float *x, const float *dy, float *parameter, float *velocity,
                                      const float rate, const float momentum, const int rows, const int inner,
                                      const int all, const int o, const int begin, const int end) {
  const int outputs = LEPTON_UPDATE_OUTPUTS, whole = o - o % outputs;
  LEPTON_LOOP for (int b = 0; b < whole; b += outputs)
    dense_update_outputs(x, dy + b, parameter + (ptrdiff_t)b * inner, velocity + (ptrdiff_t)b * inner, rate, momentum,
                         rows, inner, all, outputs, begin, end);
  LEPTON_LOOP for (int b = whole; b < o; b++)
    dense_update_outputs(x, dy + b, parameter + (ptrdiff_t)b * inner, velocity + (ptrdiff_t)b * inner, rate, momentum,
                         rows, inner, all, 1, begin, end);
}

/* dense_grad_weight, then sgd_momentum by what it gives, of o of `all` outputs; a strip of inputs at a time, that all
 * outputs read from the first-level cache. */
LEPTON_KERNEL void dense_update(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict parameter_,
                                uint8_t *restrict velocity_, uint8_t *restrict rate_, uint8_t *restrict momentum_,
                                const int rows, const int inner, const int all, const int o) {
  float *parameter = (float *)parameter_, *velocity = (float *)velocity_;
  const float rate = *(const float *)rate_, momentum = *(const float *)momentum_;
  const int strip = LEPTON_MAX(LEPTON_STRIP_FLOATS / rows / 64 * 64, 64), whole = inner - inner % strip;
  LEPTON_LOOP for (int i = 0; i < whole; i += strip)
    dense_update_strip((const float *)x, (const float *)dy, parameter, velocity, rate, momentum, rows, inner, all, o, i,
                       i + strip);
  if (whole < inner)
    dense_update_strip((const float *)x, (const float *)dy, parameter, velocity, rate, momentum, rows, inner, all, o,
                       whole, inner);
}
#endif
