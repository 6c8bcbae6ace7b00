/* Sums of products of int8 for 16 results at a time, four neighbouring inputs by weights [k / 4][16][4], exact modulo
 * 2^32, by the best multiplication that the compiler may use.
 *
 *   fours_t                  a vector of sums, LEPTON_FOURS_VECTORS for 16 results
 *   LEPTON_FOURS_OFFSET      what is added to each input: results lack offset * sum of weights
 *   LEPTON_FOURS_BLOCKS      blocks of 16 results whose sums fill the registers for one row of inputs
 *   LEPTON_FOURS_ROWS, LEPTON_FOURS_TILE_BLOCKS   the same for several rows
 *   LEPTON_FOURS_SUMS        vectors of sums that must be under way at a time, so that no addition waits for another
 *   four_inputs              n <= 4 inputs as the products want them
 *   add_four_products        sum + products of a block
 *   sums_of_fours            16 int32 in order
 */
#ifndef LEPTON_INT8_FOURS_H
#define LEPTON_INT8_FOURS_H

LEPTON_KERNEL int32_t four_bytes(const int8_t *x, const int n) {
  int32_t four = 0;
  __builtin_memcpy(&four, x, (size_t)n);
  return four;
}

#if defined(__SSE2__) || defined(__ARM_NEON)
#define LEPTON_FOURS_SUMS 8
#else
#define LEPTON_FOURS_SUMS 1
#endif

#if defined(__AVX512VNNI__)
#include <immintrin.h>
typedef __m512i fours_t;
typedef __m512i four_t;
#define LEPTON_FOURS_VECTORS 1
#define LEPTON_FOURS_OFFSET 128
#define LEPTON_FOURS_BLOCKS 4
#define LEPTON_FOURS_ROWS 6
#define LEPTON_FOURS_TILE_BLOCKS 4
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  return _mm512_set1_epi32(four_bytes(x, n) ^ (int32_t)0x80808080);
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  sum[0] = _mm512_dpbusd_epi32(sum[0], x, _mm512_loadu_si512(w));
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) { _mm512_storeu_si512(y, sum[0]); }

#elif defined(__AVXVNNI__)
#include <immintrin.h>
typedef __m256i fours_t;
typedef __m256i four_t;
#define LEPTON_FOURS_VECTORS 2
#define LEPTON_FOURS_OFFSET 128
#define LEPTON_FOURS_BLOCKS 4
#define LEPTON_FOURS_ROWS 6
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  return _mm256_set1_epi32(four_bytes(x, n) ^ (int32_t)0x80808080);
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int v = 0; v < 2; v++)
    sum[v] = _mm256_dpbusd_avx_epi32(sum[v], x, _mm256_loadu_si256((const __m256i *)(w + 32 * v)));
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) {
  LEPTON_UNROLL for (int v = 0; v < 2; v++) _mm256_storeu_si256((__m256i *)(y + 8 * v), sum[v]);
}

#elif defined(__AVX2__)
/* vpmaddwd: two sums a result until the end */
#include <immintrin.h>
typedef __m256i fours_t;
typedef __m256i four_t;
#define LEPTON_FOURS_VECTORS 4
#define LEPTON_FOURS_OFFSET 0
#define LEPTON_FOURS_BLOCKS 2
#define LEPTON_FOURS_ROWS 2
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  return _mm256_cvtepi8_epi16(_mm_set1_epi32(four_bytes(x, n)));
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int v = 0; v < 4; v++) {
    const __m256i by = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + 16 * v)));
    sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(x, by));
  }
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) {
  LEPTON_UNROLL for (int v = 0; v < 2; v++) {
    const __m256i both = _mm256_hadd_epi32(sum[2 * v], sum[2 * v + 1]);
    _mm256_storeu_si256((__m256i *)(y + 8 * v), _mm256_permute4x64_epi64(both, 0xd8));
  }
}

#elif defined(__SSE2__)
#include <emmintrin.h>
typedef __m128i fours_t;
typedef __m128i four_t;
#define LEPTON_FOURS_VECTORS 8
#define LEPTON_FOURS_OFFSET 0
#define LEPTON_FOURS_BLOCKS 1
#define LEPTON_FOURS_ROWS 1
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  const __m128i four = _mm_set1_epi32(four_bytes(x, n));
  return _mm_srai_epi16(_mm_unpacklo_epi8(four, four), 8);
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int v = 0; v < 8; v += 2) {
    const __m128i by = _mm_loadu_si128((const __m128i *)(w + 8 * v));
    const __m128i low = _mm_srai_epi16(_mm_unpacklo_epi8(by, by), 8), high = _mm_srai_epi16(_mm_unpackhi_epi8(by, by), 8);
    sum[v] = _mm_add_epi32(sum[v], _mm_madd_epi16(x, low));
    sum[v + 1] = _mm_add_epi32(sum[v + 1], _mm_madd_epi16(x, high));
  }
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) {
  LEPTON_UNROLL for (int v = 0; v < 8; v += 2) {
    const __m128 a = _mm_castsi128_ps(sum[v]), b = _mm_castsi128_ps(sum[v + 1]);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88)), odd = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));
    _mm_storeu_si128((__m128i *)(y + 2 * v), _mm_add_epi32(even, odd));
  }
}

