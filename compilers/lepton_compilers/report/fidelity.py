"""Each int8 or int16 layer against the same layer of the float source, over the same examples.

Both programs run on the reference executor; its bytes are every target's bytes. A layer's error holds what
the layers before it brought along: `loss_db` tells how much was lost in the layer itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Program, Tensor, TensorId
from lepton_sdk.program.operations import (
    AveragePool2d,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    MaxPool2d,
    Quantize,
    Softmax,
)
from lepton_sdk.program.reference import Reference

Array = npt.NDArray[Any]
Progress = Callable[[int], None]

BINS = 64
FITTED_ON = 16
"""Examples that equalisation's factors are read from."""


@dataclass(frozen=True, slots=True)
class LayerFidelity:
    """What int8, or int16, made of one tensor.

    sqnr_db: 10·log10(Σ float² / Σ (float − int8)²); None where there is no signal, or no error at all (then
    `exact`). loss_db: the poorest SQNR among the tensors it was computed from, less its own; None at the
    start. float_low, float_high: what the float network computed; int8_low, int8_high: what the integers can
    say. used: share of the integers' range that the float values span. saturated: share of float values
    outside of it by half a step or more. rescaled_channels: those that equalisation gave another size; the
    float values are taken at that size. histogram: float values in 64 equal bins over the integers' range,
    those outside in the bins at its ends. into_softmax: a softmax reads it, which asks only how far values
    lie below the largest, so that the quantiser may cut its range at the low end on purpose.
    """

    step: int
    output: str
    float_tensor: str
    sqnr_db: float | None
    exact: bool
    loss_db: float | None
    float_low: float
    float_high: float
    int8_low: float
    int8_high: float
    used: float
    saturated: float
    rescaled_channels: int
    histogram: tuple[int, ...]
    into_softmax: bool


class _Sums:
    """What is kept of one tensor from example to example."""

    def __init__(self, tensor: Tensor, factors: Array | None = None) -> None:
        self.factors = factors
        self.scale, self.zero_point = float(tensor.scale), tensor.zero_point
        limits = np.iinfo(tensor.dtype)
        self.least, self.most = int(limits.min), int(limits.max)
        self.signal = self.noise = 0.0
        self.low, self.high = math.inf, -math.inf
        self.count = self.saturated = 0
        self.histogram = np.zeros(BINS, np.int64)

    @property
    def ends(self) -> tuple[float, float]:
        """Reals that the least and the greatest integer stand for."""
        return self.scale * (self.least - self.zero_point), self.scale * (self.most - self.zero_point)

    def add(self, real: Array, integers: Array) -> None:
        values = real.astype(np.float64)
        if self.factors is not None:
            values *= self.factors
        said = self.scale * (integers.astype(np.float64) - self.zero_point)
        self.signal += float((values**2).sum())
        self.noise += float(((values - said) ** 2).sum())
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        low, high = self.ends
        half = self.scale / 2
        self.saturated += int(((values < low - half) | (values > high + half)).sum())
        self.count += values.size
        self.histogram += np.histogram(np.clip(values, low, high), BINS, (low, high))[0]

    def sqnr_db(self) -> float | None:
        """None without signal or without error."""
        if self.signal == 0 or self.noise == 0:
            return None
        return 10 * math.log10(self.signal / self.noise)


def float_twins(program: Program, source: Program) -> dict[TensorId, TensorId]:
    """int8 and int16 tensors of `infer` by name → the tensor of the float source that means the same.

    Layers keep their names from the source model; the ends are paired through Quantize, Dequantize and the
    order of inputs and outputs. A tensor that has another shape there has no twin.
    """
    ours, theirs = program.function(), source.function()
    known = {name: name for name in program.tensors if name in source.tensors}
    known |= dict(zip(ours.inputs, theirs.inputs)) | dict(zip(ours.outputs, theirs.outputs))
    for op in ours.operations:
        if isinstance(op, Quantize) and op.x in known:
            known.setdefault(op.y, known[op.x])
        elif isinstance(op, Dequantize) and op.y in known:
            known.setdefault(op.x, known[op.y])
    computed = {*theirs.inputs, *(name for op in theirs.operations for name in op.outputs)}
    mine = {*ours.inputs, *(name for op in ours.operations for name in op.outputs)}
    return {
        name: twin
        for name, twin in known.items()
        if name in mine
        and twin in computed
        and program.tensors[name].dtype in ("int8", "int16")
        and program.tensors[name].quantization is not None
        and source.tensors[twin].dtype == "float32"
        and program.tensors[name].shape == source.tensors[twin].shape
    }


