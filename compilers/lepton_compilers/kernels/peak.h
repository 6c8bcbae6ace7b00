/* Loops of nothing but multiply-accumulates, sixteen independent sums: what a core of x86-64 with AVX-512 can do. */
#ifndef LEPTON_PEAK_H
#define LEPTON_PEAK_H
#include <immintrin.h>

/* The empty assembly hides each sum's value, so that the compiler keeps every step. */
#define LEPTON_PEAK(VECTOR, START, STEP)                         \
  VECTOR sum[16];                                                \
  for (int i = 0; i < 16; i++) sum[i] = START;                   \
  LEPTON_LOOP for (int r = 0; r < rounds; r++) {                 \
    LEPTON_UNROLL for (int i = 0; i < 16; i++) {                 \
      sum[i] = STEP;                                             \
      __asm__ volatile("" : "+v"(sum[i]));                       \
    }                                                            \
  }                                                              \
  for (int i = 0; i < 16; i++) __builtin_memcpy(y, &sum[i], 64)

LEPTON_KERNEL void peak_int8(uint8_t *y, const int rounds) {
  const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
  LEPTON_PEAK(__m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sum[i], a, b));
}
LEPTON_KERNEL void peak_float32(uint8_t *y, const int rounds) {
  const __m512 half = _mm512_set1_ps(0.5f);
  LEPTON_PEAK(__m512, _mm512_set1_ps(1.0f), _mm512_fmadd_ps(sum[i], half, half));
}
#endif
