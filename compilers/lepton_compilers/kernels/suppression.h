/* Non-maximum suppression as ONNX defines it; stands on ordering.h. */
#ifndef LEPTON_SUPPRESSION_H
#define LEPTON_SUPPRESSION_H

/* Corners in order: top, left, bottom, right. */
LEPTON_KERNEL void corners_of(const float *box, const int centred, float *corner) {
  if (centred) {
    corner[0] = box[1] - box[3] * 0.5f, corner[2] = box[1] + box[3] * 0.5f;
    corner[1] = box[0] - box[2] * 0.5f, corner[3] = box[0] + box[2] * 0.5f;
    return;
  }
  corner[0] = LEPTON_MIN(box[0], box[2]), corner[2] = LEPTON_MAX(box[0], box[2]);
  corner[1] = LEPTON_MIN(box[1], box[3]), corner[3] = LEPTON_MAX(box[1], box[3]);
}
LEPTON_KERNEL int covers(const float *a_, const float *b_, const int centred, const float threshold) {
  float a[4], b[4];
  corners_of(a_, centred, a);
  corners_of(b_, centred, b);
  const float top = LEPTON_MAX(a[0], b[0]), left = LEPTON_MAX(a[1], b[1]);
  const float height = LEPTON_MIN(a[2], b[2]) - top, width = LEPTON_MIN(a[3], b[3]) - left;
  if (!(height > 0.0f && width > 0.0f)) return 0;
  const float shared = height * width;
  const float all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared;
  return all > 0.0f && shared / all > threshold;
}
/* boxes [batch, n, 4], scores [batch, classes, n] → rows of (batch, class, box), −1 in those that are left;
 * scratch: 24 bytes a box. */
LEPTON_KERNEL void non_max_suppression(uint8_t *boxes_, uint8_t *scores_, uint8_t *rows_, uint8_t *scratch,
                                       const int batch, const int classes, const int n, const int most,
                                       const int centred, const int thresholded, const int overlap_bits,
                                       const int score_bits) {
  const float *boxes = (const float *)boxes_, *scores = (const float *)scores_;
  const float overlap = float_of_bits(overlap_bits), lowest = float_of_bits(score_bits);
  int64_t *rows = (int64_t *)rows_;
  uint64_t *keys = (uint64_t *)scratch;
  int32_t *index = (int32_t *)(keys + 2 * (ptrdiff_t)n), *other = index + n;
  ptrdiff_t found = 0;
  for (ptrdiff_t b = 0; b < batch; b++)
    for (ptrdiff_t c = 0; c < classes; c++) {
      const float *score = scores + (b * classes + c) * n;
      for (int i = 0; i < n; i++) {
        keys[i] = ~lepton_key((const uint8_t *)score, i, 8);
        index[i] = i;
      }
      lepton_merge_sort(keys, keys + n, index, other, n);
      const ptrdiff_t first = found;
      for (int i = 0; i < n && found - first < most; i++) {
        const int at = index[i];
        if (thresholded && !(score[at] > lowest)) continue;
        int kept = 1;
        for (ptrdiff_t k = first; k < found && kept; k++)
          kept = !covers(boxes + (b * n + at) * 4, boxes + (b * n + rows[k * 3 + 2]) * 4, centred, overlap);
        if (!kept) continue;
        rows[found * 3] = b, rows[found * 3 + 1] = c, rows[found * 3 + 2] = at;
        found++;
      }
    }
  for (ptrdiff_t i = found * 3; i < (ptrdiff_t)batch * classes * most * 3; i++) rows[i] = -1;
}

#endif
