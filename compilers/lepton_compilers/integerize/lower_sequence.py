"""Layers of sequence models → operations: one row an operator in SEQUENCE_FLOAT and in SEQUENCE_INT8."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_compilers.integerize.chain import Chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Known
from lepton_compilers.integerize.lower_float import Lowered, Rule, float_clamp
from lepton_compilers.integerize.lower_int8 import int8_clamp, int8_table, integers_of, reals
from lepton_compilers.integerize.pointwise import parameter, read_pointwise
from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.functions import UNARY
from lepton_compilers.passes.graph import (
    ADD,
    MATMUL,
    PERMUTE,
    Expr,
    Var,
    dtype,
    integers,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_sdk.program import Operation, TensorId
from lepton_sdk.program.operations import Transpose
from lepton_sdk.program.sequence import LAYER_NORM_LIMIT, Gather, LayerNorm, MatMul, Slice, Unary

LAYER_NORM = "relax.nn.layer_norm"
RMS_NORM = "relax.nn.rms_norm"
STRIDED_SLICE = "relax.strided_slice"
TAKE = "relax.take"


# MatMul


def _float_matmul(draft: Draft, chain: Chain) -> Lowered | None:
    a, b = chain.core.args[:2]
    if min(len(shape(a)), len(shape(b))) < 2 or chain.bias is not None:
        return None
    b, turned = _unturned(draft, b)
    names: list[TensorId] = []
    reads: list[Var] = []
    for operand in (a, b):
        what = draft.known(operand)
        if what is None:
            names.append(draft.tensor(operand))
            reads.append(operand)
        elif what.parameter is None:
            names.append(draft.float_constant(f"{draft.layer(chain.result)}/operand", what))
        else:
            return None
    op = MatMul(names[0], names[1], draft.tensor(chain.result), turned, float_clamp(chain))
    return Lowered((op,), tuple(reads))


def _unturned(draft: Draft, b: Expr) -> tuple[Expr, bool]:
    """The second operand, and whether the product turns its last two axes: a permute that does just that."""
    permute = draft.graph.definition(b)
    if operator(permute) != PERMUTE or draft.known(b) is not None:
        return b, False
    axes = permute_axes(permute)
    rank = len(axes)
    if axes != (*range(rank - 2), rank - 1, rank - 2):
        return b, False
    return permute.args[0], True


def _int8_matmul(draft: Draft, chain: Chain) -> Lowered | None:
    out, (a, b) = chain.quantization, chain.core.args[:2]
    if out is None or chain.bias is not None or min(len(shape(a)), len(shape(b))) < 2:
        return None
    b, turned = _unturned(draft, b)
    operations: list[Operation] = []
    names: list[TensorId] = []
    reads: list[Var] = []
    reach = shape(chain.core.args[0])[-1]
    for operand in (a, b):
        # A permute between dequantize and product moves the bytes themselves.
        permute = draft.graph.definition(operand)
        moved = operator(permute) == PERMUTE
        source = draft.dequantised(permute.args[0] if moved else operand)
        if source is None:
            return None
        x, quantization = source
        names.append(draft.tensor(x, quantization))
        reads.append(x)
        reach *= max(127 - quantization.zero_point, quantization.zero_point + 128)
        if moved:
            other = draft.scratch(f"{draft.layer(chain.result)}/turned", shape(operand), "int8", quantization)
            operations.append(Transpose(names[-1], other, permute_axes(permute)))
            names[-1] = other
    if reach >= 2**31:
        return None
    op = MatMul(names[0], names[1], draft.tensor(chain.result, out), turned, int8_clamp(chain, out))
    return Lowered((*operations, op), tuple(reads))


# LayerNorm


def _norm(chain: Chain) -> tuple[int, float, bool] | None:
    """How many of the last axes are normalised, epsilon, whether the mean is taken out; None for others."""
    call, rank = chain.core, len(shape(chain.result))
    axes = sorted(a % rank for a in integers(call.attrs.axes))
    if axes != list(range(rank - len(axes), rank)):
        return None
    return len(axes), float(call.attrs.epsilon), chain.operator == LAYER_NORM


def _affine(draft: Draft, chain: Chain) -> tuple[Known, Known | None] | None:
    """Gain and offset; None where the network computes them."""
    call = chain.core
    gain = draft.known(call.args[1])
    offset = draft.known(call.args[2]) if len(call.args) > 2 else None
    if gain is None or (len(call.args) > 2 and offset is None):
        return None
    return gain, offset


def _float_layer_norm(draft: Draft, chain: Chain) -> Lowered | None:
    form, affine = _norm(chain), _affine(draft, chain)
    if form is None or affine is None:
        return None
    name, (gain, offset) = draft.layer(chain.result), affine
    x = chain.core.args[0]
    held = draft.float_constant(f"{name}/gain", gain)
    shift = None if offset is None else draft.float_constant(f"{name}/offset", offset)
    op = LayerNorm(draft.tensor(x), held, shift, draft.tensor(chain.result), *form[1:])
    return Lowered((op,), (x,))


def _int8_layer_norm(draft: Draft, chain: Chain) -> Lowered | None:
    form, affine, out = _norm(chain), _affine(draft, chain), chain.quantization
    source = draft.dequantised(chain.core.args[0])
    if form is None or affine is None or out is None or source is None or not _whole(chain):
        return None
    (x, quantization), (gain, offset) = source, affine
    if gain.values.size > LAYER_NORM_LIMIT:
        return None
    name = draft.layer(chain.result)
    held = draft.constant(f"{name}/gain", (gain.real / out.scale).astype(np.float32))
    shift = None
    if offset is not None:
        shift = draft.constant(f"{name}/offset", (offset.real / out.scale).astype(np.float32))
    op = LayerNorm(draft.tensor(x, quantization), held, shift, draft.tensor(chain.result, out), *form[1:])
    return Lowered((op,), (x,))


def _whole(chain: Chain) -> bool:
    """Whether the result spans int8: the operation has no clamp."""
    return (chain.integer_low, chain.integer_high) == (-128, 127)


# Functions


def _unary(draft: Draft, chain: Chain) -> Lowered | None:
    x = chain.core.args[0]
    op = Unary(draft.tensor(x), draft.tensor(chain.result), UNARY[chain.operator], parameter(chain.core))
    return Lowered((op,), (x,))


def pointwise_table(draft: Draft, chain: Chain) -> Lowered | None:
    """quantize(f(dequantize(x))) is one table, whatever row of layers f is."""
    out, quantize = chain.quantization, draft.graph.definition(chain.result)
    if operator(quantize) == "relax.clip":
        quantize = draft.graph.definition(quantize.args[0])
    if out is None or operator(quantize) != "relax.quantize":
        return None
    function = read_pointwise(draft.graph, quantize.args[0])
    source = None if function is None else draft.dequantised(function.source)
    if function is None or source is None or function.plain:
        return None
    real = function.of(draft.graph, reals(source[1]))
    # Where f is not defined, what calibration never saw, zero stands.
    return int8_table(draft, chain, *source, np.nan_to_num(real, nan=0.0))


# Slices and rows of tables


def _slice(x: Expr, y: Expr, call: Expr) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First place and step along every axis of x."""
    begin, step = [0] * len(shape(x)), [1] * len(shape(x))
    given = [[int(n.value) for n in part.fields] for part in call.args[1:]]
    axes, first = given[0], given[1]
    strides = given[3] if len(given) > 3 else [1] * len(axes)
    for axis, place, by in zip(axes, first, strides):
        axis %= len(begin)
        extent = shape(x)[axis]
        place = place + extent if place < 0 else place
        begin[axis], step[axis] = min(max(place, 0), extent - 1), by
    return tuple(begin), tuple(step)


