"""Golden vectors: does this machine compute what the compiler promised?"""

from __future__ import annotations

import numpy as np

from lepton_sdk.bundle.manifest import TensorSpec
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.calls import StagedCall
from lepton_sdk.engines import Engine
from lepton_targets.errors import SelfTestError, UnavailableError
from lepton_targets.record import Record


class SelfTestResult(Record):
    """vectors run, output values compared, and the largest difference among outputs that have a tolerance."""

    vectors: int
    values: int
    largest_difference: float


def self_test(engine: Engine, bundle: Bundle | None, path: str) -> SelfTestResult:
    """Run every golden vector of the bundle, which stands at `path`, from the first state of its variables.

    The engine's variables keep what they held before. Raises SelfTestError at the first output that differs,
    UnavailableError where there are no vectors for any function of this engine.
    """
    functions = engine.functions
    if bundle is None:
        raise UnavailableError(f"{path} carries no golden vectors; only bundles do")
    vectors = [vector for vector in bundle.golden() if vector.function in functions]
    if not vectors:
        raise UnavailableError(f"{path} has no golden vectors for {', '.join(functions)}; nothing was tested")
    kept = {name: variable.copy() for name, variable in engine.variables().items()}
    values, largest = 0, 0.0
    try:
        for number, vector in enumerate(vectors):
            engine.reset()
            interface = functions[vector.function]
            found = StagedCall(engine, vector.function, interface)(vector.inputs)
            for spec in interface.outputs:
                where = f"golden vector {number} of {path} on {engine.target}"
                largest = max(largest, _compare(spec, vector.outputs[spec.name], found[spec.name], where))
                values += found[spec.name].size
    finally:
        for name, variable in engine.variables().items():
            variable[...] = kept[name]
    return SelfTestResult(len(vectors), values, largest)


def _compare(spec: TensorSpec, expected: np.ndarray, found: np.ndarray, where: str) -> float:
    """Largest difference where a tolerance allows one. Raises SelfTestError where it is passed."""
    if spec.tolerance is None:
        differing = _bits_of(expected) != _bits_of(found)
        difference = np.zeros(1)
    else:
        with np.errstate(invalid="ignore"):
            difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        difference = np.where(same, 0.0, difference).reshape(-1)
        differing = ~(difference <= spec.tolerance)
    if not differing.any():
        return float(difference.max(initial=0.0))
    first = int(np.flatnonzero(differing)[0])
    place = tuple(int(i) for i in np.unravel_index(first, spec.shape)) if spec.shape else ()
    allowed = "equal bytes" if spec.tolerance is None else f"a difference of at most {spec.tolerance:g}"
    raise SelfTestError(
        f"output '{spec.name}' differs in {int(differing.sum())} of {differing.size} values ({where})",
        f"first at {list(place)}: expected {expected[place]}, found {found[place]}; asked for {allowed}",
        "do not use this model on this device; report its CPU with `lepton verify --self-test --json`",
    )


def _bits_of(array: np.ndarray) -> np.ndarray:
    """One unsigned integer an element, so that NaN equals itself and 0.0 differs from -0.0."""
    dense = np.ascontiguousarray(array).reshape(-1)
    return dense.view(f"u{dense.dtype.itemsize}")
