"""A function for another number of examples a call; weights stay as they are.

Every tensor that depends on an input carries the batch along one axis, the first until a transpose moves
it. The walk follows that axis through each operation and refuses what would mix examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lepton_sdk.program import Function, Operation, Program, Tensor, TensorId, Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Softmax,
    Sub,
    Table,
    Transpose,
)
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import (
    ConvTranspose2d,
    Maximum,
    Minimum,
    Prelu,
    ResizeBilinear,
    ResizeNearest,
)
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

_BATCH_FIRST = (
    Conv2d,
    DepthwiseConv2d,
    GroupedConv2d,
    ConvTranspose2d,
    Dense,
    AveragePool2d,
    MaxPool2d,
    ResizeNearest,
    ResizeBilinear,
)
_STRETCHED = (Add, Sub, Mul, Maximum, Minimum, Prelu)
_ELEMENTWISE = (Relu, ClampTo, Table, Quantize, Dequantize)


def with_batch(program: Program, function: str, batch: int) -> Program:
    """The program with `function` taking `batch` examples a call; other functions stay as they are.

    Tensors that change are new ones, named `<tensor>.b<batch>`. Raises BadInputError where the inputs
    agree on no batch, UnsupportedOperatorError that names the layer where examples would mix.
    """
    body, tensors = rebatched(program, function, batch)
    return Program({**program.functions, function: body}, tensors, program.variables)


def rebatched(program: Program, function: str, batch: int) -> tuple[Function, dict[TensorId, Tensor]]:
    """The function at another batch, and the program's tensors with those that it needs added."""
    body, tensors = program.function(function), dict(program.tensors)
    if batch < 1:
        raise BadInputError(f"batch {batch} for function '{function}'; at least 1 is needed")
    present = _present_batch(body, tensors)
    if present == batch:
        return body, tensors
    axes: dict[TensorId, int] = dict.fromkeys(body.inputs, 0)
    names: dict[TensorId, TensorId] = {}
    for op in body.operations:
        follow_batch(op, tensors, axes, present)
        if isinstance(op, _STRETCHED) and op.y in axes:
            for name in (op.a, op.b):
                axis = axes[op.y] - _lift(op, name, tensors)
                # An operand without that axis is stretched over the batch as it is.
                if name not in axes and axis >= 0:
                    tensors[f"{name}.b{batch}"] = _spread(program, op, name, axis, batch)
                    names[name] = f"{name}.b{batch}"
    for name, axis in axes.items():
        old = tensors[name]
        shape = (*old.shape[:axis], batch, *old.shape[axis + 1 :])
        names[name] = f"{name}.b{batch}"
        tensors[names[name]] = replace(old, name=names[name], shape=shape)
    return (
        Function(
            function,
            tuple(names[name] for name in body.inputs),
            tuple(names.get(name, name) for name in body.outputs),
            tuple(op.renamed(names) for op in body.operations),
        ),
        tensors,
    )


def follow_batch(op: Operation, tensors: Tensors, axes: dict[TensorId, int], batch: int) -> None:
    """Note in `axes` along which axis the operation's output carries the batch, where it carries one.

    axes: the batch's axis of every tensor so far that has one. Raises UnsupportedOperatorError.
    """
    carried = {name: axes[name] for name in op.inputs if name in axes}
    if not carried:
        return
    name, axis = next(iter(carried.items()))
    shape = tensors[name].shape
    result: int | None = None
    if isinstance(op, _ELEMENTWISE):
        result = axis
    elif isinstance(op, _BATCH_FIRST):
        result = axis if axis == 0 and set(carried) == {op.x} else None
    elif isinstance(op, Softmax):
        result = axis if axis != len(shape) - 1 else None
    elif isinstance(op, _STRETCHED):
        found = {at + _lift(op, operand, tensors) for operand, at in carried.items()}
        at = found.pop()
        result = at if not found and tensors[op.y].shape[at] == batch else None
    elif isinstance(op, Concat):
        same = set(carried) == set(op.xs) and len(set(carried.values())) == 1
        result = axis if same and axis != op.axis else None
    elif isinstance(op, Transpose):
        result = op.axes.index(axis)
    elif isinstance(op, Pad):
        result = axis if op.before[axis] == op.after[axis] == 0 else None
    elif isinstance(op, Reshape):
        result = _reshaped_axis(shape, axis, tensors[op.y].shape, batch)
    if result is None:
        raise UnsupportedOperatorError(
            f"{type(op).__name__} '{op.outputs[0]}' mixes the examples of a batch",
            f"its input '{name}' {shape} carries the batch on axis {axis}",
            f"export the model with a batch of {batch} that stays one axis of every tensor",
        )
    axes[op.outputs[0]] = result


def _lift(op: Add | Sub | Mul | Maximum | Minimum | Prelu, operand: TensorId, tensors: Tensors) -> int:
    """Axes of the result that stand before the operand's own."""
    return len(tensors[op.y].shape) - len(tensors[operand].shape)


def _reshaped_axis(old: tuple[int, ...], axis: int, new: tuple[int, ...], batch: int) -> int | None:
    """The axis of `new` that is axis `axis` of `old`: as long, with as many elements before it."""
    for candidate, extent in enumerate(new):
        if extent == batch and math.prod(new[:candidate]) == math.prod(old[:axis]):
            return candidate
    return None


def _present_batch(body: Function, tensors: Mapping[TensorId, Tensor]) -> int:
    extents = {name: tensors[name].shape[:1] for name in body.inputs}
    if len(set(extents.values())) != 1 or not next(iter(extents.values())):
        found = ", ".join(f"'{name}' {tensors[name].shape}" for name in extents) or "none"
        raise BadInputError(f"the inputs of '{body.name}' share no leading batch axis: {found}")
    return next(iter(extents.values()))[0]


def _spread(program: Program, op: Operation, name: TensorId, axis: int, batch: int) -> Tensor:
    """A constant operand repeated for every example."""
    old = program.tensors[name]
    if old.value is None or name in program.variable_ids or old.shape[axis] != 1:
        raise UnsupportedOperatorError(
            f"{type(op).__name__} '{op.outputs[0]}' adds '{name}' {old.shape}, which can't follow the batch",
            "an operand that is not computed from the input must be a constant with extent 1 there",
        )
    return constant(f"{name}.b{batch}", np.repeat(old.value, batch, axis=axis), old.quantization)
