/* Lanes and products for x86-64 with AVX2, behind pairs.h and broadcast_tiles.h: vectors as avx2_lanes.h has them.
 * 16 registers: 12 sums, a broadcast pair and a product.
 */
#ifndef LEPTON_AVX2_H
#define LEPTON_AVX2_H

typedef int16_t map_t;
typedef int16_t weight_t;
#define LEPTON_UNIT 2

LEPTON_KERNEL __m256i broadcast_pair(const map_t *p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}
/* sum + pair * weights, read by the multiplication itself: each is used too seldom to be worth a load of its own */
LEPTON_KERNEL __m256i add_products(const __m256i sum, const __m256i pair, const weight_t *weight) {
  __m256i products;
  __asm__("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(pair), "m"(*(const __m256i_u *)weight));
  return _mm256_add_epi32(sum, products);
}
LEPTON_KERNEL void add_units(__m256i *sum, const map_t *x, const int pixel, const weight_t *weight, const int pairs,
                             const int mr, const int vectors) {
  LEPTON_UNROLL for (int i = 0; i < pairs; i++)
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m256i pair = broadcast_pair(x + (ptrdiff_t)p * pixel + i * 2);
      LEPTON_UNROLL for (int v = 0; v < vectors; v++)
        sum[p * vectors + v] = add_products(sum[p * vectors + v], pair, weight + (i * vectors + v) * 16);
    }
}
#endif
