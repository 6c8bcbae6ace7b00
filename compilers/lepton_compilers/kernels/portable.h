/* Micro-kernels that every target has. Feature maps are NHWC (one image a call), convolution weights OHWI.
 *
 * The integer kernels compute arithmetic number 1 (docs/arithmetic.md) bit for bit; compile with
 * -ffp-contract=off. Float kernels may fuse multiply and add: they are compared with a tolerance.
 * Every integer parameter is a literal at the call, so that inlining specialises a kernel by shape.
 */
#ifndef LEPTON_PORTABLE_H
#define LEPTON_PORTABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TVM_DLL static inline
#define LEPTON_KERNEL static inline __attribute__((always_inline))
/* Functions that a generated file shares among its uses of a kernel. */
#define LEPTON_SHARED static __attribute__((noinline))
/* LEPTON_UNROLL: arrays indexed by the loop become registers. LEPTON_LOOP: code size matters more. LEPTON_IN_PLACE: y
 * may be an operand's own memory, element for element, so that lanes don't disturb one another. */
#if defined(__clang__)
#define LEPTON_IN_PLACE _Pragma("clang loop vectorize(assume_safety)")
#define LEPTON_UNROLL _Pragma("clang loop unroll(full)")
#define LEPTON_LOOP _Pragma("clang loop unroll(disable)")
#define LEPTON_LANES_MIN(a, b) __builtin_elementwise_min(a, b)
#define LEPTON_LANES_MAX(a, b) __builtin_elementwise_max(a, b)
#else
#define LEPTON_IN_PLACE _Pragma("GCC ivdep")
#define LEPTON_UNROLL _Pragma("GCC unroll 64")
#define LEPTON_LOOP _Pragma("GCC unroll 1")
/* Vectors of integers, lane by lane. */
#define LEPTON_LANES_CHOOSE(a, b, compare)                                  \
  __extension__({                                                           \
    const __typeof__(a) a_ = (a), b_ = (b), chosen_ = (__typeof__(a))(a_ compare b_); \
    (a_ & chosen_) | (b_ & ~chosen_);                                       \
  })
#define LEPTON_LANES_MIN(a, b) LEPTON_LANES_CHOOSE(a, b, <)
#define LEPTON_LANES_MAX(a, b) LEPTON_LANES_CHOOSE(a, b, >)
/* Clang's pragmas about fusing mean nothing to GCC, which is told not to. Vectors are passed inside one file only. A
 * bias that is missing comes as the weights' address, and is not read. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wrestrict"
#endif
#define LEPTON_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LEPTON_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Compilers call these even in freestanding code. LEPTON_HOSTED: a C library has them. */
#ifdef LEPTON_HOSTED
#include <string.h>
#else
__attribute__((used)) void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  for (size_t i = 0; i < n; i++) t[i] = f[i];
  return to;
}
__attribute__((used)) void *memmove(void *to, const void *from, size_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (t < f) {
    for (size_t i = 0; i < n; i++) t[i] = f[i];
  } else {
    for (size_t i = n; i-- > 0;) t[i] = f[i];
  }
  return to;
}
__attribute__((used)) void *memset(void *to, int value, size_t n) {
  uint8_t *t = to;
  for (size_t i = 0; i < n; i++) t[i] = (uint8_t)value;
  return to;
}

#endif

/* ---- numbers ---- */

