"""The row of gradients that are spent where they arise: kernels/training_updates.h."""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.layers import typed
from lepton_compilers.backends.cpu.rewrites.spent_gradients import DenseUpdate
from lepton_sdk.program import Tensors


def _dense(op: DenseUpdate, t: Tensors) -> Answer:
    return typed(t, "float32", *op.inputs, *op.updates)


def emit_dense_update(op: DenseUpdate, draft: Draft) -> None:
    """In the variables' block."""
    gradient, update = op.gradient, op.update
    out, inner = draft.tensors[update.parameter].shape
    names = (
        gradient.x,
        gradient.dy,
        update.parameter,
        update.velocity,
        update.learning_rate,
        update.momentum,
    )
    rows = draft.tensors[gradient.x].shape[0]
    draft.call("dense_update", *map(draft.read, names), rows, inner, out, out)


LOWERINGS: Rows = {DenseUpdate: (Lowering(_dense, emit_dense_update, "training_updates.h"),)}
