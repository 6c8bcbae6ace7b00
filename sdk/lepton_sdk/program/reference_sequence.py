"""Reference rules of MatMul, LayerNorm, Unary, Slice and Gather."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lepton_sdk.program import arithmetic, arithmetic_sequence
from lepton_sdk.program.operations import Operation
from lepton_sdk.program.rule import Array, Rule, Values
from lepton_sdk.program.sequence import Gather, LayerNorm, MatMul, Slice, Unary
from lepton_sdk.program.tensors import Tensors

SQRT_HALF = math.sqrt(0.5)
GELU_TANH = math.sqrt(2 / math.pi)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _erf(x: Array) -> Array:
    flat = [math.erf(value) for value in x.ravel().tolist()]
    return np.array(flat, np.float64).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    # Neither branch overflows where it is taken.
    e = np.exp(-np.abs(x))
    y: Array = np.where(x < 0, e, 1.0) / (1 + e)
    return y


FUNCTIONS: Mapping[str, Callable[[Array, float], Array]] = {
    "abs": lambda x, p: np.abs(x),
    "acos": lambda x, p: np.arccos(x),
    "acosh": lambda x, p: np.arccosh(x),
    "asin": lambda x, p: np.arcsin(x),
    "asinh": lambda x, p: np.arcsinh(x),
    "atan": lambda x, p: np.arctan(x),
    "atanh": lambda x, p: np.arctanh(x),
    "ceil": lambda x, p: np.ceil(x),
    "cos": lambda x, p: np.cos(x),
    "cosh": lambda x, p: np.cosh(x),
    "elu": lambda x, p: np.where(x > 0, x, p * np.expm1(np.minimum(x, 0))),
    "erf": lambda x, p: _erf(x),
    "exp": lambda x, p: np.exp(x),
    "floor": lambda x, p: np.floor(x),
    "gelu": lambda x, p: 0.5 * x * (1 + _erf(x * SQRT_HALF)),
    "gelu_tanh": lambda x, p: 0.5 * x * (1 + np.tanh(GELU_TANH * (x + 0.044715 * x**3))),
    "hard_swish": lambda x, p: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda x, p: np.where(x > 0, x, p * x),
    "log": lambda x, p: np.log(x),
    "negative": lambda x, p: -x,
    "reciprocal": lambda x, p: 1 / x,
    "round": lambda x, p: np.rint(x),
    "rsqrt": lambda x, p: 1 / np.sqrt(x),
    "selu": lambda x, p: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "sigmoid": lambda x, p: _sigmoid(x),
    "sign": lambda x, p: np.sign(x),
    "silu": lambda x, p: x * _sigmoid(x),
    "sin": lambda x, p: np.sin(x),
    "sinh": lambda x, p: np.sinh(x),
    "softplus": lambda x, p: np.logaddexp(0, p * x) / p,
    "sqrt": lambda x, p: np.sqrt(x),
    "square": lambda x, p: x * x,
    "tan": lambda x, p: np.tan(x),
    "tanh": lambda x, p: np.tanh(x),
    "trunc": lambda x, p: np.trunc(x),
}
"""float64 → float64, by the names of UNARY_FUNCTIONS; tables of int8 functions are computed by them too."""


def _unary(op: Unary, v: Values, t: Tensors) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return (FUNCTIONS[op.function](v[op.x].astype(np.float64), op.parameter).astype(np.float32),)


def _matmul(op: MatMul, v: Values, t: Tensors) -> tuple[Array, ...]:
    a, b, y = t[op.a], t[op.b], t[op.y]
    right = np.swapaxes(v[op.b], -1, -2) if op.transpose_b else v[op.b]
    if y.dtype == "float32":
        product = (v[op.a] @ right).astype(np.float32, copy=False)
        clamp = op.clamp
        return (
            product if clamp is None else np.clip(product, np.float32(clamp.low), np.float32(clamp.high)),
        )
    # float64 holds every sum exactly: the compiler has proven that int32 does.
    sums = (v[op.a].astype(np.float64) - a.zero_point) @ (right.astype(np.float64) - b.zero_point)
    multiplier = arithmetic.requantise_multiplier(float(a.scale), float(b.scale), float(y.scale))
    low, high = (int(op.clamp.low), int(op.clamp.high)) if op.clamp else (-128, 127)
    return (arithmetic.requantise(sums.astype(np.int64), multiplier, y.zero_point, low, high),)


def _layer_norm(op: LayerNorm, v: Values, t: Tensors) -> tuple[Array, ...]:
    count, shape = op.normalised(t), t[op.x].shape
    rows, gain = v[op.x].reshape(-1, count), v[op.gain].reshape(-1)
    offset = np.zeros(count, np.float32) if op.offset is None else v[op.offset].reshape(-1)
    if t[op.y].dtype == "float32":
        centred = rows - (rows.mean(axis=1, keepdims=True) if op.centred else np.float32(0))
        variance = np.square(centred).mean(axis=1, keepdims=True)
        y = centred / np.sqrt(variance + np.float32(op.epsilon)) * gain + offset
        return (y.astype(np.float32, copy=False).reshape(shape),)
    x, y_tensor = t[op.x], t[op.y]
    epsilon = arithmetic_sequence.layer_norm_epsilon(op.epsilon, count, float(x.scale))
    zeros = (x.zero_point, y_tensor.zero_point)
    return (arithmetic_sequence.layer_norm(rows, gain, offset, epsilon, zeros, op.centred).reshape(shape),)


def _slice(op: Slice, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, extents = v[op.x], t[op.y].shape
    places = [b + np.arange(n) * s for b, n, s in zip(op.begin, extents, op.step)]
    return (np.ascontiguousarray(x[np.ix_(*places)] if places else x),)


def _gather(op: Gather, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, extent = v[op.x], t[op.x].shape[op.axis]
    indices = v[op.indices].astype(np.int64)
    rows = np.clip(np.where(indices < 0, indices + extent, indices), 0, extent - 1)
    return (np.ascontiguousarray(np.take(x, rows, op.axis)),)


SEQUENCE_RULES: Mapping[type[Operation], Rule] = {
    MatMul: _matmul,
    LayerNorm: _layer_norm,
    Unary: _unary,
    Slice: _slice,
    Gather: _gather,
}
