/* Winograd's short convolutions for training, float32, AVX-512: k x k kernels at stride 1, k = 3 or 5.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015. A tile has six points a side, 0, 1, -1, 2, -2
 * and infinity: m = 7 - k outputs of a convolution by k x k weights, or k x k gradients of weights from m x m gradients
 * of outputs. Both multiply place by place what they transform from the same 6 x 6 inputs. Maps are NHWC, the whole
 * batch a call, channels multiples of 16; a tile's number counts through images, then rows, then columns. Weights are
 * variables: they are transformed at every step.
 */
#ifndef LEPTON_TRAINING_WINOGRAD_H
#define LEPTON_TRAINING_WINOGRAD_H
#include <immintrin.h>

#define LEPTON_PLACES 36

LEPTON_KERNEL __m512 by_plus(const float by, const __m512 a, const __m512 b) {
  return _mm512_fmadd_ps(_mm512_set1_ps(by), a, b);
}

/* ---- one dimension of the transforms ---- */

/* six inputs of a window */
LEPTON_KERNEL void points_of_inputs(const __m512 *d, __m512 *t) {
  const __m512 even4 = by_plus(-4, d[2], d[4]), odd4 = by_plus(-4, d[1], d[3]);
  const __m512 even1 = _mm512_sub_ps(d[4], d[2]), odd1 = _mm512_sub_ps(d[3], d[1]);
  t[0] = by_plus(4, d[0], by_plus(-5, d[2], d[4]));
  t[1] = _mm512_add_ps(even4, odd4);
  t[2] = _mm512_sub_ps(even4, odd4);
  t[3] = by_plus(2, odd1, even1);
  t[4] = by_plus(-2, odd1, even1);
  t[5] = by_plus(4, d[1], by_plus(-5, d[3], d[5]));
}

/* n taps as coefficients of a polynomial, without the factors of LEPTON_POINT_FACTORS */
LEPTON_KERNEL void points_of_taps(const __m512 *g, __m512 *t, const int n) {
  __m512 even1 = g[0], even2 = g[0], odd1 = g[1], odd2 = _mm512_add_ps(g[1], g[1]);
  if (n > 2) {
    even1 = _mm512_add_ps(even1, g[2]);
    even2 = by_plus(4, g[2], even2);
  }
  if (n > 3) {
    odd1 = _mm512_add_ps(odd1, g[3]);
    odd2 = by_plus(8, g[3], odd2);
  }
  if (n > 4) {
    even1 = _mm512_add_ps(even1, g[4]);
    even2 = by_plus(16, g[4], even2);
  }
  t[0] = g[0];
  t[1] = _mm512_add_ps(even1, odd1);
  t[2] = _mm512_sub_ps(even1, odd1);
  t[3] = _mm512_add_ps(even2, odd2);
  t[4] = _mm512_sub_ps(even2, odd2);
  t[5] = g[n - 1];
}
#define LEPTON_POINT_FACTORS {1.0f / 4, -1.0f / 6, -1.0f / 6, 1.0f / 24, 1.0f / 24, 1.0f}

/* products at six points to n sums */
LEPTON_KERNEL void sums_of_points(const __m512 *t, __m512 *y, const int n) {
  const __m512 sum1 = _mm512_add_ps(t[1], t[2]), difference1 = _mm512_sub_ps(t[1], t[2]);
  const __m512 sum2 = _mm512_add_ps(t[3], t[4]), difference2 = _mm512_sub_ps(t[3], t[4]);
  y[0] = _mm512_add_ps(_mm512_add_ps(t[0], sum1), sum2);
  y[1] = by_plus(2, difference2, difference1);
  if (n > 2) y[2] = by_plus(4, sum2, sum1);
  if (n > 3) y[3] = by_plus(8, difference2, difference1);
  if (n > 4) y[4] = by_plus(16, sum2, sum1);
  y[n - 1] = _mm512_add_ps(y[n - 1], t[5]);
}

/* Floats between the places of `count` rows of c channels: a line more, so that places do not share a cache's sets. */
LEPTON_KERNEL ptrdiff_t between_places(const int count, const int c) { return (ptrdiff_t)count * c + 16; }

/* ---- a tile ---- */

