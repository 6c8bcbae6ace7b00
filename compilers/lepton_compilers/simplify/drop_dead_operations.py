"""Operations that no output needs go. Last: other passes leave such operations behind."""

from __future__ import annotations

from lepton_compilers.simplify.body import with_operations
from lepton_sdk.program import Operation, Program


def drop_dead_operations(program: Program) -> Program:
    """Only the operations that an output depends on, in their order."""
    body = program.function()
    needed, kept = set(body.outputs), list[Operation]()
    for op in reversed(body.operations):
        if op.updates or needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return program if len(kept) == len(body.operations) else with_operations(program, reversed(kept))
