"""The reference executor's numpy rules of `FloatKernel`, by operator name.

A rule takes the operator's arguments in its order (tensors as arrays, extents and several values as tuples)
and its attributes by name, and gives an array, or a tuple of them. Its result is cast to the type that the
program states, so a rule need not care for numpy's promotions. Windows and images: reference_windows.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_sdk.program.float_kernel import FloatKernel, decoded
from lepton_sdk.program.reference_own_kernels import OWN_KERNELS
from lepton_sdk.program.reference_windows import WINDOW_KERNELS
from lepton_sdk.program.rule import Array, Values
from lepton_sdk.program.tensors import Tensors
from lepton_targets.errors import UnsupportedOperatorError

Kernel = Callable[..., Any]


def float_kernel(op: FloatKernel, v: Values, t: Tensors) -> tuple[Array, ...]:
    """The outputs of one kernel. Raises UnsupportedOperatorError where there is no rule of its name."""
    if op.operator not in KERNELS:
        raise UnsupportedOperatorError(
            f"the reference executor has no rule for '{op.operator}'",
            "run the bundle with the native engine, or compile it for a target that has one",
        )
    arguments, attributes = decoded(op.arguments, [v[x] for x in op.xs])
    with np.errstate(all="ignore"):
        result = KERNELS[op.operator](*arguments, **attributes)
    results = result if isinstance(result, tuple) else (result,)
    return tuple(_as_stated(y, array, t) for y, array in zip(op.ys, results, strict=True))


def _as_stated(y: str, array: Any, t: Tensors) -> Array:
    stated = t[y]
    held = np.asarray(array)
    if held.shape != stated.shape:
        raise ValueError(f"'{y}' came out as {held.shape}, {stated.shape} is stated")
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(held.astype(stated.dtype, copy=False)).reshape(stated.shape)


def _axes(axis: Any) -> Any:
    return tuple(int(a) for a in axis) if isinstance(axis, list | tuple) else axis


def _reduction(function: Callable[..., Array]) -> Kernel:
    def rule(x: Array, axis: Any = None, keepdims: bool = False, **_: Any) -> Array:
        return function(x, axis=_axes(axis), keepdims=keepdims)

    return rule


def _in_order(x: Array, axis: Any, keepdims: bool, pick: Callable[..., Array]) -> Array:
    index = pick(x, axis=axis)
    return np.expand_dims(index, axis) if keepdims and axis is not None else index


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


def _trunc_divide(a: Array, b: Array) -> Array:
    """Integers are divided towards zero, as C divides; by zero gives 0."""
    if np.result_type(a, b).kind == "f":
        return a / b
    safe = np.where(b == 0, 1, b)
    quotient = np.floor_divide(np.abs(a), np.abs(safe))
    signs = np.sign(a) * np.sign(safe) if np.result_type(a, b).kind == "i" else 1
    return np.where(b == 0, 0, quotient * signs)


def _strided_slice(x: Array, axes: Any, begin: Any, end: Any, strides: Any = None, **_: Any) -> Array:
    steps = strides or (1,) * len(axes)
    where: list[slice] = [slice(None)] * x.ndim
    for axis, first, last, step in zip(axes, begin, end, steps):
        n, axis = x.shape[axis], axis % x.ndim
        # As topi cuts: a negative bound counts from the end, and what lies beyond is clipped.
        first, last = (bound + n if bound < 0 else bound for bound in (first, last))
        if step > 0:
            where[axis] = slice(min(max(first, 0), n), min(max(last, 0), n), step)
        else:
            first, last = min(max(first, -1), n - 1), min(max(last, -1), n - 1)
            where[axis] = slice(first, None if last < 0 else last, step)
    return x[tuple(where)]


def _take(x: Array, index: Array, axis: int | None = None, mode: str = "fast", **_: Any) -> Array:
    held = x.reshape(-1) if axis is None else x
    return np.take(held, index, axis=0 if axis is None else axis, mode="wrap" if mode == "wrap" else "clip")


def _gather_elements(x: Array, index: Array, axis: int = 0) -> Array:
    return np.take_along_axis(x, np.where(index < 0, index + x.shape[axis], index), axis)


def _gather_nd(x: Array, index: Array, batch_dims: int = 0) -> Array:
    lead = x.shape[:batch_dims]
    rows = math.prod(lead)
    flat = x.reshape(rows, *x.shape[batch_dims:])
    where = index.reshape(rows, *index.shape[batch_dims:])
    picked = [part[tuple(np.moveaxis(at, -1, 0))] for part, at in zip(flat, where)]
    return np.array(picked).reshape(*lead, *picked[0].shape)


_COMBINE: Mapping[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _scatter_elements(
    x: Array, index: Array, updates: Array, axis: int = 0, reduction: str = "update"
) -> Array:
    y = x.copy()
    at: list[Array] = list(np.indices(index.shape))
    at[axis] = np.where(index < 0, index + x.shape[axis], index)
    return _scattered(y, tuple(at), updates, reduction)


def _scatter_nd(x: Array, index: Array, updates: Array, reduction: str = "update") -> Array:
    return _scattered(x.copy(), tuple(np.moveaxis(index, -1, 0)), updates, reduction)


def _scattered(y: Array, at: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    if reduction in _COMBINE:
        _COMBINE[reduction].at(y, at, updates)
    else:
        y[at] = updates
    return y


def _split(x: Array, indices_or_sections: Any, axis: int = 0) -> tuple[Array, ...]:
    parts = indices_or_sections if isinstance(indices_or_sections, int) else list(indices_or_sections)
    if isinstance(parts, int) and x.shape[axis] % parts:
        size = -(-x.shape[axis] // parts)
        parts = list(range(size, x.shape[axis], size))
    return tuple(np.split(x, parts, axis))


def _one_hot(index: Array, on: Any, off: Any, depth: int, axis: int = -1) -> Any:
    rows = np.where(np.arange(depth) == index[..., None], on, off)
    return np.moveaxis(rows, -1, axis)


def _order(x: Array, axis: int, descending: bool) -> Any:
    """Stable order; NaN goes last."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    flipped = np.flip(x, axis)
    order = np.flip(np.argsort(flipped, axis=axis, kind="stable"), axis)
    return x.shape[axis] - 1 - order


