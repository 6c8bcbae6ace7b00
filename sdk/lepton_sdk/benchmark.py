"""Latency, measured so that two things can be compared: batches in turns, within one run.

Clocks, neighbours and temperature change over seconds; taking turns lets both sides see the same machine.
"""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface, TensorSpec
from lepton_targets.errors import BadInputError
from lepton_targets.record import Record

if TYPE_CHECKING:
    from lepton_sdk.session import Session

_BATCH_SECONDS = 2e-3
_LEAST_BATCHES = 5


class Latency(Record):
    """Microseconds a call, over batches of calls; samples: number of batches."""

    min: float
    median: float
    p99: float
    samples: int

    def to_json(self) -> dict[str, float]:
        """min, median and p99 in microseconds."""
        return {"min": self.min, "median": self.median, "p99": self.p99}


def measure_session(session: Session, seconds: float, function: str = "infer") -> Latency:
    """Latency of `run_into`, bound once, on the function's golden inputs or synthetic ones."""
    call = bound_call(session, function, example_inputs(session, function))
    return measure([call], seconds)[0]


def measure(calls: Sequence[Callable[[], object]], seconds: float) -> list[Latency]:
    """Latency of each call, batches of all in turns, for about `seconds` in all."""
    if not seconds > 0 or not math.isfinite(seconds):
        raise BadInputError(f"a benchmark of {seconds} seconds can't be run; give a number above 0")
    repeats = [_calibrate(call) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    deadline = time.perf_counter() + seconds
    while len(times[0]) < _LEAST_BATCHES or time.perf_counter() < deadline:
        for call, repeat, taken in zip(calls, repeats, times):
            taken.append(_time(call, repeat) / repeat)
    return [_latency(taken) for taken in times]


def bound_call(session: Session, function: str, inputs: dict[str, np.ndarray]) -> Callable[[], None]:
    """The function bound to `inputs` and to output arrays of its own."""
    outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.interface(function).outputs}
    return session.bind(inputs, outputs, function)


def example_inputs(session: Session, function: str = "infer") -> dict[str, np.ndarray]:
    """Inputs of the first golden vector of the function, else noise over the range of each input's type."""
    if session.bundle is not None:
        for vector in session.bundle.golden():
            if vector.function == function:
                return {name: np.array(array) for name, array in vector.inputs.items()}
    return synthetic_inputs(session.interface(function))


def call_overheads(session: Session, seconds: float = 0.6) -> tuple[Latency, Latency]:
    """What `run`, and `run_into` with the same arrays, cost beyond the model's own code, measured in turns.

    All of their work around a C function that does nothing.
    """
    idle = copy.copy(session)
    interface = session.interface()
    idle._engine, idle._staged, idle._bound = _NoWork(interface), {}, None
    inputs, outputs = (
        {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}
        for specs in (interface.inputs, interface.outputs)
    )
    given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    filled = next(iter(outputs.values())) if len(outputs) == 1 else outputs
    run, run_into = measure([lambda: idle.run(given), lambda: idle.run_into(given, filled)], seconds)
    return run, run_into


class _NoWork:
    """An engine whose function is the C library's `strlen` of nothing, called as compiled code is."""

    name = target = "none"
    threads = 1

    def __init__(self, interface: FunctionInterface) -> None:
        self.functions: Mapping[str, FunctionInterface] = {"infer": interface}

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        entry: Callable[..., int] = ctypes.CDLL(None).strlen
        arguments = ((ctypes.c_void_p * 6)(),)

        def call(entry: Callable[..., int] = entry, arguments: tuple[object, ...] = arguments) -> None:
            if entry(*arguments):
                raise ArithmeticError("the length of nothing is not 0")

        return call

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.bind(function, inputs, outputs)()

    def variables(self) -> dict[str, np.ndarray]:
        return {}

    def reset(self) -> None:
        return None


def synthetic_inputs(interface: FunctionInterface, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays as the inputs want them: normal for real numbers, uniform over the range of integers."""
    random = np.random.default_rng(seed)
    return {spec.name: _synthetic(spec, random) for spec in interface.inputs}


def _synthetic(spec: TensorSpec, random: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.asarray(random.standard_normal(spec.shape)).astype(dtype)
    if dtype.kind == "b" or dtype.itemsize > 2:
        return random.integers(0, 2, spec.shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max + 1, spec.shape).astype(dtype)


def _calibrate(call: Callable[[], object]) -> int:
    """Calls that fill a batch; they warm caches and clocks too."""
    repeat = 1
    while (taken := _time(call, repeat)) < _BATCH_SECONDS:
        repeat = max(repeat * 2, int(repeat * _BATCH_SECONDS / max(taken, 1e-7)))
    return max(1, int(repeat * _BATCH_SECONDS / taken))


def _time(call: Callable[[], object], repeat: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - begin


def _latency(seconds: list[float]) -> Latency:
    ordered = sorted(second * 1e6 for second in seconds)
    last = len(ordered) - 1
    return Latency(ordered[0], ordered[last // 2], ordered[math.ceil(last * 0.99)], len(ordered))