def _float_slice(draft: Draft, chain: Chain) -> Lowered | None:
    x = chain.core.args[0]
    where = _slice(x, chain.result, chain.core)
    return Lowered((Slice(draft.tensor(x), draft.tensor(chain.result), *where),), (x,))


def _int8_slice(draft: Draft, chain: Chain) -> Lowered | None:
    out, source = chain.quantization, draft.dequantised(chain.core.args[0])
    if out is None or source is None or source[1] != out or not _whole(chain):
        return None
    where = _slice(source[0], chain.result, chain.core)
    return Lowered(
        (Slice(draft.tensor(source[0], out), draft.tensor(chain.result, out), *where),), (source[0],)
    )


def _indices(draft: Draft, chain: Chain) -> tuple[TensorId, tuple[Var, ...]] | None:
    indices = chain.core.args[1]
    if is_constant(indices):
        what = draft.known(indices)
        return (
            None
            if what is None
            else (draft.constant(f"{draft.layer(chain.result)}/indices", what.values), ())
        )
    if dtype(indices) not in ("int32", "int64"):
        return None
    indices = _unwrapped(draft, indices)
    return draft.tensor(indices), (indices,)


def _unwrapped(draft: Draft, indices: Expr) -> Expr:
    """What min(max(where(i < 0, i + extent, i), 0), extent − 1) was written for: Gather does it itself."""
    inner = indices
    for name in ("relax.minimum", "relax.maximum"):
        call = draft.graph.definition(inner)
        if operator(call) != name or not is_constant(call.args[1]):
            return indices
        inner = call.args[0]
    call = draft.graph.definition(inner)
    if operator(call) != "relax.where":
        return indices
    low, wrapped = (draft.graph.definition(a) for a in call.args[:2])
    i = draft.graph.resolve(call.args[2])
    plain = (
        operator(low) == "relax.less"
        and operator(wrapped) == ADD
        and all(draft.graph.resolve(c.args[0]).same_as(i) and is_constant(c.args[1]) for c in (low, wrapped))
        and int(value(low.args[1])) == 0
    )
    return i if plain else indices