#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
typedef int32x4_t fours_t;
typedef int8x16_t four_t;
#define LEPTON_FOURS_VECTORS 4
#define LEPTON_FOURS_OFFSET 0
#define LEPTON_FOURS_BLOCKS 4
#define LEPTON_FOURS_ROWS 6
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  return vreinterpretq_s8_s32(vdupq_n_s32(four_bytes(x, n)));
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int v = 0; v < 4; v++) sum[v] = vdotq_s32(sum[v], vld1q_s8(w + 16 * v), x);
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) {
  LEPTON_UNROLL for (int v = 0; v < 4; v++) vst1q_s32(y + 4 * v, sum[v]);
}

#elif defined(__ARM_NEON)
/* smull and sadalp: two sums a result until the end */
#include <arm_neon.h>
typedef int32x4_t fours_t;
typedef int8x8_t four_t;
#define LEPTON_FOURS_VECTORS 8
#define LEPTON_FOURS_OFFSET 0
#if defined(__aarch64__)
#define LEPTON_FOURS_BLOCKS 2
#define LEPTON_FOURS_ROWS 2
#else
#define LEPTON_FOURS_BLOCKS 1
#define LEPTON_FOURS_ROWS 1
#endif
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  return vreinterpret_s8_s32(vdup_n_s32(four_bytes(x, n)));
}
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int v = 0; v < 8; v++) sum[v] = vpadalq_s16(sum[v], vmull_s8(vld1_s8(w + 8 * v), x));
}
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) {
  LEPTON_UNROLL for (int v = 0; v < 8; v += 2) {
    const int32x2_t a = vpadd_s32(vget_low_s32(sum[v]), vget_high_s32(sum[v]));
    const int32x2_t b = vpadd_s32(vget_low_s32(sum[v + 1]), vget_high_s32(sum[v + 1]));
    vst1q_s32(y + 2 * v, vcombine_s32(a, b));
  }
}

#else
typedef int32_t fours_t __attribute__((vector_size(64), aligned(4)));
typedef struct {
  int32_t x[4];
} four_t;
#define LEPTON_FOURS_VECTORS 1
#define LEPTON_FOURS_OFFSET 0
#define LEPTON_FOURS_BLOCKS 1
#define LEPTON_FOURS_ROWS 1
#define LEPTON_FOURS_TILE_BLOCKS 1
LEPTON_KERNEL four_t four_inputs(const int8_t *x, const int n) {
  four_t four = {{0}};
  LEPTON_UNROLL for (int k = 0; k < n; k++) four.x[k] = x[k];
  return four;
}
#if defined(__riscv_vector) && defined(__clang__)
typedef int8_t four_weights __attribute__((vector_size(64), aligned(1)));
typedef int8_t sixteen_weights __attribute__((vector_size(16), aligned(1)));
#define LEPTON_EVERY_FOURTH(k)                                                                                          \
  __builtin_shufflevector(by, by, k, k + 4, k + 8, k + 12, k + 16, k + 20, k + 24, k + 28, k + 32, k + 36, k + 40, k + 44, \
                          k + 48, k + 52, k + 56, k + 60)
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  four_weights by;
  __builtin_memcpy(&by, w, 64);
  sum[0] += x.x[0] * __builtin_convertvector((sixteen_weights)LEPTON_EVERY_FOURTH(0), fours_t);
  sum[0] += x.x[1] * __builtin_convertvector((sixteen_weights)LEPTON_EVERY_FOURTH(1), fours_t);
  sum[0] += x.x[2] * __builtin_convertvector((sixteen_weights)LEPTON_EVERY_FOURTH(2), fours_t);
  sum[0] += x.x[3] * __builtin_convertvector((sixteen_weights)LEPTON_EVERY_FOURTH(3), fours_t);
}
#else
LEPTON_KERNEL void add_four_products(fours_t *sum, const four_t x, const int8_t *w) {
  LEPTON_UNROLL for (int l = 0; l < 16; l++)
    LEPTON_UNROLL for (int k = 0; k < 4; k++) sum[0][l] += x.x[k] * w[4 * l + k];
}
#endif
LEPTON_KERNEL void sums_of_fours(const fours_t *sum, int32_t *y) { __builtin_memcpy(y, sum, 64); }
#endif
#endif
