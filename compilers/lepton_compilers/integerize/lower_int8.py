"""Quantised layers → int8 operations: one row an operator in INT8. Formulas: docs/arithmetic.md.

Each rule reads dequantize → core → quantize and answers None where that has no int8 form (a channel-wise
activation, a float operand); integerize then keeps the layer in float between Dequantize and Quantize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lepton_compilers.integerize.accumulators import check_weights, halved_channels, int32_bias
from lepton_compilers.integerize.chain import Chain, activation_bounds, full_range
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Array
from lepton_compilers.integerize.lower_float import (
    TWO_OPERANDS,
    Lowered,
    Rule,
    arranged,
    concat_axis,
    convolution,
    dense_of_rows,
    last_axis,
    move,
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
    DEQUANTIZE,
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
    number,
    parts,
    shape,
)
from lepton_sdk.program import Clamp, Operation, Quantization, TensorId, arithmetic
from lepton_sdk.program.operations import (
    AveragePool2d,
    ClampTo,
    Concat,
    Dense,
    MaxPool2d,
    Reshape,
    Softmax,
    Table,
    Transpose,
)

FORMULAS: Mapping[str, Callable[[Array | float, Array | float], Array]] = {
    ADD: np.add,
    SUBTRACT: np.subtract,
    MULTIPLY: np.multiply,
}
SOFTMAX_OUTPUT = Quantization((1 / 256,), -128)
ADD_RATIO_LOW, ADD_RATIO_HIGH = 2.0**-10, 2.0**8
"""Operand scale over result scale for which the sum's 21-bit ratios fit int32 (XNNPACK's range as well)."""


def integer_bounds(chain: Chain, quantization: Quantization) -> tuple[int, int]:
    """The activation's real bounds, and any integer ones, in the result's own numbers."""
    scale, zero = np.float32(quantization.scale), quantization.zero_point
    reals = np.array([chain.low, chain.high], np.float32)
    low, high = (int(n) for n in np.clip(np.rint(reals / scale) + zero, -128, 127))
    return max(low, chain.integer_low), max(min(high, chain.integer_high), max(low, chain.integer_low))


def int8_clamp(chain: Chain, quantization: Quantization) -> Clamp | None:
    """The clamp of a layer's operation; None where it bounds nothing."""
    low, high = integer_bounds(chain, quantization)
    return None if (low, high) == (-128, 127) else Clamp(low, high)


def _accumulating(draft: Draft, chain: Chain) -> Lowered | None:
    call, out = chain.core, chain.quantization
    source, weight = draft.dequantised(call.args[0]), draft.known(call.args[1])
    if out is None or source is None or weight is None or weight.values.dtype != np.int8 or weight.zero:
        return None
    weight = arranged(call, weight)
    if weight is None:
        return None
    axis = 2 if weight.values.ndim == 3 else 0
    scales = weight.channel_scales(axis)
    if scales is None:
        return None
    name, (x, x_quantization) = draft.layer(chain.result), source
    bias = int32_bias(name, chain.bias, np.float32(x_quantization.scale) * scales)
    rows, bias, scales = halved_channels(np.moveaxis(weight.values, axis, 0), bias, scales)
    check_weights(name, rows, bias, x_quantization)
    multiplier = arithmetic.requantise_multiplier(x_quantization.scale, scales, out.scale)
    per_channel = Quantization(tuple(float(s) for s in scales), 0, axis)
    accumulator = np.float32(x_quantization.scale) * scales
    bias_scales = Quantization(tuple(float(s) for s in accumulator), 0, 0)
    held = (
        draft.constant(f"{name}/weight", np.moveaxis(rows, 0, axis), per_channel),
        draft.constant(f"{name}/bias", bias, bias_scales) if bias is not None else None,
        draft.constant(f"{name}/multiplier", multiplier),
        draft.tensor(chain.result, out),
    )
    x_tensor, clamp = draft.tensor(x, x_quantization), int8_clamp(chain, out)
    if chain.operator == MATMUL:
        return Lowered(dense_of_rows(draft, chain, Dense(x_tensor, *held, clamp)), (x,))
    a = call.attrs
    kind = convolution(call)
    op = kind(x_tensor, *held, pair(a.strides), padding(call), pair(a.dilation), clamp)
    return Lowered((op,), (x,))


def _two_operands(draft: Draft, chain: Chain) -> Lowered | None:
    """Sum, difference or product; with one number for all elements it is a table."""
    out, arguments = chain.quantization, chain.core.args
    if out is None:
        return None
    for index, operand in enumerate(arguments):
        what, source = draft.known(operand), draft.dequantised(arguments[1 - index])
        if what is None or what.scales is not None or what.values.size != 1 or source is None:
            continue
        if shape(source[0]) == shape(chain.result):
            real, fixed = reals(source[1]), float(what.real.reshape(()))
            formula = FORMULAS[chain.operator]
            answer = formula(fixed, real) if index == 0 else formula(real, fixed)
            return int8_table(draft, chain, *source, np.clip(answer, chain.low, chain.high))
    held = [_int8_operand(draft, chain, operand) for operand in arguments]
    if held[0] is None or held[1] is None:
        return None
    (a, a_quantization, a_reads), (b, b_quantization, b_reads) = held[0], held[1]
    ratios = [q.scale / out.scale for q in (a_quantization, b_quantization)]
    if chain.operator != MULTIPLY and not all(ADD_RATIO_LOW <= ratio < ADD_RATIO_HIGH for ratio in ratios):
        return None
    op = TWO_OPERANDS[chain.operator](a, b, draft.tensor(chain.result, out), int8_clamp(chain, out))
    return Lowered((op,), (*a_reads, *b_reads))


