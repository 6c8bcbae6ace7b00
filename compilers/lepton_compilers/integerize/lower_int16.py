"""Layers quantised to int16 → operations: one row an operator in INT16. Formulas: docs/arithmetic.md, int16.

Each rule reads dequantize → core → quantize of int16 on all sides and answers None where that has no int16
form; integerize then keeps the layer in float between Dequantize and Quantize.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lepton_compilers.integerize.accumulators import check_wide_weights, halved_channels, int64_bias
from lepton_compilers.integerize.chain import INTEGERS, Chain, activation_bounds, full_range
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Known
from lepton_compilers.integerize.lower_float import (
    TWO_OPERANDS,
    Lowered,
    Rule,
    arranged,
    concat_axis,
    convolution,
    last_axis,
    pad,
)
from lepton_compilers.integerize.windows import is_nhwc_pool, padding, pair, pool_padding
from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.graph import (
    ADD,
    AVERAGE_POOL,
    CLIP,
    CONCAT,
    CONV2D,
    MATMUL,
    MAX_POOL,
    MULTIPLY,
    PAD,
    PERMUTE,
    RELU,
    RESHAPE,
    SOFTMAX,
    SUBTRACT,
    Expr,
    Var,
    dtype,
    integers,
    parts,
    shape,
)
from lepton_sdk.program import Clamp, Operation, Quantization, TensorId
from lepton_sdk.program import arithmetic_int16 as int16
from lepton_sdk.program.operations import (
    AveragePool2d,
    ClampTo,
    Concat,
    Dense,
    MaxPool2d,
    Reshape,
    Softmax,
    Transpose,
)
from lepton_sdk.program.operations_int16 import FixedPointSigmoid, FixedPointTanh, Requantize
from lepton_sdk.program.vision import ReduceMean

UNIT_OUTPUT = Quantization((2.0**-15,))
"""Of softmax, sigmoid and tanh."""
CURVES: Mapping[str, type[FixedPointSigmoid] | type[FixedPointTanh]] = {
    "relax.sigmoid": FixedPointSigmoid,
    "relax.tanh": FixedPointTanh,
}


def _bounds(chain: Chain, quantization: Quantization, kind: str) -> Clamp | None:
    """The activation's real bounds, half away from zero as LiteRT rounds them, and any integer ones."""
    low, high = full_range(kind)
    ends = []
    for real in (chain.low, chain.high):
        if math.isinf(real):
            ends.append(low if real < 0 else high)
            continue
        steps = float(np.float32(real) / np.float32(quantization.scale))
        number = math.copysign(math.floor(abs(steps) + 0.5), steps) + quantization.zero_point
        ends.append(int(min(max(number, low), high)))
    least = max(ends[0], chain.integer_low)
    most = max(min(ends[1], chain.integer_high), least)
    return None if (least, most) == (low, high) else Clamp(least, most)


def _clamp(chain: Chain, out: Quantization) -> Clamp | None:
    return _bounds(chain, out, "int16")


def _symmetric(*quantizations: Quantization | None) -> bool:
    return all(q is not None and q.zero_point == 0 for q in quantizations)