LEPTON_KERNEL float float_of_bits(const int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
LEPTON_KERNEL int32_t bits_of_float(const float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}
/* Towards zero. One at a time on RISC-V: qemu 7.2 stops where a vector's truncation is the first of a block to round. */
LEPTON_KERNEL int32_t truncated(const float v) {
#if defined(__riscv_vector)
  int32_t integer;
  __asm__("fcvt.w.s %0, %1, rtz" : "=r"(integer) : "f"(v));
  return integer;
#else
  return (int32_t)v;
#endif
}
LEPTON_KERNEL int32_t clamp_int(const int32_t v, const int lo, const int hi) {
  return v < lo ? lo : v > hi ? hi : v;
}
/* A NaN stays one. */
LEPTON_KERNEL float clamp_float(const float v, const float lo, const float hi) {
  return v < lo ? lo : v > hi ? hi : v;
}
/* Round half to even, saturated at 2^20: adding 1.5 * 2^23 leaves the integer in the low bits. */
LEPTON_KERNEL int32_t round_even(float v) {
  v = clamp_float(v, -1048576.0f, 1048576.0f);
  return bits_of_float(v + 12582912.0f) - bits_of_float(12582912.0f);
}
LEPTON_KERNEL int8_t requantise(const int32_t accumulator, const float multiplier, const int zero, const int lo,
                                const int hi) {
  const float product = (float)accumulator * multiplier;
#if defined(__riscv_flen) && !defined(__riscv_vector)
  /* One instruction rounds half to even and saturates; bounded before the zero point is added, nothing wraps. */
  int32_t q;
  __asm__("fcvt.w.s %0, %1, rne" : "=r"(q) : "f"(product));
  return (int8_t)(clamp_int(q, lo - zero, hi - zero) + zero);
#else
  return (int8_t)clamp_int(round_even(product) + zero, lo, hi);
#endif
}
/* Wrapping sums: only the final value must fit, which the compiler has proven. */
LEPTON_KERNEL int32_t add_wrapped(const int32_t a, const int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

/* ---- bytes ---- */

LEPTON_KERNEL void copy_bytes(uint8_t *x, uint8_t *y, const int n) { __builtin_memcpy(y, x, (size_t)n); }

/* y = numpy.transpose of rank <= 6: extents of y, and for each axis of y its step in x, in elements */
LEPTON_KERNEL void transpose(uint8_t *restrict x, uint8_t *restrict y, const int size, const int n0, const int n1,
                             const int n2, const int n3, const int n4, const int n5, const int s0, const int s1,
                             const int s2, const int s3, const int s4, const int s5) {
  ptrdiff_t out = 0;
  for (int a = 0; a < n0; a++)
    for (int b = 0; b < n1; b++)
      for (int c = 0; c < n2; c++)
        for (int d = 0; d < n3; d++)
          for (int e = 0; e < n4; e++)
            for (int f = 0; f < n5; f++, out++) {
              const ptrdiff_t in = (ptrdiff_t)a * s0 + (ptrdiff_t)b * s1 + (ptrdiff_t)c * s2 + (ptrdiff_t)d * s3 +
                                   (ptrdiff_t)e * s4 + (ptrdiff_t)f * s5;
              for (int k = 0; k < size; k++) y[out * size + k] = x[in * size + k];
            }
}
/* fill with a value of 1, 2, 4 or 8 bytes, then place rows of x: extents n of x, steps of y in elements */
LEPTON_KERNEL void fill(uint8_t *y, const int size, const int low, const int high, const int n) {
  for (ptrdiff_t i = 0; i < n; i++)
    for (int k = 0; k < size; k++) y[i * size + k] = (uint8_t)((k < 4 ? low >> (8 * k) : high >> (8 * (k - 4))) & 0xff);
}
LEPTON_KERNEL void place(uint8_t *restrict x, uint8_t *restrict y, const int size, const int n0, const int n1,
                         const int n2, const int n3, const int n4, const int n5, const int s0, const int s1,
                         const int s2, const int s3, const int s4, const int s5) {
  ptrdiff_t in = 0;
  for (int a = 0; a < n0; a++)
    for (int b = 0; b < n1; b++)
      for (int c = 0; c < n2; c++)
        for (int d = 0; d < n3; d++)
          for (int e = 0; e < n4; e++)
            for (int f = 0; f < n5; f++, in++) {
              const ptrdiff_t out = (ptrdiff_t)a * s0 + (ptrdiff_t)b * s1 + (ptrdiff_t)c * s2 + (ptrdiff_t)d * s3 +
                                    (ptrdiff_t)e * s4 + (ptrdiff_t)f * s5;
              for (int k = 0; k < size; k++) y[out * size + k] = x[in * size + k];
            }
}

/* ---- int8: sums of products ---- */

/* weights [o][kh][kw][c / groups]; the output channels of a group read its input channels */
LEPTON_KERNEL void grouped_conv2d_int8(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                               uint8_t *restrict y_, const int groups, const int h, const int w, const int c, const int oh, const int ow,
                               const int o, const int kh, const int kw, const int sh, const int sw, const int pt,
                               const int pl, const int dh, const int dw, const int zx, const int zy, const int lo,
                               const int hi) {
  const int8_t *x = (const int8_t *)x_, *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *multiplier = (const float *)m_;
  int8_t *y = (int8_t *)y_;
  const int inner = c / groups, each = o / groups;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++)
      for (int oc = 0; oc < o; oc++) {
        int32_t sum = bias[oc];
        for (int ky = 0; ky < kh; ky++) {
          const int iy = oy * sh - pt + ky * dh;
          if (iy < 0 || iy >= h) continue;
          for (int kx = 0; kx < kw; kx++) {
            const int ix = ox * sw - pl + kx * dw;
            if (ix < 0 || ix >= w) continue;
            const int8_t *from = x + ((ptrdiff_t)iy * w + ix) * c + (ptrdiff_t)(oc / each) * inner;
            const int8_t *by = weight + (((ptrdiff_t)oc * kh + ky) * kw + kx) * inner;
            int32_t dot = 0;
            for (int i = 0; i < inner; i++) dot += (int32_t)(int16_t)(from[i] - zx) * (int32_t)by[i];
            sum = add_wrapped(sum, dot);
          }
        }
        y[((ptrdiff_t)oy * ow + ox) * o + oc] = requantise(sum, multiplier[oc], zy, lo, hi);
      }
}

/* Output channels that are summed at once: their weights lie side by side, [o / 8][kh][kw][c][8], zeros behind the last. */
#define LEPTON_OUTPUTS 8
/* Where a register has 64 bits, it holds the sums of two of them, s0 + s1 * 2^32 modulo 2^64: one multiplication by an
 * input is the products of both, and as s0 fits in 32 bits once it is complete, so is s1 exact then. */
#if UINTPTR_MAX > 0xffffffffu
typedef uint64_t lepton_sums;
typedef int64_t lepton_signed_sums;
#define LEPTON_TOGETHER 2
#define LEPTON_INT8_PIXELS 3
LEPTON_KERNEL lepton_sums sums_of(const int32_t s0, const int32_t s1) {
  return (lepton_sums)(lepton_signed_sums)s0 + ((lepton_sums)(lepton_signed_sums)s1 << 32);
}
LEPTON_KERNEL int32_t sum_in(const lepton_sums sums, const int which) {
  const int32_t s0 = (int32_t)sums;
  return which ? (int32_t)((sums - (lepton_sums)(lepton_signed_sums)s0) >> 32) : s0;
}
#else
typedef uint32_t lepton_sums;
typedef int32_t lepton_signed_sums;
#define LEPTON_TOGETHER 1
#define LEPTON_INT8_PIXELS 1
LEPTON_KERNEL lepton_sums sums_of(const int32_t s0, const int32_t s1) {
  (void)s1;
  return (lepton_sums)s0;
}
LEPTON_KERNEL int32_t sum_in(const lepton_sums sums, const int which) {
  (void)which;
  return (int32_t)sums;
}
#endif

/* sum[pixel][register]: n inputs more of pixels p0 to p1 - 1, `pixel` bytes apart, by n groups of 8 weights */
LEPTON_KERNEL void add_products_int8(lepton_sums *sum, const int8_t *x, const int pixel, const int8_t *weight, const int n,
                                     const int p0, const int p1, const int registers, const int zx) {
  LEPTON_LOOP for (int i = 0; i < n; i++, x++, weight += LEPTON_OUTPUTS) {
    lepton_sums by[LEPTON_OUTPUTS];
    LEPTON_UNROLL for (int r = 0; r < registers; r++)
      by[r] = sums_of(weight[r * LEPTON_TOGETHER], weight[r * LEPTON_TOGETHER + LEPTON_TOGETHER - 1]);
    LEPTON_UNROLL for (int p = p0; p < p1; p++) {
      /* A pixel after the other: loaded and multiplied all at once, inputs would push sums out of the registers. */
      if (p > p0) __asm__("" : "+r"(x), "+r"(sum[(p - 1) * registers]));
      const lepton_sums value = (lepton_sums)(lepton_signed_sums)(x[(ptrdiff_t)p * pixel] - zx);
      LEPTON_UNROLL for (int r = 0; r < registers; r++) sum[p * registers + r] += value * by[r];
    }
  }
}

/* One tile: `pixels` neighbours of a row by n of 8 output channels; kernel rows ky0 to ky1 - 1 lie inside the map. from:
 * the first pixel's input at kernel row and column 0, which is column `left` of the map. edges == 0: no window leaves it. */
LEPTON_KERNEL void conv2d_int8_tile(const int8_t *from, const int8_t *weight, const int32_t *bias,
                                    const float *multiplier, int8_t *to, const int w, const int c, const int o,
                                    const int kw, const int sw, const int dh, const int dw, const int pixels,
                                    const int n, const int ky0, const int ky1, const int edges, const int left,
                                    const int zx, const int zy, const int lo, const int hi) {
  const int registers = (n + LEPTON_TOGETHER - 1) / LEPTON_TOGETHER, pixel = sw * c;
  lepton_sums sum[LEPTON_INT8_PIXELS * LEPTON_OUTPUTS];
  LEPTON_UNROLL for (int r = 0; r < registers; r++) {
    const int last = LEPTON_MIN((r + 1) * LEPTON_TOGETHER, n) - 1;
    const lepton_sums start = sums_of(bias[r * LEPTON_TOGETHER], last > r * LEPTON_TOGETHER ? bias[last] : 0);
    LEPTON_UNROLL for (int p = 0; p < pixels; p++) sum[p * registers + r] = start;
  }
  const int inside = !edges || (left >= 0 && left + (pixels - 1) * sw + (kw - 1) * dw < w);
  /* A kernel row inside the map is one run of inputs. */
  const int taps = inside && dw == 1 ? kw : 1;
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx += taps) {
      const int8_t *x = from + ((ptrdiff_t)ky * dh * w + (ptrdiff_t)kx * dw) * c;
      const int8_t *by = weight + ((ptrdiff_t)ky * kw + kx) * c * LEPTON_OUTPUTS;
      const int column = left + kx * dw;
      if (inside || (column >= 0 && column + (pixels - 1) * sw < w)) {
        add_products_int8(sum, x, pixel, by, taps * c, 0, pixels, registers, zx);
      } else {
        LEPTON_UNROLL for (int p = 0; p < pixels; p++)
          if (column + p * sw >= 0 && column + p * sw < w)
            add_products_int8(sum, x, pixel, by, c, p, p + 1, registers, zx);
      }
    }
  /* By address, so that one piece of code serves all registers. */
  lepton_sums done[LEPTON_INT8_PIXELS * LEPTON_OUTPUTS];
  LEPTON_UNROLL for (int i = 0; i < pixels * registers; i++) done[i] = sum[i];
  LEPTON_LOOP for (int r = 0; r < registers; r++)
    LEPTON_UNROLL for (int which = 0; which < LEPTON_TOGETHER; which++) {
      const int l = r * LEPTON_TOGETHER + which;
      if (l >= n) continue;
      const float by = multiplier[l];
      LEPTON_UNROLL for (int p = 0; p < pixels; p++)
        to[(ptrdiff_t)p * o + l] = requantise(sum_in(done[p * registers + r], which), by, zy, lo, hi);
    }
}
/* n of 8 output channels of all pixels */
LEPTON_KERNEL void conv2d_int8_block(const int8_t *x, const int8_t *weight, const int32_t *bias,
                                     const float *multiplier, int8_t *y, const int h, const int w, const int c,
                                     const int oh, const int ow, const int o, const int kh, const int kw, const int sh,
                                     const int sw, const int pt, const int pl, const int dh, const int dw, const int n,
                                     const int zx, const int zy, const int lo, const int hi) {
  const int mr = LEPTON_INT8_PIXELS, whole = ow / mr * mr, edges = pl > 0 || (ow - 1) * sw - pl + (kw - 1) * dw >= w;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int above = oy * sh - pt, ky0 = above < 0 ? (dh - 1 - above) / dh : 0;
    const int ky1 = LEPTON_MIN(kh, (h - above + dh - 1) / dh);
    const int8_t *from = x + ((ptrdiff_t)above * w - pl) * c;
    int8_t *to = y + (ptrdiff_t)oy * ow * o;
    LEPTON_LOOP for (int ox = 0; ox < whole; ox += mr)
      conv2d_int8_tile(from + (ptrdiff_t)ox * sw * c, weight, bias, multiplier, to + (ptrdiff_t)ox * o, w, c, o, kw, sw,
                       dh, dw, mr, n, ky0, ky1, edges, ox * sw - pl, zx, zy, lo, hi);
    if (ow > whole)
      conv2d_int8_tile(from + (ptrdiff_t)whole * sw * c, weight, bias, multiplier, to + (ptrdiff_t)whole * o, w, c, o,
                       kw, sw, dh, dw, ow - whole, n, ky0, ky1, edges, whole * sw - pl, zx, zy, lo, hi);
  }
}
LEPTON_KERNEL void conv2d_int8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                               uint8_t *restrict y, const int h, const int w, const int c, const int oh, const int ow,
                               const int o, const int kh, const int kw, const int sh, const int sw, const int pt,
                               const int pl, const int dh, const int dw, const int zx, const int zy, const int lo,
                               const int hi) {
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *multiplier = (const float *)m_;
  const int n = LEPTON_OUTPUTS, whole = o / n * n;
  LEPTON_LOOP for (int ob = 0; ob < whole; ob += n)
    conv2d_int8_block((const int8_t *)x, weight + (ptrdiff_t)ob * kh * kw * c, bias + ob, multiplier + ob,
                      (int8_t *)y + ob, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, n, zx, zy, lo, hi);
  if (o > whole)
    conv2d_int8_block((const int8_t *)x, weight + (ptrdiff_t)whole * kh * kw * c, bias + whole, multiplier + whole,
                      (int8_t *)y + whole, h, w, c, oh, ow, o, kh, kw, sh, sw, pt, pl, dh, dw, o - whole, zx, zy, lo,
                      hi);
}

