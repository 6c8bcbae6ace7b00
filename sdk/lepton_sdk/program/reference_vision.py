"""The reference rules of the vision operations, of state and of bytes, as reference.py's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_sdk.program import arithmetic, arithmetic_vision
from lepton_sdk.program.operations import Operation
from lepton_sdk.program.rule import Array, Rule, Values
from lepton_sdk.program.state import Assign
from lepton_sdk.program.tensors import Tensors
from lepton_sdk.program.uint8 import ByteTable
from lepton_sdk.program.vision import (
    ArgMax,
    ArgMin,
    ConvTranspose2d,
    Maximum,
    Minimum,
    MirrorPad,
    Prelu,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ResizeBilinear,
    ResizeNearest,
)


def _conv_transpose(op: ConvTranspose2d, v: Values, t: Tensors) -> tuple[Array, ...]:
    integer = op.multiplier is not None
    x, weight = v[op.x], v[op.weight]
    if integer:
        x, weight = x.astype(np.float64) - t[op.x].zero_point, weight.astype(np.float64)
    n, h, w, _ = x.shape
    out, kh, kw, _ = weight.shape
    (_, height, width, _), (down, right), p = t[op.y].shape, op.stride, op.padding
    rows, columns = (h - 1) * down + kh, (w - 1) * right + kw
    # Wide enough for what is added beyond the products as well.
    sums = np.zeros((n, max(rows, p.top + height), max(columns, p.left + width), out), x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            part = np.einsum("nhwi,oi->nhwo", x, weight[:, ky, kx], optimize=True)
            sums[:, ky : ky + (h - 1) * down + 1 : down, kx : kx + (w - 1) * right + 1 : right] += part
    sums = sums[:, p.top : p.top + height, p.left : p.left + width]
    bias = v[op.bias] if op.bias else np.zeros(1, np.int32)
    if not integer:
        y = sums + bias.astype(np.float32)
        return (y if op.clamp is None else np.clip(y, np.float32(op.clamp.low), np.float32(op.clamp.high)),)
    low, high = (int(op.clamp.low), int(op.clamp.high)) if op.clamp else (-128, 127)
    accumulator, multiplier = sums.astype(np.int64) + bias, v[op.multiplier or ""]
    return (arithmetic.requantise(accumulator, multiplier, t[op.y].zero_point, low, high),)


def _resize_nearest(op: ResizeNearest, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.ascontiguousarray(v[op.x][:, v[op.rows].reshape(-1)][:, :, v[op.columns].reshape(-1)]),)


def _resize_bilinear(op: ResizeBilinear, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, rows, columns = v[op.x], v[op.rows], v[op.columns]
    down = v[op.row_weights].reshape(1, -1, 1, 1)
    across = v[op.column_weights].reshape(1, 1, -1, 1)
    top_left, top_right, bottom_left, bottom_right = (
        x[:, rows[:, i]][:, :, columns[:, j]] for i in (0, 1) for j in (0, 1)
    )
    corners = (top_left, top_right, bottom_left, bottom_right)
    if x.dtype == np.float32:
        return (arithmetic_vision.lerp(corners, across, down),)
    return (arithmetic_vision.bilinear(corners, across.astype(np.int64), down.astype(np.int64)),)


def _reduce_sum(op: ReduceMean | ReduceSum, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, mean = t[op.x], isinstance(op, ReduceMean)
    count = x.size // t[op.y].size
    if x.dtype == "float32":
        total = v[op.x].sum(op.axes, dtype=np.float32)
        return (total * (np.float32(1) / np.float32(count)) if mean else total,)
    if x.dtype != "int8":
        return (v[op.x].sum(op.axes, dtype=x.dtype),)
    y = t[op.y]
    constants = arithmetic_vision.reduce_constants(
        float(x.scale), x.zero_point, float(y.scale), y.zero_point, count, mean
    )
    return (arithmetic_vision.reduce_requantise(v[op.x].sum(op.axes, dtype=np.int64), *constants),)


def _reduce_max(op: ReduceMax, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].max(op.axes),)


def _reduce_min(op: ReduceMin, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].min(op.axes),)


def _reduce_prod(op: ReduceProd, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].prod(op.axes, dtype=t[op.x].dtype),)


def _arg(op: ArgMax | ArgMin, v: Values, t: Tensors) -> tuple[Array, ...]:
    find = np.argmax if isinstance(op, ArgMax) else np.argmin
    return (np.asarray(find(v[op.x], axis=op.axis), t[op.y].dtype),)


def _mirror_pad(op: MirrorPad, v: Values, t: Tensors) -> tuple[Array, ...]:
    widths = tuple(zip(op.before, op.after))
    if op.edge:
        return (np.pad(v[op.x], widths, mode="symmetric"),)
    return (np.pad(v[op.x], widths, mode="reflect"),)


def _maximum(op: Maximum, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.maximum(v[op.a], v[op.b]),)


def _minimum(op: Minimum, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.minimum(v[op.a], v[op.b]),)


def _byte_table(op: ByteTable, v: Values, t: Tensors) -> tuple[Array, ...]:
    least = int(np.iinfo(v[op.x].dtype).min)
    return (v[op.table][v[op.x].astype(np.int32) - least],)


def _assign(op: Assign, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].copy(),)


def _prelu(op: Prelu, v: Values, t: Tensors) -> tuple[Array, ...]:
    a, b, y = t[op.a], t[op.b], t[op.y]
    if a.dtype == "float32":
        return (np.where(v[op.a] >= 0, v[op.a], v[op.a] * v[op.b]),)
    constants = arithmetic_vision.prelu_constants(float(a.scale), float(b.scale), float(y.scale))
    zeros = (a.zero_point, b.zero_point, y.zero_point)
    return (arithmetic_vision.prelu(v[op.a], v[op.b], zeros, constants),)


VISION_RULES: Mapping[type[Operation], Rule] = {
    ConvTranspose2d: _conv_transpose,
    ResizeNearest: _resize_nearest,
    ResizeBilinear: _resize_bilinear,
    ReduceMean: _reduce_sum,
    ReduceSum: _reduce_sum,
    ReduceMax: _reduce_max,
    ReduceMin: _reduce_min,
    ReduceProd: _reduce_prod,
    ArgMax: _arg,
    ArgMin: _arg,
    MirrorPad: _mirror_pad,
    Maximum: _maximum,
    Minimum: _minimum,
    Prelu: _prelu,
    Assign: _assign,
    ByteTable: _byte_table,
}
