"""The numpy reference executor: it defines the bits. One rule an operation, looked up in RULES;
those of int16 in reference_int16.py.

Integer rules are exact: products are summed in float64 by BLAS (every sum is below 2^53) and cut to
int32 only where the compiler has proven that int32 holds them. Float rules compute in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lepton_sdk.program import arithmetic
from lepton_sdk.program.float_kernel import FloatKernel
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
    Operation,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Softmax,
    Sub,
    Table,
    Transpose,
)
from lepton_sdk.program.products import sums_of_products
from lepton_sdk.program.program import Program
from lepton_sdk.program.reference_detection import DETECTION_RULES
from lepton_sdk.program.reference_int16 import INT16_RULES, touches_int16
from lepton_sdk.program.reference_kernels import float_kernel
from lepton_sdk.program.reference_recurrent import RECURRENT_RULES
from lepton_sdk.program.reference_sequence import SEQUENCE_RULES
from lepton_sdk.program.reference_training import TRAINING_RULES
from lepton_sdk.program.reference_vision import VISION_RULES
from lepton_sdk.program.rule import Array, Rule, Values, windows
from lepton_sdk.program.tensors import Clamp, Tensor, TensorId, Tensors
from lepton_targets.errors import BadInputError


def _bounds(clamp: Clamp | None) -> tuple[int, int]:
    return (int(clamp.low), int(clamp.high)) if clamp else (-128, 127)


def _clamped(y: Array, clamp: Clamp | None) -> Array:
    return y if clamp is None else np.clip(y, np.float32(clamp.low), np.float32(clamp.high))


def _products(
    op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, v: Values, t: Tensors
) -> tuple[Array, ...]:
    """Sums of products, bias, then requantisation (int8) or clamp (float32)."""
    if op.multiplier is None:
        sums = sums_of_products(op, v[op.x], v[op.weight])
        return (_clamped(sums + v[op.bias] if op.bias else sums, op.clamp).astype(np.float32, copy=False),)
    centred = v[op.x].astype(np.float64) - t[op.x].zero_point
    accumulator = sums_of_products(op, centred, v[op.weight].astype(np.float64)).astype(np.int64)
    if op.bias:
        accumulator = accumulator + v[op.bias]
    return (arithmetic.requantise(accumulator, v[op.multiplier], t[op.y].zero_point, *_bounds(op.clamp)),)


def _add(op: Add | Sub, v: Values, t: Tensors) -> tuple[Array, ...]:
    a, b, y = t[op.a], t[op.b], t[op.y]
    if y.dtype == "float32":
        return (_clamped(v[op.a] + v[op.b] if isinstance(op, Add) else v[op.a] - v[op.b], op.clamp),)
    ma, mb, shift = arithmetic.add_multipliers(float(a.scale), float(b.scale), float(y.scale))
    multipliers = (ma, mb if isinstance(op, Add) else -mb, shift)
    zeros = (a.zero_point, b.zero_point, y.zero_point)
    return (arithmetic.add(v[op.a], v[op.b], zeros, multipliers, *_bounds(op.clamp)),)


def _mul(op: Mul, v: Values, t: Tensors) -> tuple[Array, ...]:
    a, b, y = t[op.a], t[op.b], t[op.y]
    if y.dtype == "float32":
        return (_clamped(v[op.a] * v[op.b], op.clamp),)
    multiplier = arithmetic.requantise_multiplier(float(a.scale), float(b.scale), float(y.scale))
    zeros = (a.zero_point, b.zero_point, y.zero_point)
    return (arithmetic.multiply(v[op.a], v[op.b], zeros, multiplier, *_bounds(op.clamp)),)


def _average_pool(op: AveragePool2d, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, y = t[op.x], t[op.y]
    ones = np.ones((1, *x.shape[1:3], 1))
    count = windows(ones, op.kernel, op.stride, op.padding, (1, 1), 0).sum(axis=(4, 5)).astype(np.int64)
    if y.dtype == "float32":
        total = windows(v[op.x], op.kernel, op.stride, op.padding, (1, 1), 0).sum(
            axis=(4, 5), dtype=np.float32
        )
        return (_clamped(total * (np.float32(1) / count.astype(np.float32)), op.clamp),)
    total = windows(v[op.x].astype(np.int64), op.kernel, op.stride, op.padding, (1, 1), 0).sum(axis=(4, 5))
    low, high = _bounds(op.clamp)
    if x.quantization == y.quantization:
        return (np.clip(arithmetic.rounded_mean(total, count), low, high).astype(np.int8),)
    multiplier = x.scale / (y.scale * count.astype(np.float32))
    return (arithmetic.requantise(total - count * x.zero_point, multiplier, y.zero_point, low, high),)


def _max_pool(op: MaxPool2d, v: Values, t: Tensors) -> tuple[Array, ...]:
    x = v[op.x]
    lowest = -np.inf if x.dtype == np.float32 else np.iinfo(x.dtype).min
    y = windows(x, op.kernel, op.stride, op.padding, (1, 1), lowest).max(axis=(4, 5))
    return (
        _clamped(y, op.clamp) if x.dtype == np.float32 else np.clip(y, *_bounds(op.clamp)).astype(np.int8),
    )


def _softmax(op: Softmax, v: Values, t: Tensors) -> tuple[Array, ...]:
    x = v[op.x]
    if op.table is not None:
        return (arithmetic.softmax(x, v[op.table]),)
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True),)


def _table(op: Table, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.table][v[op.x].astype(np.int32) + 128],)


def _relu(op: Relu, v: Values, t: Tensors) -> tuple[Array, ...]:
    y = np.maximum(v[op.x], np.float32(0))
    return (y if op.maximum is None else np.minimum(y, np.float32(op.maximum)),)


def _clamp_to(op: ClampTo, v: Values, t: Tensors) -> tuple[Array, ...]:
    x = v[op.x]
    return (
        _clamped(x, op.clamp) if x.dtype == np.float32 else np.clip(x, *_bounds(op.clamp)).astype(x.dtype),
    )


def _reshape(op: Reshape, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.x].reshape(t[op.y].shape),)


def _transpose(op: Transpose, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.ascontiguousarray(v[op.x].transpose(op.axes)),)


def _pad(op: Pad, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.pad(v[op.x], tuple(zip(op.before, op.after)), constant_values=op.value),)


def _concat(op: Concat, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (np.concatenate([v[x] for x in op.xs], op.axis),)


def _quantize(op: Quantize, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (arithmetic.quantize(v[op.x], float(t[op.y].scale), t[op.y].zero_point),)


def _dequantize(op: Dequantize, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (arithmetic.dequantize(v[op.x], float(t[op.x].scale), t[op.x].zero_point),)


RULES: Mapping[type[Operation], Rule] = {
    **dict.fromkeys((Conv2d, DepthwiseConv2d, GroupedConv2d, Dense), _products),
    Add: _add,
    Sub: _add,
    Mul: _mul,
    AveragePool2d: _average_pool,
    MaxPool2d: _max_pool,
    Softmax: _softmax,
    Table: _table,
    Relu: _relu,
    ClampTo: _clamp_to,
    Reshape: _reshape,
    Transpose: _transpose,
    Pad: _pad,
    Concat: _concat,
    Quantize: _quantize,
    Dequantize: _dequantize,
    FloatKernel: float_kernel,
    **SEQUENCE_RULES,
    **RECURRENT_RULES,
    **TRAINING_RULES,
    **VISION_RULES,
    **DETECTION_RULES,
}


def rule_of(op: Operation, t: Tensors) -> Rule:
    """The rule that gives the operation's results on these tensors."""
    rules = INT16_RULES if type(op) in INT16_RULES and touches_int16(op, t) else RULES
    return rules[type(op)]


