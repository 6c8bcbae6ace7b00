"""float32 layers → operations: one row an operator in FLOAT."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_compilers.integerize.chain import INTEGERS, Chain, activation_bounds
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Known
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
    integers,
    operator,
    parts,
    shape,
)
from lepton_sdk.program import Clamp, Operation, TensorId
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Pad,
    Relu,
    Reshape,
    Softmax,
    Sub,
    Transpose,
)

TWO_OPERANDS: Mapping[str, type[Add] | type[Sub] | type[Mul]] = {ADD: Add, SUBTRACT: Sub, MULTIPLY: Mul}
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Lowered:
    """The operations of a layer, and the variables they read."""

    operations: tuple[Operation, ...]
    reads: tuple[Var, ...]


Rule = Callable[[Draft, Chain], "Lowered | None"]
"""None: the layer has no such form."""


def float_clamp(chain: Chain) -> Clamp | None:
    """Bounds of the activation in float32; an open end is float32's largest number."""
    if not chain.bounded:
        return None
    return Clamp(max(chain.low, -FLOAT32_MAX), min(chain.high, FLOAT32_MAX))


def arranged(call: Expr, weight: Known) -> Known | None:
    """Weights as operations hold them: OHWI of HWIO, HWC of depthwise HWOI, OI of IO; None for others."""
    if operator(call) == MATMUL:
        plain = weight.values.ndim == 2 <= len(shape(call.args[0]))
        return weight.moved(np.transpose) if plain else None
    a = call.attrs
    layout, groups = str(a.kernel_layout), int(a.groups)
    if str(a.data_layout) != "NHWC":
        return None
    if layout == "HWIO":
        return weight.moved(lambda w: w.transpose(3, 0, 1, 2))
    if layout == "HWOI" and groups == shape(call.args[0])[3] and weight.values.shape[3] == 1:
        return weight.moved(lambda w: w[..., 0])
    return None


def dense_of_rows(draft: Draft, chain: Chain, op: Dense) -> tuple[Operation, ...]:
    """The layer on [..., I]: what lies before the last axis is rows, by way of reshapes."""
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    if len(x.shape) == 2:
        return (op,)
    name, rows = draft.layer(chain.result), math.prod(x.shape[:-1])
    flat_x = draft.scratch(f"{name}/rows", (rows, x.shape[-1]), x.dtype, x.quantization)
    flat_y = draft.scratch(f"{name}/products", (rows, y.shape[-1]), y.dtype, y.quantization)
    return (
        Reshape(op.x, flat_x),
        dataclasses.replace(op, x=flat_x, y=flat_y),
        Reshape(flat_y, op.y),
    )


def convolution(call: Expr) -> type[Conv2d] | type[DepthwiseConv2d] | type[GroupedConv2d]:
    """The operation of a convolution whose weights `arranged` took."""
    if str(call.attrs.kernel_layout) == "HWOI":
        return DepthwiseConv2d
    return Conv2d if int(call.attrs.groups) == 1 else GroupedConv2d


def _accumulating(draft: Draft, chain: Chain) -> Lowered | None:
    call = chain.core
    weight = draft.known(call.args[1])
    weight = arranged(call, weight) if weight is not None else None
    if weight is None:
        return None
    name, clamp, x, y = draft.layer(chain.result), float_clamp(chain), *_ends(draft, chain)
    bias = draft.float_constant(f"{name}/bias", chain.bias) if chain.bias is not None else None
    held = draft.float_constant(f"{name}/weight", weight)
    if chain.operator == MATMUL:
        return Lowered(dense_of_rows(draft, chain, Dense(x, held, bias, None, y, clamp)), (call.args[0],))
    a = call.attrs
    kind = convolution(call)
    op = kind(x, held, bias, None, y, pair(a.strides), padding(call), pair(a.dilation), clamp)
    return _one(op, call.args[0])


def _two_operands(draft: Draft, chain: Chain) -> Lowered | None:
    names: list[TensorId] = []
    reads: list[Var] = []
    for operand in chain.core.args:
        what = draft.known(operand)
        if what is None:
            names.append(draft.tensor(operand))
            reads.append(operand)
        elif what.parameter is None:
            offset = what.moved(np.atleast_1d) if shape(chain.result) else what
            names.append(draft.float_constant(f"{draft.layer(chain.result)}/operand", offset, infinite=True))
        else:
            return None
    kind = TWO_OPERANDS[chain.operator]
    op = kind(names[0], names[1], draft.tensor(chain.result), float_clamp(chain))
    return Lowered((op,), tuple(reads))


