"""Layers of vision heads → operations: a row an operator for float32, for int8, and for whole numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_compilers.integerize.accumulators import check_weights, int32_bias
from lepton_compilers.integerize.chain import Chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Array, Known
from lepton_compilers.integerize.lower_float import Lowered, Rule, float_clamp
from lepton_compilers.integerize.lower_int8 import integer_bounds, integers_of
from lepton_compilers.integerize.resize import bilinear_places, nearest_places
from lepton_compilers.integerize.windows import pair
from lepton_compilers.passes.graph import (
    CONV2D_TRANSPOSE,
    PAD,
    RESIZE,
    Expr,
    Var,
    dtype,
    integers,
    operator,
    shape,
)
from lepton_sdk.program import Clamp, Operation, Padding, Quantization, TensorId, arithmetic
from lepton_sdk.program.arithmetic_vision import RESIZE_ONE
from lepton_sdk.program.operations import Reshape, Table
from lepton_sdk.program.vision import (
    ArgMax,
    ArgMin,
    ConvTranspose2d,
    Maximum,
    Minimum,
    MirrorPad,
    Prelu,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ResizeBilinear,
    ResizeNearest,
)

Reduction = type[ReduceMean] | type[ReduceSum] | type[ReduceMax] | type[ReduceMin] | type[ReduceProd]
REDUCTIONS: Mapping[str, Reduction] = {
    "relax.mean": ReduceMean,
    "relax.sum": ReduceSum,
    "relax.max": ReduceMax,
    "relax.min": ReduceMin,
    "relax.prod": ReduceProd,
}
EXTREMES: Mapping[str, type[Maximum] | type[Minimum]] = {"relax.maximum": Maximum, "relax.minimum": Minimum}
ARGS: Mapping[str, type[ArgMax] | type[ArgMin]] = {"relax.argmax": ArgMax, "relax.argmin": ArgMin}
UNCHANGED_RANGE = (ReduceMax, ReduceMin)
EVERY_INTEGER = (-128, 127)


# Transposed convolution


def _transposed_form(call: Expr) -> tuple[tuple[int, int], Padding] | None:
    """Stride and what is cut off the output; None for groups, dilation and other layouts."""
    a = call.attrs
    plain = int(a.groups) == 1 and set(integers(a.dilation)) == {1}
    if not plain or (str(a.data_layout), str(a.kernel_layout)) != ("NHWC", "IOHW"):
        return None
    top, left, bottom, right = integers(a.padding)
    below, beside = pair(a.output_padding)
    return pair(a.strides), Padding(top, bottom - below, left, right - beside)


def _ohwi(draft: Draft, call: Expr) -> Known | None:
    weight = draft.known(call.args[1])
    return None if weight is None else weight.moved(lambda w: w.transpose(1, 2, 3, 0))


def _float_transposed(draft: Draft, chain: Chain) -> Lowered | None:
    call, form, weight = chain.core, _transposed_form(chain.core), _ohwi(draft, chain.core)
    if form is None or weight is None or weight.parameter is not None:
        return None
    name, x, y = draft.layer(chain.result), draft.tensor(call.args[0]), draft.tensor(chain.result)
    bias = draft.float_constant(f"{name}/bias", chain.bias) if chain.bias is not None else None
    held = draft.float_constant(f"{name}/weight", weight)
    op = ConvTranspose2d(x, held, bias, None, y, *form, float_clamp(chain))
    return Lowered((op,), (call.args[0],))


def _int8_transposed(draft: Draft, chain: Chain) -> Lowered | None:
    call, out, form = chain.core, chain.quantization, _transposed_form(chain.core)
    source, weight = draft.dequantised(call.args[0]), _ohwi(draft, call)
    if out is None or form is None or source is None or weight is None:
        return None
    scales = weight.channel_scales(0)
    if weight.values.dtype != np.int8 or weight.zero or scales is None:
        return None
    name, (x, x_quantization) = draft.layer(chain.result), source
    accumulator = np.float32(x_quantization.scale) * scales
    bias = int32_bias(name, chain.bias, accumulator)
    check_weights(name, weight.values, bias, x_quantization)
    multiplier = arithmetic.requantise_multiplier(x_quantization.scale, scales, out.scale)
    per_channel = Quantization(tuple(float(s) for s in scales), 0, 0)
    bias_scales = Quantization(tuple(float(s) for s in accumulator), 0, 0)
    op = ConvTranspose2d(
        draft.tensor(x, x_quantization),
        draft.constant(f"{name}/weight", weight.values, per_channel),
        draft.constant(f"{name}/bias", bias, bias_scales) if bias is not None else None,
        draft.constant(f"{name}/multiplier", multiplier),
        draft.tensor(chain.result, out),
        *form,
        _clamp(chain, out),
    )
    return Lowered((op,), (x,))


def _clamp(chain: Chain, quantization: Quantization) -> Clamp | None:
    low, high = integer_bounds(chain, quantization)
    return None if (low, high) == EVERY_INTEGER else Clamp(low, high)


# One tensor in, the same numbers out: resizing, extremes over axes, mirrored borders


def _source(draft: Draft, chain: Chain, expr: Expr) -> tuple[Var, Quantization | None] | None:
    """The tensor behind an operand in the result's form: float as it is, int8 at the result's numbers."""
    if chain.quantization is None:
        return (expr, None) if draft.known(expr) is None else None
    source = draft.dequantised(expr)
    plain = (chain.integer_low, chain.integer_high) == EVERY_INTEGER and not chain.bounded
    return source if source is not None and plain else None


def _kept(draft: Draft, chain: Chain) -> tuple[TensorId, TensorId, tuple[Var, ...]] | None:
    """(x, y, reads) of a layer whose result has its operand's numbers; None where it has others."""
    source = _source(draft, chain, chain.core.args[0])
    if source is None or source[1] != chain.quantization:
        return None
    x, quantization = source
    return draft.tensor(x, quantization), draft.tensor(chain.result, quantization), (x,)


