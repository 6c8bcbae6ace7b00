"""Latency, measured so that two things can be compared: batches in turns, within one run.

Clocks, neighbours and temperature change over seconds; taking turns lets both sides see the same machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from lepton_targets.errors import BadInputError
from lepton_targets.record import Record

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


class MeasurementInterrupted(KeyboardInterrupt):
    """Ctrl-C while calls were measured. latencies: of each call, from the turns that were whole by then."""

    def __init__(self, latencies: list[Latency], spent: float, seconds: float) -> None:
        super().__init__(
            f"interrupted after {spent:.1f} of {seconds:g} s; what was measured until then counts"
        )
        self.latencies = latencies


def measure(
    calls: Sequence[Callable[[], object]],
    seconds: float,
    progress: Callable[[float], None] = lambda spent: None,
) -> list[Latency]:
    """Latency of each call, batches of all in turns, for about `seconds` in all.

    progress: told the seconds that have passed, between batches.
    Raises MeasurementInterrupted at Ctrl-C once there are enough batches to tell something.
    """
    if not seconds > 0 or not math.isfinite(seconds):
        raise BadInputError(f"a benchmark of {seconds} seconds can't be run; give a number above 0")
    repeats = [_calibrate(call) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    begin = time.perf_counter()
    try:
        while len(times[0]) < _LEAST_BATCHES or time.perf_counter() - begin < seconds:
            for call, repeat, taken in zip(calls, repeats, times):
                taken.append(_time(call, repeat) / repeat)
            progress(time.perf_counter() - begin)
    except KeyboardInterrupt:
        whole = len(times[-1])
        if whole < _LEAST_BATCHES:
            raise
        latencies = [_latency(taken[:whole]) for taken in times]
        raise MeasurementInterrupted(latencies, time.perf_counter() - begin, seconds) from None
    return [_latency(taken) for taken in times]


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
