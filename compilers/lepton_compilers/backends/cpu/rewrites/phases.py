"""Transposed convolutions as convolutions: a channel for each phase of the stride, then channels to pixels.

An output pixel of phase r (its place modulo the stride) sees only the taps r, r + stride, …: a window of
ceil(kernel / stride) neighbours of the input, the same for all phases. One convolution with stride² times the
channels computes all of them, by the kernels that convolutions have on every instruction set; taps that a
phase has not are zero. Sums, scales and rounding are the same, so the bytes are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Operation, Padding, Program, Quantization, Tensor, TensorId
from lepton_sdk.program.operations import Conv2d, Reshape, Transpose
from lepton_sdk.program.sequence import Slice
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import ConvTranspose2d

Array = npt.NDArray[Any]


def in_phases(program: Program, function: str) -> Program:
    """The program with every transposed convolution of `function` that allows it in this form."""
    body = program.function(function)
    if not any(isinstance(op, ConvTranspose2d) for op in body.operations):
        return program
    tensors = dict(program.tensors)
    operations: list[Operation] = []
    for op in body.operations:
        split = _in_phases(op, program, tensors) if isinstance(op, ConvTranspose2d) else None
        operations += [op] if split is None else split
    changed = dataclasses.replace(body, operations=tuple(operations))
    return Program({**program.functions, function: changed}, tensors, program.variables)


@dataclasses.dataclass(frozen=True, slots=True)
class _Side:
    """One axis: taps of a phase; rows that the convolution gives, and how many of them are cut off again.

    before, after: padding of the convolution.
    """

    taps: int
    rows: int
    before: int
    after: int
    cut: int

    @classmethod
    def of(cls, size: int, result: int, kernel: int, stride: int, padding: int) -> _Side:
        """size, result: extents of input and output."""
        taps = -(-kernel // stride)
        first, last = padding // stride, (padding + result - 1) // stride
        return cls(taps, last - first + 1, taps - 1 - first, last - size + 1, padding % stride)


def _in_phases(
    op: ConvTranspose2d, program: Program, tensors: dict[TensorId, Tensor]
) -> list[Operation] | None:
    weight, x, y = program.tensors[op.weight], program.tensors[op.x], program.tensors[op.y]
    if weight.value is None or op.weight in program.variable_ids or op.bias in program.variable_ids:
        return None
    (n, _, _, out), (down, right) = y.shape, op.stride
    starts = (op.padding.top, op.padding.left)
    sides = [
        _Side.of(x.shape[1 + i], y.shape[1 + i], weight.shape[1 + i], op.stride[i], starts[i]) for i in (0, 1)
    ]
    if min(sides[0].before, sides[0].after, sides[1].before, sides[1].after) < 0:
        return None
    rows, columns = sides
    many = down * right

    def named(part: str, made: Callable[[str], Tensor]) -> TensorId:
        name, count = f"{op.y}/{part}", 1
        while name in tensors:
            count += 1
            name = f"{op.y}/{part}:{count}"
        tensors[name] = made(name)
        return name

    def spread(name: TensorId | None, part: str) -> TensorId | None:
        """A value a channel, repeated for each phase."""
        if name is None:
            return None
        held = tensors[name]
        assert held.value is not None  # constants, as the weights are
        values = np.tile(np.broadcast_to(held.value, (out,)), many)
        return named(part, lambda new: constant(new, values))

    q = weight.quantization
    repeated = None if q is None else Quantization(q.scales * (1 if q.axis is None else many), 0, q.axis)
    kernels = _by_phase(weight.value, op.stride)
    held = named("phase weights", lambda new: constant(new, kernels, repeated))
    bias, multiplier = spread(op.bias, "phase bias"), spread(op.multiplier, "phase multiplier")
    around = Padding(rows.before, rows.after, columns.before, columns.after)
    if many == 1:
        return [Conv2d(op.x, held, bias, multiplier, op.y, (1, 1), around, (1, 1), op.clamp)]

    def between(part: str, *shape: int) -> TensorId:
        return named(part, lambda new: Tensor(new, shape, y.dtype, y.quantization))

    grid = between("phases", n, rows.rows, columns.rows, many * out)
    apart = between("phases apart", n, rows.rows, columns.rows, down, right, out)
    woven = between("phases woven", n, rows.rows, down, columns.rows, right, out)
    height, width = rows.rows * down, columns.rows * right
    whole = op.y if (height, width) == y.shape[1:3] else between("whole", n, height, width, out)
    operations: list[Operation] = [
        Conv2d(op.x, held, bias, multiplier, grid, (1, 1), around, (1, 1), op.clamp),
        Reshape(grid, apart),
        Transpose(apart, woven, (0, 1, 3, 2, 4, 5)),
        Reshape(woven, whole),
    ]
    if whole != op.y:
        operations.append(Slice(whole, op.y, (0, rows.cut, columns.cut, 0), (1, 1, 1, 1)))
    return operations


def _by_phase(weight: Array, stride: tuple[int, int]) -> Array:
    """OHWI as [phases · O, taps, taps, I]: the taps of each phase from the last to the first."""
    out, kh, kw, inner = weight.shape
    down, right = stride
    tall, wide = -(-kh // down), -(-kw // right)
    filled = np.zeros((out, tall * down, wide * right, inner), weight.dtype)
    filled[:, :kh, :kw] = weight
    taps = filled.reshape(out, tall, down, wide, right, inner)[:, ::-1, :, ::-1]
    return np.ascontiguousarray(taps.transpose(2, 4, 0, 1, 3, 5).reshape(-1, tall, wide, inner))