def _int8_operand(
    draft: Draft, chain: Chain, operand: Expr
) -> tuple[TensorId, Quantization, tuple[Var, ...]] | None:
    """A tensor of the network, or a constant that its source holds as int8; None for a float one."""
    source, what = draft.dequantised(operand), draft.known(operand)
    if source is not None:
        x, quantization = source
        return draft.tensor(x, quantization), quantization, (x,)
    scales = None if what is None or what.scales is None else np.unique(what.scales)
    if what is None or scales is None or what.values.dtype != np.int8 or scales.size != 1:
        return None
    quantization = Quantization((float(scales[0]),), what.zero)
    name = f"{draft.layer(chain.result)}/operand"
    return draft.constant(name, np.atleast_1d(what.values), quantization), quantization, ()


def _pool(draft: Draft, chain: Chain) -> Lowered | None:
    """A mean rounds into the result's numbers; a maximum keeps its input's and goes through a table after."""
    call, out = chain.core, chain.quantization
    source = draft.dequantised(call.args[0])
    if out is None or source is None or not is_nhwc_pool(call):
        return None
    x, given = source
    kind = MaxPool2d if chain.operator == MAX_POOL else AveragePool2d
    window = pair(call.attrs.pool_size), pair(call.attrs.strides), pool_padding(call, shape(chain.result))
    x_tensor, y = draft.tensor(x, given), draft.tensor(chain.result, out)
    if kind is AveragePool2d or given == out:
        return Lowered((kind(x_tensor, y, *window, int8_clamp(chain, out)),), (x,))
    layer = draft.layer(chain.result)
    largest = draft.scratch(f"{layer}/pool", shape(chain.result), "int8", given)
    numbers = integers_of(reals(given), out, *integer_bounds(chain, out))
    table = Table(largest, draft.constant(f"{layer}/table", numbers), y)
    return Lowered((kind(x_tensor, largest, *window), table), (x,))


def _softmax(draft: Draft, chain: Chain) -> Lowered | None:
    source = draft.dequantised(chain.core.args[0])
    plain = (chain.integer_low, chain.integer_high) == (-128, 127)
    out = chain.quantization
    if source is None or out is None or not last_axis(chain) or not plain:
        return None
    (x, x_quantization), layer = source, draft.layer(chain.result)
    table = draft.constant(f"{layer}/table", arithmetic.softmax_table(x_quantization.scale))
    x_tensor, y = draft.tensor(x, x_quantization), draft.tensor(chain.result, out)
    if out == SOFTMAX_OUTPUT:
        return Lowered((Softmax(x_tensor, table, y),), (x,))
    # The operation has one output scale: other numbers for the same reals follow.
    shares = draft.scratch(f"{layer}/shares", shape(chain.result), "int8", SOFTMAX_OUTPUT)
    other = draft.constant(f"{layer}/numbers", integers_of(reals(SOFTMAX_OUTPUT), out))
    return Lowered((Softmax(x_tensor, table, shares), Table(shares, other, y)), (x,))


def _activation(draft: Draft, chain: Chain) -> Lowered | None:
    """A relu or clip on its own: a clamp where the numbers mean the same on both sides, else a table."""
    out = chain.quantization
    source = draft.dequantised(chain.core.args[0])
    if out is None or source is None:
        return None
    x, x_quantization = source
    low, high = activation_bounds(chain.core)
    x_tensor, y = draft.tensor(x, x_quantization), draft.tensor(chain.result, out)
    if x_quantization == out:
        held = Chain(chain.result, chain.core, None, low, high, out, chain.integer_low, chain.integer_high)
        return Lowered((ClampTo(x_tensor, y, Clamp(*integer_bounds(held, out))),), (x,))
    real = np.clip(reals(x_quantization), low, high)
    return int8_table(draft, chain, x, x_quantization, real)


def _requantise(draft: Draft, chain: Chain) -> Lowered | None:
    """quantize(dequantize(x)): nothing but other numbers for the same reals."""
    source = draft.dequantised_call(chain.core)
    if source is None or chain.quantization is None:
        return None
    return int8_table(draft, chain, *source, reals(source[1]))


def reals(quantization: Quantization) -> Array:
    """The reals that −128 … 127 stand for, float64 [256]."""
    return (np.arange(-128, 128, dtype=np.float64) - quantization.zero_point) * quantization.scale


