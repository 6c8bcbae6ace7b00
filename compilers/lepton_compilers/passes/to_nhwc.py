"""ONNX feature maps are NCHW, a Program's are NHWC: turn the operators, not the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.functions import UNARY
from lepton_compilers.passes.graph import (
    ADD,
    AVERAGE_POOL,
    CLIP,
    CONCAT,
    CONV2D,
    CONV2D_TRANSPOSE,
    DEQUANTIZE,
    MAX_POOL,
    MULTIPLY,
    PAD,
    QUANTIZE,
    RELU,
    RESHAPE,
    RESIZE,
    SUBTRACT,
    Expr,
    Var,
    dtype,
    integers,
    is_constant,
    operands,
    operator,
    parts,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite
from lepton_compilers.passes.sequence_forms import split_range

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
REDUCTIONS: Mapping[str, Callable[..., Expr]] = {
    "relax.mean": relax.op.mean,
    "relax.max": relax.op.max,
    "relax.min": relax.op.min,
    "relax.sum": relax.op.sum,
}
TWO_OPERANDS = (ADD, SUBTRACT, MULTIPLY, "relax.divide", "relax.power", "relax.maximum", "relax.minimum")
ELEMENTWISE = (RELU, CLIP, *UNARY, *TWO_OPERANDS, QUANTIZE, DEQUANTIZE)
SLICE, TAKE = "relax.strided_slice", "relax.take"


def to_nhwc(module: Any) -> Any:
    """Convolutions and pools in NHWC, kernels HWIO (depthwise HWOI); what follows them turns along.

    Before quantisation, so that quantize and dequantize never stand between a permute and its convolution.
    TVM's ConvertLayout stops at clip, at rank-1 biases and at quantize, and leaves permutes there; this
    walk keeps both forms of every turned map and emits the NCHW one only where something asks for it.
    Permutes that move nothing (one channel, one pixel) are reshapes.
    """
    turned: dict[Var, Expr] = {}

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        answer = _turned(rewriter, turned, var, old)
        if answer is None:
            return None
        turned[var] = rewriter.emit(answer, var.name)
        if len(shape(turned[var])) != 4:
            return turned[var]
        return permuted(turned[var], TO_NCHW)

    return rewrite(module, visit)


def permuted(expr: Expr, axes: tuple[int, ...]) -> Expr:
    """permute_dims, or the reshape that does the same where only extents of one move."""
    extents = shape(expr)
    if [a for a in axes if extents[a] != 1] == [a for a in range(len(axes)) if extents[a] != 1]:
        return relax.op.reshape(expr, [extents[a] for a in axes])
    return relax.op.permute_dims(expr, list(axes))


def _turned(rewriter: Rewriter, turned: dict[Var, Expr], var: Var, old: Expr) -> Expr | None:
    """The NHWC form of a binding, or None where it stays as it is."""
    name = operator(old)

    def nhwc(expr: Expr) -> Expr:
        expr = rewriter.graph.resolve(expr)
        if is_constant(expr):
            array = value(expr)
            if array.ndim > 1 or array.size > 1:
                array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_NHWC)
            return relax.const(np.ascontiguousarray(array))
        if expr not in turned and rewriter.graph.operator(expr) in (QUANTIZE, DEQUANTIZE):
            # A permute between a layer and its quantize would hide the one from the other.
            definition = rewriter.graph.definition(expr)
            if not is_constant(definition.args[0]) and value(definition.args[1]).size == 1:
                inner = [nhwc(definition.args[0]), *definition.args[1:]]
                call = tvm.ir.Call(definition.op, inner, definition.attrs, definition.ty_args)
                turned[expr] = rewriter.emit(call, f"{expr.name}/nhwc")
        if expr not in turned:
            turned[expr] = rewriter.emit(permuted(rewriter.mapped(expr), TO_NHWC), f"{expr.name}/nhwc")
        return turned[expr]

    if name == CONV2D and str(old.attrs.data_layout) == "NCHW":
        weight, layout = _kernel(rewriter, old)
        a = old.attrs
        return relax.op.nn.conv2d(
            nhwc(old.args[0]),
            weight,
            strides=integers(a.strides),
            padding=integers(a.padding),
            dilation=integers(a.dilation),
            groups=int(a.groups),
            data_layout="NHWC",
            kernel_layout=layout,
        )
    if name == CONV2D_TRANSPOSE and _turns(rewriter, old):
        a = old.attrs
        return relax.op.nn.conv2d_transpose(
            nhwc(old.args[0]),
            rewriter.mapped(old.args[1]),
            strides=integers(a.strides),
            padding=integers(a.padding),
            output_padding=integers(a.output_padding),
            dilation=integers(a.dilation),
            groups=int(a.groups),
            data_layout="NHWC",
            kernel_layout=str(a.kernel_layout),
        )
    if name == RESIZE and str(old.attrs.layout) == "NCHW":
        a = old.attrs
        return relax.op.image.resize2d(
            nhwc(old.args[0]),
            list(shape(var)[2:]),
            roi=[float(n) for n in a.roi],
            layout="NHWC",
            method=str(a.method),
            coordinate_transformation_mode=str(a.coordinate_transformation_mode),
            rounding_method=str(a.rounding_method),
            cubic_alpha=float(a.cubic_alpha),
            cubic_exclude=int(a.cubic_exclude),
            extrapolation_value=float(a.extrapolation_value),
        )
    if name in (MAX_POOL, AVERAGE_POOL) and str(old.attrs.layout) == "NCHW":
        a = old.attrs
        pool = relax.op.nn.max_pool2d if name == MAX_POOL else relax.op.nn.avg_pool2d
        return pool(
            nhwc(old.args[0]),
            pool_size=integers(a.pool_size),
            strides=integers(a.strides),
            padding=integers(a.padding),
            dilation=integers(a.dilation),
            ceil_mode=bool(a.ceil_mode),
            count_include_pad=bool(a.count_include_pad),
            layout="NHWC",
        )
    if isinstance(old, relax.TupleGetItem):
        part = split_range(rewriter.graph, old)
        if part is None or len(shape(part[0])) != 4 or rewriter.graph.resolve(part[0]) not in turned:
            return None
        x, axis, first, last = part
        return relax.op.strided_slice(nhwc(x), [TO_NHWC.index(axis)], [first], [last])
    follows = any(rewriter.graph.resolve(a) in turned for a in operands(old))
    if not follows or not dtype(var):
        return None
    if name is not None and name in REDUCTIONS and sorted(integers(old.attrs.axis)) in ([2, 3], [-2, -1]):
        return REDUCTIONS[name](nhwc(old.args[0]), axis=[1, 2], keepdims=bool(old.attrs.keepdims))
    if len(shape(var)) != 4:
        return None
    if name == PAD:
        widths = integers(old.attrs.pad_width)
        pairs = [widths[2 * axis : 2 * axis + 2] for axis in TO_NHWC]
        flat = [w for pair in pairs for w in pair]
        return relax.op.nn.pad(nhwc(old.args[0]), flat, str(old.attrs.pad_mode), float(old.attrs.pad_value))
    if name == RESHAPE and _turns_on_its_side(shape(old.args[0]), shape(var)):
        return relax.op.reshape(nhwc(old.args[0]), [shape(var)[axis] for axis in TO_NHWC])
    if name == SLICE:
        axes, *places = ([int(n.value) for n in part.fields] for part in old.args[1:])
        return relax.op.strided_slice(nhwc(old.args[0]), [TO_NHWC.index(axis % 4) for axis in axes], *places)
    if (
        name == TAKE
        and is_constant(old.args[1])
        and value(old.args[1]).ndim == 1
        and old.attrs.axis is not None
    ):
        axis = TO_NHWC.index(int(old.attrs.axis) % 4)
        return relax.op.take(nhwc(old.args[0]), old.args[1], axis=axis, mode=str(old.attrs.mode))
    if name == CONCAT:
        axis = int(old.attrs.axis) % 4
        return relax.op.concat([nhwc(part) for part in parts(old)], TO_NHWC.index(axis))
    if name in ELEMENTWISE:
        data = 2 if name in TWO_OPERANDS else 1
        if any(not is_constant(a) and len(shape(a)) != 4 for a in old.args[:data]):
            return None
        if name in (QUANTIZE, DEQUANTIZE) and value(old.args[1]).size > 1:
            return None
        arguments = [nhwc(a) for a in old.args[:data]] + list(old.args[data:])
        return tvm.ir.Call(old.op, arguments, old.attrs, old.ty_args)
    return None


def _turns_on_its_side(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a map of one column becomes one of one row, or the other way round."""
    return before == tuple(after[axis] for axis in (0, 1, 3, 2)) and 1 in before[2:]


def _turns(rewriter: Rewriter, transposed: Expr) -> bool:
    """Whether a transposed convolution has a form in NHWC: constant weights, one group, no dilation."""
    a = transposed.attrs
    plain = int(a.groups) == 1 and set(integers(a.dilation)) == {1}
    layouts = (str(a.data_layout), str(a.kernel_layout))
    return plain and layouts == ("NCHW", "IOHW") and is_constant(rewriter.mapped(transposed.args[1]))


def _kernel(rewriter: Rewriter, conv: Expr) -> tuple[Expr, str]:
    """HWIO from OIHW, or HWOI [kh, kw, out, 1] where each group is one input channel."""
    weight = rewriter.mapped(conv.args[1])
    channels, groups = shape(conv.args[0])[1], int(conv.attrs.groups)
    layout, axes = ("HWOI", [2, 3, 0, 1]) if groups == channels > 1 else ("HWIO", [2, 3, 1, 0])
    if is_constant(weight):
        return relax.const(np.ascontiguousarray(value(weight).transpose(axes))), layout
    return rewriter.emit(relax.op.permute_dims(weight, axes)), layout
