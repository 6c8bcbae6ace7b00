"""How long each layer of compiled code takes, on the device that runs it.

The code reads a clock between its steps (engines/stamps.py) and the bundle says whose each step is
(steps.py). Runs with and without readings take turns, so that the reader sees what the readings change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lepton_sdk import steps
from lepton_sdk.benchmark import Latency, measure
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.calls import BoundCall
from lepton_sdk.engines import Engine
from lepton_sdk.engines.native import NativeEngine
from lepton_sdk.engines.stamps import READINGS_BEFORE, Stamps
from lepton_sdk.examples import example_inputs
from lepton_sdk.program.float_kernel import FloatKernel
from lepton_targets.errors import UnavailableError

if TYPE_CHECKING:
    from lepton_sdk.program import Operation, Program, Tensor, Tensors


@dataclass(frozen=True, slots=True)
class StepTime:
    """Microseconds of the kernels that run from one reading to the next: median and least of all runs.

    parts: how many can run at the same time.
    """

    kernels: tuple[str, ...]
    median_us: float
    min_us: float
    parts: int


@dataclass(frozen=True, slots=True)
class LayerTime:
    """A layer's time: one operation of the Program, or several that are carried out as one; or a conversion.

    name: of the last result. operation: `Conv2d + Add`; for what only brings a tensor into another form, as
    kernels want their operands, `to blocks`, `to dense` and the like: such rows belong to no layer. shapes:
    `1×32×32×16 · 32×3×3×16 → 1×16×16×32`: what is read, its weights, what results. dtype: of the result.
    macs: multiply-accumulates by the operations' meaning. share: of all steps' time.
    """

    name: str
    operation: str
    shapes: str
    dtype: str
    median_us: float
    min_us: float
    share: float
    macs: int
    steps: tuple[StepTime, ...]

    @property
    def conversion(self) -> bool:
        """Whether it belongs to no layer."""
        return self.operation.startswith("to ")

    @property
    def gmacs_per_s(self) -> float | None:
        """Multiply-accumulates a second in 10⁹, by the median; None for layers without."""
        return self.macs / self.median_us / 1e3 if self.macs and self.median_us else None


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """The layers in the order of their first steps, which sum to about what the code takes.

    steps_us: the sum of medians. timed_us: median of the runs that they come from, readings included.
    whole: the same function without readings, in turns with it. reading_ns: what one reading of the clock
    costs; it is taken off every step. readings: how many of them a run takes.

    On a machine that does other work too, whole runs are interrupted more often than single steps: their
    times are longer than the sum then, with and without readings.
    """

    layers: tuple[LayerTime, ...]
    steps_us: float
    timed_us: float
    whole: Latency
    reading_ns: float
    readings: int


def measure_layers(
    engine: Engine, bundle: Bundle | None, seconds: float, function: str = "infer"
) -> LayerTimes:
    """Every layer's time, from runs of about `seconds` in all on the function's golden inputs.

    function: one of the engine's. Raises UnavailableError where the engine does not run a bundle's machine
    code, or an older one's.
    """
    if bundle is None or not isinstance(engine, NativeEngine):
        raise UnavailableError(
            f"the engine '{engine.name}' has no layers that can be timed",
            "machine code has:  --engine native, on a bundle",
        )
    interface = engine.functions[function]
    listed = steps.of_bundle(bundle, engine.target, function)
    inputs = example_inputs(bundle, function, interface)
    outputs = [np.zeros(spec.shape, spec.dtype) for spec in interface.outputs]
    stamps = Stamps(len(listed))
    given = [np.require(inputs[spec.name], requirements=["C", "A"]) for spec in interface.inputs]
    timed = engine.bind_timed(function, given, outputs, stamps.address)
    unread = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in interface.outputs}
    plain = BoundCall(engine, function, interface, inputs, unread).call
    whole, _ = measure([plain, lambda: stamps.recorded(timed)], seconds)
    durations = stamps.durations_ns()
    reading_ns = float(np.median(durations[:, 0]))
    # A step that the processor does while the clock is still read may seem to take less than nothing.
    own_us = np.maximum(durations[:, 1:] - reading_ns, 0) / 1e3
    medians, least = np.median(own_us, axis=0), own_us.min(axis=0)
    total = float(medians.sum())
    times = [
        StepTime(step.kernels, float(median), float(low), step.parts)
        for step, median, low in zip(listed, medians, least)
    ]
    rows = _layers(bundle.program(), function, listed, times, total)
    timed_us = float(np.median(durations[:, 1:].sum(axis=1))) / 1e3
    return LayerTimes(rows, total, timed_us, whole, reading_ns, READINGS_BEFORE + len(listed))


def _layers(
    program: Program,
    function: str,
    listed: Sequence[steps.Step],
    times: Sequence[StepTime],
    total_us: float,
) -> tuple[LayerTime, ...]:
    owned: dict[tuple[tuple[int, ...], str | None, str | None], list[StepTime]] = {}
    for step, time in zip(listed, times):
        owned.setdefault((step.operations, step.converts, step.into), []).append(time)
    operations, rows = program.function(function).operations, []
    for (numbers, converts, into), own in owned.items():
        ops = [operations[number] for number in numbers]
        named = _conversion(converts, into, program.tensors) if not ops else _named(ops, program.tensors)
        median = sum(time.median_us for time in own)
        rows.append(
            LayerTime(
                **named,
                median_us=median,
                min_us=sum(time.min_us for time in own),
                share=median / total_us if total_us else 0.0,
                macs=sum(op.macs(program.tensors) for op in ops),
                steps=tuple(own),
            )
        )
    return tuple(rows)


def step_title(step: steps.Step, program: Program, function: str) -> str:
    """`Conv2d conv1: pad_rows_u8`: whose work a step is, and by which kernels."""
    ops = [program.function(function).operations[number] for number in step.operations]
    named = _named(ops, program.tensors) if ops else _conversion(step.converts, step.into, program.tensors)
    return f"{named['operation']} {named['name']}: {', '.join(step.kernels)}"


def _conversion(tensor: str | None, into: str | None, tensors: Tensors) -> dict[str, str]:
    held = tensors.get(tensor or "")
    return {
        "name": tensor or "",
        "operation": f"to {into or 'another form'}",
        "shapes": _shape(held) if held else "",
        "dtype": held.dtype if held else "",
    }


def _named(ops: Sequence[Operation], tensors: Tensors) -> dict[str, str]:
    first, last = ops[0], ops[-1]
    result = (*last.outputs, *last.updates)[0]
    weight = getattr(first, "weight", None)
    read = [name for name in (*first.inputs[:1], weight) if name]
    return {
        "name": result,
        "operation": " + ".join(_kind(op) for op in ops),
        "shapes": f"{' · '.join(_shape(tensors[name]) for name in read)} → {_shape(tensors[result])}",
        "dtype": tensors[result].dtype,
    }


def _kind(op: Operation) -> str:
    return str(op.operator) if isinstance(op, FloatKernel) else type(op).__name__


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
