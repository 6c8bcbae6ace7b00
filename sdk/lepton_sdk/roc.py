"""Receiver operating characteristic: what a threshold on a score lets through, right and wrong."""

from __future__ import annotations

import numpy as np

from lepton_targets.record import Record


class RocCurve(Record):
    """Corners of the curve, from (0, 0) to (1, 1).

    thresholds: examples with a score of at least this count as positive; None where none does. area: under
    the curve: the chance that a positive example scores above a negative one, ties counting half.
    """

    area: float
    false_positive_rates: tuple[float, ...]
    true_positive_rates: tuple[float, ...]
    thresholds: tuple[float | None, ...]


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> RocCurve | None:
    """The curve of scores [n] against truth bool [n]; None where all examples are of one kind.

    Points on a straight line between their neighbours are left out (Fawcett, "An introduction to ROC
    analysis", 2006, algorithms 1 and 2).
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], positive[order].astype(np.int64)
    last_of_ties = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    true = np.append(0, np.cumsum(truth)[last_of_ties])
    false = np.append(0, last_of_ties + 1 - true[1:])
    area = float((np.diff(false) * (true[1:] + true[:-1])).sum() / (2 * n_positive * n_negative))
    corner = np.ones(len(true), bool)
    corner[1:-1] = np.diff(true)[:-1] * np.diff(false)[1:] != np.diff(true)[1:] * np.diff(false)[:-1]
    thresholds = np.append(np.nan, ranked[last_of_ties])[corner].tolist()
    return RocCurve(
        area,
        tuple((false[corner] / n_negative).tolist()),
        tuple((true[corner] / n_positive).tolist()),
        (None, *thresholds[1:]),
    )


def class_curves(scores: np.ndarray, labels: np.ndarray) -> dict[int, RocCurve]:
    """A curve for each class that some labels are of and some are not.

    scores [n, classes]. One score, or two classes: one curve, of class 1, by how far its score lies above
    the other's. More: each class by its score, against all the rest.
    """
    if scores.shape[1] <= 2:
        ranks = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
        curve = roc_curve(ranks, labels == 1)
        return {} if curve is None else {1: curve}
    found = ((c, roc_curve(scores[:, c], labels == c)) for c in range(scores.shape[1]))
    return {c: curve for c, curve in found if curve is not None}
