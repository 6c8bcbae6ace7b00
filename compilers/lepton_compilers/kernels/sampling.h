/* Maps sampled between their places: grids, regions, deformed windows; and determinants.
 *
 * Places come from a model's inputs, so every one is compared with the map before it is read; NaN lies outside.
 */
#ifndef LEPTON_SAMPLING_H
#define LEPTON_SAMPLING_H

LEPTON_KERNEL int floor_of(const float v) {
  const int t = (int)(v > 1e6f ? 1e6f : v > -1e6f ? v : -1e6f);
  return (float)t > v && v > -1e6f ? t - 1 : t;
}
LEPTON_KERNEL float even_of(const float v) {
  return v > -1e6f && v < 1e6f ? (v + 12582912.0f) - 12582912.0f : v;
}
/* Reflected at low and high until it lies between them. */
LEPTON_KERNEL float reflected(const float v, const float low, const float high) {
  const float span = high - low;
  if (!(span > 0.0f) || !(v > -1e6f && v < 1e6f)) return low;
  const float distance = v < low ? low - v : v - low;
  if (v >= low && v <= high) return v;
  const int turns = floor_of(distance / span);
  const float rest = distance - (float)turns * span;
  return turns % 2 == 0 ? low + rest : high - rest;
}
LEPTON_KERNEL float grid_place(const float g, const int extent, const int padding, const int aligned) {
  float v = aligned ? (g + 1.0f) * 0.5f * (float)(extent - 1) : ((g + 1.0f) * (float)extent - 1.0f) * 0.5f;
  if (padding == 1) v = v > 0.0f ? (v < (float)(extent - 1) ? v : (float)(extent - 1)) : 0.0f;
  if (padding == 2) v = aligned ? reflected(v, 0.0f, (float)(extent - 1)) : reflected(v, -0.5f, (float)extent - 0.5f);
  return v == v ? v : -1e6f;
}
/* A place beyond the map: −1 for zeros, else one inside. */
LEPTON_KERNEL int grid_index(const int i, const int extent, const int padding, const int aligned) {
  if (i >= 0 && i < extent) return i;
  if (padding == 0) return -1;
  if (padding == 1) return i < 0 ? 0 : extent - 1;
  const float m = aligned ? reflected((float)i, 0.0f, (float)(extent - 1)) : reflected((float)i, -0.5f, (float)extent - 0.5f);
  const int at = floor_of(m + 0.5f);
  return at < 0 ? 0 : at > extent - 1 ? extent - 1 : at;
}
LEPTON_KERNEL void cubic_weights(const float t, float *w) {
  const float a = -0.75f, s = 1.0f - t, p = t + 1.0f, q = s + 1.0f;
  w[0] = ((a * p - 5.0f * a) * p + 8.0f * a) * p - 4.0f * a;
  w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
  w[2] = ((a + 2.0f) * s - (a + 3.0f)) * s * s + 1.0f;
  w[3] = ((a * q - 5.0f * a) * q + 8.0f * a) * q - 4.0f * a;
}
/* Taps along one axis: their indices (−1 for zeros) and weights; their number. */
LEPTON_KERNEL int grid_taps(const float g, const int extent, const int mode, const int padding, const int aligned,
                            int *at, float *w) {
  const float v = grid_place(g, extent, padding, aligned);
  if (mode == 1) {
    at[0] = grid_index((int)even_of(v > 1e6f ? 1e6f : v < -1e6f ? -1e6f : v), extent, padding, aligned);
    w[0] = 1.0f;
    return 1;
  }
  const int low = floor_of(v), first = mode == 2 ? low - 1 : low, count = mode == 2 ? 4 : 2;
  const float t = v - (float)low;
  if (mode == 2) {
    cubic_weights(t, w);
  } else {
    w[0] = 1.0f - t;
    w[1] = t;
  }
  for (int i = 0; i < count; i++) at[i] = grid_index(first + i, extent, padding, aligned);
  return count;
}
/* x [n, c, d, h, w] at grid [n, points, axes] → y [n, c, points]; a map of two axes has d = 1. */
LEPTON_KERNEL void grid_sample(uint8_t *x_, uint8_t *grid_, uint8_t *y_, const int n, const int c, const int d,
                               const int h, const int w, const int points, const int axes, const int mode,
                               const int padding, const int aligned) {
  const float *x = (const float *)x_, *grid = (const float *)grid_;
  float *y = (float *)y_;
  for (ptrdiff_t b = 0; b < n; b++)
    for (ptrdiff_t p = 0; p < points; p++) {
      const float *g = grid + (b * points + p) * axes;
      int ix[4], iy[4], iz[4] = {0};
      float wx[4], wy[4], wz[4] = {1.0f};
      const int nx = grid_taps(g[0], w, mode, padding, aligned, ix, wx);
      const int ny = grid_taps(g[1], h, mode, padding, aligned, iy, wy);
      const int nz = axes == 3 ? grid_taps(g[2], d, mode, padding, aligned, iz, wz) : 1;
      for (ptrdiff_t k = 0; k < c; k++) {
        const float *map = x + (b * c + k) * d * h * w;
        float total = 0.0f;
        for (int az = 0; az < nz; az++)
          for (int ay = 0; ay < ny; ay++)
            for (int ax = 0; ax < nx; ax++)
              if (iz[az] >= 0 && iy[ay] >= 0 && ix[ax] >= 0)
                total += map[((ptrdiff_t)iz[az] * h + iy[ay]) * w + ix[ax]] * (wz[az] * wy[ay] * wx[ax]);
        y[(b * c + k) * points + p] = total;
      }
    }
}