/* A column of the kernel, `at` columns and more from the tile's first: see below. */
LEPTON_KERNEL void depthwise_int8_tap(int32_t *sum, const int8_t *x, const int8_t weight, const int c, const int sw,
                                      const int at, const int pixels, const int first, const int valid, const int zx) {
  LEPTON_UNROLL for (int p = 0; p < pixels; p++) {
    const int column = p * sw + at;
    const int32_t value = column < first || column >= valid ? zx : x[(ptrdiff_t)column * c];
    sum[p] = add_wrapped(sum[p], value * (int32_t)weight);
  }
}
/* One tile: `pixels` neighbours of a row, all channels. Sums start less what the zero point is worth in a whole window,
 * so that what lies beside the map counts as the zero point: kernel rows before ky0 and from ky1 on, columns before
 * `first` and from `valid` on, counted from the window of the first pixel, which starts at `from`. */
LEPTON_KERNEL void depthwise_int8_tile(const int8_t *from, const int8_t *weight, const int32_t *bias,
                                       const float *multiplier, int8_t *to, const int w, const int c, const int o,
                                       const int kh, const int kw, const int sw, const int dh, const int dw,
                                       const int pixels, const int ky0, const int ky1, const int first,
                                       const int valid, const int zx, const int zy, const int lo, const int hi) {
  const int each = o / c;
  LEPTON_LOOP for (int oc = 0; oc < o; oc++, from += oc % each == 0, weight++) {
    int32_t sum[4], start = bias[oc];
    LEPTON_LOOP for (int ky = 0; ky < (ky1 - ky0 < kh ? kh : 0); ky++) {
      if (ky >= ky0 && ky < ky1) continue;
      for (int kx = 0; kx < kw; kx++) start = add_wrapped(start, zx * (int32_t)weight[((ptrdiff_t)ky * kw + kx) * o]);
    }
    LEPTON_UNROLL for (int p = 0; p < pixels; p++) sum[p] = start;
    LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
      const int8_t *x = from + (ptrdiff_t)ky * dh * w * c, *by = weight + (ptrdiff_t)ky * kw * o;
      if (kw <= 7) {
        LEPTON_UNROLL for (int kx = 0; kx < kw; kx++)
          depthwise_int8_tap(sum, x, by[(ptrdiff_t)kx * o], c, sw, kx * dw, pixels, first, valid, zx);
      } else {
        LEPTON_LOOP for (int kx = 0; kx < kw; kx++)
          depthwise_int8_tap(sum, x, by[(ptrdiff_t)kx * o], c, sw, kx * dw, pixels, first, valid, zx);
      }
    }
    LEPTON_UNROLL for (int p = 0; p < pixels; p++)
      to[(ptrdiff_t)p * o + oc] = requantise(sum[p], multiplier[oc], zy, lo, hi);
  }
}
/* weights [kh][kw][o], biases less the zero point times the sum of a channel's weights, modulo 2^32; output channel i
 * reads input channel i / (o / c) */
