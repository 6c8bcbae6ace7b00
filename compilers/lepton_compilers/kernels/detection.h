/* Micro-kernels that end a detector: the best of each row, boxes from anchors, non-maximum suppression. */
#ifndef LEPTON_DETECTION_H
#define LEPTON_DETECTION_H

/* The k largest of each row of n, the first of equals first; O(k n). */
#define LEPTON_TOP_K(TYPE)                                                                              \
  for (int r = 0; r < rows; r++) {                                                                      \
    const TYPE *x = (const TYPE *)x_ + (ptrdiff_t)r * n;                                                \
    TYPE *values = (TYPE *)v_ + (ptrdiff_t)r * k;                                                       \
    int32_t *indices = (int32_t *)i_ + (ptrdiff_t)r * k;                                                \
    for (int at = 0; at < k; at++) {                                                                    \
      int32_t best = -1;                                                                                \
      for (int i = 0; i < n; i++) {                                                                     \
        /* those that come after the last one taken: smaller, or equal and further on */               \
        if (at && !(x[i] < values[at - 1] || (x[i] == values[at - 1] && i > indices[at - 1]))) continue; \
        if (best < 0 || x[i] > x[best]) best = i;                                                       \
      }                                                                                                 \
      if (best < 0) best = 0; /* NaN only */                                                            \
      values[at] = x[best];                                                                             \
      indices[at] = best;                                                                               \
    }                                                                                                   \
  }
LEPTON_KERNEL void top_k_float(uint8_t *restrict x_, uint8_t *restrict v_, uint8_t *restrict i_, const int rows,
                               const int n, const int k) {
  LEPTON_TOP_K(float)
}
LEPTON_KERNEL void top_k_int8(uint8_t *restrict x_, uint8_t *restrict v_, uint8_t *restrict i_, const int rows,
                              const int n, const int k) {
  LEPTON_TOP_K(int8_t)
}

/* Indices in `order` from the largest value down, equals as they stood: merge sort, `spare` as long as `order`. */
static __attribute__((unused)) void fall(const float *values, int32_t *order, int32_t *spare, const int n) {
  int32_t *from = order, *to = spare;
  for (int width = 1; width < n; width *= 2) {
    for (int start = 0; start < n; start += 2 * width) {
      const int middle = LEPTON_MIN(start + width, n), end = LEPTON_MIN(start + 2 * width, n);
      int a = start, b = middle;
      for (int i = start; i < end; i++)
        to[i] = b >= end || (a < middle && values[from[a]] >= values[from[b]]) ? from[a++] : from[b++];
    }
    int32_t *other = from;
    from = to;
    to = other;
  }
  if (from != order)
    for (int i = 0; i < n; i++) order[i] = from[i];
}

static __attribute__((unused)) float overlap(const float *a, const float *b) {
  const float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
  if (!(area_a > 0 && area_b > 0)) return 0;
  const float top = LEPTON_MAX(a[0], b[0]), left = LEPTON_MAX(a[1], b[1]);
  const float height = LEPTON_MIN(a[2], b[2]) - top, width = LEPTON_MIN(a[3], b[3]) - left;
  const float shared = (height > 0 ? height : 0) * (width > 0 ? width : 0);
  return shared / (area_a + area_b - shared);
}

/* Winners among n boxes, best first, to the front of `order` (n places, as `spare`); returns how many. */
static __attribute__((unused)) int suppress(const float *boxes, const float *scores, int32_t *order, int32_t *spare, const int n,
                    const int limit, const float threshold, const float iou) {
  int kept = 0, won = 0;
  for (int i = 0; i < n; i++)
    if (scores[i] >= threshold) order[kept++] = i;
  fall(scores, order, spare, kept);
  for (int i = 0; i < kept && won < limit; i++) {
    const int32_t box = order[i];
    int free = 1;
    /* winners so far stand in order[0 .. won): a box that one of them overlaps is out */
    for (int j = 0; j < won && free; j++) free = !(overlap(boxes + 4 * order[j], boxes + 4 * box) > iou);
    if (free) order[won++] = box;
  }
  return won;
}

