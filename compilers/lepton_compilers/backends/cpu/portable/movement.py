"""Portable rows of operations that compute nothing: bytes stay, move, or get a border."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lepton_compilers.backends.answers import Answer, Yes, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import Concat, Pad, Reshape, Transpose


def bytes_moved(op: Reshape | Transpose | Pad, t: Tensors) -> Answer:
    """Any type of at most 8 bytes, rank at most 6."""
    return when(
        len(t[op.x].shape) <= 6 and t[op.x].dtype == t[op.y].dtype, "a rank above 6, or a change of type"
    )


def joined(op: Concat, t: Tensors) -> Answer:
    """Any type; all parts of the output's."""
    found = sorted({t[name].dtype for name in (*op.xs, op.y)})
    return when(len(found) == 1, f"types {', '.join(found)}; the parts and the whole have one type")


def always(op: object, t: Tensors) -> Answer:
    """Every form of the operation."""
    return Yes()


def emit_reshape(op: Reshape, draft: Draft) -> None:
    """No bytes move."""
    draft.rename(op.x, op.y)


def _steps(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a dense array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _six(values: Sequence[int], fill: int) -> tuple[int, ...]:
    return (*[fill] * (6 - len(values)), *values)


def emit_transpose(op: Transpose, draft: Draft) -> None:
    """Element by element in the output's order."""
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    steps = [_steps(x.shape)[axis] for axis in op.axes]
    source, size = draft.read(op.x), np.dtype(x.dtype).itemsize
    draft.call("transpose", source, draft.write(op.y), size, *_six(y.shape, 1), *_six(steps, 0))


def emit_pad(op: Pad, draft: Draft) -> None:
    """Fill the border's value everywhere, then place x."""
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    size, steps = np.dtype(x.dtype).itemsize, _steps(y.shape)
    content = np.asarray(op.value).astype(x.dtype).tobytes().ljust(8, b"\0")
    low, high = (int(half) for half in np.frombuffer(content, np.int32))
    corner = sum(before * step for before, step in zip(op.before, steps)) * size
    source, target = draft.read(op.x), draft.write(op.y)
    draft.call("fill", target, size, low, high, y.size)
    draft.call("place", source, target + corner, size, *_six(x.shape, 1), *_six(steps, 0))


def emit_concat(op: Concat, draft: Draft) -> None:
    """Each part's rows of bytes go to their place in the whole."""
    whole = draft.tensors[op.y]
    size = np.dtype(whole.dtype).itemsize
    row = math.prod(whole.shape[op.axis :]) * size
    rows = math.prod(whole.shape[: op.axis])
    sources = [draft.read(x) for x in op.xs]
    target, before = draft.write(op.y), 0
    for x, source in zip(op.xs, sources):
        part = math.prod(draft.tensors[x].shape[op.axis :]) * size
        draft.call("place", source, target + before, 1, *_six((rows, part), 1), *_six((row, 1), 0))
        before += part


LOWERINGS: Rows = {
    Reshape: (Lowering(always, emit_reshape),),
    Transpose: (Lowering(bytes_moved, emit_transpose),),
    Pad: (Lowering(bytes_moved, emit_pad),),
    Concat: (Lowering(joined, emit_concat),),
}