LEPTON_KERNEL void depthwise_int8(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                  uint8_t *restrict m_, uint8_t *restrict y_, const int h, const int w, const int c,
                                  const int oh, const int ow, const int o, const int kh, const int kw, const int sh,
                                  const int sw, const int pt, const int pl, const int dh, const int dw, const int zx,
                                  const int zy, const int lo, const int hi) {
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *multiplier = (const float *)m_;
  const int mr = 4, tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr, everything = 1 << 30;
  /* Whether windows of other tiles than the first and the last leave the map. */
  const int deep = pl > mr * sw || (last - 1) * sw + (kw - 1) * dw - pl >= w;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int above = oy * sh - pt, ky0 = LEPTON_MIN(kh, above < 0 ? (dh - 1 - above) / dh : 0);
    const int ky1 = LEPTON_MAX(ky0, LEPTON_MIN(kh, (h - above + dh - 1) / dh));
    const int8_t *from = (const int8_t *)x_ + ((ptrdiff_t)above * w - pl) * c;
    int8_t *to = (int8_t *)y_ + (ptrdiff_t)oy * ow * o;
    if (tiles > 1)
      depthwise_int8_tile(from, weight, bias, multiplier, to, w, c, o, kh, kw, sw, dh, dw, mr, ky0, ky1, pl, w + pl, zx,
                          zy, lo, hi);
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr)
      depthwise_int8_tile(from + (ptrdiff_t)ox * sw * c, weight, bias, multiplier, to + (ptrdiff_t)ox * o, w, c, o, kh,
                          kw, sw, dh, dw, mr, ky0, ky1, deep ? pl - ox * sw : 0, deep ? w + pl - ox * sw : everything,
                          zx, zy, lo, hi);
    depthwise_int8_tile(from + (ptrdiff_t)last * sw * c, weight, bias, multiplier, to + (ptrdiff_t)last * o, w, c, o, kh,
                        kw, sw, dh, dw, ow - last, ky0, ky1, pl - last * sw, w + pl - last * sw, zx, zy, lo, hi);
  }
}

/* ---- int8: windows and elements ---- */

/* same != 0: one quantisation for x and y, the mean is rounded half away from zero */
LEPTON_KERNEL void average_pool_int8(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                     const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                     const int pt, const int pl, const int same, const int sx_bits, const int sy_bits,
                                     const int zx, const int zy, const int lo, const int hi) {
  const int8_t *x = (const int8_t *)x_;
  int8_t *y = (int8_t *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      const int count = (y1 - y0) * (x1 - x0);
      const float multiplier = float_of_bits(sx_bits) / (float_of_bits(sy_bits) * (float)count);
      for (int cb = 0; cb < c; cb += 16) {
        const int n = LEPTON_MIN(16, c - cb);
        int32_t sum[16] = {0};
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++)
            for (int l = 0; l < n; l++) sum[l] += x[((ptrdiff_t)iy * w + ix) * c + cb + l];
        int8_t *to = y + ((ptrdiff_t)oy * ow + ox) * c + cb;
        for (int l = 0; l < n; l++) {
          if (same) {
            const int32_t s = sum[l], half = count / 2;
            to[l] = (int8_t)clamp_int(s > 0 ? (s + half) / count : -((half - s) / count), lo, hi);
          } else {
            to[l] = requantise(sum[l] - count * zx, multiplier, zy, lo, hi);
          }
        }
      }
    }
}

