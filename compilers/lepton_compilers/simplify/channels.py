"""Which tensors must keep the same channels (the last axis), and which channels of them anything needs.

Channel-wise operations tie their tensors into one group. Conv2d and Dense end groups: they mix the channels
that they read and make each channel that they write on its own, so both can be left out there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.simplify.body import reads
from lepton_compilers.simplify.ranges import Ranges
from lepton_sdk.program import Operation, Program, TensorId, Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Reshape,
    Table,
)

Mask = npt.NDArray[np.bool_]
MIXING = (Conv2d, Dense)
_ALWAYS_CHANNEL_WISE = (AveragePool2d, MaxPool2d, ClampTo, Table)


@dataclass(frozen=True, slots=True)
class Channels:
    """kept: for every tensor of a group that may lose channels, which stay, bool [channels]."""

    kept: Mapping[TensorId, Mask]

    def mask(self, name: TensorId, tensors: Tensors) -> Mask:
        """The channels of a tensor that stay: all, where it is in no such group."""
        found = self.kept.get(name)
        return np.ones(tensors[name].shape[-1], np.bool_) if found is None else found


def needed_channels(program: Program, ranges: Ranges) -> Channels:
    """The fewest channels that give the same outputs.

    A mixing layer can do without a channel that is constant (it goes into the bias, unless a border of real
    zeros interrupts it) or that no kept output has a weight for. Fewer outputs of one layer may free inputs
    of the layers before it: repeated until nothing changes.
    """
    t, operations = program.tensors, program.function().operations
    groups = _groups(program)
    kept = {group: np.ones(t[group].shape[-1], np.bool_) for group in groups.values()}
    mixing = [op for op in operations if isinstance(op, MIXING) and op.x in groups]
    while True:
        wanted = {group: np.zeros(len(mask), np.bool_) for group, mask in kept.items()}
        for op in mixing:
            outputs = kept[groups[op.y]] if op.y in groups else np.ones(t[op.y].shape[-1], np.bool_)
            wanted[groups[op.x]] |= _needed_by(op, outputs, ranges, t)
        for mask in wanted.values():
            if not mask.any():
                mask[0] = True  # a tensor has at least one channel
        if all(np.array_equal(wanted[group], kept[group]) for group in kept):
            return Channels({name: kept[group] for name, group in groups.items()})
        kept = wanted


def removed_constant(op: Any, removed: Mask, ranges: Ranges, t: Tensors) -> npt.NDArray[np.int64]:
    """x − zx of the removed channels that are constant, 0 for all other channels. int64 [channels]."""
    low, high = ranges[op.x]
    return np.where(removed & (low == high), low - t[op.x].zero_point, 0)


def _needed_by(op: Conv2d | Dense, outputs: Mask, ranges: Ranges, t: Tensors) -> Mask:
    weight = t[op.weight].value
    assert weight is not None  # a group is read by layers with constant weights only
    low, high = ranges[op.x]
    constant = low == high
    if isinstance(op, Conv2d) and op.padding:
        constant = np.logical_and(constant, low == t[op.x].zero_point)
    weighted = weight[outputs].reshape(int(outputs.sum()), -1, weight.shape[-1]).any(axis=(0, 1))
    needed: Mask = np.logical_and(weighted, ~constant)
    return needed


def _groups(program: Program) -> dict[TensorId, TensorId]:
    """The group of each int8 tensor that may lose channels, named by one of its members."""
    t, body = program.tensors, program.function()
    parent = {name: name for name in t}

    def root(name: TensorId) -> TensorId:
        while parent[name] != name:
            name = parent[name]
        return name

    count = reads(program)
    pinned = {name for name, tensor in t.items() if tensor.dtype != "int8" or tensor.constant}
    pinned.update((*body.inputs, *body.outputs))
    members: dict[TensorId, None] = {}
    for op in body.operations:
        layer = isinstance(op, Conv2d | DepthwiseConv2d | Dense)
        held = [n for n in (op.weight, op.bias, op.multiplier) if n] if layer else []  # type: ignore[attr-defined]
        own = all(t[n].constant and count[n] == 1 for n in held) and _is_integer(op)
        ends = [*(n for n in _activations(op)), *op.outputs]
        members.update(dict.fromkeys(ends))
        if _channel_wise(op, t) and own:
            for name in ends[1:]:
                parent[root(name)] = root(ends[0])
        elif not (isinstance(op, MIXING) and own):
            pinned.update(ends)
    fixed = {root(name) for name in pinned}
    return {name: root(name) for name in members if root(name) not in fixed}


def _activations(op: Operation) -> tuple[TensorId, ...]:
    """What an operation reads, weights and tables left out."""
    if isinstance(op, Conv2d | DepthwiseConv2d | Dense | Table):
        return (op.x,)
    return op.inputs


def _is_integer(op: Operation) -> bool:
    return not isinstance(op, Conv2d | DepthwiseConv2d | Dense) or op.multiplier is not None


def _channel_wise(op: Operation, t: Tensors) -> bool:
    """Whether each channel of the output reads that channel of the inputs and no other."""
    if isinstance(op, Add):
        return t[op.a].shape == t[op.b].shape == t[op.y].shape
    if isinstance(op, DepthwiseConv2d | Reshape):
        return t[op.x].shape[-1:] == t[op.y].shape[-1:] != ()
    if isinstance(op, Pad):
        return not (op.before[-1] or op.after[-1])
    return isinstance(op, _ALWAYS_CHANNEL_WISE)
