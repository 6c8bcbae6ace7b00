"""Layers that ONNX states in integers (QLinear…, …Integer): dequantize, the float layer, quantize.

integerize makes integer layers of that, as of a QDQ model. The forms of com.microsoft are those that ONNX
Runtime's quantiser writes beside ONNX's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules import convolutions, elementwise, normalization, pools, products
from lepton_compilers.importers.onnx.rules.quantization import RULES as QUANTIZE_RULES
from lepton_compilers.importers.onnx.rules.quantization import dequantised, quantised
from lepton_compilers.importers.onnx.values import Converter, Node, Result, Value
from lepton_compilers.passes.graph import Expr

op = relax.op


def _optional(n: Node, place: int) -> Value | None:
    return n.value(place) if n.has(place) else None


def _real(n: Node, place: int, axis: int = 1) -> Expr:
    """The input at `place`, whose scale and zero point follow it."""
    return dequantised(n, n.value(place), n.value(place + 1), _optional(n, place + 2), axis)


def _integers(n: Node, y: Expr, place: int) -> Value:
    """Quantised by the scale at `place` and the zero point behind it."""
    zero = _optional(n, place + 1)
    return quantised(n, n.emit(y), n.value(place), zero, zero.kind if zero is not None else "uint8")


def _bias(n: Node, place: int, x_scale: int, w_scale: int) -> Expr | None:
    """int32 at the product of two scales."""
    if not n.has(place):
        return None
    scale = n.known(x_scale, "scale").astype(np.float32).reshape(-1) * n.known(w_scale, "scale").astype(
        np.float32
    ).reshape(-1)
    return dequantised(n, n.value(place), Value("float32", array=scale), None, 0)


def _conv(n: Node) -> Result:
    """x, its scale and zero point, the weights and theirs, those of the result, the bias."""
    y = convolutions.convolved(n, _real(n, 0), _real(n, 3, axis=0), _bias(n, 8, 1, 4))
    return _integers(n, y, 6)


def _matmul(n: Node) -> Result:
    b_rank = len(n.shape(3))
    a = _rows(n, 0)
    b = dequantised(n, n.value(3), n.value(4), _optional(n, 5), b_rank - 1)
    return _integers(n, op.matmul(a, b), 6)


def _rows(n: Node, place: int) -> Expr:
    """A left factor, whose scales may go by row."""
    return dequantised(
        n, n.value(place), n.value(place + 1), _optional(n, place + 2), len(n.shape(place)) - 2
    )


def _less_zero(n: Node, place: int, zero: int, axis: int) -> Expr:
    """An integer input less its zero point, in int32."""
    wide = n.emit(op.astype(n[place], "int32"))
    if not n.has(zero):
        return wide
    offset = n.emit(op.astype(n[zero], "int32"))
    count = int(np.prod(n.shape(zero)))
    extents = [count if i == axis else 1 for i in range(len(n.shape(place)))] if count > 1 else []
    return n.emit(op.subtract(wide, n.emit(op.reshape(offset, extents))))


def _matmul_integer(n: Node) -> Result:
    a = _less_zero(n, 0, 2, len(n.shape()) - 2)
    return op.matmul(a, _less_zero(n, 1, 3, len(n.shape(1)) - 1))


def _conv_integer(n: Node) -> Result:
    return convolutions.convolved(n, _less_zero(n, 0, 2, 1), _less_zero(n, 1, 3, 0), None)


def _two(function: Callable[[Expr, Expr], Expr]) -> Converter:
    return lambda n: _integers(n, function(_real(n, 0), _real(n, 3)), 6)


def _one(rule: Converter) -> Converter:
    def convert(n: Node) -> Result:
        inner = n.on(_real(n, 0), operator=n.operator.removeprefix("QLinear"), **n.attributes)
        return _integers(n, rule(inner), 3)

    return convert


def _gemm(n: Node) -> Result:
    a, b = _real(n, 0), _real(n, 3, axis=0 if n.attribute("transB", 0) else 1)
    factors = {**n.attributes, "beta": 1.0}
    bias = _bias(n, 6, 1, 4)
    inner = n.on(a, b, *([bias] if bias is not None else []), operator="Gemm", **factors)
    y = n.emit(products.RULES["Gemm"](inner))
    if n.has(7):
        return _integers(n, y, 7)
    return y


def _concat(n: Node) -> Result:
    parts = [_real(n, place) for place in range(2, len(n.inputs), 3)]
    return _integers(n, op.concat(parts, int(n.attribute("axis", 0))), 0)


RULES: Mapping[str, Converter] = {
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
}
MICROSOFT: Mapping[str, Converter] = {
    **QUANTIZE_RULES,
    "QGemm": _gemm,
    "QLinearAdd": _two(op.add),
    "QLinearAveragePool": _one(pools.RULES["AveragePool"]),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _one(pools.RULES["GlobalAveragePool"]),
    "QLinearLeakyRelu": _one(elementwise.RULES["LeakyRelu"]),
    "QLinearMul": _two(op.multiply),
    "QLinearSigmoid": _one(elementwise.RULES["Sigmoid"]),
    "QLinearSoftmax": _one(normalization.RULES["Softmax"]),
}
