/* Loops of nothing but multiply-accumulates, independent sums of as many as registers hold: what a core of x86-64 can
 * do. LEPTON_PEAK_SUMS vectors of LEPTON_PEAK_BYTES a round. */
#ifndef LEPTON_PEAK_H
#define LEPTON_PEAK_H
#include <immintrin.h>

/* The empty assembly hides each sum's value, so that the compiler keeps every step. */
#define LEPTON_PEAK(VECTOR, START, STEP)                         \
  VECTOR sum[LEPTON_PEAK_SUMS];                                  \
  for (int i = 0; i < LEPTON_PEAK_SUMS; i++) sum[i] = START;     \
  LEPTON_LOOP for (int r = 0; r < rounds; r++) {                 \
    LEPTON_UNROLL for (int i = 0; i < LEPTON_PEAK_SUMS; i++) {   \
      sum[i] = STEP;                                             \
      __asm__ volatile("" : LEPTON_PEAK_REGISTER(sum[i]));       \
    }                                                            \
  }                                                              \
  for (int i = 0; i < LEPTON_PEAK_SUMS; i++) __builtin_memcpy(y, &sum[i], sizeof(VECTOR))

#if defined(__AVX512VNNI__)
#define LEPTON_PEAK_SUMS 16
#define LEPTON_PEAK_REGISTER(sum) "+v"(sum)
LEPTON_KERNEL void peak_int8(uint8_t *y, const int rounds) {
  const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
  LEPTON_PEAK(__m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sum[i], a, b));
}
LEPTON_KERNEL void peak_float32(uint8_t *y, const int rounds) {
  const __m512 half = _mm512_set1_ps(0.5f);
  LEPTON_PEAK(__m512, _mm512_set1_ps(1.0f), _mm512_fmadd_ps(sum[i], half, half));
}
#ifdef __AVX512BF16__
LEPTON_KERNEL void peak_bf16(uint8_t *y, const int rounds) {
  const __m512bh half = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  LEPTON_PEAK(__m512, _mm512_set1_ps(1.0f), _mm512_dpbf16_ps(sum[i], half, half));
}
#endif
#else
#define LEPTON_PEAK_SUMS 12
#define LEPTON_PEAK_REGISTER(sum) "+x"(sum)
/* Assembly, so that the compiler does not keep one product for all. */
LEPTON_KERNEL __m256i products_anew(const __m256i a, const __m256i b) {
  __m256i products;
  __asm__ volatile("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(a), "x"(b));
  return products;
}
LEPTON_KERNEL void peak_int8(uint8_t *y, const int rounds) {
#if defined(__AVXVNNI__)
  const __m256i a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2);
  LEPTON_PEAK(__m256i, _mm256_setzero_si256(), _mm256_dpbusd_avx_epi32(sum[i], a, b));
#else
  const __m256i a = _mm256_set1_epi16(1), b = _mm256_set1_epi16(2);
  LEPTON_PEAK(__m256i, _mm256_setzero_si256(), _mm256_add_epi32(sum[i], products_anew(a, b)));
#endif
}
LEPTON_KERNEL void peak_float32(uint8_t *y, const int rounds) {
  const __m256 half = _mm256_set1_ps(0.5f);
  LEPTON_PEAK(__m256, _mm256_set1_ps(1.0f), _mm256_fmadd_ps(sum[i], half, half));
}
#endif
#endif