def _accumulating(draft: Draft, chain: Chain) -> Lowered | None:
    call, out = chain.core, chain.quantization
    source, weight = draft.dequantised(call.args[0], "int16"), draft.known(call.args[1])
    if out is None or source is None or weight is None or weight.values.dtype != np.int8 or weight.zero:
        return None
    (x, x_quantization), weight = source, arranged(call, weight)
    if weight is None or not _symmetric(x_quantization, out):
        return None
    axis = 2 if weight.values.ndim == 3 else 0
    scales = weight.channel_scales(axis)
    if scales is None:
        return None
    name, sx = draft.layer(chain.result), np.float64(x_quantization.scale)
    bias = int64_bias(name, chain.bias, sx * scales.astype(np.float64))
    rows, bias, scales = halved_channels(np.moveaxis(weight.values, axis, 0), bias, scales)
    check_wide_weights(name, rows, bias)
    reals = sx * scales.astype(np.float64) / np.float64(out.scale)
    if not (reals < 2.0**7).all():
        return None
    multiplier = int16.dense_multiplier if chain.operator == MATMUL else int16.requantise_multiplier
    per_channel = Quantization(tuple(map(float, scales)), 0, axis)
    held = (
        draft.constant(f"{name}/weight", np.moveaxis(rows, 0, axis), per_channel),
        draft.constant(f"{name}/bias", bias) if bias is not None else None,
        draft.constant(f"{name}/multiplier", multiplier(reals)),
        draft.tensor(chain.result, out),
    )
    x_tensor, clamp = draft.tensor(x, x_quantization), _clamp(chain, out)
    if chain.operator == MATMUL:
        return Lowered((Dense(x_tensor, *held, clamp),), (x,))
    a = call.attrs
    op = convolution(call)(x_tensor, *held, pair(a.strides), padding(call), pair(a.dilation), clamp)
    return Lowered((op,), (x,))


def _two_operands(draft: Draft, chain: Chain) -> Lowered | None:
    out = chain.quantization
    held = [_operand(draft, chain, operand) for operand in chain.core.args]
    if held[0] is None or held[1] is None or out is None or not _symmetric(out):
        return None
    (a, sa, a_reads), (b, sb, b_reads) = held[0], held[1]
    if chain.operator == MULTIPLY:
        last = int16.product_factor(sa, sb, out.scale)
    else:
        last = int16.sum_factors(sa, sb, out.scale)[2]
    if not int16.fits(last, 30):
        return None
    op = TWO_OPERANDS[chain.operator](a, b, draft.tensor(chain.result, out), _clamp(chain, out))
    return Lowered((op,), (*a_reads, *b_reads))


def _operand(draft: Draft, chain: Chain, operand: Expr) -> tuple[TensorId, float, tuple[Var, ...]] | None:
    """A tensor of the network with its scale, or a constant as int16: as its source holds it, or rounded."""
    source, what = draft.dequantised(operand, "int16"), draft.known(operand)
    if source is not None:
        x, quantization = source
        return (draft.tensor(x, quantization), quantization.scale, (x,)) if _symmetric(quantization) else None
    if what is None or what.parameter is not None:
        return None
    quantization, numbers = _as_int16(what)
    name = draft.constant(f"{draft.layer(chain.result)}/operand", np.atleast_1d(numbers), quantization)
    return name, quantization.scale, ()


def _as_int16(what: Known) -> tuple[Quantization, np.ndarray]:
    scales = None if what.scales is None else np.unique(what.scales)
    if scales is not None and what.values.dtype == np.int16 and scales.size == 1 and what.zero == 0:
        return Quantization((float(scales[0]),)), what.values
    scale = float(np.float32(max(float(np.abs(what.real).max(initial=0.0)), 1e-30) / int16.HIGH))
    return Quantization((scale,)), _numbers(what, scale)


def _numbers(what: Known, scale: float) -> np.ndarray:
    """Real values in steps of `scale`."""
    return np.asarray(np.clip(np.rint(what.real / scale), int16.LOW, int16.HIGH).astype(np.int16))


def _pool(draft: Draft, chain: Chain) -> Lowered | None:
    """Pools keep their input's numbers; others follow by a Requantize."""
    call, out = chain.core, chain.quantization
    source = draft.dequantised(call.args[0], "int16")
    if out is None or source is None or not is_nhwc_pool(call) or not _symmetric(source[1], out):
        return None
    x, x_quantization = source
    kind = MaxPool2d if chain.operator == MAX_POOL else AveragePool2d
    size, stride = pair(call.attrs.pool_size), pair(call.attrs.strides)
    around, x_tensor = pool_padding(call, shape(chain.result)), draft.tensor(x, x_quantization)
    y = draft.tensor(chain.result, out)
    if x_quantization == out:
        return Lowered((kind(x_tensor, y, size, stride, around, _clamp(chain, out)),), (x,))
    if not int16.fits(int16.requantise_factor(x_quantization.scale, out.scale), 16):
        return None
    pooled = draft.scratch(f"{draft.layer(chain.result)}/pool", shape(chain.result), "int16", x_quantization)
    steps = (kind(x_tensor, pooled, size, stride, around), Requantize(pooled, y, _clamp(chain, out)))
    return Lowered(steps, (x,))