def _resize(draft: Draft, chain: Chain) -> Lowered | None:
    call, ends = chain.core, _kept(draft, chain)
    if ends is None or str(call.attrs.layout) != "NHWC" or len(shape(chain.result)) != 4:
        return None
    x, y, reads = ends
    sizes = list(zip(shape(call.args[0])[1:3], shape(chain.result)[1:3]))
    mode, rounding = str(call.attrs.coordinate_transformation_mode), str(call.attrs.rounding_method)
    name, method = draft.layer(chain.result), str(call.attrs.method)
    if method == "nearest_neighbor":
        down, across = (nearest_places(n, m, mode, rounding) for n, m in sizes)
        if down is None or across is None:
            return None
        rows, columns = (draft.constant(f"{name}/places", places) for places in (down, across))
        return Lowered((ResizeNearest(x, rows, columns, y),), reads)
    if method != "linear":
        return None
    linear = [bilinear_places(n, m, mode) for n, m in sizes]
    if linear[0] is None or linear[1] is None:
        return None
    held = [
        (draft.constant(f"{name}/places", p), draft.constant(f"{name}/weights", _weights(chain, w)))
        for p, w in (linear[0], linear[1])
    ]
    op = ResizeBilinear(x, held[0][0], held[1][0], held[0][1], held[1][1], y)
    return Lowered((op,), reads)


def _weights(chain: Chain, weights: Array) -> Array:
    if chain.quantization is None:
        return weights
    return np.rint(weights * np.float32(RESIZE_ONE)).astype(np.int32)


def _reduced(draft: Draft, chain: Chain) -> Lowered | None:
    call, kind = chain.core, REDUCTIONS[chain.operator]
    source, out = _source(draft, chain, call.args[0]), chain.quantization
    extents = shape(call.args[0])
    given = range(len(extents)) if call.attrs.axis is None else integers(call.attrs.axis)
    axes = tuple(sorted({axis % len(extents) for axis in given}))
    if source is None or not axes or (out is not None and kind is ReduceProd):
        return None
    if kind in UNCHANGED_RANGE and source[1] != out:
        return None
    x, x_quantization = source
    left = tuple(n for axis, n in enumerate(extents) if axis not in axes)
    y = draft.tensor(chain.result, out)
    operations: tuple[Operation, ...] = ()
    if left != shape(chain.result):
        flat = draft.scratch(f"{draft.layer(chain.result)}/reduced", left, dtype(chain.result), out)
        operations, y = (Reshape(flat, y),), flat
    return Lowered((kind(draft.tensor(x, x_quantization), y, axes), *operations), (x,))


def _mirrored(draft: Draft, chain: Chain) -> Lowered | None:
    call, ends = chain.core, _kept(draft, chain)
    if ends is None or str(call.attrs.pad_mode) != "reflect":
        return None
    x, y, reads = ends
    widths = integers(call.attrs.pad_width)
    extents = shape(call.args[0])
    if any(max(b, a) > n - 1 for n, b, a in zip(extents, widths[::2], widths[1::2])):
        return None
    return Lowered((MirrorPad(x, y, widths[::2], widths[1::2]),), reads)


# Two operands


