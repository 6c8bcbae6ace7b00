"""What a pass over Programs is, and a Program with other operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from lepton_sdk.program import Function, Operation, Program, Tensor, TensorId

ProgramPass = Callable[[Program], Program]
"""Program with the function `infer` and no variables → one that gives the same bytes."""


def with_operations(
    program: Program, operations: Iterable[Operation], changed: Mapping[TensorId, Tensor] | None = None
) -> Program:
    """The program with these operations in `infer`, `changed` tensors, and none that nothing names."""
    body, steps = program.function(), tuple(operations)
    tensors = {**program.tensors, **(changed or {})}
    named = {*body.inputs, *body.outputs, *(n for op in steps for n in (*op.inputs, *op.outputs))}
    function = Function(body.name, body.inputs, body.outputs, steps)
    return Program({body.name: function}, {name: tensors[name] for name in tensors if name in named})


def producers(program: Program) -> dict[TensorId, Operation]:
    """The operation that defines each tensor; inputs and constants have none."""
    return {name: op for op in program.function().operations for name in op.outputs}


def reads(program: Program) -> Counter[TensorId]:
    """How often operations read each tensor; a function output counts as one more."""
    body = program.function()
    return Counter([*body.outputs, *(name for op in body.operations for name in op.inputs)])
