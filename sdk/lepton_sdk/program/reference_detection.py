"""The reference rules of detection. Source of what wins: TensorFlow Lite's detection_postprocess.cc."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_sdk.program.detection import Detections, TopK
from lepton_sdk.program.operations import Operation
from lepton_sdk.program.rule import Array, Rule, Values
from lepton_sdk.program.tensors import Tensors


def _top_k(op: TopK, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, k = v[op.x], t[op.values].shape[-1]
    # Stable on the reversed row, read backwards: the largest first, of equals the first first.
    order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :k]
    return np.take_along_axis(x, order, axis=-1), order.astype(np.int32)


def _falling(values: Array) -> Array:
    """Indices of a vector from the largest value down, equals in order."""
    return np.argsort(-values, kind="stable")


def decoded_boxes(op: Detections, encoded: Array, anchors: Array) -> Array:
    """Corners [N, 4]: top, left, bottom, right; float32."""
    scales = np.array([op.y_scale, op.x_scale, op.height_scale, op.width_scale])
    y, x, height, width = (encoded[:, :4].astype(np.float64) / scales).T
    centre_y, centre_x, tall, wide = anchors.astype(np.float64).T
    middle = np.stack([y * tall + centre_y, x * wide + centre_x], axis=1).astype(np.float32)
    half = np.stack([0.5 * np.exp(height) * tall, 0.5 * np.exp(width) * wide], axis=1).astype(np.float32)
    return np.concatenate([middle - half, middle + half], axis=1)


def suppressed(boxes: Array, scores: Array, limit: int, score_threshold: float, iou: float) -> list[int]:
    """Indices of the boxes that win, best first: each suppresses those that overlap it by more than `iou`."""
    kept = np.flatnonzero(scores >= np.float32(score_threshold))
    order = kept[_falling(scores[kept])]
    winners: list[int] = []
    while order.size and len(winners) < limit:
        winners.append(int(order[0]))
        order = order[1:][_overlap(boxes[order[0]], boxes[order[1:]]) <= np.float32(iou)]
    return winners


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union, float32; 0 where either has no area."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    sides = np.maximum(high - low, np.float32(0))
    shared = sides[:, 0] * sides[:, 1]
    some = (area > 0) & (areas > 0)
    return np.where(some, shared / np.where(some, area + areas - shared, np.float32(1)), np.float32(0))


def _detections(op: Detections, v: Values, t: Tensors) -> tuple[Array, ...]:
    boxes = decoded_boxes(op, v[op.encoded][0], v[op.anchors])
    scores = v[op.scores][0]
    scores = scores[:, scores.shape[1] - op.n_classes :]
    found = _by_class(op, boxes, scores) if op.regular else _by_box(op, boxes, scores)
    rows = t[op.best].shape[1]
    corners, classes = np.zeros((1, rows, 4), np.float32), np.zeros((1, rows), np.float32)
    best = np.zeros((1, rows), np.float32)
    for row, (box, column) in found:
        corners[0, row], classes[0, row], best[0, row] = boxes[box], column, scores[box, column]
    count = len(found) if op.regular else len({box for _, (box, _) in found})
    return corners, classes, best, np.array([count], np.float32)


Found = list[tuple[int, tuple[int, int]]]
"""(row of the result, (box, class))."""


def _by_box(op: Detections, boxes: Array, scores: Array) -> Found:
    winners = suppressed(boxes, scores.max(1), op.max_detections, op.score_threshold, op.iou_threshold)
    each = min(op.classes_a_box, op.n_classes)
    return [
        (place * op.classes_a_box + rank, (box, int(column)))
        for place, box in enumerate(winners)
        for rank, column in enumerate(_falling(scores[box])[:each])
    ]


def _by_class(op: Detections, boxes: Array, scores: Array) -> Found:
    best: list[tuple[float, int, int]] = []
    for column in range(op.n_classes):
        won = suppressed(boxes, scores[:, column], op.per_class, op.score_threshold, op.iou_threshold)
        best += [(float(scores[box, column]), box, column) for box in won]
        best = [best[i] for i in _falling(np.array([score for score, _, _ in best]))[: op.max_detections]]
    return [(place, (box, column)) for place, (_, box, column) in enumerate(best)]


DETECTION_RULES: Mapping[type[Operation], Rule] = {TopK: _top_k, Detections: _detections}