def _axis(call: Expr) -> int:
    return 0 if call.attrs.axis is None else int(call.attrs.axis) % len(shape(call.args[0]))


def _float_gather(draft: Draft, chain: Chain) -> Lowered | None:
    x, indices = chain.core.args[0], _indices(draft, chain)
    if indices is None:
        return None
    what = draft.known(x)
    if what is not None:
        name, reads = draft.float_constant(f"{draft.layer(chain.result)}/table", what), indices[1]
    else:
        name, reads = draft.tensor(x), (x, *indices[1])
    return Lowered((Gather(name, indices[0], draft.tensor(chain.result), _axis(chain.core)),), reads)


def _int8_gather(draft: Draft, chain: Chain) -> Lowered | None:
    """A constant table is held in the result's own numbers."""
    out, x = chain.quantization, chain.core.args[0]
    what, source = draft.known(x), draft.dequantised(x)
    if out is None or not _whole(chain) or (what is None and (source is None or source[1] != out)):
        return None
    indices = _indices(draft, chain)
    if indices is None:
        return None
    if what is not None:
        numbers = integers_of(what.real, out)
        name, reads = draft.constant(f"{draft.layer(chain.result)}/table", numbers, out), indices[1]
    else:
        assert source is not None
        name, reads = draft.tensor(source[0], out), (source[0], *indices[1])
    return Lowered((Gather(name, indices[0], draft.tensor(chain.result, out), _axis(chain.core)),), reads)


SEQUENCE_FLOAT: Mapping[str, Rule] = {
    MATMUL: _float_matmul,
    LAYER_NORM: _float_layer_norm,
    RMS_NORM: _float_layer_norm,
    **dict.fromkeys(UNARY, _unary),
    STRIDED_SLICE: _float_slice,
    TAKE: _float_gather,
}
SEQUENCE_INT8: Mapping[str, Rule] = {
    MATMUL: _int8_matmul,
    LAYER_NORM: _int8_layer_norm,
    RMS_NORM: _int8_layer_norm,
    STRIDED_SLICE: _int8_slice,
    TAKE: _int8_gather,
}
