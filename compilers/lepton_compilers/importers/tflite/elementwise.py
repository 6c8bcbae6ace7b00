"""TFLite operators of one element at a time: functions, two operands, comparisons, selection, casts.

An int8 function of one variable becomes a table of LiteRT's own values; everything else is real arithmetic
between dequantize and quantize, which integerize gives its int8 form where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tflite
from tvm import relax

from lepton_compilers.importers.tflite import tables
from lepton_compilers.importers.tflite.layer import Layer, Shape, number
from lepton_compilers.passes.graph import Expr, is_constant, shape, value

Converter = Callable[[Layer], Expr]
Unary = Callable[[Expr], Expr]
Binary = Callable[[Expr, Expr], Expr]


def _table(layer: Layer, table: tables.Table) -> Expr:
    """An int8 function: LiteRT's 256 values."""
    (x_scale, x_zero), (y_scale, y_zero) = layer.numbers(0), layer.result_numbers()
    numbers = (number(x_scale), number(x_zero, "int32"), number(y_scale), number(y_zero, "int32"))
    return layer.typed("table", (layer.raw(0), relax.const(table), *numbers), (layer.shape(0), "int8"))


def tabled(layer: Layer) -> bool:
    """Whether the layer is one int8 tensor in, one out."""
    return layer.dtype(0) == layer.result_dtype() == "int8" and layer.is_int8() and layer.gives_int8()


def _function(name: str, apply: Unary) -> Converter:
    def convert(layer: Layer) -> Expr:
        if tabled(layer):
            return _table(layer, tables.function_table(name, layer.numbers(0), layer.result_numbers()))
        return layer.quantised(apply(layer.real(0)))

    return convert


def _bounded(low: float, high: float) -> Converter:
    def convert(layer: Layer) -> Expr:
        if tabled(layer):
            return _table(layer, tables.rescaled_table(layer.numbers(0), layer.result_numbers(), low, high))
        return layer.quantised(relax.op.clip(layer.real(0), low, high))

    return convert


def _abs(layer: Layer) -> Expr:
    if tabled(layer):
        return _table(layer, tables.abs_table(layer.numbers(0), layer.result_numbers()))
    return layer.quantised(relax.op.abs(layer.real(0)))


def _gelu(layer: Layer) -> Expr:
    approximate = bool(layer.options(tflite.GeluOptions).Approximate())
    name = "GELU_TANH" if approximate else "GELU"
    return _function(name, relax.op.nn.gelu_tanh if approximate else relax.op.nn.gelu)(layer)


def _hard_swish(layer: Layer) -> Expr:
    if tabled(layer):
        return _table(layer, tables.hard_swish_table(layer.numbers(0), layer.result_numbers()))
    x = layer.real(0)
    gate = layer.emit(relax.op.clip(layer.emit(relax.op.add(x, number(3.0))), 0, 6))
    scaled = layer.emit(relax.op.multiply(gate, number(np.float32(1) / np.float32(6))))
    return layer.quantised(relax.op.multiply(x, scaled))


def _leaky_relu(layer: Layer) -> Expr:
    alpha = float(layer.options(tflite.LeakyReluOptions).Alpha())
    if tabled(layer):
        return _table(layer, tables.leaky_relu_table(alpha, layer.numbers(0), layer.result_numbers()))
    return layer.quantised(relax.op.nn.leakyrelu(layer.real(0), alpha))


def _elu(x: Expr) -> Expr:
    """x where it is positive, else exp(x) − 1; the positive part never reaches exp."""
    below = relax.op.minimum(x, number(0.0))
    return relax.op.add(relax.op.nn.relu(x), relax.op.subtract(relax.op.exp(below), number(1.0)))


def _two(apply: Binary) -> Converter:
    def convert(layer: Layer) -> Expr:
        return layer.quantised(apply(*_alike(layer)))

    return convert


def _alike(layer: Layer) -> tuple[Expr, Expr]:
    """Both operands as reals; a scalar constant keeps rank 0."""
    return layer.real(0), layer.real(1)


def _activated(apply: Binary, options: type) -> Converter:
    def convert(layer: Layer) -> Expr:
        result = layer.emit(apply(*_alike(layer)))
        code = layer.options(options).FusedActivationFunction()
        return layer.quantised(layer.activated(result, code))

    return convert


def _squared_difference(a: Expr, b: Expr) -> Expr:
    difference = relax.op.subtract(a, b)
    return relax.op.multiply(difference, difference)


def _logical(apply: Binary) -> Converter:
    return lambda layer: apply(layer.raw(0), layer.raw(1))


def _compared(apply: Binary) -> Converter:
    return lambda layer: apply(*_alike(layer))


def _select(layer: Layer) -> Expr:
    condition = layer.raw(0)
    missing = len(layer.result_shape()) - len(shape(condition))
    if missing > 0 and len(shape(condition)) == 1:
        # SELECT's rank-1 condition chooses whole rows of the first axis.
        condition = layer.emit(relax.op.reshape(condition, [*shape(condition), *[1] * missing]))
    return layer.quantised(relax.op.where(condition, layer.real(1), layer.real(2)))


