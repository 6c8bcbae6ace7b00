/* Lanes and products for any x86-64, behind pairs.h and broadcast_tiles.h: vectors of 128 bits, channels in order.
 * 16 registers: 12 sums, pairs of inputs, weights and a product.
 */
#ifndef LEPTON_SSE2_H
#define LEPTON_SSE2_H
#include <emmintrin.h>

typedef int16_t map_t;
typedef int16_t weight_t;
typedef __m128i sums_t;
#define LEPTON_UNIT 2
#define LEPTON_LANES 4
#define LEPTON_SUMS 12

LEPTON_KERNEL __m128i load_vector(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
LEPTON_KERNEL __m128i zero_vector(void) { return _mm_setzero_si128(); }
LEPTON_KERNEL void start_tile(__m128i *sum, const int32_t *bias, const int mr, const int vectors) {
  LEPTON_UNROLL for (int v = 0; v < vectors; v++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * vectors + v] = load_vector(bias + 4 * v);
}
LEPTON_KERNEL __m128i broadcast_pair(const map_t *p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm_set1_epi32(pair);
}
LEPTON_KERNEL __m128i add_products(const __m128i sum, const __m128i pairs, const weight_t *weight) {
  return _mm_add_epi32(sum, _mm_madd_epi16(load_vector(weight), pairs));
}
/* Weights stay in a register for all pixels, and so do the pixels. */
LEPTON_KERNEL void add_units(__m128i *sum, const map_t *x, const int pixel, const weight_t *weight, const int pairs,
                             const int mr, const int vectors) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++) {
    __m128i pair[LEPTON_SUMS];
    LEPTON_UNROLL for (int p = 0; p < mr; p++) pair[p] = broadcast_pair(x + (ptrdiff_t)p * pixel + i * 2);
    LEPTON_UNROLL for (int v = 0; v < vectors; v++) {
      __m128i by = load_vector(weight + (i * vectors + v) * 8);
      __asm__ volatile("" : "+x"(by));
      LEPTON_UNROLL for (int p = 0; p < mr; p++)
        sum[p * vectors + v] = _mm_add_epi32(sum[p * vectors + v], _mm_madd_epi16(pair[p], by));
    }
  }
}

LEPTON_KERNEL __m128i interleaved_low(const __m128i a, const __m128i b) { return _mm_unpacklo_epi16(a, b); }
LEPTON_KERNEL __m128i interleaved_high(const __m128i a, const __m128i b) { return _mm_unpackhi_epi16(a, b); }
LEPTON_KERNEL __m128i packed(const __m128i low, const __m128i high) { return _mm_packs_epi32(low, high); }
LEPTON_KERNEL __m128i packed_alone(const __m128i sums) { return packed(sums, zero_vector()); }

LEPTON_KERNEL __m128i scale_and_round(const __m128i sum, const float *m, const int wide) {
  __m128 product = _mm_mul_ps(_mm_cvtepi32_ps(sum), _mm_loadu_ps(m));
  /* Too large becomes INT_MIN when converted; too small does as well, and saturates as it should. */
  if (wide) product = _mm_min_ps(product, _mm_set1_ps(1048576.0f));
  return _mm_cvtps_epi32(product);
}
LEPTON_KERNEL __m128i clamp_shorts(const __m128i v, const int lo, const int hi) {
  return _mm_min_epi16(_mm_max_epi16(v, _mm_set1_epi16((short)lo)), _mm_set1_epi16((short)hi));
}
/* Pairs of q and residual by their multipliers, which are below 2^30, in two parts: pmaddwd takes 16 bits each. */
LEPTON_KERNEL __m128i add_weighted(const __m128i pairs, const lepton_finish f) {
  const int low = 32767;
  const __m128i by_low = _mm_set1_epi32((f.by_sum & low) | (f.by_residual & low) << 16);
  const __m128i by_high = _mm_set1_epi32(f.by_sum >> 15 | f.by_residual >> 15 << 16);
  const __m128i high = _mm_slli_epi32(_mm_madd_epi16(pairs, by_high), 15);
  const __m128i sum = _mm_add_epi32(_mm_madd_epi16(pairs, by_low), _mm_set1_epi32(f.base));
  return _mm_srai_epi32(_mm_add_epi32(sum, high), f.shift);
}
#endif
