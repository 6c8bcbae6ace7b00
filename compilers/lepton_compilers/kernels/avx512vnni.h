/* int8 kernels for x86-64 with AVX512-VNNI, one image a call; no VBMI is needed.
 *
 * Feature maps are u8 (q + 128) in blocks of 16 channels, [block][pixel][16]; a vector of int32 accumulators is 16
 * output channels of one pixel. vpdpbusd multiplies 4 input channels, broadcast, by 4 x 16 weights. Biases hold
 * bias - (zx + 128) * sum of weights. zy, lo and hi are in u8 numbers, as in finish.h.
 * Maps may be read 64 bytes before and after their ends; what is read there is masked or meets zero weights.
 */
#ifndef LEPTON_AVX512VNNI_H
#define LEPTON_AVX512VNNI_H
#include <immintrin.h>

LEPTON_KERNEL __m512i load512(const void *p) { return _mm512_loadu_si512(p); }
LEPTON_KERNEL __m512i broadcast4(const uint8_t *p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

/* Mask of n of 64 bytes. Of a store whose mask it knows to be 1, LLVM 22 may write four bytes: it does not learn of it. */
LEPTON_KERNEL uint64_t first_bytes(const int n) {
  uint64_t mask = n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << LEPTON_MAX(n, 0)) - 1;
  if (n == 1) __asm__("" : "+r"(mask));
  return mask;
}

/* ---- from accumulators to bytes ---- */

LEPTON_KERNEL __m512i requantise_lanes(const __m512i sum, const __m512 multiplier, const int wide) {
  __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
  /* Too large becomes INT_MIN when converted; too small does as well, and saturates as it should. */
  if (wide) product = _mm512_min_ps(product, _mm512_set1_ps(1048576.0f));
  return _mm512_cvtps_epi32(product);
}

/* The addition before its zero point: both operands in u8 numbers, q before the convolution's own clamp. */
LEPTON_KERNEL __m512i add_residual(const __m512i q, const uint8_t *residual, const lepton_finish f) {
  __m512i v = f.zy ? _mm512_add_epi32(q, _mm512_set1_epi32(f.zy)) : q;
  v = _mm512_min_epi32(_mm512_max_epi32(v, _mm512_set1_epi32(f.lo)), _mm512_set1_epi32(f.hi));
  const __m512i other = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)residual));
  __m512i sum = _mm512_add_epi32(_mm512_mullo_epi32(other, _mm512_set1_epi32(f.by_residual)), _mm512_set1_epi32(f.base));
  sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(v, _mm512_set1_epi32(f.by_sum)));
  return _mm512_srai_epi32(sum, (unsigned)f.shift);
}

/* 4 pixels of 16 channels, plus zy, saturated to u8 and clamped */
LEPTON_KERNEL __m512i bytes_of_pixels(const __m512i p0, const __m512i p1, const __m512i p2, const __m512i p3,
                                      const int zy, const int lo, const int hi) {
  const __m512i by_pixel = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i first = _mm512_packs_epi32(p0, p1), second = _mm512_packs_epi32(p2, p3);
  if (zy) {
    first = _mm512_adds_epi16(first, _mm512_set1_epi16(zy));
    second = _mm512_adds_epi16(second, _mm512_set1_epi16(zy));
  }
  __m512i bytes = _mm512_packus_epi16(first, second);
  if (lo > 0) bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8((char)lo));
  if (hi < 255) bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8((char)hi));
  return _mm512_permutexvar_epi32(by_pixel, bytes);
}
/* as above; n pixels are stored */
LEPTON_KERNEL void store_pixels(uint8_t *y, const __m512i p0, const __m512i p1, const __m512i p2, const __m512i p3,
                                const int n, const int zy, const int lo, const int hi) {
  const __m512i bytes = bytes_of_pixels(p0, p1, p2, p3, zy, lo, hi);
  if (n >= 4) {
    _mm512_storeu_si512(y, bytes);
  } else if (n == 3) {
    _mm512_mask_storeu_epi32(y, 0x0fff, bytes);
  } else if (n == 2) {
    _mm256_storeu_si256((__m256i *)y, _mm512_castsi512_si256(bytes));
  } else {
    _mm_storeu_si128((__m128i *)y, _mm512_castsi512_si128(bytes));
  }
}

/* n pixels whose sums stand `step` apart */
LEPTON_KERNEL void requantise_pixels(uint8_t *y, const __m512i *sums, const int step, const int n, const float *m,
                                     const lepton_finish f) {
  const __m512 multiplier = _mm512_loadu_ps(m);
  LEPTON_UNROLL for (int p = 0; p < n; p += 4) {
    __m512i q[4];
    LEPTON_UNROLL for (int k = 0; k < 4; k++) {
      q[k] = p + k < n ? requantise_lanes(sums[(p + k) * step], multiplier, f.wide) : _mm512_setzero_si512();
      if (f.adds && p + k < n) q[k] = add_residual(q[k], (const uint8_t *)residual_of(y + (p + k) * 16, f), f);
    }
    if (f.adds) {
      store_pixels(y + p * 16, q[0], q[1], q[2], q[3], n - p, f.sum_zy, f.sum_lo, f.sum_hi);
    } else {
      store_pixels(y + p * 16, q[0], q[1], q[2], q[3], n - p, f.zy, f.lo, f.hi);
    }
  }
}

/* A share of the weights that come next, on their way into the second-level cache while this tile computes. */
LEPTON_KERNEL void prefetch_lines(const int8_t *from, const int lines) {
  LEPTON_UNROLL for (int i = 0; i < lines; i++) _mm_prefetch((const char *)from + i * 64, _MM_HINT_T1);
}
/* Lines that each of `steps` parts of a panel fetches of the next one; 0 where all weights stay in the cache. */
LEPTON_KERNEL int prefetch_share(const ptrdiff_t panel_bytes, const ptrdiff_t all_bytes, const int steps) {
  return all_bytes > 131072 ? (int)((panel_bytes / 64 + steps - 1) / steps) : 0;
}

/* ---- layout ---- */

