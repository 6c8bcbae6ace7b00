"""Figures of merit of a classifier, each a function of scores and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lepton_targets.errors import UsageError, nearest

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(scores [n, classes], labels int64 [n]) → a number from 0 to 1."""


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


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "top5": top5,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}


def choose(names: str) -> dict[str, Metric]:
    """The metrics of a comma-separated list. Raises UsageError for an unknown one."""
    chosen = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in METRICS:
            raise UsageError(
                f"unknown metric '{name}'{nearest(name, METRICS)}", f"known: {', '.join(METRICS)}"
            )
        chosen[name] = METRICS[name]
    return chosen


def _macro(scores: np.ndarray, labels: np.ndarray, rule: Callable[[int, int, int], float]) -> float:
    found = predicted(scores)
    classes = np.union1d(found, labels)
    values = []
    for number in classes:
        hits = int(((found == number) & (labels == number)).sum())
        values.append(rule(hits, int((found == number).sum()), int((labels == number).sum())))
    return float(np.mean(values))
