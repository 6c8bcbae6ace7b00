"""Trained weights that replace a model's own: checked against what the model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_targets.errors import BadInputError, nearest

Array = npt.NDArray[Any]


def replacement(name: str, given: Array, shape: tuple[int, ...]) -> Array:
    """`given` as float32. Raises BadInputError for a shape not the source's, no floats, NaN, infinity."""
    array = np.asarray(given)
    if array.dtype.kind != "f":
        raise BadInputError(f"weight '{name}' is {array.dtype}; a float array is needed")
    if array.shape != shape:
        raise BadInputError(f"weight '{name}' has shape {array.shape}; the model's has {shape}")
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise BadInputError(f"weight '{name}' holds {array[place]} at {place}; every value must be finite")
    return np.ascontiguousarray(array, np.float32)


def check_names(given: Mapping[str, Array], known: Mapping[str, tuple[int, ...]]) -> None:
    """BadInputError for weights the model has no parameter for."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise BadInputError(
            f"the model has no parameter '{unknown[0]}'{nearest(unknown[0], known)}",
            *(f"nor '{name}'" for name in unknown[1:]),
            f"its parameters: {', '.join(known) or 'none in float'}",
        )