/* int8 [pixels][channels] to u8 [blocks][pixels][16], and back; padding channels become 128. map: pixels that blocks lie
 * apart, of which `pixels` are moved. */
LEPTON_KERNEL void pack_range_u8(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int map,
                                 const int channels) {
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const int n = LEPTON_MIN(16, channels - b * 16);
    LEPTON_LOOP for (int p = 0; p < pixels; p++) {
      const __m128i q = _mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), x + (ptrdiff_t)p * channels + b * 16);
      _mm_storeu_si128((__m128i *)(y + ((ptrdiff_t)b * map + p) * 16), _mm_xor_si128(q, _mm_set1_epi8((char)0x80)));
    }
  }
}
LEPTON_KERNEL void unpack_range_u8(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int map,
                                   const int channels) {
  LEPTON_LOOP for (int b = 0; b < (channels + 15) / 16; b++) {
    const int n = LEPTON_MIN(16, channels - b * 16);
    LEPTON_LOOP for (int p = 0; p < pixels; p++) {
      const __m128i u = _mm_loadu_si128((const __m128i *)(x + ((ptrdiff_t)b * map + p) * 16));
      _mm_mask_storeu_epi8(y + (ptrdiff_t)p * channels + b * 16, (__mmask16)first_bytes(n),
                           _mm_xor_si128(u, _mm_set1_epi8((char)0x80)));
    }
  }
}
LEPTON_KERNEL void pack_u8(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int channels) {
  pack_range_u8(x, y, pixels, pixels, channels);
}
LEPTON_KERNEL void unpack_u8(uint8_t *restrict x, uint8_t *restrict y, const int pixels, const int channels) {
  unpack_range_u8(x, y, pixels, pixels, channels);
}

/* A blocked map with a border of `value` around it. */
LEPTON_KERNEL void pad_map_u8(uint8_t *restrict x, uint8_t *restrict y, const int blocks, const int h, const int w,
                              const int top, const int bottom, const int left, const int right, const int value) {
  const int wide = w + left + right;
  for (int b = 0; b < blocks; b++) {
    uint8_t *to = y + (ptrdiff_t)b * (h + top + bottom) * wide * 16;
    __builtin_memset(to, value, (size_t)(top * wide + left) * 16);
    for (int r = 0; r < h; r++) {
      uint8_t *row = to + ((ptrdiff_t)(top + r) * wide + left) * 16;
      __builtin_memcpy(row, x + ((ptrdiff_t)b * h + r) * w * 16, (size_t)w * 16);
      if (r < h - 1) __builtin_memset(row + (ptrdiff_t)w * 16, value, (size_t)(left + right) * 16);
    }
    __builtin_memset(to + ((ptrdiff_t)(top + h - 1) * wide + left + w) * 16, value,
                     (size_t)(right + bottom * wide) * 16);
  }
}

/* A dense int8 map of few channels as u8 rows with a border: [top + h + bottom][left + row + right] bytes. */
LEPTON_KERNEL void pad_rows_u8(uint8_t *restrict x, uint8_t *restrict y, const int h, const int row, const int top,
                               const int bottom, const int left, const int right, const int value) {
  const int wide = left + row + right;
  __builtin_memset(y, value, (size_t)(top * wide + left));
  for (int r = 0; r < h; r++) {
    uint8_t *to = y + (ptrdiff_t)(top + r) * wide + left;
    for (int i = 0; i < row; i++) to[i] = x[(ptrdiff_t)r * row + i] ^ 0x80;
    if (r < h - 1) __builtin_memset(to + row, value, (size_t)(left + right));
  }
  __builtin_memset(y + (ptrdiff_t)(top + h - 1) * wide + left + row, value, (size_t)(right + bottom * wide));
}

/* ---- 1 x 1 convolution ---- */

/* pixel, block: bytes between pixels and between blocks of 16 input channels; weights of a panel of nv blocks:
 * [k4][nv][16][4]; groups: ceil(input channels / 4); next, lines: what to prefetch a block of input channels. */
LEPTON_KERNEL void pointwise_sums(__m512i *sum, const uint8_t *x, const int pixel, const ptrdiff_t block,
                                  const int groups, const int8_t *weight, const int32_t *bias, const int mr,
                                  const int nv, const int8_t *next, const int lines) {
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512i start = load512(bias + 16 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int b = 0; b < groups / 4; b++) {
    prefetch_lines(next + (ptrdiff_t)b * lines * 64, lines);
    LEPTON_UNROLL for (int g = 0; g < 4; g++) {
      __m512i by[4];
      LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load512(weight + (g * nv + v) * 64);
      LEPTON_UNROLL for (int p = 0; p < mr; p++) {
        const __m512i four = broadcast4(x + p * pixel + g * 4);
        LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], four, by[v]);
      }
    }
    x += block;
    weight += 4 * nv * 64;
  }
  LEPTON_UNROLL for (int g = 0; g < groups % 4; g++) {
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512i four = broadcast4(x + p * pixel + g * 4);
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], four, load512(weight + (g * nv + v) * 64));
    }
  }
}

LEPTON_KERNEL void pointwise_tile(const uint8_t *x, const int pixel, const ptrdiff_t block, const int groups,
                                  const int8_t *weight, const int32_t *bias, const float *m, uint8_t *y,
                                  const ptrdiff_t y_block, const int mr, const int nv, const int8_t *next,
                                  const int lines, const lepton_finish finish) {
  __m512i sum[28];
  pointwise_sums(sum, x, pixel, block, groups, weight, bias, mr, nv, next, lines);
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    requantise_pixels(y + v * y_block, sum + v, nv, mr, m + 16 * v, finish);
}

