"""Operators that compute a number at a time, operands stretched as numpy does."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, dtype, shape

op = relax.op


def _unary(function: Callable[[Expr], Expr]) -> Converter:
    return lambda n: function(n[0])


def _binary(function: Callable[[Expr, Expr], Expr]) -> Converter:
    return lambda n: function(n[0], n[1])


def _variadic(function: Callable[[Expr, Expr], Expr]) -> Converter:
    def rule(n: Node) -> Result:
        xs = [n[i] for i in range(len(n.inputs))]
        if len(xs) == 1:
            return xs[0]
        return functools.reduce(lambda a, b: n.emit(function(a, b)), xs)

    return rule


def _mean(n: Node) -> Result:
    total = _variadic(op.add)(n)
    return op.multiply(n.emit(total), n.scalar(1 / len(n.inputs), n.kind()))


def of_pieces(n: Node, x: Expr, *steps: Callable[[Expr], Expr]) -> Expr:
    """The steps one after another, each bound."""
    for step in steps:
        x = n.emit(step(x))
    return x


def _reciprocal(n: Node) -> Result:
    return op.divide(n.scalar(1, n.kind()), n[0])


def _power(n: Node) -> Result:
    """The base's type is the result's; integers are raised in float64 where the types differ."""
    base, exponent = n[0], n[1]
    kind = dtype(base)
    held = n.value(1).array
    if held is not None and held.size == 1:
        return _constant_power(n, base, float(held.reshape(())), shape(exponent))
    if kind.startswith("float") and dtype(exponent) == kind:
        return op.power(base, exponent)
    wide = "float32" if kind == "float32" else "float64"
    if dtype(exponent) in ("int64", "uint64", "float64") and kind != "float32":
        wide = "float64"
    result = n.emit(op.power(n.emit(op.astype(base, wide)), n.emit(op.astype(exponent, wide))))
    return (
        result if wide == kind else op.astype(n.emit(op.round(result)) if kind[0] in "iu" else result, kind)
    )


def _constant_power(n: Node, base: Expr, exponent: float, extents: tuple[int, ...]) -> Result:
    kind = dtype(base)
    if len(extents) > len(shape(base)):
        base = n.emit(op.reshape(base, [1] * (len(extents) - len(shape(base))) + list(shape(base))))
    if exponent == 2:
        return op.multiply(base, base)
    if exponent == 3:
        return op.multiply(n.emit(op.multiply(base, base)), base)
    if exponent == 0.5 and kind.startswith("float"):
        return op.sqrt(base)
    if kind.startswith("float"):
        return op.power(base, n.scalar(exponent, kind))
    wide = n.emit(op.power(n.emit(op.astype(base, "float64")), n.scalar(exponent, "float64")))
    return op.astype(n.emit(op.trunc(wide)), kind)


def _modulo(n: Node) -> Result:
    """fmod: the sign of the dividend; else the divisor's, as Python counts."""
    a, b = n[0], n[1]
    if n.attribute("fmod", 0):
        return op.mod(a, b)
    kind = n.kind()
    if not kind.startswith("float"):
        return op.mod(a, b) if kind.startswith("uint") else op.floor_mod(a, b)
    zero, rest = n.scalar(0, kind), n.emit(op.mod(a, b))
    below = n.emit(op.less(b, zero))
    apart = n.emit(op.logical_xor(n.emit(op.less(rest, zero)), below))
    turned = n.emit(op.where(apart, n.emit(op.add(rest, b)), rest))
    nothing = n.emit(op.where(below, n.scalar(-0.0, kind), zero))
    return op.where(n.emit(op.equal(rest, zero)), nothing, turned)


def _divide(n: Node) -> Result:
    return op.divide(n[0], n[1])


def _shift(n: Node) -> Result:
    """Amounts beyond the width, or below zero, leave nothing but the sign; C leaves them undefined."""
    x, by, kind = n[0], n[1], n.kind()
    bits, left = np.dtype(kind).itemsize * 8, n.attribute("direction", "") == "LEFT"
    inside = n.emit(op.less(by, n.scalar(bits, kind)))
    if kind.startswith("int"):
        inside = n.emit(op.logical_and(inside, n.emit(op.greater_equal(by, n.scalar(0, kind)))))
    by = n.emit(op.where(inside, by, n.scalar(bits - 1, kind)))
    shifted = n.emit(op.left_shift(x, by) if left else op.right_shift(x, by))
    if not left and kind.startswith("int"):
        return shifted
    return op.where(inside, shifted, n.scalar(0, kind))


