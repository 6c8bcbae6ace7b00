"""Figures of merit of a classifier, each a function of scores and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_sdk.roc import class_curves
from lepton_targets.errors import UsageError, nearest

Metric = Callable[[np.ndarray, np.ndarray], Any]
"""(scores [n, classes], labels int64 [n]) → a plain JSON value; of METRICS a number from 0 to 1, or None."""


def class_count(n_scores: int) -> int:
    """How many classes that many scores of an example tell apart: one score alone says yes or no."""
    return max(n_scores, 2)


def predicted(scores: np.ndarray) -> np.ndarray:
    """Class numbers int64 [n]: the largest score; of one score alone, whether it passes one half."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0.5).astype(np.int64)
    classes: np.ndarray = scores.argmax(axis=1).astype(np.int64)
    return classes


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose largest score is the label's."""
    return float((predicted(scores) == labels).mean())


def top5(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose label is among the five largest scores."""
    best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :5]
    return float((best == labels[:, None]).any(axis=1).mean())


def precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of: right predictions of it / predictions of it."""
    return _macro(scores, labels, lambda hits, foretold, present: hits / max(foretold, 1))


def recall(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of: right predictions of it / examples of it."""
    return _macro(scores, labels, lambda hits, foretold, present: hits / max(present, 1))


def f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of the harmonic mean of its precision and recall."""
    return _macro(scores, labels, lambda hits, foretold, present: 2 * hits / max(foretold + present, 1))


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Area under the ROC curve; of more than two classes, the mean of each against the rest.

    None where all labels are of one class, for then there is no curve.
    """
    areas = [curve.area for curve in class_curves(scores, labels).values()]
    return float(np.mean(areas)) if areas else None


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """[i][j]: examples of class i that were taken for class j; square, over every class there is."""
    classes = max(scores.shape[1], 2, int(labels.max(initial=0)) + 1)
    cells = np.bincount(labels * classes + predicted(scores), minlength=classes**2)
    rows: list[list[int]] = cells.reshape(classes, classes).tolist()
    return rows


def per_class(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, float | int]]:
    """Precision, recall and F1 of every class, with its number, its examples and its predictions."""
    matrix = np.array(confusion_matrix(scores, labels))
    hits, foretold, present = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return [
        {
            "class": number,
            "examples": int(present[number]),
            "predictions": int(foretold[number]),
            "precision": float(hits[number] / max(foretold[number], 1)),
            "recall": float(hits[number] / max(present[number], 1)),
            "f1": float(2 * hits[number] / max(foretold[number] + present[number], 1)),
        }
        for number in range(len(matrix))
    ]


def roc_curves(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The corners of each class's ROC curve (lepton_sdk/roc.py), with the class's number."""
    return [{"class": number, **curve.as_dict()} for number, curve in class_curves(scores, labels).items()]


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "top5": top5,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
}
TABLES: Mapping[str, Metric] = {
    "confusion_matrix": confusion_matrix,
    "per_class": per_class,
    "roc_curve": roc_curves,
}
"""What says more than one number can."""


def choose(names: str) -> dict[str, Metric]:
    """The metrics and tables of a comma-separated list. Raises UsageError for an unknown one, or none."""
    known = {**METRICS, **TABLES}
    chosen = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in known:
            raise UsageError(f"unknown metric '{name}'{nearest(name, known)}", f"known: {', '.join(known)}")
        chosen[name] = known[name]
    if not chosen:
        raise UsageError("no metric was named", f"known: {', '.join(known)}")
    return chosen


def _macro(scores: np.ndarray, labels: np.ndarray, rule: Callable[[int, int, int], float]) -> float:
    found = predicted(scores)
    classes = np.union1d(found, labels)
    values = []
    for number in classes:
        hits = int(((found == number) & (labels == number)).sum())
        values.append(rule(hits, int((found == number).sum()), int((labels == number).sum())))
    return float(np.mean(values))