LEPTON_KERNEL void pointwise_panel(const uint8_t *x, const int pixels, const ptrdiff_t block, const int groups,
                                   const int8_t *weight, const int32_t *bias, const float *m, uint8_t *y, const int mr,
                                   const int nv, const int lines, const lepton_finish finish) {
  const int8_t *next = weight + (ptrdiff_t)groups * nv * 64;
  LEPTON_LOOP for (int p = 0; p < pixels / mr * mr; p += mr) {
    pointwise_tile(x + (ptrdiff_t)p * 16, 16, block, groups, weight, bias, m, y + (ptrdiff_t)p * 16, block, mr, nv, next,
                   lines, finish);
    next += (ptrdiff_t)(groups / 4) * lines * 64;
  }
  if (pixels % mr) {
    const ptrdiff_t p = pixels / mr * mr;
    pointwise_tile(x + p * 16, 16, block, groups, weight, bias, m, y + p * 16, block, pixels % mr, nv, next, lines,
                   finish);
  }
}

/* `pixels` of a map of `map` pixels, which is how far blocks lie apart */
LEPTON_KERNEL void pointwise_map(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_, uint8_t *y,
                                 const int pixels, const int map, const int c, const int o, const int mr, const int nv,
                                 const lepton_finish finish) {
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int groups = (c + 3) / 4, blocks = (o + 15) / 16, tiles = (pixels + mr - 1) / mr;
  const ptrdiff_t block = (ptrdiff_t)map * 16;
  const int lines = prefetch_share((ptrdiff_t)groups * nv * 64, (ptrdiff_t)groups * blocks * 64,
                                   tiles * LEPTON_MAX(groups / 4, 1));
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    pointwise_panel(x, pixels, block, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * 16,
                    y + v * block, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    pointwise_panel(x, pixels, block, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * 16,
                    y + v * block, mr, blocks % nv, 0, finish);
  }
}

LEPTON_KERNEL void pointwise_range_u8(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                      uint8_t *restrict m, uint8_t *restrict y, const int pixels, const int map,
                                      const int c, const int o, const int mr, const int nv, const int zy, const int lo,
                                      const int hi, const int wide) {
  pointwise_map(x, weight, bias, m, y, pixels, map, c, o, mr, nv, plain_finish(zy, lo, hi, wide));
}
LEPTON_KERNEL void pointwise_u8(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                                uint8_t *restrict m, uint8_t *restrict y, const int pixels, const int c, const int o,
                                const int mr, const int nv, const int zy, const int lo, const int hi, const int wide) {
  pointwise_map(x, weight, bias, m, y, pixels, pixels, c, o, mr, nv, plain_finish(zy, lo, hi, wide));
}

