"""Every layer's result of one inference, as the reference executor defines it: where two machines part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lepton_targets.errors import UnavailableError

if TYPE_CHECKING:
    from lepton_sdk.bundle.manifest import TensorSpec
    from lepton_sdk.session import Session


def trace_examples(session: Session, examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of `infer` and what each of its operations gives, by tensor name, in the order they come.

    examples: [n, *shape of an example] of each input; the first batch is traced, filled up with the first
    example where there are fewer. Variables hold their first values.
    Raises UnavailableError where there is no Program (a plain .tflite) or no rule for a layer.
    """
    from lepton_sdk.program.reference import Reference

    if session.bundle is None:
        raise UnavailableError(f"{session.path} carries no program to trace; only bundles do")
    if not session.bundle.manifest.reference:
        raise UnavailableError(f"{session.path} holds layers that only compiled code can run")
    program = session.bundle.program()
    inputs = [_batch(spec, examples[spec.name]) for spec in session.inputs]
    values, body = Reference(program).trace(inputs), program.function()
    results = [name for op in body.operations for name in op.outputs]
    return {name: np.asarray(values[name]) for name in (*body.inputs, *results)}


def _batch(spec: TensorSpec, examples: np.ndarray) -> np.ndarray:
    batch = np.empty(spec.shape, spec.dtype)
    count = min(spec.shape[0], len(examples))
    batch[:count], batch[count:] = examples[:count], examples[0]
    return batch
