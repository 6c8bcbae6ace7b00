"""Concatenation of blocked maps along their channels, where the parts may lie in the whole already."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.joined import joined_blocks
from lepton_compilers.backends.cpu.lowering.rows import Lowering
from lepton_compilers.backends.cpu.plans.layout import Blocked
from lepton_compilers.backends.cpu.portable import movement
from lepton_sdk.program.operations import Concat


def emit_concat(op: Concat, draft: Draft) -> None:
    """Copy the parts that don't lie in the whole; dense bytes where no part is blocked yet."""
    if not any(map(draft.is_blocked, op.xs)) or not draft.kept.isdisjoint((*op.xs, op.y)):
        movement.emit_concat(op, draft)
    else:
        _join_blocks(op, draft)
    draft.settle(op.xs)


def _join_blocks(op: Concat, draft: Draft) -> None:
    parts = [draft.read_blocked(x) for x in op.xs]
    place = parts[0].place
    if _in_turn(parts) and draft.in_whole(op.y) in (None, place):
        draft.lies_at(op.y, place)
        return
    y = draft.write_blocked(op.y)
    for image in range(y.images):
        target = y.place + image * y.image_bytes
        for part in parts:
            source = part.place + image * part.image_bytes
            if source != target:
                draft.call("copy_bytes", source, target, part.image_bytes)
            target += part.image_bytes


def _in_turn(parts: Sequence[Blocked]) -> bool:
    """Whether these lie one behind the other, as in the joined map of one image."""
    place = parts[0].place
    for part in parts:
        if part.images != 1 or part.place != place:
            return False
        place += part.nbytes
    return True


JOINED = Lowering(joined_blocks, emit_concat, joins=True)