/* and a residual; the last seven arguments: those of the addition */
LEPTON_KERNEL void pointwise_range_add_u8(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias,
                                          uint8_t *restrict m, uint8_t *residual, uint8_t *y, const int pixels,
                                          const int map, const int c, const int o, const int mr, const int nv,
                                          const int zy, const int lo, const int hi, const int wide,
                                          ADDITION_PARAMETERS) {
  pointwise_map(x, weight, bias, m, y, pixels, map, c, o, mr, nv,
                adding_finish(y, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}
LEPTON_KERNEL void pointwise_add_u8(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict m,
                                    uint8_t *residual, uint8_t *y, const int pixels, const int c, const int o,
                                    const int mr, const int nv, const int zy, const int lo, const int hi,
                                    const int wide, ADDITION_PARAMETERS) {
  pointwise_map(x, weight, bias, m, y, pixels, pixels, c, o, mr, nv,
                adding_finish(y, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}

/* ---- 3 x 3 convolution, stride 1 or 2, borders skipped: zx is -128 or there is no border ---- */

/* x: column 0 of the tile's first pixel, row 0 of its window. first: columns that lie left of the map;
 * valid: columns from the window's start that lie inside it. weights: [ky][group][kx][nv][16][4] */
LEPTON_KERNEL void conv3x3_tile(const uint8_t *x, const int row, const int block, const int groups,
                                const int8_t *weight, const int32_t *bias, const float *m, uint8_t *y,
                                const int y_block, const int mr, const int nv, const int stride, const int ky0,
                                const int ky1, const int first, const int valid, const int8_t *next, const int lines,
                                const lepton_finish finish) {
  __m512i sum[28];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512i start = load512(bias + 16 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int ky = ky0; ky < ky1; ky++) {
    const int8_t *by_group = weight + (ptrdiff_t)ky * groups * 3 * nv * 64;
    LEPTON_LOOP for (int g = 0; g < groups; g++) {
      prefetch_lines(next, lines);
      next += lines * 64;
      const uint8_t *from = x + (ptrdiff_t)ky * row + (ptrdiff_t)(g >> 2) * block + (g & 3) * 4;
      __m512i by[12];
      LEPTON_UNROLL for (int i = 0; i < 3 * nv; i++) by[i] = load512(by_group + i * 64);
      LEPTON_UNROLL for (int column = 0; column < (mr - 1) * stride + 3; column++) {
        if (column < first || column >= valid) continue;
        const __m512i four = broadcast4(from + column * 16);
        LEPTON_UNROLL for (int kx = 0; kx < 3; kx++) {
          const int p = (column - kx) / stride;
          if (column < kx || (column - kx) % stride || p >= mr) continue;
          LEPTON_UNROLL for (int v = 0; v < nv; v++)
            sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], four, by[kx * nv + v]);
        }
      }
      by_group += 3 * nv * 64;
    }
  }
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    requantise_pixels(y + (ptrdiff_t)v * y_block, sum + v, nv, mr, m + 16 * v, finish);
}

LEPTON_KERNEL void conv3x3_panel(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *m,
                                 uint8_t *y, const int h, const int w, const int c, const int oh, const int ow,
                                 const int stride, const int pt, const int pl, const int mr, const int nv,
                                 const int lines, const lepton_finish finish) {
  const int groups = (c + 3) / 4, row = w * 16, block = h * w * 16, y_block = oh * ow * 16;
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  const int8_t *next = weight + (ptrdiff_t)groups * 9 * nv * 64;
  const ptrdiff_t fetched = (ptrdiff_t)groups * 3 * lines * 64;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const int top = oy * stride - pt;
    const int ky0 = top < 0 ? -top : 0, ky1 = top + 3 > h ? h - top : 3;
    const uint8_t *from = x + ((ptrdiff_t)top * w - pl) * 16;
    uint8_t *to = y + (ptrdiff_t)oy * ow * 16;
    if (tiles > 1) {
      conv3x3_tile(from, row, block, groups, weight, bias, m, to, y_block, mr, nv, stride, ky0, ky1, pl, 1 << 20, next,
                   lines, finish);
      next += fetched;
    }
    LEPTON_LOOP for (int ox = mr; ox < last; ox += mr) {
      conv3x3_tile(from + (ptrdiff_t)ox * stride * 16, row, block, groups, weight, bias, m, to + (ptrdiff_t)ox * 16,
                   y_block, mr, nv, stride, ky0, ky1, 0, 1 << 20, next, lines, finish);
      next += fetched;
    }
    conv3x3_tile(from + (ptrdiff_t)last * stride * 16, row, block, groups, weight, bias, m, to + (ptrdiff_t)last * 16,
                 y_block, ow - last, nv, stride, ky0, ky1, tiles > 1 ? 0 : pl, w + pl - last * stride, next, lines,
                 finish);
    next += fetched;
  }
}

LEPTON_KERNEL void conv3x3_map(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_, uint8_t *y,
                               const int h, const int w, const int c, const int oh, const int ow, const int o,
                               const int stride, const int pt, const int pl, const int mr, const int nv,
                               const lepton_finish finish) {
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int groups = (c + 3) / 4, blocks = (o + 15) / 16, tiles = oh * ((ow + mr - 1) / mr);
  const int lines = prefetch_share((ptrdiff_t)groups * 9 * nv * 64, (ptrdiff_t)groups * 9 * blocks * 64,
                                   tiles * groups * 3);
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv3x3_panel(x, weight + (ptrdiff_t)v * groups * 9 * 64, bias + v * 16, m + v * 16,
                  y + (ptrdiff_t)v * oh * ow * 16, h, w, c, oh, ow, stride, pt, pl, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv3x3_panel(x, weight + (ptrdiff_t)v * groups * 9 * 64, bias + v * 16, m + v * 16,
                  y + (ptrdiff_t)v * oh * ow * 16, h, w, c, oh, ow, stride, pt, pl, mr, blocks % nv, 0, finish);
  }
}

LEPTON_KERNEL void conv3x3_u8(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias,
                              uint8_t *restrict m, uint8_t *restrict y, const int h, const int w, const int c,
                              const int oh, const int ow, const int o, const int stride, const int pt, const int pl,
                              const int mr, const int nv, const int zy, const int lo, const int hi, const int wide) {
  conv3x3_map(x, weight, bias, m, y, h, w, c, oh, ow, o, stride, pt, pl, mr, nv, plain_finish(zy, lo, hi, wide));
}

LEPTON_KERNEL void conv3x3_add_u8(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict m,
                                  uint8_t *residual, uint8_t *y, const int h, const int w, const int c, const int oh,
                                  const int ow, const int o, const int stride, const int pt, const int pl, const int mr,
                                  const int nv, const int zy, const int lo, const int hi, const int wide,
                                  ADDITION_PARAMETERS) {
  conv3x3_map(x, weight, bias, m, y, h, w, c, oh, ow, o, stride, pt, pl, mr, nv,
              adding_finish(y, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}

/* ---- any convolution without a border ---- */

/* Taps (ky, kx) of a tile: weights [ky][kx][group][nv][16][4]. pixel, column, row: bytes between neighbours of the
 * tile, of a kernel row, of kernel rows; groups of 4 channels lie side by side, 4 of them a block. */
LEPTON_KERNEL void conv_tile(const uint8_t *x, const int pixel, const int column, const int row, const int block,
                             const int kh, const int kw, const int groups, const int8_t *weight, const int32_t *bias,
                             const float *m, uint8_t *y, const int y_block, const int mr, const int nv, const lepton_finish finish) {
  __m512i sum[28];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) {
    const __m512i start = load512(bias + 16 * v);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) sum[p * nv + v] = start;
  }
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++)
    LEPTON_LOOP for (int kx = 0; kx < kw; kx++)
      LEPTON_LOOP for (int g = 0; g < groups; g++) {
        const uint8_t *from = x + (ptrdiff_t)ky * row + (ptrdiff_t)kx * column + (ptrdiff_t)(g >> 2) * block + (g & 3) * 4;
        __m512i by[4];
        LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = load512(weight + v * 64);
        LEPTON_UNROLL for (int p = 0; p < mr; p++) {
          const __m512i four = broadcast4(from + (ptrdiff_t)p * pixel);
          LEPTON_UNROLL for (int v = 0; v < nv; v++)
            sum[p * nv + v] = _mm512_dpbusd_epi32(sum[p * nv + v], four, by[v]);
        }
        weight += nv * 64;
      }
  LEPTON_UNROLL for (int v = 0; v < nv; v++)
    requantise_pixels(y + (ptrdiff_t)v * y_block, sum + v, nv, mr, m + 16 * v, finish);
}

LEPTON_KERNEL void conv_panel(const uint8_t *x, const int pixel, const int column, const int row, const int step,
                              const int block, const int kh, const int kw, const int groups, const int8_t *weight,
                              const int32_t *bias, const float *m, uint8_t *y, const int oh, const int ow, const int mr,
                              const int nv, const lepton_finish finish) {
  const int y_block = oh * ow * 16;
  LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
    const uint8_t *from = x + (ptrdiff_t)oy * step;
    uint8_t *to = y + (ptrdiff_t)oy * ow * 16;
    if (kh * kw == 1) {
      LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
        pointwise_tile(from + (ptrdiff_t)ox * pixel, pixel, block, groups, weight, bias, m, to + (ptrdiff_t)ox * 16,
                       y_block, mr, nv, weight, 0, finish);
      if (ow % mr) {
        const ptrdiff_t ox = ow / mr * mr;
        pointwise_tile(from + ox * pixel, pixel, block, groups, weight, bias, m, to + ox * 16, y_block, ow % mr, nv,
                       weight, 0, finish);
      }
      continue;
    }
    LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
      conv_tile(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, groups, weight, bias, m,
                to + (ptrdiff_t)ox * 16, y_block, mr, nv, finish);
    if (ow % mr) {
      const int ox = ow / mr * mr;
      conv_tile(from + (ptrdiff_t)ox * pixel, pixel, column, row, block, kh, kw, groups, weight, bias, m,
                to + (ptrdiff_t)ox * 16, y_block, ow % mr, nv, finish);
    }
  }
}

