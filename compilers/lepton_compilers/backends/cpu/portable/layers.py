"""The rows that every CPU has: dense tensors, kernels/portable.h.

What only moves bytes stands in movement.py, what has two operands in elementwise.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable import movement
from lepton_compilers.backends.cpu.weights.packing import float_bits, float_columns, int8_columns
from lepton_compilers.backends.cpu.weights.ranges import INT32, accumulator_fits
from lepton_sdk.program import Clamp, Tensor, TensorId, Tensors, arithmetic
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
    Quantize,
    Relu,
    Softmax,
    Sub,
    Table,
)

Sliding = Conv2d | DepthwiseConv2d | GroupedConv2d
Products = Sliding | Dense
Pool = AveragePool2d | MaxPool2d


# What is accepted


def typed(tensors: Tensors, dtype: str, *names: TensorId) -> Answer:
    """Yes where all the tensors are of `dtype`."""
    found = sorted({tensors[name].dtype for name in names})
    return when(found == [dtype], f"types {', '.join(found)}; this form takes {dtype}")


def int8_products(op: Products, t: Tensors) -> Answer:
    """int8 sums of products whose weights are constants and whose sums are proven to fit in 32 bits."""
    answer = typed(t, "int8", op.x, op.weight, op.y)
    if isinstance(answer, No):
        return answer
    if op.multiplier is None or t[op.multiplier].value is None or t[op.weight].value is None:
        return No("int8 products need constant weights and a constant multiplier")
    return accumulator_fits(op, t)


def float_products(op: Products, t: Tensors) -> Answer:
    """float32 sums of products, weights constant or variable."""
    return typed(t, "float32", op.x, op.weight, op.y, *((op.bias,) if op.bias else ()))


def both_typed(dtype: str) -> Callable[[Any, Tensors], Answer]:
    """Operations whose x and y are of one type."""
    return lambda op, t: typed(t, dtype, op.x, op.y)


def quantised_pool(op: AveragePool2d, t: Tensors) -> Answer:
    """int8 mean; scales are those of the tensors."""
    return typed(t, "int8", op.x, op.y)


# What is emitted


def int_bounds(clamp: Clamp | None) -> tuple[int, int]:
    """Bounds of an int8 result."""
    return (int(clamp.low), int(clamp.high)) if clamp else (-128, 127)


def float_bounds(clamp: Clamp | None) -> tuple[int, int]:
    """Bits of a float32 result's bounds."""
    return (
        float_bits(clamp.low if clamp else -math.inf),
        float_bits(clamp.high if clamp else math.inf),
    )


def relu_bounds(op: Relu) -> tuple[int, int]:
    """Bits of a rectified result's bounds."""
    return float_bits(0), float_bits(math.inf if op.maximum is None else op.maximum)


def add_constants(op: Add | Sub, t: Tensors) -> tuple[int, int, int]:
    """(ma, mb, shift) of an int8 sum."""
    return arithmetic.add_multipliers(float(t[op.a].scale), float(t[op.b].scale), float(t[op.y].scale))


def image_bytes(draft: Draft, name: TensorId) -> int:
    """Dense bytes of one image of a feature map."""
    return draft.tensors[name].nbytes // draft.tensors[name].shape[0]


def window(op: Sliding, draft: Draft) -> tuple[int, ...]:
    """h, w, c, oh, ow, o, kh, kw, strides, paddings, dilations: the arguments of every sliding product."""
    t = draft.tensors
    kernel = t[op.weight].shape[:2] if isinstance(op, DepthwiseConv2d) else t[op.weight].shape[1:3]
    p = op.padding
    return (*t[op.x].shape[1:], *t[op.y].shape[1:], *kernel, *op.stride, p.top, p.left, *op.dilation)


def _one_row(op: Conv2d, draft: Draft) -> tuple[int, ...]:
    """`window`, the pixels of a 1 × 1 convolution in one row."""
    h, w, c, oh, ow, o, *rest = window(op, draft)
    if draft.tensors[op.weight].shape[1:3] == op.stride == (1, 1) and not op.padding:
        return (1, h * w, c, 1, h * w, o, *rest)
    return (h, w, c, oh, ow, o, *rest)


def _constant(name: TensorId, draft: Draft) -> npt.NDArray[np.generic]:
    value = draft.value(name)
    assert value is not None  # accepted
    return value


