"""The typed operations that end an object detector: boxes from anchors, the best of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import TensorId, Tensors


@dataclass(frozen=True, slots=True)
class TopK(Operation):
    """The k largest of the last axis from the largest down, and their places (int32); equals in order."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("values", "indices")
    x: TensorId
    values: TensorId
    indices: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        shape, k = t[self.x].shape, t[self.values].shape[-1]
        if not 1 <= k <= shape[-1]:
            raise ValueError(f"the {k} largest of {shape[-1]}")
        return (*shape[:-1], k), (*shape[:-1], k)


@dataclass(frozen=True, slots=True)
class Detections(Operation):
    """SSD post-processing of one image: boxes from anchors, then non-maximum suppression; float32.

    encoded [1, N, ≥ 4]: y, x, height, width relative to anchors [N, 4] (centre y, centre x, height, width),
    each divided by its scale. scores [1, N, C + background], background classes first. Out come boxes
    [1, D, 4] (top, left, bottom, right), classes [1, D] from 0, scores [1, D] and how many boxes won
    [1]; what is left is zero. reference_detection.py says which boxes win.

    regular: suppress within each class (at most per_class boxes of it), the best max_detections of all; else
    suppress on the best class of each box and give its best classes_a_box classes, one after another.
    D = max_detections · classes_a_box either way.
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ("boxes", "classes", "best", "count")
    encoded: TensorId
    scores: TensorId
    anchors: TensorId
    boxes: TensorId
    classes: TensorId
    best: TensorId
    count: TensorId
    n_classes: int
    max_detections: int
    classes_a_box: int
    per_class: int
    regular: bool
    score_threshold: float
    iou_threshold: float
    y_scale: float
    x_scale: float
    height_scale: float
    width_scale: float

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        batch, n, coordinates = t[self.encoded].shape
        if batch != 1 or coordinates < 4 or t[self.anchors].shape != (n, 4):
            raise ValueError(f"boxes {t[self.encoded].shape} on anchors {t[self.anchors].shape}")
        if t[self.scores].shape[:2] != (1, n) or t[self.scores].shape[2] < self.n_classes:
            raise ValueError(f"scores {t[self.scores].shape} of {self.n_classes} classes for {n} boxes")
        if min(self.n_classes, self.max_detections, self.classes_a_box, self.per_class) < 1:
            raise ValueError("classes, detections and their limits are at least 1")
        rows = self.max_detections * self.classes_a_box
        return (1, rows, 4), (1, rows), (1, rows), (1,)


DETECTION_OPERATIONS: tuple[type[Operation], ...] = (TopK, Detections)