LEPTON_KERNEL void conv_map(const uint8_t *x, const uint8_t *w_, const uint8_t *b_, const uint8_t *m_, uint8_t *y,
                            const int pixel, const int column, const int row, const int step, const int block,
                            const int kh, const int kw, const int groups, const int oh, const int ow, const int o,
                            const int mr, const int nv, const lepton_finish finish) {
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int blocks = (o + 15) / 16, taps = kh * kw * groups;
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    conv_panel(x, pixel, column, row, step, block, kh, kw, groups, weight + (ptrdiff_t)v * taps * 64, bias + v * 16,
               m + v * 16, y + (ptrdiff_t)v * oh * ow * 16, oh, ow, mr, nv, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    conv_panel(x, pixel, column, row, step, block, kh, kw, groups, weight + (ptrdiff_t)v * taps * 64, bias + v * 16,
               m + v * 16, y + (ptrdiff_t)v * oh * ow * 16, oh, ow, mr, blocks % nv, finish);
  }
}

/* pixel, column, row, step: bytes between output columns, kernel columns, kernel rows, output rows, in x */
LEPTON_KERNEL void conv_u8(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict m,
                           uint8_t *restrict y, const int pixel, const int column, const int row, const int step,
                           const int block, const int kh, const int kw, const int groups, const int oh, const int ow,
                           const int o, const int mr, const int nv, const int zy, const int lo, const int hi,
                           const int wide) {
  conv_map(x, weight, bias, m, y, pixel, column, row, step, block, kh, kw, groups, oh, ow, o, mr, nv,
           plain_finish(zy, lo, hi, wide));
}

LEPTON_KERNEL void conv_add_u8(uint8_t *x, uint8_t *restrict weight, uint8_t *restrict bias, uint8_t *restrict m,
                               uint8_t *residual, uint8_t *y, const int pixel, const int column, const int row,
                               const int step, const int block, const int kh, const int kw, const int groups,
                               const int oh, const int ow, const int o, const int mr, const int nv, const int zy,
                               const int lo, const int hi, const int wide, ADDITION_PARAMETERS) {
  conv_map(x, weight, bias, m, y, pixel, column, row, step, block, kh, kw, groups, oh, ow, o, mr, nv,
           adding_finish(y, residual, zy, lo, hi, wide, ADDITION_ARGUMENTS));
}

/* ---- depthwise ---- */

/* 4 pixels of 16 channels to 16 channels of 4 pixels; keep: a bit a pixel, the others become zero */
LEPTON_KERNEL __m512i transpose_pixels(const __m512i pixels, const unsigned keep) {
  const __m512i by_group = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#ifdef __AVX512VBMI__
  const __m512i by_channel = _mm512_set_epi8(
      63, 47, 31, 15, 62, 46, 30, 14, 61, 45, 29, 13, 60, 44, 28, 12, 59, 43, 27, 11, 58, 42, 26, 10, 57, 41, 25, 9, 56,
      40, 24, 8, 55, 39, 23, 7, 54, 38, 22, 6, 53, 37, 21, 5, 52, 36, 20, 4, 51, 35, 19, 3, 50, 34, 18, 2, 49, 33, 17,
      1, 48, 32, 16, 0);
  (void)by_group;
  return keep == 15 ? _mm512_permutexvar_epi8(by_channel, pixels)
                    : _mm512_maskz_permutexvar_epi8(0x1111111111111111ull * keep, by_channel, pixels);
#else
  const __m512i within =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i groups = _mm512_permutexvar_epi32(by_group, pixels);
  return keep == 15 ? _mm512_shuffle_epi8(groups, within)
                    : _mm512_maskz_shuffle_epi8(0x1111111111111111ull * keep, groups, within);
#endif
}

/* ry rows by mr columns of one block; rows r0 to r1 - 1 of the window lie inside the map, columns as in
 * conv3x3_tile. weights [ky][2][16][4]: taps (w0, w1, w2, 0) and (0, w0, w1, w2), two outputs of one transpose. */
LEPTON_KERNEL void depthwise3x3_tile(const uint8_t *x, const int row, const int8_t *weight, const int32_t *bias,
                                     const float *m, uint8_t *y, const int y_row, const int ry, const int mr,
                                     const int stride, const int r0, const int r1, const int first, const int valid,
                                     const lepton_finish finish) {
  __m512i sum[16];
  const __m512i start = load512(bias);
  LEPTON_UNROLL for (int i = 0; i < ry * mr; i++) sum[i] = start;
  const int windows = stride == 1 ? (mr + 1) / 2 : mr;
  LEPTON_UNROLL for (int r = 0; r < (ry - 1) * stride + 3; r++) {
    if (r < r0 || r >= r1) continue;
    LEPTON_UNROLL for (int t = 0; t < windows; t++) {
      const int column = 2 * t;
      unsigned keep = 15;
      if (column < first) keep &= 15u << (first - column);
      if (valid - column < 4) keep &= (1u << LEPTON_MAX(valid - column, 0)) - 1;
      const __m512i taps = transpose_pixels(load512(x + (ptrdiff_t)r * row + column * 16), keep);
      LEPTON_UNROLL for (int o = 0; o < ry; o++) {
        const int ky = r - o * stride;
        if (ky < 0 || ky > 2) continue;
        const int8_t *by = weight + ky * 128;
        if (stride == 1) {
          sum[o * mr + column] = _mm512_dpbusd_epi32(sum[o * mr + column], taps, load512(by));
          if (column + 1 < mr)
            sum[o * mr + column + 1] = _mm512_dpbusd_epi32(sum[o * mr + column + 1], taps, load512(by + 64));
        } else {
          sum[o * mr + t] = _mm512_dpbusd_epi32(sum[o * mr + t], taps, load512(by));
        }
      }
    }
  }
  LEPTON_UNROLL for (int o = 0; o < ry; o++)
    requantise_pixels(y + (ptrdiff_t)o * y_row, sum + o * mr, 1, mr, m, finish);
}