static __attribute__((unused)) void detect(const float *encoded, const float *scores, const float *anchors, float *boxes, float *classes,
                   float *best, float *count, float *decoded, float *column, int32_t *order, int32_t *spare,
                   float *held, int32_t *held_box, int32_t *held_class, int32_t *sorted, const int n, const int coordinates,
                   const int columns, const int n_classes, const int max_detections, const int each,
                   const int per_class, const int regular, const float threshold, const float iou, const float sy,
                   const float sx, const float sh, const float sw) {
  const int background = columns - n_classes, rows = max_detections * each;
  for (int i = 0; i < n; i++) {
    const float *e = encoded + (ptrdiff_t)i * coordinates, *a = anchors + (ptrdiff_t)i * 4;
    float *to = decoded + (ptrdiff_t)i * 4;
    const float y = e[0] / sy * a[2] + a[0], x = e[1] / sx * a[3] + a[1];
    const float half_h = 0.5f * exp_float(e[2] / sh) * a[2], half_w = 0.5f * exp_float(e[3] / sw) * a[3];
    to[0] = y - half_h;
    to[1] = x - half_w;
    to[2] = y + half_h;
    to[3] = x + half_w;
  }
  for (int i = 0; i < rows; i++) {
    for (int k = 0; k < 4; k++) boxes[4 * i + k] = 0;
    classes[i] = best[i] = 0;
  }
  if (!regular) {
    for (int i = 0; i < n; i++) {
      const float *s = scores + (ptrdiff_t)i * columns + background;
      column[i] = s[0];
      for (int c = 1; c < n_classes; c++) column[i] = LEPTON_MAX(column[i], s[c]);
    }
    const int won = suppress(decoded, column, order, spare, n, max_detections, threshold, iou);
    for (int i = 0; i < won; i++) {
      const float *s = scores + (ptrdiff_t)order[i] * columns + background;
      int last = -1;
      for (int rank = 0; rank < LEPTON_MIN(each, n_classes); rank++) {
        int c = -1;
        for (int k = 0; k < n_classes; k++) {
          if (last >= 0 && !(s[k] < s[last] || (s[k] == s[last] && k > last))) continue;
          if (c < 0 || s[k] > s[c]) c = k;
        }
        last = c < 0 ? 0 : c;
        for (int k = 0; k < 4; k++) boxes[4 * (i * each + rank) + k] = decoded[4 * order[i] + k];
        classes[i * each + rank] = (float)last;
        best[i * each + rank] = s[last];
      }
    }
    count[0] = (float)won;
    return;
  }
  int total = 0;
  for (int c = 0; c < n_classes; c++) {
    for (int i = 0; i < n; i++) column[i] = scores[(ptrdiff_t)i * columns + background + c];
    const int won = suppress(decoded, column, order, spare, n, per_class, threshold, iou);
    for (int i = 0; i < won; i++) {
      held[total + i] = column[order[i]];
      held_box[total + i] = order[i];
      held_class[total + i] = c;
    }
    const int all = total + won;
    /* the best so far and this class's, sorted; what is beyond max_detections falls out */
    for (int i = 0; i < all; i++) sorted[i] = i;
    fall(held, sorted, sorted + max_detections + n, all);
    total = LEPTON_MIN(all, max_detections);
    float *next = held + max_detections + n;
    int32_t *next_box = held_box + max_detections + n, *next_class = held_class + max_detections + n;
    for (int i = 0; i < total; i++) {
      next[i] = held[sorted[i]];
      next_box[i] = held_box[sorted[i]];
      next_class[i] = held_class[sorted[i]];
    }
    for (int i = 0; i < total; i++) {
      held[i] = next[i];
      held_box[i] = next_box[i];
      held_class[i] = next_class[i];
    }
  }
  for (int i = 0; i < total; i++) {
    for (int k = 0; k < 4; k++) boxes[4 * i + k] = decoded[4 * held_box[i] + k];
    classes[i] = (float)held_class[i];
    best[i] = held[i];
  }
  count[0] = (float)total;
}

/* decoded [n][4], column [n] float; order, spare [n] int32; held, held_box, held_class, sorted
 * [2 (max_detections + n)]. No division of integers: 32-bit cores call a library for it. */
LEPTON_KERNEL void detections(uint8_t *encoded, uint8_t *scores, uint8_t *anchors, uint8_t *boxes, uint8_t *classes,
                              uint8_t *best, uint8_t *count, uint8_t *decoded, uint8_t *column, uint8_t *order,
                              uint8_t *spare, uint8_t *held, uint8_t *held_box, uint8_t *held_class, uint8_t *sorted,
                              const int n,
                              const int coordinates, const int columns, const int n_classes,
                              const int max_detections, const int each, const int per_class, const int regular,
                              const int threshold, const int iou, const int sy, const int sx, const int sh,
                              const int sw) {
  detect((const float *)encoded, (const float *)scores, (const float *)anchors, (float *)boxes, (float *)classes,
         (float *)best, (float *)count, (float *)decoded, (float *)column, (int32_t *)order, (int32_t *)spare,
         (float *)held, (int32_t *)held_box, (int32_t *)held_class, (int32_t *)sorted, n, coordinates, columns, n_classes, max_detections,
         each, per_class, regular, float_of_bits(threshold), float_of_bits(iou), float_of_bits(sy), float_of_bits(sx),
         float_of_bits(sh), float_of_bits(sw));
}
#endif
