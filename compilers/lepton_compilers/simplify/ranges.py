"""Interval arithmetic: the values that each channel (last axis) of an int8 tensor can take.

Sound for any input: every int8 rule is monotone in its accumulator, so an accumulator's least and greatest
value give the result's. A channel whose bounds meet is constant. Padded places count as real zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Clamp, Program, TensorId, Tensors, arithmetic
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Operation,
    Pad,
    Reshape,
    Table,
    Transpose,
)

Int64 = npt.NDArray[np.int64]
Range = tuple[Int64, Int64]
"""Least and greatest value, both [channels]."""
Ranges = Mapping[TensorId, Range]


def channel_ranges(program: Program) -> dict[TensorId, Range]:
    """The range of every int8 tensor of `infer`; an operation without a rule gives −128 … 127."""
    t = program.tensors
    ranges: dict[TensorId, Range] = {}
    for name, tensor in t.items():
        if tensor.dtype == "int8" and tensor.shape:
            ranges[name] = _anything(tensor.shape[-1])
            if tensor.value is not None:
                rows = tensor.value.reshape(-1, tensor.shape[-1]).astype(np.int64)
                ranges[name] = rows.min(axis=0), rows.max(axis=0)
    for op in program.function().operations:
        rule = _RULES.get(type(op))
        if rule is not None and op.outputs[0] in ranges and op.inputs[0] in ranges:
            ranges[op.outputs[0]] = rule(op, ranges, t)
    return ranges


def _anything(channels: int) -> Range:
    return np.full(channels, -128, np.int64), np.full(channels, 127, np.int64)


def _clamped(bounds: Range, clamp: Clamp | None) -> Range:
    low, high = (int(clamp.low), int(clamp.high)) if clamp else (-128, 127)
    return np.clip(bounds[0], low, high), np.clip(bounds[1], low, high)


def _ordered(*ends: npt.NDArray[Any]) -> Range:
    rows = np.stack([end.astype(np.int64) for end in ends])
    return rows.min(axis=0), rows.max(axis=0)


def _accumulating(op: Conv2d | DepthwiseConv2d | Dense, ranges: Ranges, t: Tensors) -> Range:
    weight, channels = t[op.weight].value, t[op.y].shape[-1]
    bias = t[op.bias].value if op.bias else np.zeros(1, np.int32)
    multiplier = t[op.multiplier].value if op.multiplier else None
    if weight is None or bias is None or multiplier is None:
        return _anything(channels)
    low, high = (end - t[op.x].zero_point for end in ranges[op.x])
    if not isinstance(op, Dense) and op.padding:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    wide = weight.astype(np.int64)
    up, down = np.maximum(wide, 0), np.minimum(wide, 0)
    if isinstance(op, DepthwiseConv2d):
        low, high = (np.repeat(end, channels // len(end)) for end in (low, high))
        up, down = up.sum(axis=(0, 1)), down.sum(axis=(0, 1))
        ends = up * low + down * high + bias, up * high + down * low + bias
    else:
        if isinstance(op, Conv2d):
            up, down = up.sum(axis=(1, 2)), down.sum(axis=(1, 2))
        ends = up @ low + down @ high + bias, up @ high + down @ low + bias
    bounds = (int(op.clamp.low), int(op.clamp.high)) if op.clamp else (-128, 127)
    return _ordered(*(arithmetic.requantise(end, multiplier, t[op.y].zero_point, *bounds) for end in ends))


def _add(op: Add, ranges: Ranges, t: Tensors) -> Range:
    a, b, y = t[op.a], t[op.b], t[op.y]
    if a.shape != y.shape or b.shape != y.shape or op.b not in ranges:
        return _anything(y.shape[-1])
    multipliers = arithmetic.add_multipliers(float(a.scale), float(b.scale), float(y.scale))
    zeros = (a.zero_point, b.zero_point, y.zero_point)
    bounds = (int(op.clamp.low), int(op.clamp.high)) if op.clamp else (-128, 127)
    pairs = zip(ranges[op.a], ranges[op.b])
    return _ordered(
        *(arithmetic.add(p.astype(np.int8), q.astype(np.int8), zeros, multipliers, *bounds) for p, q in pairs)
    )


def _pool(op: AveragePool2d | MaxPool2d, ranges: Ranges, t: Tensors) -> Range:
    x, y, around = t[op.x], t[op.y], op.padding
    beyond = max(around.top, around.bottom) >= op.kernel[0] or max(around.left, around.right) >= op.kernel[1]
    if beyond:  # a window may hold no place of the map
        return _anything(y.shape[-1])
    if isinstance(op, MaxPool2d) or x.quantization == y.quantization:
        return _clamped(ranges[op.x], op.clamp)
    size = op.kernel[0] * op.kernel[1]
    bounds = (int(op.clamp.low), int(op.clamp.high)) if op.clamp else (-128, 127)
    return _ordered(
        *(
            arithmetic.requantise(
                count * (end - x.zero_point),
                np.asarray(x.scale / (y.scale * np.float32(count)), np.float32),
                y.zero_point,
                *bounds,
            )
            for count in (range(1, size + 1) if around else (size,))
            for end in ranges[op.x]
        )
    )


def _table(op: Table, ranges: Ranges, t: Tensors) -> Range:
    table = t[op.table].value
    if table is None:
        return _anything(t[op.y].shape[-1])
    spans = [table[low + 128 : high + 129] for low, high in zip(*ranges[op.x])]
    return (
        np.array([span.min() for span in spans], np.int64),
        np.array([span.max() for span in spans], np.int64),
    )


def _clamp_to(op: ClampTo, ranges: Ranges, t: Tensors) -> Range:
    return _clamped(ranges[op.x], op.clamp)


def _mixed(bounds: Range, channels: int) -> Range:
    return np.full(channels, bounds[0].min()), np.full(channels, bounds[1].max())


def _reshape(op: Reshape, ranges: Ranges, t: Tensors) -> Range:
    low, high = ranges[op.x]
    channels = t[op.y].shape[-1]
    if channels % len(low):
        return _mixed(ranges[op.x], channels)
    return np.tile(low, channels // len(low)), np.tile(high, channels // len(high))


def _transpose(op: Transpose, ranges: Ranges, t: Tensors) -> Range:
    same = op.axes[-1] == len(op.axes) - 1
    return ranges[op.x] if same else _mixed(ranges[op.x], t[op.y].shape[-1])


def _pad(op: Pad, ranges: Ranges, t: Tensors) -> Range:
    if op.before[-1] or op.after[-1]:
        return _anything(t[op.y].shape[-1])
    fill = np.full(len(ranges[op.x][0]), int(op.value), np.int64)
    return _ordered(*ranges[op.x], fill)


_RULES: Mapping[type[Operation], Callable[[Any, Ranges, Tensors], Range]] = {
    Conv2d: _accumulating,
    DepthwiseConv2d: _accumulating,
    Dense: _accumulating,
    Add: _add,
    AveragePool2d: _pool,
    MaxPool2d: _pool,
    Table: _table,
    ClampTo: _clamp_to,
    Reshape: _reshape,
    Transpose: _transpose,
    Pad: _pad,
}