def _mean(draft: Draft, chain: Chain) -> Lowered | None:
    """A mean over axes that is no pool; axes kept as ones come back by a reshape."""
    call, out = chain.core, chain.quantization
    source, extents = draft.dequantised(call.args[0], "int16"), shape(call.args[0])
    given = range(len(extents)) if call.attrs.axis is None else integers(call.attrs.axis)
    axes = tuple(sorted({axis % len(extents) for axis in given}))
    plain = (chain.integer_low, chain.integer_high) == full_range("int16") and not chain.bounded
    if out is None or source is None or not plain or not axes or not _symmetric(source[1], out):
        return None
    left = tuple(n for axis, n in enumerate(extents) if axis not in axes)
    count = math.prod(extents) // math.prod(left)
    by = int16.mean_factor(source[1].scale, out.scale, count)
    if count >= 1 << 16 or not int16.fits(by, 15 + count.bit_length()):
        return None
    x, y = draft.tensor(*source), draft.tensor(chain.result, out)
    if left == shape(chain.result):
        return Lowered((ReduceMean(x, y, axes),), (source[0],))
    flat = draft.scratch(f"{draft.layer(chain.result)}/reduced", left, "int16", out)
    return Lowered((ReduceMean(x, flat, axes), Reshape(flat, y)), (source[0],))


def _softmax(draft: Draft, chain: Chain) -> Lowered | None:
    source = draft.dequantised(chain.core.args[0], "int16")
    plain = (chain.integer_low, chain.integer_high) == full_range("int16")
    if source is None or chain.quantization != UNIT_OUTPUT or not last_axis(chain) or not plain:
        return None
    x, quantization = source
    if not _symmetric(quantization) or not int16.fits(int16.softmax_factor(quantization.scale), 16):
        return None
    tables = draft.constant(f"{draft.layer(chain.result)}/tables", int16.softmax_tables())
    op = Softmax(draft.tensor(x, quantization), tables, draft.tensor(chain.result, UNIT_OUTPUT))
    return Lowered((op,), (x,))


def _curve(draft: Draft, chain: Chain) -> Lowered | None:
    source = draft.dequantised(chain.core.args[0], "int16")
    plain = (chain.integer_low, chain.integer_high) == full_range("int16")
    if source is None or chain.quantization != UNIT_OUTPUT or not plain or not _symmetric(source[1]):
        return None
    x, quantization = source
    if int16.sigmoid_multiplier(quantization.scale)[0] > int16.HIGH:
        return None
    table = draft.constant(f"{draft.layer(chain.result)}/table", int16.sigmoid_table())
    kind = CURVES[chain.operator]
    op = kind(draft.tensor(x, quantization), table, draft.tensor(chain.result, UNIT_OUTPUT))
    return Lowered((op,), (x,))


def _activation(draft: Draft, chain: Chain) -> Lowered | None:
    """A relu or clip on its own: a clamp where the numbers mean the same on both sides, else a Requantize."""
    out, source = chain.quantization, draft.dequantised(chain.core.args[0], "int16")
    if out is None or source is None or not _symmetric(source[1], out):
        return None
    x, quantization = source
    low, high = activation_bounds(chain.core)
    held = Chain(chain.result, chain.core, None, low, high, out, chain.integer_low, chain.integer_high)
    clamp = _clamp(held, out)
    ends = draft.tensor(x, quantization), draft.tensor(chain.result, out)
    if quantization == out:
        return Lowered((ClampTo(*ends, clamp or Clamp(*full_range("int16"))),), (x,))
    if not int16.fits(int16.requantise_factor(quantization.scale, out.scale), 16):
        return None
    return Lowered((Requantize(*ends, clamp),), (x,))