def int8_table(
    draft: Draft, chain: Chain, x: Var, x_quantization: Quantization, real: Array
) -> Lowered | None:
    """y = table[x + 128], computed in float64 and rounded half to even."""
    out = chain.quantization
    if out is None:
        return None
    table = integers_of(real, out, chain.integer_low, chain.integer_high)
    held = draft.constant(f"{draft.layer(chain.result)}/table", table)
    op = Table(draft.tensor(x, x_quantization), held, draft.tensor(chain.result, out))
    return Lowered((op,), (x,))


def integers_of(real: Array, quantization: Quantization, low: int = -128, high: int = 127) -> Array:
    """float64 reals as int8, rounded half to even, saturated."""
    numbers = np.rint(real / quantization.scale) + quantization.zero_point
    held: Array = np.clip(numbers, low, high).astype(np.int8)
    return held


def _concat(draft: Draft, chain: Chain) -> Lowered | None:
    """Parts in other numbers than the whole's go through a table first; constants are converted now."""
    out, whole = chain.quantization, chain.core
    if out is None or (chain.integer_low, chain.integer_high) != (-128, 127):
        return None
    layer = draft.layer(chain.result)
    operations: list[Operation] = []
    names: list[TensorId] = []
    reads: list[Var] = []
    for part in parts(whole):
        what, source = draft.known(part), draft.dequantised(part)
        if what is not None:
            names.append(draft.constant(f"{layer}/part", integers_of(what.real, out), out))
        elif source is None:
            return None
        else:
            reads.append(source[0])
            name, steps = _in_numbers(draft, layer, *source, out)
            names.append(name)
            operations += steps
    joined = Concat(tuple(names), draft.tensor(chain.result, out), concat_axis(whole))
    return Lowered((*operations, joined), tuple(reads))


def _in_numbers(
    draft: Draft, layer: str, x: Var, given: Quantization, out: Quantization
) -> tuple[TensorId, tuple[Operation, ...]]:
    """A tensor in the numbers of `out`: itself, or what a table makes of it."""
    name = draft.tensor(x, given)
    if given == out:
        return name, ()
    table = draft.constant(f"{layer}/table", integers_of(reals(given), out))
    other = draft.scratch(f"{layer}/part", shape(x), "int8", out)
    return other, (Table(name, table, other),)


def _moved(draft: Draft, chain: Chain) -> Lowered | None:
    """dequantize → move → quantize moves the bytes, of the result's numbers."""
    call, out = chain.core, chain.quantization
    source = draft.dequantised(call.args[0])
    plain = (chain.integer_low, chain.integer_high) == (-128, 127)
    if out is None or source is None or not plain:
        return None
    if chain.operator == PAD and str(call.attrs.pad_mode) != "constant":
        return None
    x, steps = _in_numbers(draft, draft.layer(chain.result), *source, out)
    y = draft.tensor(chain.result, out)
    op: Operation
    if chain.operator == RESHAPE:
        op = Reshape(x, y)
    elif chain.operator == PERMUTE:
        op = Transpose(x, y, permute_axes(call))
    else:
        fill = np.rint(float(call.attrs.pad_value) / out.scale) + out.zero_point
        op = pad(call, x, y, int(np.clip(fill, -128, 127)))
    return Lowered((*steps, op), (source[0],))


def _integer_clip(draft: Draft, chain: Chain) -> Lowered | None:
    x = chain.core.args[0]
    limits = full_range(dtype(chain.result))
    clamp = Clamp(*(int(np.clip(number(a), *limits)) for a in chain.core.args[1:3]))
    return Lowered((ClampTo(draft.tensor(x), draft.tensor(chain.result), clamp),), (x,))


def _integer_max_pool(draft: Draft, chain: Chain) -> Lowered | None:
    call = chain.core
    if not is_nhwc_pool(call):
        return None
    size, stride = pair(call.attrs.pool_size), pair(call.attrs.strides)
    ends = draft.tensor(call.args[0]), draft.tensor(chain.result)
    op = MaxPool2d(*ends, size, stride, pool_padding(call, shape(chain.result)))
    return Lowered((op,), (call.args[0],))


INT8: Mapping[str, Rule] = {
    CONV2D: _accumulating,
    MATMUL: _accumulating,
    **dict.fromkeys(TWO_OPERANDS, _two_operands),
    MAX_POOL: _pool,
    AVERAGE_POOL: _pool,
    SOFTMAX: _softmax,
    RELU: _activation,
    CLIP: _activation,
    DEQUANTIZE: _requantise,
    RESHAPE: _moved,
    PERMUTE: _moved,
    PAD: _moved,
    CONCAT: _concat,
}
INTEGER_MOVES: Mapping[str, Rule] = {
    RESHAPE: move,
    PERMUTE: move,
    PAD: move,
    CLIP: _integer_clip,
    MAX_POOL: _integer_max_pool,
}
"""Operators that importers apply to int8 and int16 tensors directly, without dequantize around them."""
