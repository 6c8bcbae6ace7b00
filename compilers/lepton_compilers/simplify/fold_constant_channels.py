"""Channels whose value no input can change become part of the next layer's bias, and are computed no more.

Exact: Σ over a constant channel of (x − zx)·w is one integer a result, which is added to that result's bias;
every accumulator holds what it held before, and the proof that int32 holds it stays true, since the bias
moves by no more than those products could. A border of real zeros interrupts a constant, so behind padding
only a channel that is always the zero point goes. After merge_pads, which makes borders into padding.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from lepton_compilers.simplify.body import with_operations
from lepton_compilers.simplify.channels import MIXING, Channels, Mask, needed_channels, removed_constant
from lepton_compilers.simplify.ranges import Ranges, channel_ranges
from lepton_sdk.program import Operation, Program, Quantization, Tensor, TensorId
from lepton_sdk.program.operations import Conv2d, Dense, DepthwiseConv2d
from lepton_sdk.program.tensors import constant

Weighted = Conv2d | DepthwiseConv2d | Dense


def fold_constant_channels(program: Program) -> Program:
    """Every layer without the channels that nothing needs; see needed_channels for which those are."""
    ranges = channel_ranges(program)
    channels = needed_channels(program, ranges)
    if all(mask.all() for mask in channels.kept.values()):
        return program
    changed = {name: _sliced(program.tensors[name], mask) for name, mask in channels.kept.items()}
    operations: list[Operation] = []
    for op in program.function().operations:
        if isinstance(op, Conv2d | DepthwiseConv2d | Dense):
            op, constants = _layer(op, program, channels, ranges)
            changed.update(constants)
        operations.append(op)
    return with_operations(program, operations, changed)


def _sliced(tensor: Tensor, kept: Mask) -> Tensor:
    return dataclasses.replace(tensor, shape=(*tensor.shape[:-1], int(kept.sum())))


def _layer(
    op: Weighted, program: Program, channels: Channels, ranges: Ranges
) -> tuple[Weighted, dict[TensorId, Tensor]]:
    """The layer with a bias for what it no longer reads, and its constants without the lost channels."""
    t = program.tensors
    outputs = channels.mask(op.y, t)
    inputs = channels.mask(op.x, t) if isinstance(op, MIXING) else np.ones(1, np.bool_)
    if outputs.all() and inputs.all():
        return op, {}
    weight = t[op.weight]
    assert weight.value is not None  # layers of groups have constants of their own
    axis = 2 if isinstance(op, DepthwiseConv2d) else 0
    values = np.compress(outputs, weight.value, axis=axis)
    extra = np.zeros(int(outputs.sum()), np.int64)
    if not inputs.all():
        gone = removed_constant(op, ~inputs, ranges, t)
        extra = values.reshape(len(values), -1, len(inputs)).astype(np.int64).sum(axis=1) @ gone
        values = values[..., inputs]
    made = {op.weight: constant(op.weight, values, _fewer(weight.quantization, outputs))}
    for name in (op.bias, op.multiplier):
        if name is not None:
            made[name] = _vector(t[name], outputs, extra if name == op.bias else None)
    if op.bias is None and extra.any():
        name = f"{op.weight}/folded"
        made[name] = constant(name, extra.astype(np.int32))
        op = dataclasses.replace(op, bias=name)
    return op, made


def _vector(tensor: Tensor, kept: Mask, extra: npt.NDArray[np.int64] | None) -> Tensor:
    """A bias or multiplier [C] with the kept channels only; one value for all stays as it is."""
    assert tensor.value is not None
    whole = tensor.value.shape == kept.shape
    value = tensor.value[kept] if whole else tensor.value
    if extra is not None:
        value = (value.astype(np.int64) + extra).astype(np.int32)
    return constant(tensor.name, value, _fewer(tensor.quantization, kept) if whole else tensor.quantization)


def _fewer(quantization: Quantization | None, kept: Mask) -> Quantization | None:
    """The scales of the kept channels."""
    if quantization is None or quantization.axis is None:
        return quantization
    scales = tuple(scale for scale, keep in zip(quantization.scales, kept, strict=True) if keep)
    return dataclasses.replace(quantization, scales=scales)
