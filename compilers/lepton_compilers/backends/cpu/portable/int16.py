"""The rows of int16 activations with int8 weights, which every CPU has: kernels/int16.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.elementwise import stretched_walk
from lepton_compilers.backends.cpu.portable.layers import (
    Pool,
    Products,
    Sliding,
    image_bytes,
    pool_window,
    typed,
    window,
)
from lepton_compilers.backends.cpu.portable.vision import GROUPS, axis_groups, reduced_axes
from lepton_compilers.backends.cpu.weights.packing import float_bits, input_pairs
from lepton_compilers.backends.cpu.weights.ranges import INT32
from lepton_sdk.program import Clamp, TensorId, Tensors
from lepton_sdk.program import arithmetic_int16 as int16
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Quantize,
    Softmax,
    Sub,
    Table,
)
from lepton_sdk.program.operations_int16 import FixedPointSigmoid, FixedPointTanh, Requantize
from lepton_sdk.program.vision import ReduceMean

HEADER = "int16.h"


# What is accepted


def _both(op: Any, t: Tensors) -> Answer:
    return typed(t, "int16", op.x, op.y)


def _alike(op: Pool, t: Tensors) -> Answer:
    """int16 pools of one quantisation."""
    answer = _both(op, t)
    if isinstance(answer, No):
        return answer
    return when(t[op.x].quantization == t[op.y].quantization, "an int16 pool between different scales")


def _products(op: Products, t: Tensors) -> Answer:
    """Constant int8 weights, and accumulators that the multiplier can't take out of int64."""
    answer = typed(t, "int16", op.x, op.y)
    if isinstance(answer, No):
        return answer
    weight, multiplier = t[op.weight].value, t[op.multiplier].value if op.multiplier else None
    bias = t[op.bias].value if op.bias else np.zeros(1, np.int64)
    if weight is None or multiplier is None or bias is None or weight.dtype != np.int8:
        return No("int16 products need constant int8 weights, a constant bias and multiplier")
    if weight.min() < -127:
        return No("a weight of −128; weights lie in −127 … 127")
    axes = (0, 1) if isinstance(op, DepthwiseConv2d) else tuple(range(1, weight.ndim))
    reach = int((np.abs(weight).sum(axes, dtype=np.int64) * 32768 + np.abs(bias)).max())
    if reach >= int16.ACCUMULATOR_LIMIT:
        return No(f"sums that reach {reach}; an int16 layer's accumulator holds {int16.ACCUMULATOR_LIMIT}")
    if isinstance(op, Dense):
        return when(multiplier.dtype == np.int64, "a Dense of int16 multiplies by the bits of a float64")
    return when(multiplier[1].min() >= 1 and multiplier[1].max() <= 62, "shifts outside 1 … 62")


def _two_typed(op: Add | Sub | Mul, t: Tensors) -> Answer:
    answer = typed(t, "int16", op.a, op.b, op.y)
    return answer if isinstance(answer, No) else stretched_walk(op, t)[1]


def _sum(op: Add | Sub, t: Tensors) -> Answer:
    answer = _two_typed(op, t)
    if isinstance(answer, No):
        return answer
    return when(int16.fits(_sum_factors(op, t)[2], 30), "scales of an int16 sum whose factor is 1 or more")


def _mul(op: Mul, t: Tensors) -> Answer:
    answer = _two_typed(op, t)
    if isinstance(answer, No):
        return answer
    return when(
        int16.fits(_product_factor(op, t), 30), "scales of an int16 product whose factor is 1 or more"
    )


def _requantize(op: Requantize, t: Tensors) -> Answer:
    kinds = (t[op.x].dtype, t[op.y].dtype)
    if "int16" not in kinds or set(kinds) - {"int8", "int16"}:
        return No(
            f"requantises {kinds[0]} to {kinds[1]}; int16 to int16 or int8, or int8 to int16, is supported"
        )
    return when(int16.fits(_requantise_factor(op, t), 16), "scales whose ratio is 2^14 or more")


def _softmax(op: Softmax, t: Tensors) -> Answer:
    answer = _both(op, t)
    if isinstance(answer, No):
        return answer
    fits = int16.fits(int16.softmax_factor(float(t[op.x].scale)), 16)
    return when(op.table is not None and fits, "an int16 softmax without tables, or of a scale above 2")


