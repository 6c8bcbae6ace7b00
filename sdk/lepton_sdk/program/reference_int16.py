"""Reference rules of operations that read or write int16; arithmetic_int16.py holds the formulas.

What only moves elements (reshape, transpose, pad, concat) has one rule for every type, in reference.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_sdk.program import arithmetic
from lepton_sdk.program import arithmetic_int16 as int16
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Operation,
    Quantize,
    Softmax,
    Sub,
    Table,
)
from lepton_sdk.program.operations_int16 import FixedPointSigmoid, FixedPointTanh, Requantize
from lepton_sdk.program.products import sums_of_products
from lepton_sdk.program.rule import Array, Rule, Values, windows
from lepton_sdk.program.tensors import Clamp, Tensors
from lepton_sdk.program.vision import ReduceMean


def touches_int16(op: Operation, t: Tensors) -> bool:
    """Whether the first tensor the operation reads, or what it writes, is int16."""
    return "int16" in (t[op.inputs[0]].dtype, t[op.outputs[0]].dtype)


def _bounds(clamp: Clamp | None) -> tuple[int, int]:
    return (int(clamp.low), int(clamp.high)) if clamp else (int16.LOW, int16.HIGH)


def _products(
    op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, v: Values, t: Tensors
) -> tuple[Array, ...]:
    assert op.multiplier is not None  # int16 has no other form
    sums = sums_of_products(op, v[op.x].astype(np.float64), v[op.weight].astype(np.float64))
    accumulator = sums.astype(np.int64) + (v[op.bias] if op.bias else 0)
    requantise = int16.requantise_dense if isinstance(op, Dense) else int16.requantise
    return (requantise(accumulator, v[op.multiplier], *_bounds(op.clamp)),)


def _sum(op: Add | Sub, v: Values, t: Tensors) -> tuple[Array, ...]:
    factors = int16.sum_factors(*(float(t[name].scale) for name in (op.a, op.b, op.y)))
    sign = 1 if isinstance(op, Add) else -1
    return (int16.add(v[op.a], v[op.b], factors, sign, *_bounds(op.clamp)),)


def _mul(op: Mul, v: Values, t: Tensors) -> tuple[Array, ...]:
    by = int16.product_factor(*(float(t[name].scale) for name in (op.a, op.b, op.y)))
    return (int16.multiply(v[op.a], v[op.b], by, *_bounds(op.clamp)),)


def _average_pool(op: AveragePool2d, v: Values, t: Tensors) -> tuple[Array, ...]:
    ones = np.ones((1, *t[op.x].shape[1:3], 1))
    count = windows(ones, op.kernel, op.stride, op.padding, (1, 1), 0).sum(axis=(4, 5)).astype(np.int64)
    total = windows(v[op.x].astype(np.int64), op.kernel, op.stride, op.padding, (1, 1), 0).sum(axis=(4, 5))
    return (np.clip(arithmetic.rounded_mean(total, count), *_bounds(op.clamp)).astype(np.int16),)


def _max_pool(op: MaxPool2d, v: Values, t: Tensors) -> tuple[Array, ...]:
    largest = windows(v[op.x], op.kernel, op.stride, op.padding, (1, 1), int16.LOW).max(axis=(4, 5))
    return (np.clip(largest, *_bounds(op.clamp)).astype(np.int16),)


def _softmax(op: Softmax, v: Values, t: Tensors) -> tuple[Array, ...]:
    assert op.table is not None  # int16 has no other form
    return (int16.softmax(v[op.x], v[op.table], int16.softmax_factor(float(t[op.x].scale))),)


def _table(op: Table, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (int16.interpolated(v[op.x], v[op.table]),)


def _clamp_to(op: ClampTo, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.clip(v[op.x], *_bounds(op.clamp)).astype(np.int16),)


def _quantize(op: Quantize, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (int16.quantize(v[op.x], float(t[op.y].scale)),)


def _dequantize(op: Dequantize, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].astype(np.float32) * t[op.x].scale,)


def _requantize(op: Requantize, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, y = t[op.x], t[op.y]
    by = int16.requantise_factor(float(x.scale), float(y.scale))
    limits = np.iinfo(y.dtype)
    low, high = _bounds(op.clamp) if op.clamp else (int(limits.min), int(limits.max))
    numbers = int16.other_numbers(v[op.x], x.zero_point, by, y.zero_point, low, high)
    return (numbers.astype(y.dtype),)


def _reduce_mean(op: ReduceMean, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, y = t[op.x], t[op.y]
    by = int16.mean_factor(float(x.scale), float(y.scale), x.size // y.size)
    return (int16.mean(v[op.x].sum(op.axes, dtype=np.int64), by),)


def _sigmoid(op: FixedPointSigmoid, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (int16.sigmoid(v[op.x], v[op.table], int16.sigmoid_multiplier(float(t[op.x].scale))),)


def _tanh(op: FixedPointTanh, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (int16.tanh(v[op.x], v[op.table], int16.sigmoid_multiplier(float(t[op.x].scale))),)


INT16_RULES: Mapping[type[Operation], Rule] = {
    **dict.fromkeys((Conv2d, DepthwiseConv2d, GroupedConv2d, Dense), _products),
    Add: _sum,
    Sub: _sum,
    Mul: _mul,
    AveragePool2d: _average_pool,
    MaxPool2d: _max_pool,
    Softmax: _softmax,
    Table: _table,
    ClampTo: _clamp_to,
    Quantize: _quantize,
    Dequantize: _dequantize,
    Requantize: _requantize,
    ReduceMean: _reduce_mean,
    FixedPointSigmoid: _sigmoid,
    FixedPointTanh: _tanh,
}