typedef struct {
  int image, top, left;
} tile_place;

LEPTON_KERNEL tile_place tile_at(const int tile, const int down, const int across, const int m) {
  const tile_place at = {tile / (down * across), tile / across % down * m, tile % across * m};
  return at;
}
LEPTON_KERNEL __mmask16 where(const int inside) { return (__mmask16)(inside ? 0xffff : 0); }

/* n x n values of 16 channels from (top, left) on, zero outside the map, to the points `apart` floats apart: inputs
 * where n is 6, else taps */
LEPTON_KERNEL void transform_tile(const float *x, const int h, const int w, const int c, const int top, const int left,
                                  float *to, const ptrdiff_t apart, const int n) {
  const int whole = top >= 0 && left >= 0 && top + n <= h && left + n <= w;
  const float *corner = x + ((ptrdiff_t)top * w + left) * c;
  __m512 half[36];
  LEPTON_UNROLL for (int i = 0; i < n; i++) {
    __m512 column[6], turned[6];
    if (whole) {
      LEPTON_UNROLL for (int j = 0; j < n; j++) column[j] = _mm512_loadu_ps(corner + ((ptrdiff_t)j * w + i) * c);
    } else {
      const int inside = left + i >= 0 && left + i < w;
      LEPTON_UNROLL for (int j = 0; j < n; j++)
        column[j] = _mm512_maskz_loadu_ps(where(inside && top + j >= 0 && top + j < h),
                                          corner + ((ptrdiff_t)j * w + i) * c);
    }
    if (n == 6) {
      points_of_inputs(column, turned);
    } else {
      points_of_taps(column, turned, n);
    }
    LEPTON_UNROLL for (int j = 0; j < 6; j++) half[j * n + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < 6; j++) {
    __m512 turned[6];
    if (n == 6) {
      points_of_inputs(half + j * n, turned);
    } else {
      points_of_taps(half + j * n, turned, n);
    }
    LEPTON_UNROLL for (int i = 0; i < 6; i++) _mm512_storeu_ps(to + (j * 6 + i) * apart, turned[i]);
  }
}

/* The sums that a tile's places hold, n x n, stored where they lie inside the map. */
LEPTON_KERNEL void finish_tile(const float *from, const ptrdiff_t apart, const __m512 start, float *y, const int oh,
                               const int ow, const int o, const int top, const int left, const int n, const float lo,
                               const float hi) {
  __m512 half[30];
  LEPTON_UNROLL for (int i = 0; i < 6; i++) {
    __m512 column[6], turned[5];
    LEPTON_UNROLL for (int j = 0; j < 6; j++) column[j] = _mm512_loadu_ps(from + (j * 6 + i) * apart);
    sums_of_points(column, turned, n);
    LEPTON_UNROLL for (int j = 0; j < n; j++) half[j * 6 + i] = turned[j];
  }
  LEPTON_UNROLL for (int j = 0; j < n; j++) {
    __m512 turned[5];
    sums_of_points(half + j * 6, turned, n);
    LEPTON_UNROLL for (int i = 0; i < n; i++) {
      __m512 v = _mm512_add_ps(turned[i], start);
      /* Of two operands one of which is NaN these instructions give the second. */
      if (lo > -__FLT_MAX__) v = _mm512_max_ps(_mm512_set1_ps(lo), v);
      if (hi < __FLT_MAX__) v = _mm512_min_ps(_mm512_set1_ps(hi), v);
      _mm512_mask_storeu_ps(y + ((ptrdiff_t)(top + j) * ow + left + i) * o, where(top + j < oh && left + i < ow), v);
    }
  }
}

/* ---- convolution ---- */

/* mr rows of x, `inner` long, by nv blocks of columns of [inner][nv][16] */
LEPTON_KERNEL void place_tile(const float *x, const int inner, const float *weight, float *y, const int o, const int mr,
                              const int nv) {
  __m512 sum[28];
  LEPTON_UNROLL for (int i = 0; i < mr * nv; i++) sum[i] = _mm512_setzero_ps();
  LEPTON_LOOP for (int k = 0; k < inner; k++) {
    __m512 by[2];
    LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = _mm512_loadu_ps(weight + (k * nv + v) * 16);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512 one = _mm512_set1_ps(x[(ptrdiff_t)p * inner + k]);
      LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_fmadd_ps(one, by[v], sum[p * nv + v]);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) _mm512_storeu_ps(y + (ptrdiff_t)p * o + v * 16, sum[p * nv + v]);
}

LEPTON_KERNEL void place_panels(const float *x, const int count, const int inner, const float *weight, float *y,
                                const int o, const int mr, const int nv) {
  LEPTON_LOOP for (int v = 0; v < o / 16; v += nv) {
    LEPTON_LOOP for (int t = 0; t < count / mr * mr; t += mr)
      place_tile(x + (ptrdiff_t)t * inner, inner, weight + (ptrdiff_t)v * inner * 16, y + (ptrdiff_t)t * o + v * 16, o,
                 mr, nv);
    if (count % mr) {
      const ptrdiff_t t = count / mr * mr;
      place_tile(x + t * inner, inner, weight + (ptrdiff_t)v * inner * 16, y + t * o + v * 16, o, count % mr, nv);
    }
  }
}

LEPTON_KERNEL void convolve_tiles(const float *x, const float *weight, const float *bias, float *y, float *before,
                                  const int h, const int w, const int c, const int oh, const int ow, const int o,
                                  const int k, const int pt, const int pl, const int first, const int count,
                                  const int mr, const int nv, const float lo, const float hi) {
  const int m = 7 - k, down = (oh + m - 1) / m, across = (ow + m - 1) / m;
  const ptrdiff_t in = between_places(count, c), out = between_places(count, o);
  float *after = before + LEPTON_PLACES * in;
  LEPTON_LOOP for (int t = 0; t < count; t++) {
    const tile_place at = tile_at(first + t, down, across, m);
    LEPTON_LOOP for (int b = 0; b < c; b += 16)
      transform_tile(x + (ptrdiff_t)at.image * h * w * c + b, h, w, c, at.top - pt, at.left - pl,
                     before + (ptrdiff_t)t * c + b, in, 6);
  }
  LEPTON_LOOP for (int place = 0; place < LEPTON_PLACES; place++)
    place_panels(before + place * in, count, c, weight + place * between_places(c, o), after + place * out, o, mr, nv);
  LEPTON_LOOP for (int t = 0; t < count; t++) {
    const tile_place at = tile_at(first + t, down, across, m);
    LEPTON_LOOP for (int b = 0; b < o; b += 16)
      finish_tile(after + (ptrdiff_t)t * o + b, out, bias ? _mm512_loadu_ps(bias + b) : _mm512_setzero_ps(),
                  y + (ptrdiff_t)at.image * oh * ow * o + b, oh, ow, o, at.top, at.left, m, lo, hi);
  }
}

/* Tiles `begin` to `end` of a batch, `together` at a time. weight: what winograd_taps made of it for panels of nv
 * blocks. scratch: 36 places of `together` tiles' inputs, then of their outputs. */
LEPTON_KERNEL void winograd_training(uint8_t *restrict x, uint8_t *restrict weight, uint8_t *restrict bias_,
                                     uint8_t *restrict y, uint8_t *restrict scratch, const int has_bias, const int h,
                                     const int w, const int c, const int oh, const int ow, const int o, const int k,
                                     const int pt, const int pl, const int together, const int mr, const int nv,
                                     const int begin, const int end, const int lo_bits, const int hi_bits) {
  const float *bias = has_bias ? (const float *)bias_ : 0;
  const float lo = float_of_bits(lo_bits), hi = float_of_bits(hi_bits);
  const int rest = (end - begin) % together;
  LEPTON_LOOP for (int first = begin; first < end - rest; first += together)
    convolve_tiles((const float *)x, (const float *)weight, bias, (float *)y, (float *)scratch, h, w, c, oh, ow, o, k,
                   pt, pl, first, together, mr, nv, lo, hi);
  if (rest)
    convolve_tiles((const float *)x, (const float *)weight, bias, (float *)y, (float *)scratch, h, w, c, oh, ow, o, k,
                   pt, pl, end - rest, rest, mr, nv, lo, hi);
}

/* Kernels of k x k taps at their points, [place][panel of nv blocks of out][in][nv][16]. The taps of a pair of channels
 * lie `tap` floats apart, those of the next input channel `step` further; turned: from the last to the first. out: of
 * `all` output channels. */
LEPTON_KERNEL void winograd_taps(uint8_t *restrict w_, uint8_t *restrict y_, const int in, const int out, const int all,
                                 const int k, const int tap, const int step, const int turned, const int nv) {
  const float *weight = (const float *)w_;
  float *y = (float *)y_;
  const float factors[6] = LEPTON_POINT_FACTORS;
  LEPTON_LOOP for (int b = 0; b < out / 16; b++)
    LEPTON_LOOP for (int i = 0; i < in; i++) {
      const float *from = weight + (ptrdiff_t)i * step + b * 16;
      float *to = y + ((ptrdiff_t)(b / nv) * in * nv + (ptrdiff_t)i * nv + b % nv) * 16;
      __m512 half[30];
      LEPTON_UNROLL for (int kx = 0; kx < k; kx++) {
        __m512 column[5], turned_[6];
        LEPTON_UNROLL for (int ky = 0; ky < k; ky++) {
          const int at = turned ? k * k - 1 - (ky * k + kx) : ky * k + kx;
          column[ky] = _mm512_loadu_ps(from + (ptrdiff_t)at * tap);
        }
        points_of_taps(column, turned_, k);
        LEPTON_UNROLL for (int j = 0; j < 6; j++) half[j * k + kx] = turned_[j];
      }
      LEPTON_UNROLL for (int j = 0; j < 6; j++) {
        __m512 turned_[6];
        points_of_taps(half + j * k, turned_, k);
        LEPTON_UNROLL for (int p = 0; p < 6; p++)
          _mm512_storeu_ps(to + (j * 6 + p) * between_places(in, all),
                           _mm512_mul_ps(turned_[p], _mm512_set1_ps(factors[j] * factors[p])));
      }
    }
}

/* ---- gradients of weights ---- */

/* mr outputs' sums with nv blocks of inputs over `count` tiles, [o][c]; first: they begin at zero */
LEPTON_KERNEL void outer_tile(const float *x, const float *dy, float *sums, const int count, const int c, const int o,
                              const int mr, const int nv, const int first) {
  __m512 sum[28];
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++)
      sum[p * nv + v] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + (ptrdiff_t)p * c + v * 16);
  LEPTON_LOOP for (int t = 0; t < count; t++) {
    __m512 by[2];
    LEPTON_UNROLL for (int v = 0; v < nv; v++) by[v] = _mm512_loadu_ps(x + (ptrdiff_t)t * c + v * 16);
    LEPTON_UNROLL for (int p = 0; p < mr; p++) {
      const __m512 one = _mm512_set1_ps(dy[(ptrdiff_t)t * o + p]);
      LEPTON_UNROLL for (int v = 0; v < nv; v++) sum[p * nv + v] = _mm512_fmadd_ps(one, by[v], sum[p * nv + v]);
    }
  }
  LEPTON_UNROLL for (int p = 0; p < mr; p++)
    LEPTON_UNROLL for (int v = 0; v < nv; v++) _mm512_storeu_ps(sums + (ptrdiff_t)p * c + v * 16, sum[p * nv + v]);
}

