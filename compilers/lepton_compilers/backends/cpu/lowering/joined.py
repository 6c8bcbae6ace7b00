"""Which blocked maps lie in a larger one from when they are written: what is joined along channels.

A part whose channels begin at a multiple of 16 is a run of whole blocks of the joined map of one image. A
whole that is itself a part lies in the larger one, and its parts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.plans.layout import LANES
from lepton_sdk.program import Function, TensorId, Tensors
from lepton_sdk.program.operations import Concat


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a map's blocks begin: `channel` of the map `whole`, a multiple of 16."""

    whole: TensorId
    channel: int


def joined_blocks(op: Concat, t: Tensors) -> Answer:
    """Maps of whole blocks, the last part apart, joined along their channels; one type, one quantisation."""
    whole = t[op.y]
    if len(whole.shape) != 4 or op.axis != 3:
        return No("no feature maps joined along their channels")
    if whole.dtype not in ("float32", "int8") or any(t[x].dtype != whole.dtype for x in op.xs):
        return No("types other than float32 and int8, or a mixture")
    if whole.dtype == "int8" and any(t[x].zero_point != whole.zero_point for x in op.xs):
        return No("zero points that differ")
    return when(all(t[x].shape[3] % LANES == 0 for x in op.xs[:-1]), "parts that end inside a block")


def slices(
    function: Function, tensors: Tensors, in_blocks: Callable[[Concat], bool]
) -> Mapping[TensorId, Slice]:
    """The parts and wholes of the concatenations of one image that `in_blocks` names.

    A part of several lies in the last of them, the most complete where each extends the one before. No two
    maps share blocks, but a part with the wholes that hold it.
    """
    found: dict[TensorId, Slice] = {}
    for op in reversed(function.operations):
        if not isinstance(op, Concat) or tensors[op.y].shape[0] != 1 or not in_blocks(op):
            continue
        if op.y not in found and all(x in found for x in op.xs):
            continue  # An earlier stage of a larger whole: its parts stand there in turn, or are copied.
        home = found.setdefault(op.y, Slice(op.y, 0))
        channel = home.channel
        for x in op.xs:
            found.setdefault(x, Slice(home.whole, channel))
            channel += tensors[x].shape[3]
    return found