def _concat(draft: Draft, chain: Chain) -> Lowered | None:
    """Parts in other numbers than the whole's are requantised first; constants are converted now."""
    out, whole = chain.quantization, chain.core
    if out is None or (chain.integer_low, chain.integer_high) != full_range("int16") or out.zero_point:
        return None
    layer = draft.layer(chain.result)
    operations: list[Operation] = []
    names: list[TensorId] = []
    reads: list[Var] = []
    for part in parts(whole):
        what, source = draft.known(part), draft.dequantised(part, "int16")
        if what is not None:
            names.append(draft.constant(f"{layer}/part", _numbers(what, out.scale), out))
            continue
        held = None if source is None else _in_numbers(draft, layer, *source, out)
        if source is None or held is None:
            return None
        reads.append(source[0])
        names.append(held[0])
        operations += held[1]
    joined = Concat(tuple(names), draft.tensor(chain.result, out), concat_axis(whole))
    return Lowered((*operations, joined), tuple(reads))


def _in_numbers(
    draft: Draft, layer: str, x: Var, given: Quantization, out: Quantization
) -> tuple[TensorId, tuple[Operation, ...]] | None:
    """A tensor in the numbers of `out`: itself, or requantised; None where the factor is too large."""
    if not _symmetric(given, out) or not int16.fits(int16.requantise_factor(given.scale, out.scale), 16):
        return None
    name = draft.tensor(x, given)
    if given == out:
        return name, ()
    other = draft.scratch(f"{layer}/part", shape(x), "int16", out)
    return other, (Requantize(name, other),)


def _moved(draft: Draft, chain: Chain) -> Lowered | None:
    """dequantize → move → quantize moves the elements, in the result's numbers."""
    call, out = chain.core, chain.quantization
    source = draft.dequantised(call.args[0], "int16")
    plain = (chain.integer_low, chain.integer_high) == full_range("int16")
    if out is None or source is None or not plain:
        return None
    if chain.operator == PAD and str(call.attrs.pad_mode) != "constant":
        return None
    held = _in_numbers(draft, draft.layer(chain.result), *source, out)
    if held is None:
        return None
    (x, steps), y = held, draft.tensor(chain.result, out)
    op: Operation
    if chain.operator == RESHAPE:
        op = Reshape(x, y)
    elif chain.operator == PERMUTE:
        op = Transpose(x, y, permute_axes(call))
    else:
        fill = np.rint(float(call.attrs.pad_value) / out.scale)
        op = pad(call, x, y, int(np.clip(fill, int16.LOW, int16.HIGH)))
    return Lowered((*steps, op), (source[0],))


def other_numbers(draft: Draft, chain: Chain) -> Lowered | None:
    """quantize(dequantize(x)) with int16 on a side: nothing but other numbers for the same reals."""
    source, out = draft.dequantised_call(chain.core, *INTEGERS), chain.quantization
    if source is None or out is None:
        return None
    kinds = dtype(source[0]), dtype(chain.result)
    if "int16" not in kinds or not int16.fits(int16.requantise_factor(source[1].scale, out.scale), 16):
        return None
    clamp = _bounds(chain, out, kinds[1])
    op = Requantize(draft.tensor(*source), draft.tensor(chain.result, out), clamp)
    return Lowered((op,), (source[0],))


INT16: Mapping[str, Rule] = {
    CONV2D: _accumulating,
    MATMUL: _accumulating,
    **dict.fromkeys((ADD, SUBTRACT, MULTIPLY), _two_operands),
    MAX_POOL: _pool,
    AVERAGE_POOL: _pool,
    "relax.mean": _mean,
    SOFTMAX: _softmax,
    **dict.fromkeys(CURVES, _curve),
    RELU: _activation,
    CLIP: _activation,
    **dict.fromkeys((RESHAPE, PERMUTE, PAD), _moved),
    CONCAT: _concat,
}