def _topk(
    x: Array, k: int, axis: int = -1, ret_type: str = "both", largest: bool = True, dtype: str = "int32"
) -> Any:
    index = np.take(_order(x, axis, largest), np.arange(k), axis=axis)
    values = np.take_along_axis(x, index, axis)
    return {"both": (values, index), "values": values, "indices": index}[ret_type]


def _scan(function: Callable[..., Array]) -> Kernel:
    neutral = 0 if function is np.cumsum else 1

    def rule(x: Array, axis: int | None = None, dtype: Any = None, exclusive: Any = False) -> Array:
        held = x.reshape(-1) if axis is None else x
        along = 0 if axis is None else axis
        y = function(held, axis=along)
        if not exclusive:
            return y
        first = np.full_like(np.take(y, [0], axis=along), neutral)
        return np.concatenate([first, np.take(y, np.arange(y.shape[along] - 1), axis=along)], axis=along)

    return rule


def _softmax(x: Array, axis: int = -1) -> Any:
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def _log_softmax(x: Array, axis: int = -1) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> Any:
    mean = x.mean(axis=axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + np.float32(epsilon))


def _along(factor: Array, axes: Any, rank: int) -> Array:
    extents = [1] * rank
    for axis, n in zip(sorted(a % rank for a in axes), factor.shape):
        extents[axis] = n
    return factor.reshape(extents)


def _layer_norm(x: Array, gamma: Array, beta: Array, axes: Any, epsilon: float = 1e-5, **_: Any) -> Any:
    y = _normalised(x, tuple(axes), epsilon)
    return y * _along(gamma, axes, x.ndim) + _along(beta, axes, x.ndim)


def _rms_norm(x: Array, weight: Array, axes: Any, epsilon: float = 1e-5, **_: Any) -> Any:
    mean = (x.astype(np.float32) ** 2).mean(axis=tuple(axes), keepdims=True)
    return x / np.sqrt(mean + np.float32(epsilon)) * _along(weight, axes, x.ndim)


