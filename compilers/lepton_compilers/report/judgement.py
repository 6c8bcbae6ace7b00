"""How the bundle does on examples: by their labels, and beside its float source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from lepton_sdk import metrics

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Figures over n examples. Those that need labels are None without them.

    agreement: share with the class that the float source predicts; None without that source. class_names:
    of the model, by class number; may be empty.
    """

    n: int
    class_names: tuple[str, ...]
    accuracy: float | None = None
    float_accuracy: float | None = None
    agreement: float | None = None
    roc_auc: float | None = None
    confusion_matrix: list[list[int]] | None = None
    per_class: list[dict[str, float | int]] | None = None
    roc_curves: list[dict[str, Any]] | None = None


def judge(
    scores: Array, labels: Array | None, float_scores: Array | None, class_names: tuple[str, ...]
) -> Judgement:
    """scores, float_scores: [n, classes]; labels: int64 [n]."""
    agreement = None
    if float_scores is not None and float_scores.shape == scores.shape:
        agreement = float((metrics.predicted(scores) == metrics.predicted(float_scores)).mean())
    if labels is None:
        return Judgement(len(scores), class_names, agreement=agreement)
    return Judgement(
        len(scores),
        class_names,
        metrics.accuracy(scores, labels),
        None if float_scores is None else metrics.accuracy(float_scores, labels),
        agreement,
        metrics.roc_auc(scores, labels),
        metrics.confusion_matrix(scores, labels),
        metrics.per_class(scores, labels),
        metrics.roc_curves(scores, labels),
    )