def _int8_starts(op: Products, draft: Draft) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Biases of all output channels, and the same less what the zero point is worth in a whole window."""
    weight, bias = _constant(op.weight, draft), draft.value(op.bias) if op.bias else None
    channel = weight.ndim - 1 if isinstance(op, DepthwiseConv2d) else 0
    axes = tuple(axis for axis in range(weight.ndim) if axis != channel)
    start = np.zeros(draft.tensors[op.y].shape[-1], np.int64) if bias is None else bias.astype(np.int64)
    return start, start - draft.tensors[op.x].zero_point * weight.sum(axes, dtype=np.int64)


def _int8_constants(
    op: Products, draft: Draft, weight: npt.NDArray[np.generic], start: npt.NDArray[np.int64]
) -> tuple[Place, Place, Place]:
    """Weights, starts modulo 2^32 and multipliers."""
    wrapped = (start & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    factors = np.broadcast_to(_constant(op.multiplier or "", draft), start.shape)
    return draft.constant(weight), draft.constant(wrapped), draft.constant(factors)


def _zeros(op: Products, draft: Draft) -> tuple[int, ...]:
    return draft.tensors[op.x].zero_point, draft.tensors[op.y].zero_point, *int_bounds(op.clamp)


def _slid(kernel: str, op: Sliding, draft: Draft, constants: tuple[Place, ...], *literals: int) -> None:
    x, y = draft.read(op.x).stepping(image_bytes(draft, op.x)), draft.write(op.y)
    images = draft.tensors[op.x].shape[0]
    draft.call(kernel, x, *constants, y.stepping(image_bytes(draft, op.y)), *literals, times=images)


def _int8_columns(
    op: Conv2d | Dense, draft: Draft, padded: bool
) -> tuple[tuple[Place, ...], tuple[int, ...]]:
    """What conv2d_int8 takes besides a shape: constants, and zero points and bounds.

    Where every window is whole, sums start less what the zero point is worth, which then is 0.
    """
    start, less = _int8_starts(op, draft)
    zero, *rest = _zeros(op, draft)
    # Two sums share a register: neither may wrap, not even at its start.
    if not padded and np.abs(less).max() <= INT32:
        zero, start = 0, less
    return _int8_constants(op, draft, int8_columns(_constant(op.weight, draft)), start), (zero, *rest)


def emit_conv2d_int8(op: Conv2d, draft: Draft) -> None:
    """One call an image; the pixels of a 1 × 1 convolution are one row."""
    constants, zeros = _int8_columns(op, draft, bool(op.padding))
    _slid("conv2d_int8", op, draft, constants, *_one_row(op, draft), *zeros)


def emit_depthwise_int8(op: DepthwiseConv2d, draft: Draft) -> None:
    """One call an image."""
    constants = _int8_constants(op, draft, _constant(op.weight, draft), _int8_starts(op, draft)[1])
    _slid("depthwise_int8", op, draft, constants, *window(op, draft), *_zeros(op, draft))


def emit_grouped_int8(op: GroupedConv2d, draft: Draft) -> None:
    """One call an image."""
    constants = _int8_constants(op, draft, _constant(op.weight, draft), _int8_starts(op, draft)[0])
    literals = (op.groups(draft.tensors), *window(op, draft), *_zeros(op, draft))
    _slid("grouped_conv2d_int8", op, draft, constants, *literals)


def emit_dense_int8(op: Dense, draft: Draft) -> None:
    """A 1 × 1 convolution whose pixels are the rows."""
    (rows, inner), out = draft.tensors[op.x].shape, draft.tensors[op.y].shape[1]
    x, (constants, zeros) = draft.read(op.x), _int8_columns(op, draft, padded=False)
    shape = (1, rows, inner, 1, rows, out, 1, 1, 1, 1, 0, 0, 1, 1)
    draft.call("conv2d_int8", x, *constants, draft.write(op.y), *shape, *zeros)


def _float_weight(op: Conv2d | Dense, draft: Draft) -> Place:
    """Weights as columns of 16 output channels: packed now if constant, by a call if variable."""
    value, tensor = draft.value(op.weight), draft.tensors[op.weight]
    if value is not None:
        return draft.constant(float_columns(value))
    out, inner = tensor.shape[0], tensor.size // tensor.shape[0]
    columns = draft.scratch(-(-out // 16) * 16 * inner * 4)
    draft.call("pack_columns_float", draft.read(op.weight), columns, out, inner)
    return columns


def _float_bias(op: Products, draft: Draft, instead: Place) -> tuple[Place, int]:
    return (draft.read(op.bias), 1) if op.bias else (instead, 0)


def emit_conv2d_float(op: Conv2d, draft: Draft) -> None:
    """One call an image; the pixels of a 1 × 1 convolution are one row."""
    images = draft.tensors[op.x].shape[0]
    x, weight = draft.read(op.x), _float_weight(op, draft)
    bias, has_bias = _float_bias(op, draft, weight)
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    literals = (has_bias, *_one_row(op, draft), *float_bounds(op.clamp))
    draft.call("conv2d_float", x.stepping(image_bytes(draft, op.x)), weight, bias, y, *literals, times=images)


def emit_depthwise_float(op: DepthwiseConv2d, draft: Draft) -> None:
    """One call an image."""
    images = draft.tensors[op.x].shape[0]
    x, weight = draft.read(op.x), draft.read(op.weight)
    bias, has_bias = _float_bias(op, draft, weight)
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    literals = (has_bias, *window(op, draft), *float_bounds(op.clamp))
    draft.call(
        "depthwise_float", x.stepping(image_bytes(draft, op.x)), weight, bias, y, *literals, times=images
    )


def _constant_float_products(op: GroupedConv2d, t: Tensors) -> Answer:
    answer = float_products(op, t)
    if isinstance(answer, No):
        return answer
    return when(t[op.weight].value is not None, "weights that vary, in groups")


def emit_grouped_float(op: GroupedConv2d, draft: Draft) -> None:
    """One call an image; weights by group, tap and input channel."""
    value, groups = draft.tensors[op.weight].value, op.groups(draft.tensors)
    assert value is not None  # accepted
    by_group = value.reshape(groups, -1, *value.shape[1:]).transpose(0, 2, 3, 4, 1)
    x, weight = draft.read(op.x), draft.constant(np.ascontiguousarray(by_group))
    bias, has_bias = _float_bias(op, draft, weight)
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    literals = (has_bias, groups, *window(op, draft), *float_bounds(op.clamp))
    images = draft.tensors[op.x].shape[0]
    source = x.stepping(image_bytes(draft, op.x))
    draft.call("grouped_conv2d_float", source, weight, bias, y, *literals, times=images)


def emit_dense_float(op: Dense, draft: Draft) -> None:
    """A 1 × 1 convolution whose pixels are the rows."""
    (rows, inner), out = draft.tensors[op.x].shape, draft.tensors[op.y].shape[1]
    x, weight = draft.read(op.x), _float_weight(op, draft)
    bias, has_bias = _float_bias(op, draft, weight)
    shape = (1, rows, inner, 1, rows, out, 1, 1, 1, 1, 0, 0, 1, 1)
    draft.call("conv2d_float", x, weight, bias, draft.write(op.y), has_bias, *shape, *float_bounds(op.clamp))


def pool_window(op: Pool, draft: Draft) -> tuple[int, ...]:
    """h, w, c, oh, ow, kh, kw, strides, paddings."""
    shape, out = draft.tensors[op.x].shape, draft.tensors[op.y].shape
    return (*shape[1:], *out[1:3], *op.kernel, *op.stride, op.padding.top, op.padding.left)


def mean_constants(op: AveragePool2d, t: Tensors) -> tuple[int, ...]:
    """same, bits of both scales, zero points, bounds: how an int8 mean is rounded."""
    x, y = t[op.x], t[op.y]
    if x.quantization == y.quantization:
        return (1, float_bits(1), float_bits(1), 0, 0, *int_bounds(op.clamp))
    scales = (float_bits(float(x.scale)), float_bits(float(y.scale)))
    return (0, *scales, x.zero_point, y.zero_point, *int_bounds(op.clamp))


def _pooled(kernel: str, op: Pool, draft: Draft, literals: Sequence[int]) -> None:
    x = draft.read(op.x).stepping(image_bytes(draft, op.x))
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    draft.call(kernel, x, y, *pool_window(op, draft), *literals, times=draft.tensors[op.x].shape[0])


def emit_average_pool_int8(op: AveragePool2d, draft: Draft) -> None:
    """One call an image."""
    _pooled("average_pool_int8", op, draft, mean_constants(op, draft.tensors))


def emit_average_pool_float(op: AveragePool2d, draft: Draft) -> None:
    """One call an image."""
    _pooled("average_pool_float", op, draft, float_bounds(op.clamp))


def emit_max_pool_int8(op: MaxPool2d, draft: Draft) -> None:
    """One call an image."""
    _pooled("max_pool_int8", op, draft, int_bounds(op.clamp))


def emit_max_pool_float(op: MaxPool2d, draft: Draft) -> None:
    """One call an image."""
    _pooled("max_pool_float", op, draft, float_bounds(op.clamp))


def row_shape(tensor: Tensor) -> tuple[int, int]:
    """Rows along the last axis, and values of one."""
    return tensor.size // tensor.shape[-1], tensor.shape[-1]


def emit_softmax_int8(op: Softmax, draft: Draft) -> None:
    """A row at a time."""
    assert op.table is not None  # accepted
    x, table = draft.read(op.x), draft.read(op.table)
    draft.call("softmax_int8", x, table, draft.write(op.y), *row_shape(draft.tensors[op.x]))


def emit_softmax_float(op: Softmax, draft: Draft) -> None:
    """A row at a time."""
    x = draft.read(op.x)
    draft.call("softmax_float", x, draft.write(op.y, over=op.x), *row_shape(draft.tensors[op.x]))


def emit_table(op: Table, draft: Draft) -> None:
    """A look-up an element."""
    x, table = draft.read(op.x), draft.read(op.table)
    draft.call("table_int8", x, table, draft.write(op.y, over=op.x), draft.tensors[op.y].size)


def emit_relu(op: Relu, draft: Draft) -> None:
    """A clamp from zero."""
    x, y = draft.read(op.x), draft.write(op.y, over=op.x)
    draft.call("clamp_to_float", x, y, draft.tensors[op.y].size, *relu_bounds(op))


def emit_clamp_int8(op: ClampTo, draft: Draft) -> None:
    """Element by element."""
    x, y = draft.read(op.x), draft.write(op.y, over=op.x)
    draft.call("clamp_int8", x, y, draft.tensors[op.y].size, *int_bounds(op.clamp))


def emit_clamp_float(op: ClampTo, draft: Draft) -> None:
    """Element by element."""
    x, y = draft.read(op.x), draft.write(op.y, over=op.x)
    draft.call("clamp_to_float", x, y, draft.tensors[op.y].size, *float_bounds(op.clamp))


def emit_quantize(op: Quantize, draft: Draft) -> None:
    """Element by element."""
    y = draft.tensors[op.y]
    inverse = float(np.float32(1) / y.scale)
    source = draft.read(op.x)
    draft.call("quantize_int8", source, draft.write(op.y), y.size, float_bits(inverse), y.zero_point)


def emit_dequantize(op: Dequantize, draft: Draft) -> None:
    """Element by element."""
    x = draft.tensors[op.x]
    source, scale = draft.read(op.x), float_bits(float(x.scale))
    draft.call("dequantize_int8", source, draft.write(op.y), x.size, scale, x.zero_point)


def _float_to_int8(op: Quantize, t: Tensors) -> Answer:
    return when((t[op.x].dtype, t[op.y].dtype) == ("float32", "int8"), "quantize goes from float32 to int8")


def _int8_to_float(op: Dequantize, t: Tensors) -> Answer:
    return when((t[op.x].dtype, t[op.y].dtype) == ("int8", "float32"), "dequantize goes from int8 to float32")


def int8_softmax(op: Softmax, t: Tensors) -> Answer:
    """int8 at both ends, and a table of exponentials."""
    answer = typed(t, "int8", op.x, op.y)
    return answer if op.table is not None else No("int8 softmax needs its table")


_INT8, _FLOAT = both_typed("int8"), both_typed("float32")

LOWERINGS: Rows = {
    Conv2d: (Lowering(int8_products, emit_conv2d_int8), Lowering(float_products, emit_conv2d_float)),
    DepthwiseConv2d: (
        Lowering(int8_products, emit_depthwise_int8),
        Lowering(float_products, emit_depthwise_float),
    ),
    GroupedConv2d: (
        Lowering(int8_products, emit_grouped_int8),
        Lowering(_constant_float_products, emit_grouped_float),
    ),
    Dense: (Lowering(int8_products, emit_dense_int8), Lowering(float_products, emit_dense_float)),
    AveragePool2d: (
        Lowering(quantised_pool, emit_average_pool_int8),
        Lowering(_FLOAT, emit_average_pool_float),
    ),
    MaxPool2d: (Lowering(_INT8, emit_max_pool_int8), Lowering(_FLOAT, emit_max_pool_float)),
    Softmax: (Lowering(int8_softmax, emit_softmax_int8), Lowering(_FLOAT, emit_softmax_float)),
    Table: (Lowering(_INT8, emit_table),),
    Relu: (Lowering(_FLOAT, emit_relu),),
    ClampTo: (Lowering(_INT8, emit_clamp_int8), Lowering(_FLOAT, emit_clamp_float)),
    Quantize: (Lowering(_float_to_int8, emit_quantize),),
    Dequantize: (Lowering(_int8_to_float, emit_dequantize),),
    **movement.LOWERINGS,
}