/* The four neighbours of a place and their weights; 0 where it lies outside of (−1, extent). */
LEPTON_KERNEL int region_taps(float y, float x, const int h, const int w, int *at, float *weight) {
  if (!(y >= -1.0f && y <= (float)h && x >= -1.0f && x <= (float)w)) return 0;
  y = y > 0.0f ? y : 0.0f;
  x = x > 0.0f ? x : 0.0f;
  int y0 = (int)y, x0 = (int)x, y1 = y0 + 1, x1 = x0 + 1;
  if (y0 >= h - 1) y0 = y1 = h - 1, y = (float)y0;
  if (x0 >= w - 1) x0 = x1 = w - 1, x = (float)x0;
  const float ly = y - (float)y0, lx = x - (float)x0, hy = 1.0f - ly, hx = 1.0f - lx;
  at[0] = y0 * w + x0, at[1] = y0 * w + x1, at[2] = y1 * w + x0, at[3] = y1 * w + x1;
  weight[0] = hy * hx, weight[1] = hy * lx, weight[2] = ly * hx, weight[3] = ly * lx;
  return 1;
}
LEPTON_KERNEL int region_samples(const float size, const int parts, const int asked, const int extent) {
  if (asked > 0) return asked;
  const float each = size / (float)parts;
  const int down = floor_of(each), found = (float)down < each ? down + 1 : down;
  return found < 0 ? 0 : found > extent + 2 ? extent + 2 : found;
}
/* x [n, c, h, w], regions [r, 4] as x1, y1, x2, y2, map [r] → y [r, c, rows, columns] */
LEPTON_KERNEL void roi_align(uint8_t *x_, uint8_t *regions_, uint8_t *map_, uint8_t *y_, const int n, const int c,
                             const int h, const int w, const int r, const int rows, const int columns,
                             const int half_pixel, const int largest, const int sampling, const int scale_bits) {
  const float *x = (const float *)x_, *regions = (const float *)regions_;
  const int64_t *map = (const int64_t *)map_;
  const float scale = float_of_bits(scale_bits), shift = half_pixel ? 0.5f : 0.0f;
  float *y = (float *)y_;
  for (ptrdiff_t i = 0; i < r; i++) {
    const float *region = regions + i * 4;
    const ptrdiff_t image = map[i] < 0 ? 0 : map[i] > n - 1 ? n - 1 : (ptrdiff_t)map[i];
    const float left = region[0] * scale - shift, top = region[1] * scale - shift;
    float width = region[2] * scale - shift - left, height = region[3] * scale - shift - top;
    if (!half_pixel) {
      width = width > 1.0f ? width : 1.0f;
      height = height > 1.0f ? height : 1.0f;
    }
    const float dy = height / (float)rows, dx = width / (float)columns;
    const int ny = region_samples(height, rows, sampling, h), nx = region_samples(width, columns, sampling, w);
    const float count = (float)(ny * nx > 1 ? ny * nx : 1);
    for (ptrdiff_t k = 0; k < c; k++)
      for (int py = 0; py < rows; py++)
        for (int px = 0; px < columns; px++) {
          const float *plane = x + (image * c + k) * h * w;
          float total = 0.0f;
          int any = 0;
          for (int sy = 0; sy < ny; sy++)
            for (int sx = 0; sx < nx; sx++) {
              int at[4] = {0};
              float weight[4] = {0};
              const float v = top + (float)py * dy + ((float)sy + 0.5f) * dy / (float)ny;
              const float u = left + (float)px * dx + ((float)sx + 0.5f) * dx / (float)nx;
              region_taps(v, u, h, w, at, weight);
              if (largest) {
                for (int t = 0; t < 4; t++) {
                  const float value = weight[t] * plane[at[t]];
                  total = any && total >= value ? total : value;
                  any = 1;
                }
              } else {
                for (int t = 0; t < 4; t++) total += weight[t] * plane[at[t]];
              }
            }
          y[((i * c + k) * rows + py) * columns + px] = largest ? total : total / count;
        }
  }
}

