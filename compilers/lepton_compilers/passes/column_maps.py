"""Maps of one column become maps of one row: kernels take neighbours along a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.fold_batch_norm import BATCH_NORM
from lepton_compilers.passes.graph import (
    AVERAGE_POOL,
    CONCAT,
    CONV2D,
    DEQUANTIZE,
    MAX_POOL,
    PAD,
    QUANTIZE,
    RESHAPE,
    Expr,
    Var,
    dtype,
    integers,
    is_constant,
    is_var,
    operands,
    operator,
    parts,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite
from lepton_compilers.passes.to_nhwc import ELEMENTWISE, TWO_OPERANDS

POOLS = (MAX_POOL, AVERAGE_POOL)
RESHAPES = (RESHAPE, "relax.squeeze", "relax.expand_dims")
ROW = {"NCHW": 2, "NHWC": 1}
"""The axis of rows; that of columns is the next one."""


def column_maps(module: Any) -> Any:
    """Layers over the rows of a map of one column work along the columns of one of one row instead.

    Networks over time are written so (sensors by time, K × 1 kernels), and Keras writes pools over one axis
    so. No element moves: both shapes are reshapes of each other. Before one_row_maps, which then finds its
    neighbours in the form that it makes itself.
    """
    turned: dict[Var, tuple[Expr, int]] = {}

    def row(rewriter: Rewriter, expr: Expr, axis: int) -> Expr:
        expr = rewriter.graph.resolve(expr)
        if is_constant(expr):
            array = value(expr)
            full = array.reshape((1,) * (4 - array.ndim) + array.shape) if array.size > 1 else array
            return relax.const(
                np.ascontiguousarray(full.swapaxes(axis, axis + 1) if array.size > 1 else full)
            )
        if expr not in turned:
            turned[expr] = rewriter.emit(made(rewriter, expr, axis), f"{expr.name}/row"), axis
        return turned[expr][0]

    def made(rewriter: Rewriter, expr: Var, axis: int) -> Expr:
        definition = rewriter.graph.definition(expr)
        stated = operator(definition) in (QUANTIZE, DEQUANTIZE) and is_var(definition.args[0])
        if stated and value(definition.args[1]).size == 1:
            # A reshape between a layer and its quantize would hide the one from the other.
            return _applied(definition, [row(rewriter, definition.args[0], axis)])
        source = definition.args[0] if operator(definition) in RESHAPES else expr
        return relax.op.reshape(rewriter.mapped(source), _swapped(shape(expr), axis))

    def following(rewriter: Rewriter, old: Expr, axis: int) -> Expr | None:
        """What reads a map that was turned, on that map; None where it reads the map of one column."""
        name = operator(old) or ""
        if name in ELEMENTWISE:
            tensors = old.args[: 2 if name in TWO_OPERANDS else 1]
            if name in (QUANTIZE, DEQUANTIZE) and value(old.args[1]).size > 1:
                return None
            # A number a channel, where channels are last, stands for the same channel in either form.
            plain = [axis == ROW["NHWC"] and len(shape(a)) < 2 for a in tensors]
            if any(not (is_constant(a) or p or len(shape(a)) == 4) for a, p in zip(tensors, plain)):
                return None
            return _applied(
                old, [rewriter.mapped(a) if p else row(rewriter, a, axis) for a, p in zip(tensors, plain)]
            )
        if name == CONCAT and all(is_var(part) for part in parts(old)):
            return relax.op.concat(
                [row(rewriter, part, axis) for part in parts(old)], _moved(int(old.attrs.axis) % 4, axis)
            )
        if name == PAD:
            widths = integers(old.attrs.pad_width)
            pairs = _swapped([widths[2 * i : 2 * i + 2] for i in range(4)], axis)
            flat = [n for pair in pairs for n in pair]
            x = row(rewriter, old.args[0], axis)
            return relax.op.nn.pad(x, flat, str(old.attrs.pad_mode), float(old.attrs.pad_value))
        return None

    def normalised(rewriter: Rewriter, old: Expr) -> tuple[Expr, int] | None:
        """The map of a normalisation of one that was turned."""
        norm = rewriter.graph.definition(old.tuple_value)
        if operator(norm) != BATCH_NORM or int(old.index) != 0:
            return None
        held = turned.get(rewriter.graph.resolve(norm.args[0]))
        if held is None or int(norm.attrs.axis) in (held[1], held[1] + 1):
            return None
        rest = [rewriter.mapped(a) for a in norm.args[1:]]
        call = rewriter.emit(tvm.ir.Call(norm.op, [held[0], *rest], norm.attrs, norm.ty_args))
        return relax.TupleGetItem(call, 0), held[1]

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        name, new = operator(old) or "", None
        if not dtype(var):
            return None
        inputs = [rewriter.graph.resolve(a) for a in operands(old)]
        axis = _column_layer(old)
        if axis is not None:
            x = row(rewriter, old.args[0], axis)
            new = _pool(old, x) if name in POOLS else _convolution(rewriter, old, x)
        elif isinstance(old, relax.TupleGetItem):
            new, axis = normalised(rewriter, old) or (None, None)
        elif name in RESHAPES and inputs and inputs[0] in turned:
            return relax.op.reshape(turned[inputs[0]][0], list(shape(var)))
        elif len(shape(var)) == 4:
            axis = next((turned[x][1] for x in inputs if x in turned), None)
            if axis is not None and shape(var)[axis + 1] == 1:
                new = following(rewriter, old, axis)
        if new is None or axis is None:
            return None
        turned[var] = rewriter.emit(new, f"{var.name}"), axis
        return relax.op.reshape(turned[var][0], list(shape(var)))

    return rewrite(module, visit)


def _column_layer(call: Expr) -> int | None:
    """The axis of rows of a layer that slides over them on a map of one column; None for all others."""
    name = operator(call)
    if name not in (CONV2D, *POOLS):
        return None
    a = call.attrs
    axis = ROW.get(str(a.layout if name in POOLS else a.data_layout))
    if axis is None or shape(call.args[0])[axis + 1] != 1 or shape(call.args[0])[axis] == 1:
        return None
    if name in POOLS:
        window = integers(a.pool_size)
    else:
        kernel = str(a.kernel_layout)
        window = tuple(shape(call.args[1])[kernel.index(letter)] for letter in "HW")
    padding = integers(a.padding)
    return axis if window[1] == 1 and padding[1] == padding[3] == 0 else None


def _pool(old: Expr, x: Expr) -> Expr:
    a = old.attrs
    pool = relax.op.nn.max_pool2d if operator(old) == MAX_POOL else relax.op.nn.avg_pool2d
    return pool(
        x,
        pool_size=integers(a.pool_size)[::-1],
        strides=integers(a.strides)[::-1],
        padding=_sides(a),
        dilation=integers(a.dilation)[::-1],
        ceil_mode=bool(a.ceil_mode),
        count_include_pad=bool(a.count_include_pad),
        layout=str(a.layout),
    )


def _convolution(rewriter: Rewriter, old: Expr, x: Expr) -> Expr:
    a = old.attrs
    layout = str(a.kernel_layout)
    extents = _swapped(shape(old.args[1]), layout.index("H"))
    weight = rewriter.mapped(old.args[1])
    if is_constant(weight):
        weight = relax.const(value(weight).reshape(extents))
    else:
        weight = rewriter.emit(relax.op.reshape(weight, extents))
    return relax.op.nn.conv2d(
        x,
        weight,
        strides=integers(a.strides)[::-1],
        padding=_sides(a),
        dilation=integers(a.dilation)[::-1],
        groups=int(a.groups),
        data_layout=str(a.data_layout),
        kernel_layout=layout,
    )


def _sides(attributes: Any) -> list[int]:
    """[top, left, bottom, right] with rows and columns in each other's place."""
    top, left, bottom, right = integers(attributes.padding)
    return [left, top, right, bottom]


def _moved(place: int, axis: int) -> int:
    """Where an axis stands once `axis` and the next are in each other's place."""
    return {axis: axis + 1, axis + 1: axis}.get(place, place)


def _swapped(extents: Sequence[Any], axis: int) -> list[Any]:
    return [*extents[:axis], extents[axis + 1], extents[axis], *extents[axis + 2 :]]


def _applied(call: Expr, tensors: list[Expr]) -> Expr:
    """The call with other tensors in the first places."""
    return tvm.ir.Call(call.op, [*tensors, *call.args[len(tensors) :]], call.attrs, call.ty_args)
