"""Portable row of the operation that overwrites state."""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_sdk.program import Tensors
from lepton_sdk.program.state import Assign


def _assignable(op: Assign, t: Tensors) -> Answer:
    return when(t[op.x].nbytes == t[op.variable].nbytes, "a value of another size than the variable")


def _emit_assign(op: Assign, draft: Draft) -> None:
    draft.call("copy_bytes", draft.read(op.x), draft.read(op.variable), draft.tensors[op.variable].nbytes)


LOWERINGS: Rows = {Assign: (Lowering(_assignable, _emit_assign),)}