def _is_infinite(n: Node) -> Result:
    x, kind = n[0], n.kind()
    signs = [(np.inf, n.attribute("detect_positive", 1)), (-np.inf, n.attribute("detect_negative", 1))]
    found = [n.emit(op.equal(x, n.scalar(value, kind))) for value, asked in signs if asked]
    if not found:
        return np.zeros(shape(x), np.bool_)
    return found[0] if len(found) == 1 else op.logical_or(*found)


def _clip(n: Node) -> Result:
    """Bounds from inputs (opset 11 and later) or attributes; NaN bounds are no bounds, as ONNX says."""
    bounds: list[Any] = [n.attribute("min", -math.inf), n.attribute("max", math.inf)]
    for place in (1, 2):
        if n.has(place):
            array = n.value(place).array
            bounds[place - 1] = n[place] if array is None or array.size != 1 else array.reshape(()).item()
    low, high = bounds
    kind = n.kind()
    if kind == "float32" and not any(hasattr(b, "ty") for b in bounds):
        low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
        # Bounds the wrong way round give the upper one.
        return op.clip(n[0], min(low, high), high)
    x = n[0]
    for bound, function in ((low, op.maximum), (high, op.minimum)):
        if hasattr(bound, "ty"):
            x = n.emit(function(x, n.emit(op.reshape(bound, []))))
        elif math.isfinite(bound):
            x = n.emit(function(x, n.scalar(bound, kind)))
    return x


def _hard_swish(n: Node) -> Result:
    """x · clip(x / 6 + 1/2, 0, 1), as ONNX defines it."""
    x, kind = n[0], n.kind()
    scaled = n.emit(op.add(n.emit(op.multiply(x, n.scalar(1 / 6, kind))), n.scalar(0.5, kind)))
    return op.multiply(x, n.emit(op.clip(scaled, 0, 1)))


def _hard_sigmoid(n: Node) -> Result:
    x, kind = n[0], n.kind()
    scaled = n.emit(op.multiply(x, n.scalar(n.attribute("alpha", 0.2), kind)))
    return op.clip(n.emit(op.add(scaled, n.scalar(n.attribute("beta", 0.5), kind))), 0, 1)


def _leaky_relu(n: Node) -> Result:
    return op.nn.leakyrelu(n[0], n.attribute("alpha", 0.01))


def _prelu(n: Node) -> Result:
    x, kind = n[0], n.kind()
    return op.where(n.emit(op.less(x, n.scalar(0, kind))), n.emit(op.multiply(x, n[1])), x)


def _elu(n: Node) -> Result:
    return exponential_linear(n, n.attribute("alpha", 1.0), 1.0)


def _selu(n: Node) -> Result:
    alpha, gamma = (
        n.attribute("alpha", 1.67326319217681884765625),
        n.attribute("gamma", 1.05070102214813232421875),
    )
    return exponential_linear(n, alpha * gamma, gamma)


def _celu(n: Node) -> Result:
    alpha = float(n.attribute("alpha", 1.0))
    inner = n.emit(op.divide(n[0], n.scalar(alpha, n.kind())))
    return exponential_linear(n, alpha, 1.0, inner)


def exponential_linear(n: Node, below: float, above: float, inner: Expr | None = None) -> Expr:
    """above · x for x > 0, below · (exp(inner) − 1) elsewhere; inner is x where it is not given."""
    x, kind = n[0], n.kind()
    inner = x if inner is None else inner
    low = of_pieces(
        n,
        inner,
        lambda v: op.minimum(v, n.scalar(0, kind)),
        op.exp,
        lambda v: op.subtract(v, n.scalar(1, kind)),
        lambda v: op.multiply(v, n.scalar(below, kind)),
    )
    high = n.emit(op.multiply(x, n.scalar(above, kind))) if above != 1.0 else x
    return op.where(n.emit(op.greater(x, n.scalar(0, kind))), high, low)


def _thresholded_relu(n: Node) -> Result:
    x, kind = n[0], n.kind()
    above = n.emit(op.greater(x, n.scalar(n.attribute("alpha", 1.0), kind)))
    return op.where(above, x, n.scalar(0, kind))