LEPTON_KERNEL void depthwise3x3_rows(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *m,
                                     uint8_t *y, const int w, const int ow, const int stride, const int pl,
                                     const int mr, const int ry, const int r0, const int r1, const lepton_finish finish) {
  const int tiles = (ow + mr - 1) / mr, last = (tiles - 1) * mr;
  if (tiles > 1)
    depthwise3x3_tile(x, w * 16, weight, bias, m, y, ow * 16, ry, mr, stride, r0, r1, pl, 1 << 20, finish);
  LEPTON_LOOP for (int ox = mr; ox < last; ox += mr)
    depthwise3x3_tile(x + (ptrdiff_t)ox * stride * 16, w * 16, weight, bias, m, y + (ptrdiff_t)ox * 16, ow * 16, ry, mr,
                      stride, r0, r1, 0, 1 << 20, finish);
  depthwise3x3_tile(x + (ptrdiff_t)last * stride * 16, w * 16, weight, bias, m, y + (ptrdiff_t)last * 16, ow * 16, ry,
                    ow - last, stride, r0, r1, tiles > 1 ? 0 : pl, w + pl - last * stride, finish);
}

LEPTON_KERNEL void depthwise3x3_u8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_,
                                   uint8_t *restrict m_, uint8_t *restrict y, const int h, const int w, const int c,
                                   const int oh, const int ow, const int stride, const int pt, const int pl,
                                   const int mr, const int ry, const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    const uint8_t *from = x + ((ptrdiff_t)b * h * w - pl) * 16;
    uint8_t *to = y + (ptrdiff_t)b * oh * ow * 16;
    LEPTON_LOOP for (int oy = 0; oy < oh / ry * ry; oy += ry) {
      const int top = oy * stride - pt;
      depthwise3x3_rows(from + (ptrdiff_t)top * w * 16, weight + b * 384, bias + b * 16, m + b * 16,
                        to + (ptrdiff_t)oy * ow * 16, w, ow, stride, pl, mr, ry, -top, h - top, finish);
    }
    if (oh % ry) {
      const int oy = oh / ry * ry, top = oy * stride - pt;
      depthwise3x3_rows(from + (ptrdiff_t)top * w * 16, weight + b * 384, bias + b * 16, m + b * 16,
                        to + (ptrdiff_t)oy * ow * 16, w, ow, stride, pl, mr, oh % ry, -top, h - top, finish);
    }
  }
}

/* mr neighbours in a row of one block. weights [ky][phase][quad][16][4]: the taps of a kernel row where a window begins
 * at column `phase` of a quad of pixels, phases sw apart, and zeros before and after them. */
LEPTON_KERNEL void depthwise_row_tile(const uint8_t *x, const int row, const int kh, const int kw, const int sw,
                                      const int8_t *weight, const int32_t *bias, const float *m, uint8_t *y,
                                      const int mr, const lepton_finish finish) {
  const int by_quads = (7 - sw + kw) / 4, quads = ((mr - 1) * sw + kw + 3) / 4;
  const __m512i start = load512(bias);
  __m512i sum[16];
  LEPTON_UNROLL for (int o = 0; o < mr; o++) sum[o] = start;
  LEPTON_LOOP for (int ky = 0; ky < kh; ky++) {
    LEPTON_UNROLL for (int t = 0; t < quads; t++) {
      const __m512i taps = transpose_pixels(load512(x + t * 64), 15);
      LEPTON_UNROLL for (int o = 0; o < mr; o++) {
        const int phase = o * sw % 4, q = t - o * sw / 4;
        if (q < 0 || 4 * q >= phase + kw) continue;
        sum[o] = _mm512_dpbusd_epi32(sum[o], taps, load512(weight + (phase / sw * by_quads + q) * 64));
      }
    }
    x += row;
    weight += 4 / sw * by_quads * 64;
  }
  requantise_pixels(y, sum, 1, mr, m, finish);
}

/* A window without a border whose columns are neighbours; sw: 1 or 2. */
LEPTON_KERNEL void depthwise_rows_u8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_,
                                     uint8_t *restrict m_, uint8_t *restrict y, const int h, const int w, const int c,
                                     const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                     const int dh, const int mr, const int zy, const int lo, const int hi,
                                     const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int block = kh * (4 / sw) * ((7 - sw + kw) / 4) * 64, row = dh * w * 16;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    const int8_t *weight = (const int8_t *)w_ + (ptrdiff_t)b * block;
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
      const uint8_t *from = x + ((ptrdiff_t)b * h + oy * sh) * w * 16;
      uint8_t *to = y + ((ptrdiff_t)b * oh + oy) * ow * 16;
      LEPTON_LOOP for (int ox = 0; ox < ow / mr * mr; ox += mr)
        depthwise_row_tile(from + (ptrdiff_t)ox * sw * 16, row, kh, kw, sw, weight, bias + b * 16, m + b * 16,
                           to + ox * 16, mr, finish);
      if (ow % mr) {
        const int ox = ow / mr * mr;
        depthwise_row_tile(from + (ptrdiff_t)ox * sw * 16, row, kh, kw, sw, weight, bias + b * 16, m + b * 16,
                           to + ox * 16, ow % mr, finish);
      }
    }
  }
}

