"""float32 maps that are in blocks already stay so: functions of one number, products, slices of channels.

Each falls back to the dense form where no operand is blocked, as in attention, whose tensors may have four
axes too.
"""

from __future__ import annotations

from collections.abc import Callable

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.blocked.float32_forms import float_maps
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.portable import elementwise, sequence
from lepton_compilers.backends.cpu.portable.elementwise import Binary, walked
from lepton_compilers.backends.cpu.portable.layers import float_bounds, typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import TensorId, Tensors
from lepton_sdk.program.operations import Add, Mul, Sub
from lepton_sdk.program.sequence import Slice, Unary

KERNELS = {Add: "stretched_add_float", Sub: "stretched_sub_float", Mul: "stretched_mul_float"}


def _in_blocks(name: TensorId, draft: Draft) -> bool:
    return draft.is_blocked(name) or name in draft.kept


def emit_unary(op: Unary, draft: Draft) -> None:
    """All channels alike, padding included."""
    if not _in_blocks(op.x, draft):
        sequence.emit_unary(op, draft)
        return
    x = draft.read_blocked(op.x)
    y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
    draft.call(
        f"unary_{op.function}", x.place, y.place, y.nbytes // y.element_bytes, float_bits(op.parameter)
    )


def _maps(op: Binary, t: Tensors) -> Answer:
    """Two maps of one shape; or the second one place, a number a channel; or one number."""
    answer = typed(t, "float32", op.a, op.b, op.y)
    if isinstance(answer, No):
        return answer
    a, b, y = t[op.a].shape, t[op.b].shape, t[op.y].shape
    channels = a[:1] == (1,) and b == (1, 1, 1, a[-1])
    fits = len(a) == 4 and a == y and (b == a or channels or set(b) <= {1})
    return when(fits, "no two maps of one shape, nor one and a number, or a number a channel")


def _emit_binary(portable: Callable[[Binary, Draft], None]) -> Callable[[Add | Sub | Mul, Draft], None]:
    """All channels alike, padding included; `portable` where neither operand is blocked."""

    def emit(op: Add | Sub | Mul, draft: Draft) -> None:
        shape, number = draft.tensors[op.a].shape, draft.tensors[op.b].size == 1
        if not _in_blocks(op.a, draft) and (number or not _in_blocks(op.b, draft)):
            portable(op, draft)
            return
        a = draft.read_blocked(op.a)
        b = draft.read(op.b) if number else draft.read_blocked(op.b).place
        y = draft.write_blocked(op.y, over=draft.overwritable(op.a))
        walk = [(a.nbytes // a.element_bytes, 1, 0 if number else 1)]
        if not number and draft.tensors[op.b].shape != shape:
            walk = [(blocks(a.channels), a.pixels * LANES, LANES), (a.pixels, LANES, 0), (LANES, 1, 1)]
        places = (a.place, b, y.place)
        draft.call(KERNELS[type(op)], *places, *walked(*zip(*walk)), *float_bounds(op.clamp))

    return emit


def _whole_blocks(op: Slice, t: Tensors) -> Answer:
    """Channels of one image's map, whole blocks of them."""
    answer = typed(t, "float32", op.x, op.y)
    if isinstance(answer, No):
        return answer
    x, y = t[op.x].shape, t[op.y].shape
    fits = len(x) == 4 and x[:3] == y[:3] and x[0] == 1 and set(op.step) == {1} and op.begin[3] % LANES == 0
    return when(fits, "no slice of channels that begins with a block")


def emit_slice(op: Slice, draft: Draft) -> None:
    """No copy: the blocks stand where they are. The last one's padding is whatever stands there."""
    if not _in_blocks(op.x, draft):
        sequence.emit_slice(op, draft)
        return
    x = draft.read_blocked(op.x)
    block_bytes = x.pixels * LANES * x.element_bytes
    draft.lies_at(op.y, x.place + op.begin[3] // LANES * block_bytes)


LOWERINGS: Rows = {
    Unary: (Lowering(float_maps, emit_unary, sequence.HEADER),),
    Slice: (Lowering(_whole_blocks, emit_slice, sequence.HEADER),),
    **{
        kind: (Lowering(_maps, _emit_binary(elementwise.LOWERINGS[kind][-1].emit), elementwise.HEADER),)
        for kind in KERNELS
    },
}