LEPTON_KERNEL void gradient_tiles(const float *x, const float *dy, float *sums, float *inputs, const int h, const int w,
                                  const int c, const int oh, const int ow, const int o, const int k, const int pt,
                                  const int pl, const int first, const int count) {
  const int m = 7 - k, down = (oh + m - 1) / m, across = (ow + m - 1) / m;
  const int nv = c % 32 ? 1 : 2, mr = 16 / nv;
  const ptrdiff_t in = between_places(count, c), out = between_places(count, o);
  float *outputs = inputs + LEPTON_PLACES * in;
  LEPTON_LOOP for (int t = 0; t < count; t++) {
    const tile_place at = tile_at(first + t, down, across, m);
    LEPTON_LOOP for (int b = 0; b < c; b += 16)
      transform_tile(x + (ptrdiff_t)at.image * h * w * c + b, h, w, c, at.top - pt, at.left - pl,
                     inputs + (ptrdiff_t)t * c + b, in, 6);
    LEPTON_LOOP for (int b = 0; b < o; b += 16)
      transform_tile(dy + (ptrdiff_t)at.image * oh * ow * o + b, oh, ow, o, at.top, at.left,
                     outputs + (ptrdiff_t)t * o + b, out, m);
  }
  LEPTON_LOOP for (int place = 0; place < LEPTON_PLACES; place++)
    LEPTON_LOOP for (int i = 0; i < o; i += mr)
      LEPTON_LOOP for (int b = 0; b < c; b += nv * 16)
        outer_tile(inputs + place * in + b, outputs + place * out + i, sums + ((ptrdiff_t)place * o + i) * c + b, count,
                   c, o, mr, nv, first == 0);
}

