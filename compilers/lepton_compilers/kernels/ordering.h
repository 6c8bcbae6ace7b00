/* Sorting and running sums along an axis: what TVM has no plain loops for.
 *
 * A tensor is `before` × `extent` × `after`; kernels go along the middle. Types come as numbers: 0 int8, 1 uint8,
 * 2 int16, 3 uint16, 4 int32, 5 uint32, 6 int64, 7 uint64, 8 float32, 9 float64, 10 bool.
 */
#ifndef LEPTON_ORDERING_H
#define LEPTON_ORDERING_H

LEPTON_KERNEL int lepton_width(const int type) {
  return type <= 1 || type == 10 ? 1 : type <= 3 ? 2 : type <= 5 || type == 8 ? 4 : 8;
}

/* A number whose unsigned order is the element's; NaN is the largest, and both zeros are one. */
LEPTON_KERNEL uint64_t lepton_key(const uint8_t *x, const ptrdiff_t i, const int type) {
  const uint64_t top = (uint64_t)1 << 63;
  switch (type) {
    case 0: return (uint64_t)(int64_t)((const int8_t *)x)[i] ^ top;
    case 2: return (uint64_t)(int64_t)((const int16_t *)x)[i] ^ top;
    case 3: return ((const uint16_t *)x)[i];
    case 4: return (uint64_t)(int64_t)((const int32_t *)x)[i] ^ top;
    case 5: return ((const uint32_t *)x)[i];
    case 6: return (uint64_t)((const int64_t *)x)[i] ^ top;
    case 7: return ((const uint64_t *)x)[i];
    case 8: {
      const float v = ((const float *)x)[i] + 0.0f;
      if (v != v) return ~(uint64_t)0;
      const uint32_t bits = (uint32_t)bits_of_float(v);
      return bits >> 31 ? (uint32_t)~bits : bits | 0x80000000u;
    }
    case 9: {
      const double v = ((const double *)x)[i] + 0.0;
      uint64_t bits;
      if (v != v) return ~(uint64_t)0;
      __builtin_memcpy(&bits, &v, 8);
      return bits >> 63 ? ~bits : bits | top;
    }
    default: return x[i];
  }
}

/* Stable order of `extent` keys by merging runs of doubled length; the order ends in `index`. */
static inline void lepton_merge_sort(uint64_t *keys, uint64_t *other_keys, int32_t *index, int32_t *other,
                                     const int extent) {
  uint64_t *k = keys, *l = other_keys;
  int32_t *p = index, *q = other;
  for (int64_t run = 1; run < extent; run *= 2) {
    for (int64_t start = 0; start < extent; start += 2 * run) {
      const int64_t middle = LEPTON_MIN(start + run, extent), end = LEPTON_MIN(start + 2 * run, extent);
      int64_t a = start, b = middle;
      for (int64_t to = start; to < end; to++) {
        const int64_t from = a < middle && (b >= end || k[a] <= k[b]) ? a++ : b++;
        l[to] = k[from];
        q[to] = p[from];
      }
    }
    uint64_t *const held = k;
    k = l, l = held;
    int32_t *const kept = p;
    p = q, q = kept;
  }
  if (p != index)
    for (int i = 0; i < extent; i++) index[i] = p[i];
}

/* The first k of the stable order: values (their type is x's), places (int32 or int64), or both.
 * scratch: 24 bytes an element of one line. */
LEPTON_KERNEL void order_axis(uint8_t *x, uint8_t *values, uint8_t *places, uint8_t *scratch, const int type,
                              const int before, const int extent, const int after, const int k,
                              const int descending, const int give_values, const int place_bytes) {
  uint64_t *keys = (uint64_t *)scratch, *other_keys = keys + extent;
  int32_t *index = (int32_t *)(other_keys + extent), *other = index + extent;
  const int width = lepton_width(type);
  for (ptrdiff_t b = 0; b < before; b++)
    for (ptrdiff_t a = 0; a < after; a++) {
      for (ptrdiff_t i = 0; i < extent; i++) {
        const uint64_t key = lepton_key(x, (b * extent + i) * after + a, type);
        keys[i] = descending ? ~key : key;
        index[i] = (int32_t)i;
      }
      lepton_merge_sort(keys, other_keys, index, other, extent);
      for (ptrdiff_t i = 0; i < k; i++) {
        const ptrdiff_t to = (b * k + i) * after + a, from = (b * extent + index[i]) * after + a;
        if (give_values) __builtin_memcpy(values + to * width, x + from * width, (size_t)width);
        if (place_bytes == 4) ((int32_t *)places)[to] = index[i];
        if (place_bytes == 8) ((int64_t *)places)[to] = index[i];
      }
    }
}

#define LEPTON_RUNNING(NAME, TYPE)                                                                            \
  LEPTON_KERNEL void running_##NAME(uint8_t *x_, uint8_t *y_, const int before, const int extent,            \
                                    const int after, const int product, const int exclusive) {               \
    const TYPE *x = (const TYPE *)x_;                                                                        \
    TYPE *y = (TYPE *)y_;                                                                                    \
    for (ptrdiff_t b = 0; b < before; b++)                                                                   \
      for (ptrdiff_t a = 0; a < after; a++) {                                                                \
        TYPE held = (TYPE)product;                                                                           \
        for (ptrdiff_t i = 0; i < extent; i++) {                                                             \
          const ptrdiff_t at = (b * extent + i) * after + a;                                                 \
          const TYPE next = (TYPE)(product ? held * x[at] : held + x[at]);                                   \
          y[at] = exclusive ? held : next;                                                                   \
          held = next;                                                                                       \
        }                                                                                                    \
      }                                                                                                      \
  }
/* Integers wrap, which C defines for unsigned ones. */
LEPTON_RUNNING(uint8, uint8_t)
LEPTON_RUNNING(uint16, uint16_t)
LEPTON_RUNNING(uint32, uint32_t)
LEPTON_RUNNING(uint64, uint64_t)
LEPTON_RUNNING(float32, float)
LEPTON_RUNNING(float64, double)
#undef LEPTON_RUNNING

#endif