def _select_v2(layer: Layer) -> Expr:
    return layer.quantised(relax.op.where(layer.raw(0), layer.real(1), layer.real(2)))


def _cast(layer: Layer) -> Expr:
    return relax.op.astype(layer.raw(0), layer.result_dtype())


def _prelu(layer: Layer) -> Expr:
    x, slopes = layer.real(0), layer.raw(1)
    extents = shape(slopes)
    if int(np.prod(extents)) == extents[-1] and extents[-1] == layer.shape(0)[-1]:
        flat = relax.op.reshape(slopes, [extents[-1]])
        known = layer.constant(1)
        if known is not None:
            flat = relax.const(np.ascontiguousarray(known.reshape(-1)))
        flat = layer.emit(flat)
        if layer.is_int8(1):
            flat = layer.emit(layer.converter.dequantize(flat, layer.inputs[1]))
        return layer.quantised(relax.op.nn.prelu(x, flat, axis=len(layer.shape(0)) - 1))
    slopes = layer.real(1)
    below = layer.emit(relax.op.multiply(slopes, layer.emit(relax.op.minimum(x, number(0.0)))))
    return layer.quantised(relax.op.add(layer.emit(relax.op.nn.relu(x)), below))


def _softmax(layer: Layer) -> Expr:
    beta = float(layer.options(tflite.SoftmaxOptions).Beta())
    x = layer.real(0)
    if beta != 1.0:
        if layer.is_int8():
            raise layer.refuse(f"beta {beta} of an int8 softmax; 1 is supported")
        x = layer.emit(relax.op.multiply(x, number(beta)))
    return layer.quantised(relax.op.nn.softmax(x, axis=-1))


def _l2_normalisation(layer: Layer) -> Expr:
    x = layer.real(0)
    code = layer.options(tflite.L2NormOptions).FusedActivationFunction()
    # LiteRT divides by max(|x|, 1e-6).
    total = layer.emit(relax.op.sum(layer.emit(relax.op.multiply(x, x)), axis=[-1], keepdims=True))
    norm = layer.emit(relax.op.maximum(layer.emit(relax.op.sqrt(total)), number(1e-6)))
    return layer.quantised(layer.activated(layer.emit(relax.op.divide(x, norm)), code))


def _batch_matmul(layer: Layer) -> Expr:
    options = layer.options(tflite.BatchMatMulOptions)
    a, b = layer.real(0), layer.real(1)
    for index, turned in ((0, bool(options.AdjX())), (1, bool(options.AdjY()))):
        if turned:
            rank = len(layer.shape(index))
            axes = [*range(rank - 2), rank - 1, rank - 2]
            if index == 0:
                a = layer.emit(relax.op.permute_dims(a, axes))
            else:
                b = layer.emit(relax.op.permute_dims(b, axes))
    return layer.quantised(relax.op.matmul(a, b))


def _fully_connected(layer: Layer) -> Expr:
    """Rows of the last axis by weights [O, I]; the result keeps the operand's axes where the file says so."""
    options = layer.options(tflite.FullyConnectedOptions)
    extents, (out, inner) = layer.shape(0), layer.shape(1)
    rows = int(np.prod(extents)) // inner
    x = (
        layer.raw(0)
        if extents == (rows, inner)
        else layer.emit(relax.op.reshape(layer.raw(0), [rows, inner]))
    )
    if layer.is_int8(0):
        x = layer.emit(layer.converter.dequantize(x, layer.inputs[0]))
    weight = layer.emit(relax.op.permute_dims(layer.raw(1), [1, 0]))
    known = layer.constant(1)
    if known is not None:
        weight = relax.const(np.ascontiguousarray(known.T))
    held = layer.inputs[1].qnn_params
    if layer.is_int8(0) and held is not None:
        axis = 1 if value(held["scale"]).size > 1 else 0
        weight = layer.emit(relax.op.dequantize(weight, held["scale"], held["zero_point"], axis=axis))
    result = layer.emit(relax.op.matmul(x, weight))
    if layer.has(2):
        result = layer.emit(relax.op.add(result, layer.bias(2, 0, 1)))
    result = layer.emit(layer.quantised(layer.activated(result, options.FusedActivationFunction())))
    wanted = [*extents[:-1], out] if bool(options.KeepNumDims()) else [rows, out]
    return result if wanted == [rows, out] else relax.op.reshape(result, wanted)