def _extremes(draft: Draft, chain: Chain) -> Lowered | None:
    """Operands in other numbers than the result's go through a table first; constants are converted now."""
    out = chain.quantization
    operations: list[Operation] = []
    names: list[TensorId] = []
    reads: list[Var] = []
    layer = draft.layer(chain.result)
    for operand in chain.core.args:
        what = draft.known(operand)
        if what is not None:
            if what.parameter is not None:
                return None
            real = np.atleast_1d(what.real) if shape(chain.result) else what.real
            value = real.astype(np.float32) if out is None else integers_of(real, out)
            names.append(draft.constant(f"{layer}/operand", value, out))
            continue
        source = _source(draft, chain, operand)
        if source is None:
            return None
        x, quantization = source
        names.append(draft.tensor(x, quantization))
        reads.append(x)
        if quantization is not None and out is not None and quantization != out:
            reals = (np.arange(-128, 128, dtype=np.float64) - quantization.zero_point) * quantization.scale
            table = draft.constant(f"{layer}/table", integers_of(reals, out))
            other = draft.scratch(f"{layer}/operand", shape(x), "int8", out)
            operations.append(Table(names[-1], table, other))
            names[-1] = other
    if not reads:
        return None
    op = EXTREMES[chain.operator](names[0], names[1], draft.tensor(chain.result, out))
    return Lowered((*operations, op), tuple(reads))


def _prelu(draft: Draft, chain: Chain) -> Lowered | None:
    call, source = chain.core, _source(draft, chain, chain.core.args[0])
    if source is None:
        return None
    rank, axis = len(shape(call.args[0])), int(call.attrs.axis)
    slopes, out = draft.known(call.args[1]), chain.quantization
    if slopes is None or slopes.parameter is not None or slopes.values.ndim != 1:
        return None
    extents = [1] * (rank - axis % rank)
    extents[0] = slopes.values.size
    turned, name = slopes.moved(lambda values: values.reshape(extents)), draft.layer(chain.result)
    x, x_quantization = source
    if out is None:
        held = draft.float_constant(f"{name}/slopes", turned)
    else:
        scales = None if turned.scales is None else np.unique(turned.scales)
        if turned.values.dtype != np.int8 or scales is None or scales.size != 1:
            return None
        numbers = Quantization((float(scales[0]),), turned.zero)
        held = draft.constant(f"{name}/slopes", turned.values, numbers)
    op = Prelu(draft.tensor(x, x_quantization), held, draft.tensor(chain.result, out))
    return Lowered((op,), (x,))


def _leaky_relu(draft: Draft, chain: Chain) -> Lowered | None:
    """Float: one slope for all."""
    x, slope = chain.core.args[0], np.array([float(chain.core.attrs.alpha)], np.float32)
    held = draft.constant(f"{draft.layer(chain.result)}/slope", slope)
    return Lowered((Prelu(draft.tensor(x), held, draft.tensor(chain.result)),), (x,))


# Indices


def arg_extreme(draft: Draft, var: Var) -> Lowered | None:
    """The index of an extreme, read through a cast; an int8 operand stays int8, whose order is the same."""
    call = draft.graph.definition(var)
    if operator(call) == "relax.astype" and dtype(var) in ("int32", "int64"):
        call = draft.graph.definition(call.args[0])
    if operator(call) not in ARGS or call.attrs.axis is None or dtype(var) not in ("int32", "int64"):
        return None
    source = draft.dequantised(call.args[0])
    x, quantization = source if source is not None else (call.args[0], None)
    if draft.known(x) is not None or dtype(x) not in ("int8", "int32", "float32"):
        return None
    extents = shape(x)
    axis = int(call.attrs.axis) % len(extents)
    left = tuple(n for at, n in enumerate(extents) if at != axis)
    y = draft.tensor(var)
    operations: tuple[Operation, ...] = ()
    if left != shape(var):
        flat = draft.scratch(f"{draft.layer(var)}/index", left, dtype(var))
        operations, y = (Reshape(flat, y),), flat
    op = ARGS[operator(call) or ""](draft.tensor(x, quantization), y, axis)
    return Lowered((op, *operations), (x,))


ANY_TYPE: Mapping[str, Rule] = {
    RESIZE: _resize,
    PAD: _mirrored,
    "relax.nn.prelu": _prelu,
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(EXTREMES, _extremes),
}
FLOAT_VISION: Mapping[str, Rule] = {
    **ANY_TYPE,
    CONV2D_TRANSPOSE: _float_transposed,
    "relax.nn.leakyrelu": _leaky_relu,
}
INT8_VISION: Mapping[str, Rule] = {**ANY_TYPE, CONV2D_TRANSPOSE: _int8_transposed}
