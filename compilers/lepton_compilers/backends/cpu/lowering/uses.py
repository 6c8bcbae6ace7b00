"""Who reads each tensor last, and which are written to an output's buffer at once."""

from __future__ import annotations

from lepton_sdk.program import Function, Program, TensorId
from lepton_sdk.program.operations import Reshape

ALWAYS = 1 << 30
"""A step after every other: what a caller still reads when the function has returned."""


def _chains(function: Function) -> dict[TensorId, TensorId]:
    """The tensor whose bytes each reshaped tensor shares."""
    source: dict[TensorId, TensorId] = {}
    for op in function.operations:
        if isinstance(op, Reshape):
            source[op.y] = source.get(op.x, op.x)
    return source


def last_uses(function: Function) -> dict[TensorId, int]:
    """The last step that reads each tensor or anything that shares its bytes; ALWAYS for outputs."""
    source = _chains(function)
    last: dict[TensorId, int] = {}
    for step, op in enumerate(function.operations):
        for name in op.inputs:
            last[source.get(name, name)] = step
    for name in function.outputs:
        last[source.get(name, name)] = ALWAYS
    return last | {name: last[root] for name, root in source.items()}


def output_homes(program: Program, function: Function) -> dict[TensorId, int]:
    """Which output's buffer a tensor is written to at once: the outputs, and what is only reshaped to one."""
    homes = {name: index for index, name in reversed(list(enumerate(function.outputs)))}
    fixed = {*function.inputs, *program.variable_ids, *program.tensors.keys() - _defined(function)}
    homes = {name: index for name, index in homes.items() if name not in fixed}
    for op in reversed(function.operations):
        if isinstance(op, Reshape) and op.y in homes and op.x not in homes and op.x not in fixed:
            homes[op.x] = homes[op.y]
    return homes


def _defined(function: Function) -> set[TensorId]:
    return {name for op in function.operations for name in op.outputs}