LEPTON_KERNEL void max_pool_int8(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                 const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                 const int pt, const int pl, const int lo, const int hi) {
  const int8_t *x = (const int8_t *)x_;
  int8_t *y = (int8_t *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      int8_t *to = y + ((ptrdiff_t)oy * ow + ox) * c;
      for (int i = 0; i < c; i++) {
        int32_t best = -128;
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) best = LEPTON_MAX(best, x[((ptrdiff_t)iy * w + ix) * c + i]);
        to[i] = (int8_t)clamp_int(best, lo, hi);
      }
    }
}

LEPTON_KERNEL void clamp_int8(uint8_t *x_, uint8_t *y_, const int n, const int lo, const int hi) {
  const int8_t *x = (const int8_t *)x_;
  int8_t *y = (int8_t *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++) y[i] = (int8_t)clamp_int(x[i], lo, hi);
}

LEPTON_KERNEL void table_int8(uint8_t *x, uint8_t *restrict table, uint8_t *y, const int n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = table[x[i] ^ 0x80];
}

/* table: 256 float32; rows of n values, summed in index order */
LEPTON_KERNEL void softmax_int8(uint8_t *restrict x_, uint8_t *restrict table_, uint8_t *restrict y_, const int rows,
                                const int n) {
  for (int r = 0; r < rows; r++) {
    const uint8_t *x = x_ + (ptrdiff_t)r * n;
    int8_t *y = (int8_t *)y_ + (ptrdiff_t)r * n;
    int32_t largest = 0;
    for (int i = 0; i < n; i++) largest = LEPTON_MAX(largest, x[i] ^ 0x80);
    const float *table = (const float *)table_ + 255 - largest;
    float sum = 0;
    for (int i = 0; i < n; i++) sum += table[x[i] ^ 0x80];
    const float inverse = 1.0f / (sum * (1.0f / 256.0f));
    for (int i = 0; i < n; i++) {
      const int32_t q = truncated(table[x[i] ^ 0x80] * inverse + 0.5f) - 128;
      y[i] = (int8_t)LEPTON_MIN(q, 127);
    }
  }
}

LEPTON_KERNEL void quantize_int8(uint8_t *restrict x_, uint8_t *restrict y_, const int n, const int inverse_bits,
                                 const int zero) {
  const float *x = (const float *)x_;
  int8_t *y = (int8_t *)y_;
  for (ptrdiff_t i = 0; i < n; i++) {
    const float product = x[i] * float_of_bits(inverse_bits);
    y[i] = (int8_t)clamp_int(round_even(product == product ? product : 0.0f) + zero, -128, 127);
  }
}

LEPTON_KERNEL void dequantize_int8(uint8_t *restrict x_, uint8_t *restrict y_, const int n, const int scale_bits,
                                   const int zero) {
  const int8_t *x = (const int8_t *)x_;
  float *y = (float *)y_;
  for (ptrdiff_t i = 0; i < n; i++) y[i] = (float)(x[i] - zero) * float_of_bits(scale_bits);
}

/* ---- float32 ---- */

/* 16 lanes whatever the machine's vectors are; loads need the alignment of a float. */
typedef float float16_lanes __attribute__((vector_size(64), aligned(4)));
typedef float float4_lanes __attribute__((vector_size(16), aligned(4)));
/* Sums of a tile fill the registers: unrolling spares what loops cost beside them. */
#if defined(__clang__) && defined(__AVX__) && !defined(__AVX512F__)
#define LEPTON_FLOAT_LOOP _Pragma("clang loop unroll_count(4)")
#else
#define LEPTON_FLOAT_LOOP
#endif
/* pixels of a tile that is 1, 2 or 4 blocks of 16 channels wide; blocks that pay where there are enough */
#if defined(__AVX512F__)
#define LEPTON_FLOAT_PIXELS(nb) ((nb) == 1 ? 16 : (nb) == 2 ? 12 : 5)
#define LEPTON_FLOAT_BLOCKS(width) ((width) <= 4 ? 4 : 2)
#elif defined(__AVX__) || defined(__aarch64__)
#define LEPTON_FLOAT_PIXELS(nb) ((nb) == 1 ? 6 : (nb) == 2 ? 3 : 1)
#define LEPTON_FLOAT_BLOCKS(width) ((width) == 1 ? 4 : 1)
#else
#define LEPTON_FLOAT_PIXELS(nb) ((nb) == 1 ? 2 : 1)
#define LEPTON_FLOAT_BLOCKS(width) 1
#endif

/* Lanes of two vectors by their numbers. */
#if defined(__clang__) || __GNUC__ >= 12
#define LEPTON_INTERLEAVED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t lane_numbers __attribute__((vector_size(64)));
#define LEPTON_INTERLEAVED(a, b, ...) __builtin_shuffle(a, b, (lane_numbers){__VA_ARGS__})
#endif

LEPTON_KERNEL float16_lanes load_lanes(const float *x, const int n) {
  float16_lanes v = {0};
  if (n >= 16) {
    __builtin_memcpy(&v, x, 64);
  } else {
    for (int l = 0; l < n; l++) v[l] = x[l];
  }
  return v;
}
typedef int32_t bits16_lanes __attribute__((vector_size(64), aligned(4)));
/* a where all bits of the lane are set, b where none is */
LEPTON_KERNEL float16_lanes chosen_lanes(const bits16_lanes where_a, const float16_lanes a, const float16_lanes b) {
  return (float16_lanes)(((bits16_lanes)a & where_a) | ((bits16_lanes)b & ~where_a));
}
LEPTON_KERNEL void store_clamped(float *y, const float16_lanes v, const int n, const float lo, const float hi) {
  float16_lanes r = v;
  LEPTON_UNROLL for (int l = 0; l < 16; l++) r[l] = clamp_float(v[l], lo, hi);
  if (n >= 16) {
    __builtin_memcpy(y, &r, 64);
  } else {
    for (int l = 0; l < n; l++) y[l] = r[l];
  }
}