def _sigmoid(op: FixedPointSigmoid | FixedPointTanh, t: Tensors) -> Answer:
    answer = _both(op, t)
    if isinstance(answer, No):
        return answer
    multiplier = int16.sigmoid_multiplier(float(t[op.x].scale))[0]
    return when(multiplier <= int16.HIGH, "an int16 sigmoid or tanh of a scale above 2")


def _mean(op: ReduceMean, t: Tensors) -> Answer:
    """Sums that 32 bits hold, scaled to no more than they are."""
    answer = _both(op, t)
    if isinstance(answer, No):
        return answer
    count, groups = t[op.x].size // t[op.y].size, max(map(len, reduced_axes(t[op.x].shape, op.axes)))
    if count >= 1 << 16 or groups > GROUPS:
        return No(f"a mean over {count} elements in {groups} groups of axes; 65535 in {GROUPS} are supported")
    fits = int16.fits(_mean_factor(op, t), 15 + count.bit_length())
    return when(fits, "an int16 mean between scales so far apart that 32 bits don't hold its sum")


def _from_to(x: str, y: str) -> Callable[[Quantize | Dequantize, Tensors], Answer]:
    return lambda op, t: when((t[op.x].dtype, t[op.y].dtype) == (x, y), f"this form goes from {x} to {y}")


# What is emitted


def bounds(clamp: Clamp | None) -> tuple[int, int]:
    """Bounds of an int16 result."""
    return (int(clamp.low), int(clamp.high)) if clamp else (int16.LOW, int16.HIGH)


def _scales(t: Tensors, *names: TensorId) -> list[float]:
    return [float(t[name].scale) for name in names]


def _sum_factors(op: Add | Sub, t: Tensors) -> tuple[int16.Factor, int16.Factor, int16.Factor]:
    a, b, y = _scales(t, op.a, op.b, op.y)
    return int16.sum_factors(a, b, y)


def _product_factor(op: Mul, t: Tensors) -> int16.Factor:
    a, b, y = _scales(t, op.a, op.b, op.y)
    return int16.product_factor(a, b, y)


def _requantise_factor(op: Requantize, t: Tensors) -> int16.Factor:
    x, y = _scales(t, op.x, op.y)
    return int16.requantise_factor(x, y)


