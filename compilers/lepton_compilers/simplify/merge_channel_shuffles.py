"""A channel shuffle between two turns of a map becomes one on the map as it lies.

ShuffleNet shuffles NCHW maps: reshape to groups, swap the two axes, reshape back. Maps are NHWC here, so each
shuffle came between transposes of the whole map; channels swap just as well where they lie last.
"""

from __future__ import annotations

import dataclasses

from lepton_compilers.simplify.body import producers, with_operations
from lepton_compilers.simplify.drop_dead_operations import drop_dead_operations
from lepton_sdk.program import Operation, Program, Tensor, TensorId
from lepton_sdk.program.operations import Reshape, Transpose

_BACK, _SWAP, _FORTH = (0, 2, 3, 1), (0, 2, 1, 3, 4), (0, 3, 1, 2)


def merge_channel_shuffles(program: Program) -> Program:
    """Reshape, swap of the last two axes, reshape, in place of five operations that move the map thrice."""
    made, changed = producers(program), dict[TensorId, Tensor]()
    steps: list[Operation] = []
    for op in program.function().operations:
        source = _shuffled(op, made, program)
        if source is None:
            steps.append(op)
            continue
        x, groups = source
        (y,) = op.outputs
        n, h, w, channels = program.tensors[x].shape
        apart = (n, h, w, groups, channels // groups)
        swapped = (n, h, w, channels // groups, groups)
        for name, shape in ((f"{y}/apart", apart), (f"{y}/swapped", swapped)):
            changed[name] = dataclasses.replace(program.tensors[x], name=name, shape=shape)
        steps.append(Reshape(x, f"{y}/apart"))
        steps.append(Transpose(f"{y}/apart", f"{y}/swapped", (0, 1, 2, 4, 3)))
        steps.append(Reshape(f"{y}/swapped", y))
    return drop_dead_operations(with_operations(program, steps, changed)) if changed else program


def _shuffled(
    op: Operation, made: dict[TensorId, Operation], program: Program
) -> tuple[TensorId, int] | None:
    """The NHWC map whose channels `op` completes a shuffle of, and its groups; None for anything else."""
    together = made.get(op.x) if isinstance(op, Transpose) and op.axes == _BACK else None
    swap = made.get(together.x) if isinstance(together, Reshape) else None
    apart = made.get(swap.x) if isinstance(swap, Transpose) and swap.axes == _SWAP else None
    turn = made.get(apart.x) if isinstance(apart, Reshape) else None
    if not isinstance(turn, Transpose) or turn.axes != _FORTH:
        return None
    assert isinstance(op, Transpose)
    assert isinstance(apart, Reshape)
    n, h, w, channels = program.tensors[turn.x].shape
    _, groups, each, *rest = program.tensors[apart.y].shape
    whole = program.tensors[op.y].shape == (n, h, w, channels) and groups * each == channels
    taken = {f"{op.y}/apart", f"{op.y}/swapped"} & program.tensors.keys()
    return (turn.x, groups) if whole and rest == [h, w] and not taken else None