/* rows[i][j] and rows[j][i] change places: four times, rows of one half are interleaved with those of the other. */
LEPTON_KERNEL void turn_lanes(float16_lanes *rows) {
  LEPTON_UNROLL for (int round = 0; round < 4; round++) {
    float16_lanes turned[16];
    LEPTON_UNROLL for (int i = 0; i < 8; i++) {
      turned[2 * i] = LEPTON_INTERLEAVED(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      turned[2 * i + 1] =
          LEPTON_INTERLEAVED(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    LEPTON_UNROLL for (int i = 0; i < 16; i++) rows[i] = turned[i];
  }
}

/* Weights [o][k] in the variables' order to lanes [o/16][k][16]. */
LEPTON_KERNEL void pack_columns_float(uint8_t *restrict x_, uint8_t *restrict y_, const int o, const int k) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  for (int b = 0; b < (o + 15) / 16; b++) {
#if defined(__AVX512F__)
    /* Where 16 rows fit in registers. */
    const int turned = b * 16 + 16 <= o ? k - k % 16 : 0;
    for (int i = 0; i < turned; i += 16) {
      float16_lanes rows[16];
      LEPTON_UNROLL for (int r = 0; r < 16; r++) rows[r] = load_lanes(x + ((ptrdiff_t)b * 16 + r) * k + i, 16);
      turn_lanes(rows);
      LEPTON_UNROLL for (int r = 0; r < 16; r++) __builtin_memcpy(y + ((ptrdiff_t)b * k + i + r) * 16, &rows[r], 64);
    }
#else
    const int turned = 0;
#endif
    for (int i = turned; i < k; i++)
      for (int l = 0; l < 16; l++)
        y[((ptrdiff_t)b * k + i) * 16 + l] = b * 16 + l < o ? x[((ptrdiff_t)b * 16 + l) * k + i] : 0.0f;
  }
}

/* The products of one kernel row and column: c channels of each pixel p0 to p1 - 1 of a tile. */
LEPTON_KERNEL void conv2d_float_tap(float16_lanes *sum, const float *x, const float *column, const int c,
                                    const int pixel, const int block, const int p0, const int p1, const int nb) {
#pragma clang fp contract(fast)
  int i = 0;
#if defined(__aarch64__)
  /* fmla takes a factor from any lane: four channels of a pixel are one load. */
  LEPTON_LOOP for (; i < c / 4 * 4; i += 4) {
    float4_lanes four[28];
    LEPTON_UNROLL for (int p = p0; p < p1; p++) __builtin_memcpy(&four[p], x + (ptrdiff_t)p * pixel + i, 16);
    LEPTON_UNROLL for (int k = 0; k < 4; k++)
      LEPTON_UNROLL for (int b = 0; b < nb; b++) {
        float16_lanes by;
        __builtin_memcpy(&by, column + (ptrdiff_t)b * block + (ptrdiff_t)(i + k) * 16, 64);
        LEPTON_UNROLL for (int p = p0; p < p1; p++) sum[p * nb + b] += four[p][k] * by;
      }
  }
#endif
  LEPTON_FLOAT_LOOP for (; i < c; i++) {
    float16_lanes by[4];
    LEPTON_UNROLL for (int b = 0; b < nb; b++) {
      __builtin_memcpy(&by[b], column + (ptrdiff_t)b * block + (ptrdiff_t)i * 16, 64);
    }
    LEPTON_UNROLL for (int p = p0; p < p1; p++) {
      const float value = x[(ptrdiff_t)p * pixel + i];
      LEPTON_UNROLL for (int b = 0; b < nb; b++) sum[p * nb + b] += value * by[b];
    }
  }
}

/* One tile: `pixels` neighbours of a row by nb blocks of 16 output channels, `channels` of which exist; kernel rows
 * ky0 to ky1 - 1 lie inside the map. from: the first pixel's input at kernel row and column 0, which is column `left` of
 * the map; edge != 0: some taps lie beside the map and are left out. */
LEPTON_KERNEL void conv2d_float_tile(const float *from, const float *weight, const float *bias, float *to, const int w,
                                     const int c, const int o, const int kh, const int kw, const int sw, const int dh,
                                     const int dw, const int pixels, const int nb, const int channels, const int ky0,
                                     const int ky1, const int edge, const int left, const float lo, const float hi) {
  float16_lanes sum[28];
  const int block = kh * kw * c * 16;
  LEPTON_UNROLL for (int b = 0; b < nb; b++) {
    float16_lanes start = {0};
    if (bias) start = load_lanes(bias + b * 16, channels - b * 16);
    LEPTON_UNROLL for (int p = 0; p < pixels; p++) sum[p * nb + b] = start;
  }
  for (int ky = ky0; ky < ky1; ky++) {
    const float *row = from + (ptrdiff_t)ky * dh * w * c;
    const float *column = weight + (ptrdiff_t)ky * kw * c * 16;
    if (edge) {
      LEPTON_UNROLL for (int kx = 0; kx < kw; kx++) {
        const int at = left + kx * dw;
        const int p0 = at < 0 ? (-at + sw - 1) / sw : 0;
        const int p1 = at >= w ? 0 : LEPTON_MIN(pixels, (w - at + sw - 1) / sw);
        if (p0 < p1)
          conv2d_float_tap(sum, row + (ptrdiff_t)kx * dw * c, column + (ptrdiff_t)kx * c * 16, c, sw * c, block, p0, p1,
                           nb);
      }
    } else {
      for (int kx = 0; kx < kw; kx++)
        conv2d_float_tap(sum, row + (ptrdiff_t)kx * dw * c, column + (ptrdiff_t)kx * c * 16, c, sw * c, block, 0, pixels,
                         nb);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < pixels; p++)
    LEPTON_UNROLL for (int b = 0; b < nb; b++)
      store_clamped(to + (ptrdiff_t)p * o + b * 16, sum[p * nb + b], channels - b * 16, lo, hi);
}

LEPTON_KERNEL void conv2d_float_panel(const float *x, const float *weight, const float *bias, float *y, const int h,
                                      const int w, const int c, const int oh, const int ow, const int o, const int kh,
                                      const int kw, const int sh, const int sw, const int pt, const int pl,
                                      const int dh, const int dw, const int nb, const int channels, const float lo,
                                      const float hi) {
  const int tiles = (ow + LEPTON_FLOAT_PIXELS(nb) - 1) / LEPTON_FLOAT_PIXELS(nb);
  const int width = (ow + tiles - 1) / tiles, reach = (kw - 1) * dw + 1;
  /* tiles whose windows all lie inside the map, from the left and to the right */
  const int first = LEPTON_MAX(0, (pl + width * sw - 1) / (width * sw));
  const int whole = ow / width;
  const int fitting = w + pl < reach ? 0 : ((w + pl - reach) / sw + 1) / width;
  const int inner0 = LEPTON_MIN(first, whole), inner1 = LEPTON_MAX(inner0, LEPTON_MIN(fitting, whole));
  for (int oy = 0; oy < oh; oy++) {
    int ky0 = 0, ky1 = kh;
    while (ky0 < kh && oy * sh - pt + ky0 * dh < 0) ky0++;
    while (ky1 > ky0 && oy * sh - pt + (ky1 - 1) * dh >= h) ky1--;
    const float *row = x + (((ptrdiff_t)oy * sh - pt) * w - pl) * c;
    float *to = y + (ptrdiff_t)oy * ow * o;
    LEPTON_UNROLL for (int t = 0; t < inner0; t++)
      conv2d_float_tile(row + (ptrdiff_t)t * width * sw * c, weight, bias, to + (ptrdiff_t)t * width * o, w, c, o, kh, kw,
                        sw, dh, dw, width, nb, channels, ky0, ky1, 1, t * width * sw - pl, lo, hi);
    for (int t = inner0; t < inner1; t++)
      conv2d_float_tile(row + (ptrdiff_t)t * width * sw * c, weight, bias, to + (ptrdiff_t)t * width * o, w, c, o, kh, kw,
                        sw, dh, dw, width, nb, channels, ky0, ky1, 0, 0, lo, hi);
    LEPTON_UNROLL for (int t = inner1; t < tiles; t++)
      conv2d_float_tile(row + (ptrdiff_t)t * width * sw * c, weight, bias, to + (ptrdiff_t)t * width * o, w, c, o, kh, kw,
                        sw, dh, dw, LEPTON_MIN(width, ow - t * width), nb, channels, ky0, ky1, 1, t * width * sw - pl, lo,
                        hi);
  }
}

/* weights [o/16][kh][kw][c][16]; has_bias == 0: b_ is not read */
/* o output channels of `all` that a pixel of y has */
LEPTON_KERNEL void conv2d_float_range(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                      uint8_t *restrict y_, const int has_bias, const int h, const int w, const int c,
                                      const int oh, const int ow, const int o, const int all, const int kh,
                                      const int kw, const int sh, const int sw, const int pt, const int pl,
                                      const int dh, const int dw, const int lo_bits, const int hi_bits) {
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  float *y = (float *)y_;
  const int blocks = (o + 15) / 16, nb = LEPTON_MIN(blocks, LEPTON_FLOAT_BLOCKS(ow)), taps = kh * kw * c;
  /* panels whose channels all exist, then what is left */
  const int full = o / (nb * 16);
  for (int panel = 0; panel < full; panel++) {
    const int ob = panel * nb * 16;
    conv2d_float_panel(x, weight + (ptrdiff_t)ob * taps, has_bias ? bias + ob : 0, y + ob, h, w, c, oh, ow, all, kh, kw,
                       sh, sw, pt, pl, dh, dw, nb, nb * 16, lo, hi);
  }
  if (o > full * nb * 16) {
    const int ob = full * nb * 16;
    conv2d_float_panel(x, weight + (ptrdiff_t)ob * taps, has_bias ? bias + ob : 0, y + ob, h, w, c, oh, ow, all, kh, kw,
                       sh, sw, pt, pl, dh, dw, (o - ob + 15) / 16, o - ob, lo, hi);
  }
}
LEPTON_KERNEL void conv2d_float(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict y, const int has_bias, const int h, const int w, const int c,
                                const int oh, const int ow, const int o, const int kh, const int kw, const int sh,
                                const int sw, const int pt, const int pl, const int dh, const int dw, const int lo_bits,
                                const int hi_bits) {
  conv2d_float_range(x, weight, bias, y, has_bias, h, w, c, oh, ow, o, o, kh, kw, sh, sw, pt, pl, dh, dw, lo_bits,
                     hi_bits);
}
LEPTON_KERNEL void grouped_conv2d_float(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                        uint8_t *restrict y_, const int has_bias, const int groups, const int h,
                                        const int w, const int c, const int oh, const int ow, const int o, const int kh,
                                        const int kw, const int sh, const int sw, const int pt, const int pl,
                                        const int dh, const int dw, const int lo_bits, const int hi_bits) {
#pragma clang fp contract(fast)
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  float *y = (float *)y_;
  const int inner = c / groups, each = o / groups;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++)
      for (int g = 0; g < groups; g++)
        for (int ob = 0; ob < each; ob += 16) {
          const int n = LEPTON_MIN(16, each - ob), channel = g * each + ob;
          float16_lanes sum = {0};
          if (has_bias) sum = load_lanes(bias + channel, n);
          for (int ky = 0; ky < kh; ky++) {
            const int iy = oy * sh - pt + ky * dh;
            if (iy < 0 || iy >= h) continue;
            for (int kx = 0; kx < kw; kx++) {
              const int ix = ox * sw - pl + kx * dw;
              if (ix < 0 || ix >= w) continue;
              const float *from = x + ((ptrdiff_t)iy * w + ix) * c + (ptrdiff_t)g * inner;
              const float *by = weight + (((ptrdiff_t)g * kh + ky) * kw + kx) * inner * each + ob;
              for (int i = 0; i < inner; i++) sum += from[i] * load_lanes(by + (ptrdiff_t)i * each, n);
            }
          }
          store_clamped(y + ((ptrdiff_t)oy * ow + ox) * o + channel, sum, n, lo, hi);
        }
}

/* weights [kh][kw][o] as they are; output channel i reads input channel i / (o / c) */
LEPTON_KERNEL void depthwise_float(uint8_t *restrict x_, uint8_t *restrict w_, uint8_t *restrict b_,
                                   uint8_t *restrict y_, const int has_bias, const int h, const int w, const int c,
                                   const int oh, const int ow, const int o, const int kh, const int kw, const int sh,
                                   const int sw, const int pt, const int pl, const int dh, const int dw,
                                   const int lo_bits, const int hi_bits) {
#pragma clang fp contract(fast)
  const float *x = (const float *)x_, *weight = (const float *)w_, *bias = (const float *)b_;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  float *y = (float *)y_;
  const int each = o / c;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      for (int ob = 0; ob < o; ob += 16) {
        const int n = LEPTON_MIN(16, o - ob);
        float16_lanes sum = {0};
        if (has_bias) sum = load_lanes(bias + ob, n);
        for (int ky = 0; ky < kh; ky++) {
          const int iy = oy * sh - pt + ky * dh;
          if (iy < 0 || iy >= h) continue;
          for (int kx = 0; kx < kw; kx++) {
            const int ix = ox * sw - pl + kx * dw;
            if (ix < 0 || ix >= w) continue;
            const float *from = x + ((ptrdiff_t)iy * w + ix) * c;
            float16_lanes value = {0};
            if (each == 1)
              value = load_lanes(from + ob, n);
            else
              for (int l = 0; l < n; l++) value[l] = from[(ob + l) / each];
            sum += value * load_lanes(weight + ((ptrdiff_t)ky * kw + kx) * o + ob, n);
          }
        }
        store_clamped(y + ((ptrdiff_t)oy * ow + ox) * o + ob, sum, n, lo, hi);
      }
    }
}

LEPTON_KERNEL void clamp_to_float(uint8_t *x_, uint8_t *y_, const int n, const int lo_bits, const int hi_bits) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  LEPTON_IN_PLACE for (ptrdiff_t i = 0; i < n; i++)
    y[i] = clamp_float(x[i], float_of_bits(lo_bits), float_of_bits(hi_bits));
}

