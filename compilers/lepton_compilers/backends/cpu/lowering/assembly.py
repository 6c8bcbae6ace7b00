"""From a draft's calls to a plan: which run in parts, how long buffers live, where the arena holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lepton_compilers.arena import Lifetime, plan_arena
from lepton_compilers.backends.cpu.plans.headers import HEADER_ORDER, ordered_headers
from lepton_compilers.backends.cpu.plans.plan import Buffer, Call, Conversion, Layer, Plan, Space
from lepton_compilers.backends.cpu.plans.signatures import parameters
from lepton_compilers.backends.cpu.plans.tile_choice import TileUse
from lepton_compilers.backends.cpu.splits.parts import MOST_PARTS, WHOLE, Split, joined, split
from lepton_sdk.program import Function, Operation, Tensor, TensorId

Run = tuple[int, int]
"""Calls from the first up to the second."""


@dataclass(frozen=True, slots=True)
class DraftedCall:
    """A call as it was added. header: where its kernel stands, or else in portable.h.

    step: of the operation that added it. conversion: what it does where that is no operation's own work.
    """

    call: Call
    header: str
    step: int
    conversion: Conversion | None = None


@dataclass(slots=True)
class Drafted:
    """What there is to assemble: calls in order, the buffers they name, C text of kernels in no header.

    together: runs of calls that write apart and read nothing of each other. tiles: chosen so far.
    """

    calls: list[DraftedCall] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    together: list[Run] = field(default_factory=list)
    tiles: list[TileUse] = field(default_factory=list)


def assembled(
    drafted: Drafted, function: Function, tensors: Mapping[TensorId, Tensor], before: int, after: int
) -> Plan:
    """The plan of `function`. before, after: bytes beside the arena that kernels may read."""
    calls, together, scratch = _in_parts(drafted)
    used = {place.buffer for call in calls for place in call.places}
    buffers = {
        name: dataclasses.replace(buffer, nbytes=scratch.get(name, buffer.nbytes))
        for name, buffer in drafted.buffers.items()
        if name in used
    }
    arena = plan_arena(_lifetimes(calls, together, buffers), before, after)
    return Plan(
        function=function.name,
        calls=tuple(calls),
        buffers=buffers,
        arena_offsets=arena.offsets,
        arena_bytes=arena.nbytes,
        n_inputs=len(function.inputs),
        n_outputs=len(function.outputs),
        sources=drafted.sources,
        layers=_layers(drafted.calls, function, tensors),
        tiles=tuple(drafted.tiles),
        together=together,
        conversions={n: d.conversion for n, d in enumerate(drafted.calls) if d.conversion is not None},
    )


def _in_parts(drafted: Drafted) -> tuple[list[Call], tuple[Run, ...], dict[str, int]]:
    """The calls with their parts, which run beside each other, and bytes of scratch that parts need."""
    members = {number: end - first for first, end in drafted.together for number in range(first, end)}
    splits = [
        _split(entry, drafted.buffers, MOST_PARTS // members.get(number, 1))
        for number, entry in enumerate(drafted.calls)
    ]
    whole = [entry.call for entry in drafted.calls]
    together = tuple(run for run in drafted.together if joined(splits[slice(*run)], whole[slice(*run)]))
    beside = {number for first, end in together for number in range(first, end)}
    calls: list[Call] = []
    scratch: dict[str, int] = {}
    for number, (call, found) in enumerate(zip(whole, splits)):
        scratch |= found.scratch
        parts = found.parts or ((call,) if number in beside else ())
        calls.append(dataclasses.replace(call, parts=parts) if parts else call)
    return calls, together, scratch


def _split(entry: DraftedCall, buffers: Mapping[str, Buffer], most: int) -> Split:
    headers = (entry.header, *ordered_headers([entry.header]), *HEADER_ORDER)
    names = next(filter(None, (parameters(name).get(entry.call.kernel) for name in headers)), None)
    return split(entry.call, names, buffers, most) if names else WHOLE


def _lifetimes(
    calls: Sequence[Call], together: Sequence[Run], buffers: Mapping[str, Buffer]
) -> list[Lifetime]:
    """Of the arena's buffers, from the first call that names one to the last; what runs together is one."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, call in enumerate(calls):
        for place in call.places:
            if buffers[place.buffer].space is Space.ARENA:
                first.setdefault(place.buffer, number)
                last[place.buffer] = number
    for begin, end in together:
        for name in {place.buffer for call in calls[begin:end] for place in call.places} & first.keys():
            first[name], last[name] = min(first[name], begin), max(last[name], end - 1)
    return [Lifetime(name, buffers[name].nbytes, first[name], last[name]) for name in first]


def _layers(
    calls: Sequence[DraftedCall], function: Function, tensors: Mapping[TensorId, Tensor]
) -> tuple[Layer, ...]:
    layers = []
    for step, op in enumerate(function.operations):
        own = [number for number, entry in enumerate(calls) if entry.step == step]
        if own:
            name, dtype = describe(op, tensors), tensors[(*op.inputs, *op.outputs)[0]].dtype
            layers.append(Layer(name, dtype, op.macs(tensors), own[0], own[-1] + 1, (step,)))
    return tuple(layers)


def describe(op: Operation, tensors: Mapping[TensorId, Tensor]) -> str:
    """`Conv2d 'conv1' (int8 1×32×32×3 → int8 1×32×32×16)`: an operation as error messages name it."""
    result = ", ".join(f"'{name}'" for name in (*op.outputs, *op.updates))
    shapes = [tensors[name] for name in (*op.inputs[:1], *op.outputs[:1])]
    text = " → ".join(f"{t.dtype} {'×'.join(map(str, t.shape))}" for t in shapes)
    return f"{type(op).__name__} {result} ({text})"
