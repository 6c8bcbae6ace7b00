/* What the headers with vectors of 256 bits share: eight int32 sums a vector, scaled and rounded, and residuals added.
 *
 * The two vectors of a block of 16 channels are channels 0-3, 8-11 and 4-7, 12-15, as vpunpck and vpack order them; a
 * last vector without a second is channels 0-7.
 */
#ifndef LEPTON_AVX2_LANES_H
#define LEPTON_AVX2_LANES_H
#include <immintrin.h>

typedef __m256i sums_t;
#define LEPTON_LANES 8
#define LEPTON_SUMS 12

LEPTON_KERNEL __m256i load_vector(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
LEPTON_KERNEL __m256i zero_vector(void) { return _mm256_setzero_si256(); }
LEPTON_KERNEL void start_tile(__m256i *sum, const int32_t *bias, const int mr, const int vectors) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * vectors + v] = load_vector(bias + 8 * v);
}

LEPTON_KERNEL __m256i interleaved_low(const __m256i a, const __m256i b) { return _mm256_unpacklo_epi16(a, b); }
LEPTON_KERNEL __m256i interleaved_high(const __m256i a, const __m256i b) { return _mm256_unpackhi_epi16(a, b); }
LEPTON_KERNEL __m256i packed(const __m256i low, const __m256i high) { return _mm256_packs_epi32(low, high); }
LEPTON_KERNEL __m256i packed_alone(const __m256i sums) {
  return _mm256_permute4x64_epi64(packed(sums, zero_vector()), 0xd8);
}

LEPTON_KERNEL __m256i scale_and_round(const __m256i sum, const float *m, const int wide) {
  __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(m));
  /* Too large becomes INT_MIN when converted; too small does as well, and saturates as it should. */
  if (wide) product = _mm256_min_ps(product, _mm256_set1_ps(1048576.0f));
  return _mm256_cvtps_epi32(product);
}
LEPTON_KERNEL __m256i clamp_shorts(const __m256i v, const int lo, const int hi) {
  return _mm256_min_epi16(_mm256_max_epi16(v, _mm256_set1_epi16((short)lo)), _mm256_set1_epi16((short)hi));
}
/* Pairs of q and residual by their multipliers, which are below 2^30, in two parts: vpmaddwd takes 16 bits each. */
LEPTON_KERNEL __m256i add_weighted(const __m256i pairs, const lepton_finish f) {
  const int low = 32767;
  const __m256i by_low = _mm256_set1_epi32((f.by_sum & low) | (f.by_residual & low) << 16);
  const __m256i by_high = _mm256_set1_epi32(f.by_sum >> 15 | f.by_residual >> 15 << 16);
  const __m256i high = _mm256_slli_epi32(_mm256_madd_epi16(pairs, by_high), 15);
  const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(pairs, by_low), _mm256_set1_epi32(f.base));
  return _mm256_srai_epi32(_mm256_add_epi32(sum, high), f.shift);
}
#endif