/* x [n, c, h, w] at every place of a kh × kw window moved by offset [n, sets·kh·kw·2, rows, columns]
 * → y [n, c, kh·kw, rows, columns]; mask [n, sets·kh·kw, rows, columns] where `masked`. */
LEPTON_KERNEL void deformed_windows(uint8_t *x_, uint8_t *offset_, uint8_t *mask_, uint8_t *y_, const int masked,
                                    const int n, const int c, const int h, const int w, const int rows,
                                    const int columns, const int kh, const int kw, const int sy, const int sx,
                                    const int dy, const int dx, const int top, const int left, const int sets) {
  const float *x = (const float *)x_, *offset = (const float *)offset_, *mask = (const float *)mask_;
  float *y = (float *)y_;
  const ptrdiff_t area = (ptrdiff_t)rows * columns, places = (ptrdiff_t)kh * kw;
  for (ptrdiff_t b = 0; b < n; b++)
    for (ptrdiff_t k = 0; k < c; k++)
      for (ptrdiff_t p = 0; p < places; p++)
        for (ptrdiff_t q = 0; q < area; q++) {
          const ptrdiff_t set = k / (c / sets), lane = (b * sets + set) * places + p;
          const float v = (float)(q / columns * sy - top + p / kw * dy) + offset[lane * 2 * area + q];
          const float u = (float)(q % columns * sx - left + p % kw * dx) + offset[(lane * 2 + 1) * area + q];
          const int y0 = floor_of(v), x0 = floor_of(u);
          const float ly = v - (float)y0, lx = u - (float)x0;
          float total = 0.0f;
          for (int t = 0; t < 4; t++) {
            const int yy = y0 + t / 2, xx = x0 + t % 2;
            if (yy < 0 || yy >= h || xx < 0 || xx >= w) continue;
            const float weight = (t / 2 ? ly : 1.0f - ly) * (t % 2 ? lx : 1.0f - lx);
            total += weight * x[((b * c + k) * h + yy) * w + xx];
          }
          y[((b * c + k) * places + p) * area + q] = masked ? total * mask[lane * area + q] : total;
        }
}

/* By elimination with the largest pivot, in float64; work: n · n doubles. */
LEPTON_KERNEL void determinant(uint8_t *x, uint8_t *y, uint8_t *work_, const int matrices, const int n,
                               const int wide) {
  double *work = (double *)work_;
  for (ptrdiff_t m = 0; m < matrices; m++) {
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n; i++)
      work[i] = wide ? ((const double *)x)[m * n * n + i] : (double)((const float *)x)[m * n * n + i];
    double found = 1.0;
    for (int i = 0; i < n; i++) {
      int pivot = i;
      for (int r = i + 1; r < n; r++) {
        const double a = work[(ptrdiff_t)r * n + i], b = work[(ptrdiff_t)pivot * n + i];
        if ((a < 0 ? -a : a) > (b < 0 ? -b : b)) pivot = r;
      }
      if (pivot != i) {
        found = -found;
        for (int q = 0; q < n; q++) {
          const double held = work[(ptrdiff_t)i * n + q];
          work[(ptrdiff_t)i * n + q] = work[(ptrdiff_t)pivot * n + q];
          work[(ptrdiff_t)pivot * n + q] = held;
        }
      }
      const double head = work[(ptrdiff_t)i * n + i];
      found *= head;
      if (head == 0.0) break;
      for (int r = i + 1; r < n; r++) {
        const double factor = work[(ptrdiff_t)r * n + i] / head;
        for (int q = i; q < n; q++) work[(ptrdiff_t)r * n + q] -= factor * work[(ptrdiff_t)i * n + q];
      }
    }
    if (wide)
      ((double *)y)[m] = found;
    else
      ((float *)y)[m] = (float)found;
  }
}

#endif
