"""How much memory a program's intermediates need at once, whatever the target, and the most they may."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lepton_sdk.program import Function, Program, Tensors
from lepton_targets.errors import BadInputError

LARGEST_BYTES = 2**31
"""Of one tensor, and of all that live at one time: offsets in generated code are 32-bit."""


def checked_size(what: str, extents: Sequence[int], kind: str) -> None:
    """Raises BadInputError for a tensor of more than LARGEST_BYTES. what: it, as the message begins."""
    found = math.prod(extents) * np.dtype(kind).itemsize
    if found > LARGEST_BYTES:
        raise BadInputError(
            f"{what} has the shape {tuple(extents)}, {found / 2**30:.1f} GiB",
            f"tensors of up to {LARGEST_BYTES // 2**30} GiB are supported; fix smaller input shapes",
        )


def peak_bytes(function: Function, tensors: Tensors) -> tuple[int, str]:
    """Bytes of the intermediates at the operation where most live, and that operation's result."""
    last: dict[str, int] = {}
    for step, op in enumerate(function.operations):
        last.update(dict.fromkeys((*op.inputs, *op.outputs), step))
    last.update(dict.fromkeys(function.outputs, len(function.operations)))
    alive = {name for name in function.inputs if name in last}
    best = (0, "")
    for step, op in enumerate(function.operations):
        alive.update(op.outputs)
        best = max(best, (sum(tensors[name].nbytes for name in alive), (*op.outputs, *op.updates)[0]))
        alive = {name for name in alive if last[name] > step}
    return best


def checked_memory(program: Program) -> Program:
    """The program, once its intermediates fit. Raises BadInputError with the layer that needs most."""
    for function in program.functions.values():
        found, layer = peak_bytes(function, program.tensors)
        if found > LARGEST_BYTES:
            raise BadInputError(
                f"layer '{layer}' needs {found / 2**30:.1f} GiB of intermediate tensors at once",
                f"at most {LARGEST_BYTES // 2**30} GiB are supported; fix smaller input shapes",
            )
    return program
