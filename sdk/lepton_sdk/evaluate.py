"""Runs a model over many examples; compares two models output by output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lepton_sdk.metrics import predicted
from lepton_sdk.session import Session
from lepton_targets.errors import BadInputError
from lepton_targets.record import Record

Progress = Callable[[int], None]


class Comparison(Record):
    """How two models' first outputs agree.

    agreement: share of examples with the same predicted class. max_difference: of the real numbers that the
    outputs mean; None where some are NaN or infinite. bytes_equal_fraction, max_step_difference: of the
    numbers themselves; None where the outputs have different types or are real numbers (steps).
    """

    agreement: float
    max_difference: float | None
    bytes_equal_fraction: float | None
    max_step_difference: int | None


def run_examples(
    session: Session, examples: Mapping[str, np.ndarray], progress: Progress = lambda n: None
) -> dict[str, np.ndarray]:
    """Every output for n examples, [n, *shape of an example], by name.

    examples: [n, *shape of an example] of each input, in its dtype. The batch is the model's; the last one
    is filled up with its first example and cut. progress: told the examples done.
    Raises BadInputError where inputs or outputs have no batch axis in common.
    """
    batch = _batch(session)
    n = len(next(iter(examples.values())))
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.inputs}
    outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.outputs}
    results = {spec.name: np.empty((n, *spec.shape[1:]), spec.dtype) for spec in session.outputs}
    call = session.bind(inputs, outputs)
    for begin in range(0, n, batch):
        count = min(batch, n - begin)
        for name, array in inputs.items():
            array[:count] = examples[name][begin : begin + count]
            array[count:] = examples[name][begin]
        call()
        for name, array in outputs.items():
            results[name][begin : begin + count] = array[:count]
        progress(begin + count)
    return results


def scores(session: Session, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output as numbers to rank classes by, float64 [n, classes], dequantised."""
    spec = session.outputs[0]
    flat = outputs[spec.name].reshape(len(outputs[spec.name]), -1).astype(np.float64)
    if spec.quantization is not None and len(spec.quantization.scales) == 1:
        return (flat - spec.quantization.zero_point) * spec.quantization.scales[0]
    return flat


def compare(
    session: Session, own: Mapping[str, np.ndarray], other: Session, others: Mapping[str, np.ndarray]
) -> Comparison:
    """Compare two models' first outputs over the same examples. Raises BadInputError for other shapes."""
    mine, theirs = own[session.outputs[0].name], others[other.outputs[0].name]
    if mine.shape != theirs.shape:
        raise BadInputError(
            f"{session.path} gives {session.outputs[0]}, {other.path} gives {other.outputs[0]}",
            "only models with outputs of one shape can be compared",
        )
    ours, others_real = scores(session, own), scores(other, others)
    agreement = float((predicted(ours) == predicted(others_real)).mean())
    largest = float(np.abs(ours - others_real).max(initial=0))
    difference = largest if math.isfinite(largest) else None
    if mine.dtype != theirs.dtype:
        return Comparison(agreement, difference, None, None)
    if mine.dtype.kind == "f":
        bits = f"u{mine.dtype.itemsize}"
        return Comparison(agreement, difference, float((mine.view(bits) == theirs.view(bits)).mean()), None)
    steps = np.abs(mine.astype(np.int64) - theirs.astype(np.int64))
    return Comparison(agreement, difference, float((steps == 0).mean()), int(steps.max(initial=0)))


def _batch(session: Session) -> int:
    extents = {spec.shape[:1] for spec in (*session.inputs, *session.outputs)}
    if len(extents) != 1 or () in extents:
        raise BadInputError(
            f"{session.path} has inputs and outputs without a batch axis in common",
            f"inputs: {', '.join(map(str, session.inputs))}",
            f"outputs: {', '.join(map(str, session.outputs))}",
        )
    return int(next(iter(extents))[0])