def _quantize(layer: Layer) -> Expr:
    """To a quantised type; between uint8 and int8 by a table, float32 to uint8 as arithmetic."""
    kinds, result = layer.dtype(0), layer.result_dtype()
    if "uint8" not in (kinds, result):
        return layer.converter.convert_quantize(op=layer.op)
    y_scale, y_zero = layer.result_numbers()
    least, most = (0, 255) if result == "uint8" else (-128, 127)
    if kinds == "float32":
        steps = layer.emit(relax.op.multiply(layer.raw(0), number(np.float32(1) / np.float32(y_scale))))
        whole = layer.emit(relax.op.add(layer.emit(relax.op.round(steps)), number(float(y_zero))))
        return relax.op.astype(layer.emit(relax.op.clip(whole, least, most)), result)
    x_scale, x_zero = layer.numbers(0)
    places = np.arange(256) + (0 if kinds == "uint8" else -128)
    table = np.clip(np.rint((places - x_zero) * x_scale / y_scale) + y_zero, least, most).astype(result)
    numbers = (number(x_scale), number(x_zero, "int32"), number(y_scale), number(y_zero, "int32"))
    arguments = (layer.raw(0), relax.const(table), *numbers)
    return layer.typed("byte_table", arguments, (layer.shape(0), result))


def _dequantize(layer: Layer) -> Expr:
    expr = layer.raw(0)
    if layer.dtype(0) in ("float16", "float32"):
        # Weights stored as float16 come through this operator; they are constants all the same.
        if is_constant(expr):
            return relax.const(value(expr).astype(np.float32))
        return relax.op.astype(expr, "float32")
    if is_constant(expr) and layer.inputs[0].qnn_params is not None:
        held = layer.inputs[0].qnn_params
        scale, extents = value(held["scale"]).astype(np.float32), [1] * value(expr).ndim
        if scale.size > 1:
            extents[int(held["axis"])] = scale.size
        centred = value(expr).astype(np.float32) - np.float32(int(value(held["zero_point"])))
        return relax.const((centred * scale.reshape(extents or ())).astype(np.float32))
    if layer.dtype(0) == "uint8":
        step, zero = layer.numbers(0)
        centred = layer.emit(
            relax.op.subtract(layer.emit(relax.op.astype(expr, "float32")), number(float(zero)))
        )
        return relax.op.multiply(centred, number(step))
    return layer.converter.dequantize(expr, layer.inputs[0])


def _log_softmax(layer: Layer) -> Expr:
    return layer.quantised(relax.op.nn.log_softmax(layer.real(0), axis=-1))


def _add_n(layer: Layer) -> Expr:
    total = layer.real(0)
    for index in range(1, len(layer.inputs)):
        total = layer.emit(relax.op.add(total, layer.real(index)))
    return layer.quantised(total)


def result_shape(layer: Layer) -> Shape:
    """Extents of the result, from the file."""
    return layer.result_shape()


ELEMENTWISE: Mapping[str, Converter] = {
    "ABS": _abs,
    "ADD_N": _add_n,
    "BATCH_MATMUL": _batch_matmul,
    "CAST": _cast,
    "CEIL": _function("CEIL", relax.op.ceil),
    "COS": _function("COS", relax.op.cos),
    "DEQUANTIZE": _dequantize,
    "DIV": _activated(relax.op.divide, tflite.DivOptions),
    "ELU": _function("ELU", _elu),
    "EQUAL": _compared(relax.op.equal),
    "EXP": _function("EXP", relax.op.exp),
    "FLOOR": _function("FLOOR", relax.op.floor),
    "FLOOR_DIV": _two(relax.op.floor_divide),
    "FLOOR_MOD": _two(relax.op.floor_mod),
    "FULLY_CONNECTED": _fully_connected,
    "GELU": _gelu,
    "GREATER": _compared(relax.op.greater),
    "GREATER_EQUAL": _compared(relax.op.greater_equal),
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _l2_normalisation,
    "LEAKY_RELU": _leaky_relu,
    "LESS": _compared(relax.op.less),
    "LESS_EQUAL": _compared(relax.op.less_equal),
    "LOG": _function("LOG", relax.op.log),
    "LOGICAL_AND": _logical(relax.op.logical_and),
    "LOGICAL_NOT": lambda layer: relax.op.logical_not(layer.raw(0)),
    "LOGICAL_OR": _logical(relax.op.logical_or),
    "LOGISTIC": _function("LOGISTIC", relax.op.sigmoid),
    "LOG_SOFTMAX": _log_softmax,
    "MAXIMUM": _two(relax.op.maximum),
    "MINIMUM": _two(relax.op.minimum),
    "NEG": _function("NEG", relax.op.negative),
    "NOT_EQUAL": _compared(relax.op.not_equal),
    "POW": _two(relax.op.power),
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "RELU_0_TO_1": _bounded(0.0, 1.0),
    "RELU_N1_TO_1": _bounded(-1.0, 1.0),
    "ROUND": _function("ROUND", relax.op.round),
    "RSQRT": _function("RSQRT", relax.op.rsqrt),
    "SELECT": _select,
    "SELECT_V2": _select_v2,
    "SIGN": _function("SIGN", relax.op.sign),
    "SIN": _function("SIN", relax.op.sin),
    "SOFTMAX": _softmax,
    "SQRT": _function("SQRT", relax.op.sqrt),
    "SQUARE": _function("SQUARE", lambda x: relax.op.multiply(x, x)),
    "SQUARED_DIFFERENCE": _two(_squared_difference),
    "TANH": _function("TANH", relax.op.tanh),
}