def measure(
    program: Program,
    source: Program,
    examples: Mapping[str, Array],
    source_examples: Mapping[str, Array],
    equalised: bool = False,
    progress: Progress = lambda done: None,
) -> tuple[tuple[LayerFidelity, ...], Array]:
    """Fidelity of every layer with a twin, in order; the source's first outputs as float64 [n, values].

    examples, source_examples: the same n examples [n, *shape of an example] by input name of either program,
    whose batch is one. equalised: whether channels between layers may have been given other sizes.
    progress: told the examples done.
    """
    twins = float_twins(program, source)
    integer, real = Reference(program), Reference(source)
    n = len(next(iter(examples.values())))

    def traces(index: int) -> tuple[dict[TensorId, Array], dict[TensorId, Array]]:
        row = slice(index, index + 1)
        return (
            integer.trace([examples[name][row] for name in program.function().inputs]),
            real.trace([source_examples[name][row] for name in source.function().inputs]),
        )

    factors: dict[TensorId, Array] = {}
    if equalised:
        some = [traces(index) for index in range(min(n, FITTED_ON))]
        for name in _between_weights(program).intersection(twins):
            ours_there = np.concatenate([a[name] for a, _ in some])
            theirs_there = np.concatenate([b[twins[name]] for _, b in some])
            factors[name] = _powers_of_two(program.tensors[name], ours_there, theirs_there)
    sums = {name: _Sums(program.tensors[name], factors.get(name)) for name in twins}
    results = []
    for index in range(n):
        ours, theirs = traces(index)
        for name, twin in twins.items():
            sums[name].add(theirs[twin], ours[name])
        results.append(theirs[source.function().outputs[0]].astype(np.float64).ravel())
        progress(index + 1)
    return _rows(program, twins, sums), np.array(results)


def _between_weights(program: Program) -> set[TensorId]:
    """Tensors that only weighted layers read, at once or behind pools: what equalisation may rescale."""
    function = program.function()
    found: set[TensorId] = set()
    read = set(function.outputs)
    for op in reversed(function.operations):
        lets_through = isinstance(op, Conv2d | DepthwiseConv2d | Dense) or (
            isinstance(op, MaxPool2d | AveragePool2d) and op.y in found
        )
        for name in op.inputs:
            if lets_through and name not in read:
                found.add(name)
            elif not lets_through:
                read.add(name)
    return found - read


def _powers_of_two(tensor: Tensor, integers: Array, real: Array) -> Array:
    """What the float values of every channel, the last axis, must be multiplied by; [channels]."""
    said = float(tensor.scale) * (integers.astype(np.float64) - tensor.zero_point)
    values = real.astype(np.float64)
    axes = tuple(range(values.ndim - 1))
    power, product = (values**2).sum(axis=axes), (values * said).sum(axis=axes)
    live = (power > 0) & (product > 0)
    gains = np.divide(product, power, out=np.ones_like(power), where=live)
    factors: Array = 2.0 ** np.rint(np.log2(gains))
    return factors


def _rows(
    program: Program, twins: Mapping[TensorId, TensorId], sums: Mapping[TensorId, _Sums]
) -> tuple[LayerFidelity, ...]:
    found: list[LayerFidelity] = []
    into_softmax = {op.x for op in program.function().operations if isinstance(op, Softmax)}
    # What a layer's inputs were like; a tensor without a twin passes on what it was made from.
    arriving: dict[TensorId, float | None] = {}
    for step, op in enumerate(program.function().operations):
        before = [db for name in op.inputs if (db := arriving.get(name)) is not None]
        poorest = min(before, default=None)
        for name in op.outputs:
            arriving[name] = poorest
            if name not in twins:
                continue
            s = sums[name]
            db, (low, high) = s.sqnr_db(), s.ends
            loss = None if db is None or poorest is None else poorest - db
            arriving[name] = db
            found.append(
                LayerFidelity(
                    step,
                    name,
                    twins[name],
                    db,
                    s.noise == 0,
                    loss,
                    s.low,
                    s.high,
                    low,
                    high,
                    max(0.0, min(s.high, high) - max(s.low, low)) / (high - low),
                    s.saturated / s.count,
                    0 if s.factors is None else int((s.factors != 1).sum()),
                    tuple(s.histogram.tolist()),
                    name in into_softmax,
                )
            )
    return tuple(found)