class Reference:
    """Executes a program's functions; variables live here between calls."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.variables: dict[TensorId, Array] = {}
        self.reset()

    def reset(self) -> None:
        """Give every variable its first value again."""
        for variable in self.program.variables:
            value = self.program.tensors[variable.tensor].value
            assert value is not None  # the program's check promised it
            self.variables[variable.tensor] = value.copy()

    def run(self, inputs: Sequence[Array], function: str = "infer") -> list[Array]:
        """Outputs of a function, in its order. Raises BadInputError for a wrong count, shape or dtype."""
        values = self.trace(inputs, function)
        return [values[name] for name in self.program.function(function).outputs]

    def trace(self, inputs: Sequence[Array], function: str = "infer") -> dict[TensorId, Array]:
        """Every tensor's value of one call, by name; constants included."""
        body, tensors = self.program.function(function), self.program.tensors
        values: dict[TensorId, Array] = {n: x.value for n, x in tensors.items() if x.value is not None}
        values.update(self.variables)
        if len(inputs) != len(body.inputs):
            raise BadInputError(
                f"function '{function}' takes {len(body.inputs)} inputs, {len(inputs)} were given"
            )
        for name, array in zip(body.inputs, inputs):
            values[name] = _checked(tensors[name], np.asarray(array))
        for op in body.operations:
            results = rule_of(op, tensors)(op, values, tensors)
            for name, result in zip((*op.outputs, *op.updates), results, strict=True):
                values[name] = result
            self.variables.update({name: values[name] for name in op.updates})
        return values


def _checked(tensor: Tensor, array: Array) -> Array:
    if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
        raise BadInputError(
            f"input '{tensor.name}' is {array.dtype} {array.shape}; expected {tensor.dtype} {tensor.shape}"
        )
    return array


def run(program: Program, inputs: Sequence[Array], function: str = "infer") -> list[Array]:
    """One call with fresh variables; outputs in the function's order."""
    return Reference(program).run(inputs, function)
