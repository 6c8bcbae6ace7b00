"""TFLite operators on constants alone, computed on the way in: shapes, ranges, weights in other forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from tvm import relax

from lepton_compilers.importers.tflite.layer import Layer
from lepton_compilers.importers.tflite.moves import strided_ranges
from lepton_compilers.passes.graph import Expr
from lepton_compilers.peak import checked_size

Array = npt.NDArray[Any]
Fold = Callable[[Layer, list[Array]], Array]


def shape_of(layer: Layer) -> Expr:
    """SHAPE: every extent is known."""
    return relax.const(np.asarray(layer.shape(0), layer.result_dtype()))


def rank_of(layer: Layer) -> Expr:
    """RANK."""
    return relax.const(np.asarray(len(layer.shape(0)), layer.result_dtype()))


def folded(layer: Layer, name: str) -> Expr | None:
    """The layer's result as a constant, where all its operands are constants; None where it is computed.

    Quantised constants stay: their integers are weights.
    """
    if name not in FOLDS or len(layer.outputs) != 1 or layer.gives_int8():
        return None
    operands: list[Array] = []
    for index in range(len(layer.inputs)):
        known = layer.constant(index)
        if known is None or layer.is_int8(index):
            return None
        operands.append(known)
    result = FOLDS[name](layer, operands)
    return relax.const(np.array(result, layer.result_dtype(), order="C"))


def _strided_slice(layer: Layer, x: list[Array]) -> Array:
    options = layer.options(tflite.StridedSliceOptions)
    masks = {
        "begin": int(options.BeginMask()),
        "end": int(options.EndMask()),
        "ellipsis": int(options.EllipsisMask()),
        "new_axis": int(options.NewAxisMask()),
        "shrink": int(options.ShrinkAxisMask()),
    }
    begin, end, strides = ([int(n) for n in operand.reshape(-1)] for operand in x[1:4])
    ranges, result, _ = strided_ranges(x[0].shape, begin, end, strides, masks)
    return x[0][ranges].reshape(result)


def _extents(layer: Layer, extents: list[int]) -> list[int]:
    """The extents, once memory holds so many elements. Raises BadInputError."""
    checked_size(f"layer '{layer.name}'", tuple(extents), layer.result_dtype())
    return extents


def _range(layer: Layer, x: list[Array]) -> Array:
    start, stop, step = (operand.item() for operand in x)
    _extents(layer, [max(0, math.ceil((stop - start) / step))])
    return np.arange(start, stop, step)


def _pack(layer: Layer, x: list[Array]) -> Array:
    return np.stack(x, int(layer.options(tflite.PackOptions).Axis()))


def _concatenation(layer: Layer, x: list[Array]) -> Array:
    return np.concatenate(x, int(layer.options(tflite.ConcatenationOptions).Axis()))


def _gather(layer: Layer, x: list[Array]) -> Array:
    return np.take(x[0], x[1], int(layer.options(tflite.GatherOptions).Axis()))


def _product(layer: Layer, x: list[Array]) -> Array:
    keep = bool(layer.options(tflite.ReducerOptions).KeepDims())
    return np.asarray(np.prod(x[0], tuple(int(n) for n in x[1].reshape(-1)), keepdims=keep))


def _transposed(layer: Layer, x: list[Array]) -> Array:
    return x[0].transpose([int(n) for n in x[1].reshape(-1)])


FOLDS: Mapping[str, Fold] = {
    "ADD": lambda layer, x: x[0] + x[1],
    "CAST": lambda layer, x: x[0],
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": lambda layer, x: np.expand_dims(x[0], int(x[1].reshape(()))),
    "FILL": lambda layer, x: np.full(_extents(layer, [int(n) for n in x[0].reshape(-1)]), x[1]),
    "FLOOR_DIV": lambda layer, x: x[0] // x[1],
    "GATHER": _gather,
    "MAXIMUM": lambda layer, x: np.maximum(x[0], x[1]),
    "MINIMUM": lambda layer, x: np.minimum(x[0], x[1]),
    "MUL": lambda layer, x: x[0] * x[1],
    "PACK": _pack,
    "RANGE": _range,
    "REDUCE_PROD": _product,
    "RESHAPE": lambda layer, x: x[0].reshape([int(n) for n in x[1].reshape(-1)]),
    "SLICE": lambda layer, x: x[0][
        tuple(slice(int(b), None if n < 0 else int(b + n)) for b, n in zip(x[1], x[2]))
    ],
    "STRIDED_SLICE": _strided_slice,
    "SUB": lambda layer, x: x[0] - x[1],
    "TRANSPOSE": _transposed,
}
"""What constants give; fused activations of shapes are none."""

FOLDED_ONLY = ("RANGE",)
"""Operators that are imported on constants only."""