def _shrink(n: Node) -> Result:
    x, kind = n[0], n.kind()
    edge, bias = float(n.attribute("lambd", 0.5)), float(n.attribute("bias", 0.0))
    below = n.emit(op.less(x, n.scalar(-edge, kind)))
    above = n.emit(op.greater(x, n.scalar(edge, kind)))
    high = n.emit(op.where(above, n.emit(op.subtract(x, n.scalar(bias, kind))), n.scalar(0, kind)))
    return op.where(below, n.emit(op.add(x, n.scalar(bias, kind))), high)


def _softsign(n: Node) -> Result:
    return op.divide(n[0], n.emit(op.add(n.emit(op.abs(n[0])), n.scalar(1, n.kind()))))


def _softplus(n: Node) -> Result:
    """max(x, 0) + log(1 + exp(−|x|)): no power overflows."""
    x, kind = n[0], n.kind()
    small = of_pieces(n, x, op.abs, op.negative, op.exp, lambda v: op.add(v, n.scalar(1, kind)), op.log)
    return op.add(n.emit(op.maximum(x, n.scalar(0, kind))), small)


def _mish(n: Node) -> Result:
    return op.multiply(n[0], n.emit(op.tanh(n.emit(_softplus(n)))))


def _swish(n: Node) -> Result:
    alpha = float(n.attribute("alpha", 1.0))
    scaled = n[0] if alpha == 1.0 else n.emit(op.multiply(n[0], n.scalar(alpha, n.kind())))
    return op.multiply(n[0], n.emit(op.sigmoid(scaled)))


def _gelu(n: Node) -> Result:
    return op.nn.gelu_tanh(n[0]) if n.attribute("approximate", "none") == "tanh" else op.nn.gelu(n[0])


def _where(n: Node) -> Result:
    return op.where(n[0], n[1], n[2])


def _extreme(function: Callable[[Expr, Expr], Expr]) -> Converter:
    return _variadic(function)


RULES: Mapping[str, Converter] = {
    "Abs": _unary(op.abs),
    "Acos": _unary(op.acos),
    "Acosh": _unary(op.acosh),
    "Add": _binary(op.add),
    "And": _binary(op.logical_and),
    "Asin": _unary(op.asin),
    "Asinh": _unary(op.asinh),
    "Atan": _unary(op.atan),
    "Atanh": _unary(op.atanh),
    "BitShift": _shift,
    "BitwiseAnd": _binary(op.bitwise_and),
    "BitwiseNot": _unary(op.bitwise_not),
    "BitwiseOr": _binary(op.bitwise_or),
    "BitwiseXor": _binary(op.bitwise_xor),
    "Ceil": _unary(op.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _unary(op.cos),
    "Cosh": _unary(op.cosh),
    "Div": _divide,
    "Elu": _elu,
    "Equal": _binary(op.equal),
    "Erf": _unary(op.erf),
    "Exp": _unary(op.exp),
    "Floor": _unary(op.floor),
    "Gelu": _gelu,
    "Greater": _binary(op.greater),
    "GreaterOrEqual": _binary(op.greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "IsInf": _is_infinite,
    "IsNaN": _unary(op.isnan),
    "LeakyRelu": _leaky_relu,
    "Less": _binary(op.less),
    "LessOrEqual": _binary(op.less_equal),
    "Log": _unary(op.log),
    "Max": _extreme(op.maximum),
    "Mean": _mean,
    "Min": _extreme(op.minimum),
    "Mish": _mish,
    "Mod": _modulo,
    "Mul": _binary(op.multiply),
    "Neg": _unary(op.negative),
    "Not": _unary(op.logical_not),
    "Or": _binary(op.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Relu": _unary(op.nn.relu),
    "Round": _unary(op.round),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _unary(op.sigmoid),
    "Sign": _unary(op.sign),
    "Sin": _unary(op.sin),
    "Sinh": _unary(op.sinh),
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Sqrt": _unary(op.sqrt),
    "Sub": _binary(op.subtract),
    "Sum": _variadic(op.add),
    "Swish": _swish,
    "Tan": _unary(op.tan),
    "Tanh": _unary(op.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Where": _where,
    "Xor": _binary(op.logical_xor),
}