/* Products of a batch summed at their places, [place][o][c]; scratch: 36 places of `together` tiles, of x, then of dy. */
LEPTON_KERNEL void winograd_products(uint8_t *restrict x, uint8_t *restrict dy, uint8_t *restrict sums,
                                     uint8_t *restrict scratch, const int images, const int h, const int w, const int c,
                                     const int oh, const int ow, const int o, const int k, const int pt, const int pl,
                                     const int together) {
  const int m = 7 - k, tiles = images * ((oh + m - 1) / m) * ((ow + m - 1) / m), rest = tiles % together;
  LEPTON_LOOP for (int first = 0; first < tiles - rest; first += together)
    gradient_tiles((const float *)x, (const float *)dy, (float *)sums, (float *)scratch, h, w, c, oh, ow, o, k, pt, pl,
                   first, together);
  if (rest)
    gradient_tiles((const float *)x, (const float *)dy, (float *)sums, (float *)scratch, h, w, c, oh, ow, o, k, pt, pl,
                   tiles - rest, rest);
}

/* `runs` sums of products, one after the other, to gradients [o][k][k][c]: o of `all` output channels. */
LEPTON_KERNEL void winograd_weights(uint8_t *restrict sums_, uint8_t *restrict dw_, const int runs, const int c,
                                    const int all, const int o, const int k) {
  const float *sums = (const float *)sums_;
  float *dw = (float *)dw_;
  const float factors[6] = LEPTON_POINT_FACTORS;
  const ptrdiff_t place = (ptrdiff_t)all * c;
  LEPTON_LOOP for (int i = 0; i < o; i++)
    LEPTON_LOOP for (int b = 0; b < c; b += 16) {
      float total[LEPTON_PLACES * 16];
      LEPTON_LOOP for (int p = 0; p < LEPTON_PLACES; p++) {
        const float *from = sums + p * place + (ptrdiff_t)i * c + b;
        __m512 sum = _mm512_loadu_ps(from);
        LEPTON_UNROLL for (int r = 1; r < runs; r++)
          sum = _mm512_add_ps(sum, _mm512_loadu_ps(from + r * LEPTON_PLACES * place));
        _mm512_storeu_ps(total + p * 16, _mm512_mul_ps(sum, _mm512_set1_ps(factors[p / 6] * factors[p % 6])));
      }
      finish_tile(total, 16, _mm512_setzero_ps(), dw + (ptrdiff_t)i * k * k * c + b, k, k, c, 0, 0, k, -__builtin_inff(),
                  __builtin_inff());
    }
}

/* ---- layout ---- */

/* y[column][row] = x[row][column], 16 x 16 at a time; both multiples of 16 */
LEPTON_KERNEL void turn_matrix(uint8_t *restrict x_, uint8_t *restrict y_, const int rows, const int columns) {
  const float *x = (const float *)x_;
  float *y = (float *)y_;
  LEPTON_LOOP for (int r = 0; r < rows; r += 16)
    LEPTON_LOOP for (int k = 0; k < columns; k += 16) {
      float16_lanes lanes[16];
      LEPTON_UNROLL for (int i = 0; i < 16; i++) lanes[i] = load_lanes(x + (ptrdiff_t)(r + i) * columns + k, 16);
      turn_lanes(lanes);
      LEPTON_UNROLL for (int i = 0; i < 16; i++) __builtin_memcpy(y + (ptrdiff_t)(k + i) * rows + r, &lanes[i], 64);
    }
}
#endif