/* Any window without a border: taps by fours, weights [block][ceil(kh * kw / 4)][16][4]. */
LEPTON_KERNEL void depthwise_u8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                uint8_t *restrict y, const int h, const int w, const int c, const int oh, const int ow,
                                const int kh, const int kw, const int sh, const int sw, const int dh, const int dw,
                                const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int fours = (kh * kw + 3) / 4;
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++) {
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++) {
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const uint8_t *from = x + (((ptrdiff_t)b * h + oy * sh) * w + ox * sw) * 16;
        const int8_t *weight = (const int8_t *)w_ + (ptrdiff_t)b * fours * 64;
        __m512i sum = load512(bias + b * 16);
        LEPTON_LOOP for (int t = 0; t < kh * kw; t += 4) {
          __m128i tap[4];
          LEPTON_UNROLL for (int k = 0; k < 4; k++) {
            /* Beyond the last tap any pixel will do: its weights are zero. */
            const int at = LEPTON_MIN(t + k, kh * kw - 1);
            tap[k] = _mm_loadu_si128((const __m128i *)(from + ((ptrdiff_t)(at / kw) * dh * w + at % kw * dw) * 16));
          }
          __m512i four = _mm512_castsi128_si512(tap[0]);
          four = _mm512_inserti32x4(four, tap[1], 1);
          four = _mm512_inserti32x4(four, tap[2], 2);
          four = _mm512_inserti32x4(four, tap[3], 3);
          sum = _mm512_dpbusd_epi32(sum, transpose_pixels(four, 15), load512(weight + (ptrdiff_t)t * 16));
        }
        requantise_pixels(y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16, &sum, 1, 1, m + b * 16, finish);
      }
    }
  }
}

/* ---- dense ---- */

/* nv blocks of one row; multipliers of v at m + m_step * v */
LEPTON_KERNEL void requantise_row(uint8_t *y, const __m512i *sum, const float *m, const int m_step, const int nv,
                                  const lepton_finish finish) {
  LEPTON_UNROLL for (int v = 0; v < nv; v += 4) {
    __m512i q[4];
    LEPTON_UNROLL for (int k = 0; k < 4; k++) {
      q[k] = v + k < nv ? requantise_lanes(sum[v + k], _mm512_loadu_ps(m + m_step * (v + k)), finish.wide)
                        : _mm512_setzero_si512();
    }
    store_pixels(y + v * 16, q[0], q[1], q[2], q[3], nv - v, finish.zy, finish.lo, finish.hi);
  }
}

/* one row; weights [group][nv][16][4]; chains: sums a block is split in, so that their
 * latency overlaps */
LEPTON_KERNEL void dense_panel(const uint8_t *x, const int groups, const int8_t *weight, const int32_t *bias,
                               const float *m, const int m_step, uint8_t *y, const int nv, const int chains,
                               const lepton_finish finish) {
  __m512i sum[16];
  LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = load512(bias + 16 * v);
  LEPTON_UNROLL for (int i = nv; i < nv * chains; i++) sum[i] = _mm512_setzero_si512();
  LEPTON_LOOP for (int g = 0; g < groups / chains; g++) {
    LEPTON_UNROLL for (int i = 0; i < chains; i++) {
      const __m512i four = broadcast4(x + i * 4);
      LEPTON_UNROLL for (int v = 0; v < nv; v++)
        sum[i * nv + v] = _mm512_dpbusd_epi32(sum[i * nv + v], four, load512(weight + (i * nv + v) * 64));
    }
    x += chains * 4;
    weight += chains * nv * 64;
  }
  LEPTON_UNROLL for (int i = 0; i < groups % chains; i++) {
    const __m512i four = broadcast4(x + i * 4);
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      sum[i * nv + v] = _mm512_dpbusd_epi32(sum[i * nv + v], four, load512(weight + (i * nv + v) * 64));
  }
  LEPTON_UNROLL for (int i = 1; i < chains; i++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[v] = _mm512_add_epi32(sum[v], sum[i * nv + v]);
  requantise_row(y, sum, m, m_step, nv, finish);
}

/* alike: one multiplier, 16 times, serves all channels */
LEPTON_KERNEL void dense_u8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                            uint8_t *restrict y, const int groups, const int o, const int nv, const int alike,
                            const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int blocks = (o + 15) / 16, rest = blocks % nv, m_step = alike ? 0 : 16;
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    dense_panel(x, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * m_step, m_step, y + v * 16, nv,
                LEPTON_MAX(8 / nv, 1), finish);
  if (rest) {
    const int v = blocks / nv * nv;
    dense_panel(x, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * m_step, m_step, y + v * 16, rest,
                LEPTON_MAX(8 / LEPTON_MAX(rest, 1), 1), finish);
  }
}

/* Several rows, x_row and y_row bytes apart, by tiles of mr that share what they read of the weights. */
LEPTON_KERNEL void dense_rows_tile(const uint8_t *x, const int x_row, const int groups, const int8_t *weight,
                                   const int32_t *bias, const float *m, const int m_step, uint8_t *y, const int y_row,
                                   const int mr, const int nv, const int8_t *next, const int lines,
                                   const lepton_finish finish) {
  __m512i sum[28];
  pointwise_sums(sum, x, x_row, 16, groups, weight, bias, mr, nv, next, lines);
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    requantise_row(y + (ptrdiff_t)p * y_row, sum + p * nv, m, m_step, nv, finish);
}
LEPTON_KERNEL void dense_rows_panel(const uint8_t *x, const int rows, const int x_row, const int groups,
                                    const int8_t *weight, const int32_t *bias, const float *m, const int m_step,
                                    uint8_t *y, const int y_row, const int mr, const int nv, const int lines,
                                    const lepton_finish finish) {
  const int8_t *next = weight + (ptrdiff_t)groups * nv * 64;
  LEPTON_LOOP for (int r = 0; r < rows / mr * mr; r += mr) {
    dense_rows_tile(x + (ptrdiff_t)r * x_row, x_row, groups, weight, bias, m, m_step, y + (ptrdiff_t)r * y_row, y_row, mr,
                    nv, next, lines, finish);
    next += (ptrdiff_t)(groups / 4) * lines * 64;
  }
  if (rows % mr) {
    const ptrdiff_t r = rows / mr * mr;
    dense_rows_tile(x + r * x_row, x_row, groups, weight, bias, m, m_step, y + r * y_row, y_row, rows % mr, nv, next,
                    lines, finish);
  }
}
LEPTON_KERNEL void dense_rows_u8(uint8_t *restrict x, uint8_t *restrict w_, uint8_t *restrict b_, uint8_t *restrict m_,
                                 uint8_t *restrict y, const int rows, const int x_row, const int y_row,
                                 const int groups, const int o, const int mr, const int nv, const int alike,
                                 const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = plain_finish(zy, lo, hi, wide);
  const int8_t *weight = (const int8_t *)w_;
  const int32_t *bias = (const int32_t *)b_;
  const float *m = (const float *)m_;
  const int blocks = (o + 15) / 16, m_step = alike ? 0 : 16, tiles = (rows + mr - 1) / mr;
  const int lines = prefetch_share((ptrdiff_t)groups * nv * 64, (ptrdiff_t)groups * blocks * 64,
                                   tiles * LEPTON_MAX(groups / 4, 1));
  LEPTON_LOOP for (int v = 0; v < blocks / nv * nv; v += nv)
    dense_rows_panel(x, rows, x_row, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * m_step, m_step,
                     y + v * 16, y_row, mr, nv, lines, finish);
  if (blocks % nv) {
    const int v = blocks / nv * nv;
    dense_rows_panel(x, rows, x_row, groups, weight + (ptrdiff_t)v * groups * 64, bias + v * 16, m + v * m_step, m_step,
                     y + v * 16, y_row, mr, blocks % nv, 0, finish);
  }
}