def _group_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    num_groups: int,
    channel_axis: int,
    axes: Any,
    epsilon: float,
    **_: Any,
) -> Any:
    channel = channel_axis % x.ndim
    split = (*x.shape[:channel], num_groups, x.shape[channel] // num_groups, *x.shape[channel + 1 :])
    over = (channel + 1, *(a % x.ndim + (a % x.ndim > channel) for a in axes))
    y = _normalised(x.reshape(split), over, epsilon).reshape(x.shape)
    return y * _along(gamma, [channel], x.ndim) + _along(beta, [channel], x.ndim)


def _instance_norm(
    x: Array, gamma: Array, beta: Array, channel_axis: int, axes: Any, epsilon: float, **_: Any
) -> Any:
    y = _normalised(x, tuple(axes), epsilon)
    return y * _along(gamma, [channel_axis], x.ndim) + _along(beta, [channel_axis], x.ndim)


def _batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, axis: int, epsilon: float, **_: Any
) -> tuple[Array, ...]:
    spread = [_along(a, [axis], x.ndim) for a in (gamma, beta, mean, variance)]
    y = (x - spread[2]) / np.sqrt(spread[3] + np.float32(epsilon)) * spread[0] + spread[1]
    return y, mean, variance


def _pad(x: Array, pad_width: Any, pad_mode: str = "constant", pad_value: float = 0.0) -> Array:
    pairs = list(zip(pad_width[::2], pad_width[1::2]))
    if pad_mode == "constant":
        return np.pad(x, pairs, constant_values=pad_value)
    modes: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "edge": "edge", "circular": "wrap"}
    return np.pad(x, pairs, mode=modes[pad_mode])


def _einsum(xs: tuple[Array, ...], subscripts: str) -> Any:
    return np.einsum(subscripts, *xs)


def _matmul(a: Array, b: Array, **_: Any) -> Any:
    return np.matmul(a, b)


def _expand(x: Array, axis: Any) -> Array:
    return np.expand_dims(x, tuple(axis))


def _prelu(x: Array, alpha: Array, axis: int = 1) -> Any:
    slope = _along(alpha, [axis], x.ndim) if alpha.size > 1 and alpha.ndim == 1 else alpha
    return np.where(x > 0, x, x * slope)


def _round(x: Array) -> Array:
    return np.rint(x)


def _gelu_tanh(x: Array) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _axis_of(function: Callable[..., Array]) -> Kernel:
    return lambda x, axis=None, keepdims=False: _in_order(x, axis, keepdims, function)