LEPTON_KERNEL void average_pool_float(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                      const int oh, const int ow, const int kh, const int kw, const int sh,
                                      const int sw, const int pt, const int pl, const int lo_bits, const int hi_bits) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      const float part = 1.0f / (float)((y1 - y0) * (x1 - x0));
      for (int cb = 0; cb < c; cb += 16) {
        const int n = LEPTON_MIN(16, c - cb);
        float16_lanes sum = {0};
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) sum += load_lanes(x + ((ptrdiff_t)iy * w + ix) * c + cb, n);
        store_clamped(y + ((ptrdiff_t)oy * ow + ox) * c + cb, sum * part, n, float_of_bits(lo_bits),
                      float_of_bits(hi_bits));
      }
    }
}

LEPTON_KERNEL void max_pool_float(uint8_t *restrict x_, uint8_t *restrict y_, const int h, const int w, const int c,
                                  const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                  const int pt, const int pl, const int lo_bits, const int hi_bits) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  for (int oy = 0; oy < oh; oy++)
    for (int ox = 0; ox < ow; ox++) {
      const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
      const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
      for (int cb = 0; cb < c; cb += 16) {
        const int n = LEPTON_MIN(16, c - cb);
        float16_lanes best = (float16_lanes){0} - __builtin_inff();
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) {
            const float16_lanes v = load_lanes(x + ((ptrdiff_t)iy * w + ix) * c + cb, n);
            /* A NaN stays. */
            best = chosen_lanes((bits16_lanes)(best > v) | (bits16_lanes)(best != best), best, v);
          }
        store_clamped(y + ((ptrdiff_t)oy * ow + ox) * c + cb, best, n, float_of_bits(lo_bits), float_of_bits(hi_bits));
      }
    }
}