/* ---- elements and windows ---- */

/* base: what is left of the zero points, and the rounding; n is a multiple of 16 */
LEPTON_KERNEL void add_u8(uint8_t *a, uint8_t *b, uint8_t *y, const int n, const int base, const int ma, const int mb,
                          const int shift, const int zy, const int lo, const int hi) {
  LEPTON_LOOP for (ptrdiff_t i = 0; i < n / 64 * 64; i += 64) {
    __m512i q[4];
    LEPTON_UNROLL for (int k = 0; k < 4; k++) {
      const __m512i left = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(a + i + k * 16)));
      const __m512i right = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(b + i + k * 16)));
      __m512i sum = _mm512_add_epi32(_mm512_mullo_epi32(left, _mm512_set1_epi32(ma)), _mm512_set1_epi32(base));
      sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(right, _mm512_set1_epi32(mb)));
      q[k] = _mm512_srai_epi32(sum, (unsigned)shift);
    }
    store_pixels(y + i, q[0], q[1], q[2], q[3], 4, zy, lo, hi);
  }
  for (ptrdiff_t i = n / 64 * 64; i < n; i++)
    y[i] = (uint8_t)clamp_int(((a[i] * ma + b[i] * mb + base) >> shift) + zy, lo, hi);
}

/* arguments as average_pool_int8; channels in blocks, zx in int8 numbers, zy, lo, hi in u8 numbers */
LEPTON_KERNEL void average_pool_u8(uint8_t *restrict x, uint8_t *restrict y, const int h, const int w, const int c,
                                   const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                                   const int pt, const int pl, const int same, const int sx_bits, const int sy_bits,
                                   const int zx, const int zy, const int lo, const int hi) {
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
        const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
        const int count = (y1 - y0) * (x1 - x0);
        const float multiplier = float_of_bits(sx_bits) / (float_of_bits(sy_bits) * (float)count);
        __m512i total = _mm512_set1_epi32(-count * (same ? 128 : 128 + zx));
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++) {
            const uint8_t *pixel = x + (((ptrdiff_t)b * h + iy) * w + ix) * 16;
            total = _mm512_add_epi32(total, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)pixel)));
          }
        int32_t sum[16];
        _mm512_storeu_si512(sum, total);
        uint8_t *to = y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16;
        LEPTON_UNROLL for (int l = 0; l < 16; l++) {
          const int32_t half = count / 2, s = sum[l];
          const int32_t mean = s > 0 ? (s + half) / count : -((half - s) / count);
          to[l] = (uint8_t)clamp_int((same ? mean + 128 : round_even((float)s * multiplier) + zy), lo, hi);
        }
      }
}

LEPTON_KERNEL void max_pool_u8(uint8_t *restrict x, uint8_t *restrict y, const int h, const int w, const int c,
                               const int oh, const int ow, const int kh, const int kw, const int sh, const int sw,
                               const int pt, const int pl, const int lo, const int hi) {
  const __m128i least = _mm_set1_epi8((char)lo), most = _mm_set1_epi8((char)hi);
  LEPTON_LOOP for (int b = 0; b < (c + 15) / 16; b++)
    LEPTON_LOOP for (int oy = 0; oy < oh; oy++)
      LEPTON_LOOP for (int ox = 0; ox < ow; ox++) {
        const int y0 = LEPTON_MAX(oy * sh - pt, 0), y1 = LEPTON_MIN(oy * sh - pt + kh, h);
        const int x0 = LEPTON_MAX(ox * sw - pl, 0), x1 = LEPTON_MIN(ox * sw - pl + kw, w);
        __m128i best = least;
        for (int iy = y0; iy < y1; iy++)
          for (int ix = x0; ix < x1; ix++)
            best = _mm_max_epu8(best, _mm_loadu_si128((const __m128i *)(x + (((ptrdiff_t)b * h + iy) * w + ix) * 16)));
        _mm_storeu_si128((__m128i *)(y + (((ptrdiff_t)b * oh + oy) * ow + ox) * 16), _mm_min_epu8(best, most));
      }
}

LEPTON_KERNEL void clamp_u8(uint8_t *x, uint8_t *y, const int n, const int lo, const int hi) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = (uint8_t)clamp_int(x[i], lo, hi);
}

/* table: 256 bytes in u8 numbers */
LEPTON_KERNEL void table_u8(uint8_t *x, uint8_t *restrict table, uint8_t *y, const int n) {
  ptrdiff_t i = 0;
#ifdef __AVX512VBMI__
  const __m512i a = load512(table), b = load512(table + 64), c = load512(table + 128), d = load512(table + 192);
  LEPTON_LOOP for (; i < n / 64 * 64; i += 64) {
    const __m512i at = load512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(a, at, b), high = _mm512_permutex2var_epi8(c, at, d);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
  }
#endif
  for (; i < n; i++) y[i] = table[x[i]];
}
#endif