def _pool(draft: Draft, chain: Chain) -> Lowered | None:
    call = chain.core
    if not is_nhwc_pool(call):
        return None
    kind = MaxPool2d if chain.operator == MAX_POOL else AveragePool2d
    size, stride = pair(call.attrs.pool_size), pair(call.attrs.strides)
    x, y = _ends(draft, chain)
    op = kind(x, y, size, stride, pool_padding(call, shape(chain.result)), float_clamp(chain))
    return _one(op, call.args[0])


def _activation(draft: Draft, chain: Chain) -> Lowered | None:
    low, high = activation_bounds(chain.core)
    x, y = _ends(draft, chain)
    if low == 0:
        return _one(Relu(x, y, None if math.isinf(high) else high), chain.core.args[0])
    return _one(ClampTo(x, y, Clamp(max(low, -FLOAT32_MAX), min(high, FLOAT32_MAX))), chain.core.args[0])


def _softmax(draft: Draft, chain: Chain) -> Lowered | None:
    if not last_axis(chain):
        return None
    x, y = _ends(draft, chain)
    return _one(Softmax(x, None, y), chain.core.args[0])


def last_axis(chain: Chain) -> bool:
    """Whether a softmax runs over the last axis."""
    return int(chain.core.attrs.axis) in (-1, len(shape(chain.result)) - 1)


def move(draft: Draft, chain: Chain) -> Lowered | None:
    """Reshape, transpose, pad: what moves elements, whatever their type."""
    call = chain.core
    x, y = _ends(draft, chain)
    if chain.operator == RESHAPE:
        return _one(Reshape(x, y), call.args[0])
    if chain.operator == PERMUTE:
        return _one(Transpose(x, y, permute_axes(call)), call.args[0])
    if str(call.attrs.pad_mode) != "constant":
        return None
    return _one(pad(call, x, y, float(call.attrs.pad_value)), call.args[0])


def pad(call: Expr, x: TensorId, y: TensorId, fill: float) -> Pad:
    """A Pad of Relax's interleaved widths."""
    widths = integers(call.attrs.pad_width)
    return Pad(x, y, widths[::2], widths[1::2], fill)


def _concat(draft: Draft, chain: Chain) -> Lowered | None:
    """Parts that the compiler knows become constants."""
    names: list[TensorId] = []
    reads: list[Var] = []
    for part in parts(chain.core):
        what = draft.known(part)
        if what is not None and what.parameter is not None:
            return None
        if what is None:
            names.append(draft.tensor(part))
            reads.append(part)
        else:
            names.append(draft.float_constant(f"{draft.layer(chain.result)}/part", what))
    op = Concat(tuple(names), draft.tensor(chain.result), concat_axis(chain.core))
    return Lowered((op,), tuple(reads))


def concat_axis(call: Expr) -> int:
    """The axis of a concat, counted from the front."""
    return int(call.attrs.axis) % len(shape(parts(call)[0]))


def _dequantize(draft: Draft, chain: Chain) -> Lowered | None:
    source = draft.dequantised_call(chain.core, *INTEGERS)
    if source is None:
        return None
    op = Dequantize(draft.tensor(*source), draft.tensor(chain.result))
    return _one(op, source[0])


def _ends(draft: Draft, chain: Chain) -> tuple[TensorId, TensorId]:
    return draft.tensor(chain.core.args[0]), draft.tensor(chain.result)


def _one(op: Operation, *reads: Var) -> Lowered:
    return Lowered((op,), reads)


FLOAT: Mapping[str, Rule] = {
    CONV2D: _accumulating,
    MATMUL: _accumulating,
    **dict.fromkeys(TWO_OPERANDS, _two_operands),
    MAX_POOL: _pool,
    AVERAGE_POOL: _pool,
    RELU: _activation,
    CLIP: _activation,
    SOFTMAX: _softmax,
    RESHAPE: move,
    PERMUTE: move,
    PAD: move,
    CONCAT: _concat,
    DEQUANTIZE: _dequantize,
}