KERNELS: Mapping[str, Kernel] = {
    "relax.abs": np.abs,
    "relax.acos": np.arccos,
    "relax.acosh": np.arccosh,
    "relax.add": np.add,
    "relax.argmax": _axis_of(np.argmax),
    "relax.argmin": _axis_of(np.argmin),
    "relax.argsort": lambda x, axis=-1, descending=False, dtype=None: _order(x, axis, descending),
    "relax.asin": np.arcsin,
    "relax.asinh": np.arcsinh,
    "relax.astype": lambda x, dtype: x.astype(dtype),
    "relax.atan": np.arctan,
    "relax.atan2": np.arctan2,
    "relax.atanh": np.arctanh,
    "relax.bitwise_and": np.bitwise_and,
    "relax.bitwise_not": np.bitwise_not,
    "relax.bitwise_or": np.bitwise_or,
    "relax.bitwise_xor": np.bitwise_xor,
    "relax.broadcast_to": np.broadcast_to,
    "relax.ceil": np.ceil,
    "relax.clip": lambda x, low, high: np.clip(x, low, high),
    "relax.concat": lambda xs, axis=0: np.concatenate(xs, axis),
    "relax.cos": np.cos,
    "relax.cosh": np.cosh,
    "relax.cumprod": _scan(np.cumprod),
    "relax.cumsum": _scan(np.cumsum),
    "relax.divide": _trunc_divide,
    "relax.einsum": _einsum,
    "relax.equal": np.equal,
    "relax.erf": _erf,
    "relax.exp": np.exp,
    "relax.expand_dims": _expand,
    "relax.flip": lambda x, axis: np.flip(x, axis),
    "relax.floor": np.floor,
    "relax.floor_divide": np.floor_divide,
    "relax.floor_mod": np.mod,
    "relax.full": lambda shape, value, dtype=None: np.full(shape, value),
    "relax.gather_elements": _gather_elements,
    "relax.gather_nd": _gather_nd,
    "relax.greater": np.greater,
    "relax.greater_equal": np.greater_equal,
    "relax.isfinite": np.isfinite,
    "relax.isinf": np.isinf,
    "relax.isnan": np.isnan,
    "relax.left_shift": np.left_shift,
    "relax.less": np.less,
    "relax.less_equal": np.less_equal,
    "relax.log": np.log,
    "relax.log_add_exp": np.logaddexp,
    "relax.logical_and": np.logical_and,
    "relax.logical_not": np.logical_not,
    "relax.logical_or": np.logical_or,
    "relax.logical_xor": np.logical_xor,
    "relax.matmul": _matmul,
    "relax.max": _reduction(np.max),
    "relax.maximum": np.maximum,
    "relax.mean": _reduction(np.mean),
    "relax.min": _reduction(np.min),
    "relax.minimum": np.minimum,
    "relax.mod": np.fmod,
    "relax.multiply": np.multiply,
    "relax.negative": np.negative,
    "relax.nn.batch_norm": _batch_norm,
    "relax.nn.gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "relax.nn.gelu_tanh": _gelu_tanh,
    "relax.nn.group_norm": _group_norm,
    "relax.nn.instance_norm": _instance_norm,
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.leakyrelu": lambda x, alpha: np.where(x > 0, x, x * np.float32(alpha)),
    "relax.nn.log_softmax": _log_softmax,
    "relax.nn.pad": _pad,
    "relax.nn.prelu": _prelu,
    "relax.nn.relu": lambda x: np.maximum(x, 0),
    "relax.nn.rms_norm": _rms_norm,
    "relax.nn.selu": lambda x: (
        1.0507009873554805 * (np.maximum(x, 0) + 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "relax.nn.silu": lambda x: x / (1 + np.exp(-x)),
    "relax.nn.softmax": _softmax,
    "relax.nn.softplus": lambda x, beta=1.0, threshold=20.0: np.where(
        x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, threshold))) / beta
    ),
    "relax.not_equal": np.not_equal,
    "relax.one_hot": _one_hot,
    "relax.ones": lambda shape, dtype: np.ones(shape),
    "relax.permute_dims": lambda x, axes=None: np.transpose(x, axes),
    "relax.power": np.power,
    "relax.prod": _reduction(np.prod),
    "relax.repeat": lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    "relax.reshape": np.reshape,
    "relax.right_shift": np.right_shift,
    "relax.round": _round,
    "relax.rsqrt": lambda x: 1 / np.sqrt(x),
    "relax.scatter_elements": _scatter_elements,
    "relax.scatter_nd": _scatter_nd,
    "relax.sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relax.sign": np.sign,
    "relax.sin": np.sin,
    "relax.sinh": np.sinh,
    "relax.sort": lambda x, axis=-1, descending=False: np.take_along_axis(
        x, _order(x, axis, descending), axis
    ),
    "relax.split": _split,
    "relax.sqrt": np.sqrt,
    "relax.square": np.square,
    "relax.squeeze": lambda x, axis=None: np.squeeze(x, _axes(axis)),
    "relax.stack": lambda xs, axis=0: np.stack(xs, axis),
    "relax.std": _reduction(np.std),
    "relax.strided_slice": _strided_slice,
    "relax.subtract": np.subtract,
    "relax.sum": _reduction(np.sum),
    "relax.take": _take,
    "relax.tan": np.tan,
    "relax.tanh": np.tanh,
    "relax.tile": lambda x, repeats: np.tile(x, tuple(repeats)),
    "relax.topk": _topk,
    "relax.tril": lambda x, k=0: np.tril(x, int(k)),
    "relax.triu": lambda x, k=0: np.triu(x, int(k)),
    "relax.trunc": np.trunc,
    "relax.variance": _reduction(np.var),
    "relax.where": np.where,
    "relax.zeros": lambda shape, dtype: np.zeros(shape),
    **WINDOW_KERNELS,
    **OWN_KERNELS,
}
