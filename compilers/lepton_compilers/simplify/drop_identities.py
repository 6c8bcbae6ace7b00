"""Operations that change nothing go: clamps that can't bite, reshapes and transposes that cancel.

First in the list: everything after it sees a layer's real neighbours.
"""

from __future__ import annotations

import numpy as np

from lepton_compilers.simplify.body import with_operations
from lepton_compilers.simplify.drop_dead_operations import drop_dead_operations
from lepton_compilers.simplify.ranges import Ranges, channel_ranges
from lepton_sdk.program import Operation, Program, Tensor, TensorId, Tensors
from lepton_sdk.program.operations import ClampTo, Reshape, Table, Transpose


def drop_identities(program: Program) -> Program:
    """Reads go past each identity; chains of reshapes, and of transposes, become one of their kind."""
    ranges, tensors = channel_ranges(program), program.tensors
    renamed: dict[TensorId, TensorId] = {}
    kept: list[Operation] = []
    made: dict[TensorId, Operation] = {}
    outputs = set(program.function().outputs)
    for original in program.function().operations:
        op = _joined(
            original.renamed({n: renamed[n] for n in original.inputs if n in renamed}), made, tensors
        )
        if _identity(op, tensors, ranges) and not outputs.intersection(op.outputs):
            renamed[op.outputs[0]] = op.inputs[0]
            continue
        made.update(dict.fromkeys(op.outputs, op))
        kept.append(op)
    kept = _outputs_in_place(program, kept, ranges)
    if tuple(kept) == program.function().operations:
        return program
    return drop_dead_operations(with_operations(program, kept))


def _outputs_in_place(program: Program, operations: list[Operation], ranges: Ranges) -> list[Operation]:
    """An identity that gives an output: what comes before it takes the output's name."""
    body, tensors = program.function(), program.tensors
    for op in tuple(operations):
        if not _identity(op, tensors, ranges) or op.inputs[0] in (*body.inputs, *body.outputs):
            continue
        if tensors[op.inputs[0]].constant or op.outputs[0] not in body.outputs:
            continue
        operations.remove(op)
        operations = [other.renamed({op.inputs[0]: op.outputs[0]}) for other in operations]
    return operations


def _joined(op: Operation, made: dict[TensorId, Operation], t: Tensors) -> Operation:
    """Two reshapes or transposes in a row as one; a transpose of single places as a reshape."""
    before = made.get(op.inputs[0]) if op.inputs else None
    if isinstance(op, Transpose) and isinstance(before, Transpose):
        op = Transpose(before.x, op.y, tuple(before.axes[axis] for axis in op.axes))
    if isinstance(op, Transpose) and t[op.x].shape != t[op.y].shape and _moves_nothing(op, t):
        op = Reshape(op.x, op.y)
        before = made.get(op.x)
    if isinstance(op, Reshape) and isinstance(before, Reshape):
        op = Reshape(before.x, op.y)
    return op


def _moves_nothing(op: Transpose, t: Tensors) -> bool:
    """Whether the axes longer than one place keep their order, so that the bytes do."""
    long = [axis for axis in op.axes if t[op.x].shape[axis] > 1]
    return long == sorted(long)


def _identity(op: Operation, t: Tensors, ranges: Ranges) -> bool:
    if not isinstance(op, Reshape | Transpose | ClampTo | Table) or not _alike(t[op.x], t[op.y]):
        return False
    if isinstance(op, Transpose):
        return _moves_nothing(op, t)
    if isinstance(op, Reshape):
        return True
    if isinstance(op, Table):
        table = t[op.table].value
        return table is not None and np.array_equal(table, np.arange(-128, 128))
    if op.x not in ranges:
        return False
    low, high = ranges[op.x]
    return bool(low.min() >= op.clamp.low and high.max() <= op.clamp.high)


def _alike(x: Tensor, y: Tensor) -> bool:
    return (x.shape, x.dtype, x.quantization) == (y.shape, y.dtype, y.quantization)