def _mean_factor(op: ReduceMean, t: Tensors) -> int16.Factor:
    x, y = _scales(t, op.x, op.y)
    return int16.mean_factor(x, y, t[op.x].size // t[op.y].size)


def _weight(op: Products, draft: Draft) -> npt.NDArray[np.int8]:
    weight = draft.value(op.weight)
    assert weight is not None  # accepted
    return np.asarray(weight, np.int8)


NARROW_SHIFTS = range(17, 47)
"""Shifts of requantise_narrow; by a longer one every sum of 32 bits becomes zero."""


def narrow(op: Sliding, t: Tensors) -> bool:
    """Whether 32 bits hold every sum that the weights allow, at every step, and shifts are long enough."""
    weight, multiplier = t[op.weight].value, t[op.multiplier or ""].value
    bias = t[op.bias].value if op.bias else np.zeros(1, np.int64)
    assert weight is not None
    assert multiplier is not None
    assert bias is not None  # accepted
    axes = (0, 1) if isinstance(op, DepthwiseConv2d) else tuple(range(1, weight.ndim))
    reach = np.abs(weight.astype(np.int64)).sum(axes) * 32768 + np.abs(bias.astype(np.int64))
    return bool(reach.max() <= INT32 and multiplier[1].min() >= NARROW_SHIFTS.start)


def _results(op: Products, draft: Draft) -> tuple[Place, Place]:
    """Bias, zeros where there is none, and multipliers."""
    multiplier, channels = draft.value(op.multiplier or ""), draft.tensors[op.y].shape[-1]
    assert multiplier is not None  # accepted
    if not isinstance(op, Dense) and narrow(op, draft.tensors):
        factors, shifts = multiplier
        last = NARROW_SHIFTS[-1]
        multiplier = np.stack([np.where(shifts > last, 0, factors), np.minimum(shifts, last)])
    bias = draft.value(op.bias) if op.bias else None
    return (
        draft.constant(np.zeros(channels, np.int64) if bias is None else bias),
        draft.constant(np.broadcast_to(multiplier, (*multiplier.shape[:-1], channels))),
    )


def _slid(kernel: str, op: Sliding, draft: Draft, *first: int) -> None:
    x, constants = draft.read(op.x), (draft.constant(_weight(op, draft)), *_results(op, draft))
    arguments = (*constants, draft.write(op.y).stepping(image_bytes(draft, op.y)))
    held = () if isinstance(op, GroupedConv2d) else (int(narrow(op, draft.tensors)),)
    literals = (*first, *window(op, draft), *held, *bounds(op.clamp))
    images = draft.tensors[op.x].shape[0]
    draft.call(kernel, x.stepping(image_bytes(draft, op.x)), *arguments, *literals, times=images)


def emit_conv2d(op: Conv2d, draft: Draft) -> None:
    """One call an image; the pixels of a 1 × 1 convolution are one row."""
    x, weight, sliding = draft.read(op.x), _weight(op, draft), window(op, draft)
    h, w, c, _, _, o, *rest = sliding
    if weight.shape[1:3] == op.stride == (1, 1) and not op.padding:
        sliding = (1, h * w, c, 1, h * w, o, *rest)
    zeros = draft.constant(np.zeros(c + 1, np.int16))
    constants = (draft.constant(input_pairs(weight)), *_results(op, draft), zeros)
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    images = draft.tensors[op.x].shape[0]
    source = x.stepping(image_bytes(draft, op.x))
    literals = (*sliding, int(narrow(op, draft.tensors)), *bounds(op.clamp))
    draft.call("conv2d_int16", source, *constants, y, *literals, times=images)


def emit_grouped(op: GroupedConv2d, draft: Draft) -> None:
    """One call an image."""
    _slid("grouped_conv2d_int16", op, draft, op.groups(draft.tensors))


def emit_depthwise(op: DepthwiseConv2d, draft: Draft) -> None:
    """One call an image."""
    _slid("depthwise_int16", op, draft)


def emit_dense(op: Dense, draft: Draft) -> None:
    """A row at a time."""
    (rows, inner), out = draft.tensors[op.x].shape, draft.tensors[op.y].shape[1]
    x, constants = draft.read(op.x), (draft.constant(_weight(op, draft)), *_results(op, draft))
    draft.call("dense_int16", x, *constants, draft.write(op.y), rows, inner, out, *bounds(op.clamp))


def _pooled(kernel: str) -> Callable[[Pool, Draft], None]:
    def emit(op: Pool, draft: Draft) -> None:
        x = draft.read(op.x).stepping(image_bytes(draft, op.x))
        y = draft.write(op.y).stepping(image_bytes(draft, op.y))
        literals = (*pool_window(op, draft), *bounds(op.clamp))
        draft.call(kernel, x, y, *literals, times=draft.tensors[op.x].shape[0])

    return emit


def _two(kernel: str, op: Add | Sub | Mul, draft: Draft, *literals: int) -> None:
    """In place over an operand of y's shape that nothing reads later."""
    t = draft.tensors
    a, b = draft.read(op.a), draft.read(op.b)
    y = draft.write(op.y, over=op.a if t[op.a].shape == t[op.y].shape else None)
    draft.call(kernel, a, b, y, *stretched_walk(op, t)[0], *literals, *bounds(op.clamp))


def emit_sum(op: Add | Sub, draft: Draft) -> None:
    """Both operands brought to one scale, then summed or subtracted."""
    factors = [n for f in _sum_factors(op, draft.tensors) for n in (f.mantissa, f.exponent)]
    _two("stretched_add_int16", op, draft, 1 if isinstance(op, Add) else -1, *factors)


def emit_mul(op: Mul, draft: Draft) -> None:
    """Products of elements."""
    by = _product_factor(op, draft.tensors)
    _two("stretched_mul_int16", op, draft, by.mantissa, by.exponent)


def emit_requantize(op: Requantize, draft: Draft) -> None:
    """Element by element."""
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    by, limits = _requantise_factor(op, draft.tensors), np.iinfo(y.dtype)
    low, high = bounds(op.clamp) if op.clamp else (int(limits.min), int(limits.max))
    source = draft.read(op.x)
    target = draft.write(op.y, over=op.x if x.dtype == y.dtype else None)
    literals = (x.size, x.zero_point, by.mantissa, by.exponent, y.zero_point, low, high)
    draft.call(f"requantize_{x.dtype}_{y.dtype}", source, target, *literals)


def emit_mean(op: ReduceMean, draft: Draft) -> None:
    """All axes at once."""
    kept, reduced = reduced_axes(draft.tensors[op.x].shape, op.axes)
    by = _mean_factor(op, draft.tensors)
    walk = (*axis_groups(kept), *axis_groups(reduced))
    draft.call("reduce_mean_int16", draft.read(op.x), draft.write(op.y), *walk, by.mantissa, by.exponent)


def emit_clamp(op: ClampTo, draft: Draft) -> None:
    """Element by element."""
    x, y = draft.read(op.x), draft.write(op.y, over=op.x)
    draft.call("clamp_int16", x, y, draft.tensors[op.y].size, *bounds(op.clamp))


def emit_quantize(op: Quantize, draft: Draft) -> None:
    """Element by element."""
    y, source = draft.tensors[op.y], draft.read(op.x)
    inverse = float(np.float32(1) / y.scale)
    draft.call("quantize_int16", source, draft.write(op.y), y.size, float_bits(inverse))


def emit_dequantize(op: Dequantize, draft: Draft) -> None:
    """Element by element."""
    x, source = draft.tensors[op.x], draft.read(op.x)
    draft.call("dequantize_int16", source, draft.write(op.y), x.size, float_bits(float(x.scale)))


def emit_table(op: Table, draft: Draft) -> None:
    """A look-up and a line an element."""
    x, table = draft.read(op.x), draft.read(op.table)
    draft.call("table_int16", x, table, draft.write(op.y, over=op.x), draft.tensors[op.y].size)


def emit_softmax(op: Softmax, draft: Draft) -> None:
    """A row at a time."""
    assert op.table is not None  # accepted
    x, tables, tensor = draft.read(op.x), draft.read(op.table), draft.tensors[op.x]
    by = int16.softmax_factor(float(tensor.scale))
    rows = (tensor.size // tensor.shape[-1], tensor.shape[-1])
    draft.call("softmax_int16", x, tables, draft.write(op.y), *rows, by.mantissa, by.exponent)


def _curve(kernel: str) -> Callable[[FixedPointSigmoid | FixedPointTanh, Draft], None]:
    def emit(op: FixedPointSigmoid | FixedPointTanh, draft: Draft) -> None:
        x, table, tensor = draft.read(op.x), draft.read(op.table), draft.tensors[op.x]
        multiplier = int16.sigmoid_multiplier(float(tensor.scale))
        draft.call(kernel, x, table, draft.write(op.y, over=op.x), tensor.size, *multiplier)

    return emit


LOWERINGS: Rows = {
    Conv2d: (Lowering(_products, emit_conv2d, HEADER),),
    DepthwiseConv2d: (Lowering(_products, emit_depthwise, HEADER),),
    GroupedConv2d: (Lowering(_products, emit_grouped, HEADER),),
    Dense: (Lowering(_products, emit_dense, HEADER),),
    Add: (Lowering(_sum, emit_sum, HEADER),),
    Sub: (Lowering(_sum, emit_sum, HEADER),),
    Mul: (Lowering(_mul, emit_mul, HEADER),),
    AveragePool2d: (Lowering(_alike, _pooled("average_pool_int16"), HEADER),),
    MaxPool2d: (Lowering(_alike, _pooled("max_pool_int16"), HEADER),),
    Softmax: (Lowering(_softmax, emit_softmax, HEADER),),
    Table: (Lowering(_both, emit_table, HEADER),),
    ClampTo: (Lowering(_both, emit_clamp, HEADER),),
    Quantize: (Lowering(_from_to("float32", "int16"), emit_quantize, HEADER),),
    Dequantize: (Lowering(_from_to("int16", "float32"), emit_dequantize, HEADER),),
    ReduceMean: (Lowering(_mean, emit_mean, HEADER),),
    Requantize: (Lowering(_requantize, emit_requantize, HEADER),),
    FixedPointSigmoid: (Lowering(_sigmoid, _curve("sigmoid_int16"), HEADER),),
    FixedPointTanh: (Lowering(_sigmoid, _curve("tanh_int16"), HEADER),),
}