/* 2^n * exp(r), n = round(x / ln 2), exp(r) by its Taylor series to r^7: below 1e-8 on [-ln2/2, ln2/2]. */
LEPTON_KERNEL float exp_float(const float x) {
#pragma clang fp contract(off)
  const float limited = clamp_float(x, -87.0f, 88.0f);
  const float n = (limited * 1.44269504f + 12582912.0f) - 12582912.0f;
  /* ln 2 = 0.693359375 - 0.000212194440: the first part times n is exact. */
  const float r = (limited - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return x < -87.0f ? 0.0f : p * float_of_bits(((int32_t)n + 127) << 23);
}

/* Sums and maxima of 16 lanes, then of the lanes in order. */
LEPTON_KERNEL void softmax_float(uint8_t *x_, uint8_t *y_, const int rows, const int n) {
  for (int r = 0; r < rows; r++) {
    const float *x = (const float *)x_ + (ptrdiff_t)r * n;
    float *y = (float *)y_ + (ptrdiff_t)r * n;
    const int whole = n / 16 * 16;
    float16_lanes sums = {0};
    float most[16];
    for (int l = 0; l < 16; l++) most[l] = x[l < n ? l : 0];
    for (int i = 16; i < whole; i += 16)
      for (int l = 0; l < 16; l++) most[l] = LEPTON_MAX(most[l], x[i + l]);
    float largest = most[0], sum = 0;
    for (int l = 1; l < 16; l++) largest = LEPTON_MAX(largest, most[l]);
    for (int i = LEPTON_MAX(whole, 16); i < n; i++) largest = LEPTON_MAX(largest, x[i]);
    LEPTON_IN_PLACE for (int i = 0; i < n; i++) y[i] = exp_float(x[i] - largest);
    for (int i = 0; i < whole; i += 16) sums += load_lanes(y + i, 16);
    for (int l = 0; l < 16; l++) sum += sums[l];
    for (int i = whole; i < n; i++) sum += y[i];
    const float inverse = 1.0f / sum;
    LEPTON_IN_PLACE for (int i = 0; i < n; i++) y[i] *= inverse;
  }
}
#endif
