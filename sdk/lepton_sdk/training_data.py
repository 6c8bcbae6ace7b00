"""Examples and their labels, checked once, then cut into batches of a fixed size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lepton_sdk.bundle.manifest import TensorSpec
from lepton_targets.errors import BadInputError

MASKED = -1
"""The label of a row that does not count."""


@dataclass(frozen=True, slots=True)
class Examples:
    """features [n, …] as the model takes them, labels int32 [n] in 0 … classes − 1."""

    features: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, order: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Row numbers in `order`, `size` at a time; the last may be fewer."""
        for start in range(0, len(order), size):
            yield order[start : start + size]


def checked_features(features: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """The features in the model's type, dense. spec: one batch of them.

    Raises BadInputError for another shape than [n, …], no rows, another type, or a value that is not finite.
    """
    found = np.asarray(features)
    wanted = spec.shape[1:]
    if found.shape[1:] != wanted or found.ndim != len(spec.shape):
        raise BadInputError(f"features have shape {found.shape}; '{spec.name}' takes [n, {_row(wanted)}]")
    if len(found) == 0:
        raise BadInputError("there are no examples: features have 0 rows")
    if spec.dtype == "float32" and found.dtype.kind == "f":
        finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
        if not finite.all():
            raise BadInputError(f"features hold NaN or infinity, first in example {int(finite.argmin())}")
    elif found.dtype != np.dtype(spec.dtype):
        raise BadInputError(f"features are {found.dtype}; '{spec.name}' takes {spec.dtype}")
    return np.ascontiguousarray(found, spec.dtype)


def checked_labels(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """int32 [count]. Raises BadInputError for another shape, a type that is no integer, a label outside."""
    found = np.asarray(labels)
    if found.shape != (count,):
        raise BadInputError(f"labels have shape {found.shape} for {count} examples; [{count}] is needed")
    if found.dtype.kind not in "iu":
        raise BadInputError(f"labels are {found.dtype}; integers in 0 … {classes - 1} are needed")
    outside = (found < 0) | (found >= classes)
    if outside.any():
        first = int(outside.argmax())
        raise BadInputError(
            f"label {int(found[first])} of example {first} is outside 0 … {classes - 1}, the model's classes"
        )
    return np.ascontiguousarray(found, np.int32)


def _row(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
