"""Inputs to try a function on: those of a golden vector, else numbers of the right types."""

from __future__ import annotations

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface, TensorSpec
from lepton_sdk.bundle.reader import Bundle


def example_inputs(
    bundle: Bundle | None, function: str, interface: FunctionInterface
) -> dict[str, np.ndarray]:
    """Inputs of the first golden vector of the function, else noise over the range of each input's type."""
    if bundle is not None:
        for vector in bundle.golden():
            if vector.function == function:
                return {name: np.array(array) for name, array in vector.inputs.items()}
    return synthetic_inputs(interface)


def synthetic_inputs(interface: FunctionInterface, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays as the inputs want them: normal for real numbers, uniform over the range of integers."""
    random = np.random.default_rng(seed)
    return {spec.name: _synthetic(spec, random) for spec in interface.inputs}


def _synthetic(spec: TensorSpec, random: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.asarray(random.standard_normal(spec.shape)).astype(dtype)
    if dtype.kind == "b" or dtype.itemsize > 2:
        return random.integers(0, 2, spec.shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max + 1, spec.shape).astype(dtype)
