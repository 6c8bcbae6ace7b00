"""Measuring in turns: calls are timed equally often, progress is told; what is no time is refused."""

from __future__ import annotations

import pytest

from lepton_sdk.benchmark import Latency, MeasurementInterrupted, measure
from lepton_targets.errors import BadInputError


def test_calls_take_turns_and_progress_is_told_between_them() -> None:
    told: list[float] = []
    first, second = measure([lambda: None, lambda: sum(range(100))], 0.05, told.append)
    assert first.samples == second.samples == len(told) >= 5
    assert 0 < first.min <= first.median <= first.p99
    assert told == sorted(told)
    assert told[-1] >= 0.05


def test_an_interruption_keeps_the_turns_that_were_whole() -> None:
    told: list[float] = []

    def interrupted_after(turns: int) -> list[Latency]:
        def told_enough(spent: float) -> None:
            told.append(spent)
            if len(told) == turns:
                raise KeyboardInterrupt

        return measure([lambda: None, lambda: None], 60, told_enough)

    with pytest.raises(MeasurementInterrupted, match=r"of 60 s; what was measured until then counts") as stop:
        interrupted_after(7)
    assert [latency.samples for latency in stop.value.latencies] == [7, 7]
    told.clear()
    with pytest.raises(KeyboardInterrupt) as early:
        interrupted_after(2)
    assert not isinstance(early.value, MeasurementInterrupted)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_are_none(seconds: float) -> None:
    with pytest.raises(BadInputError, match="give a number above 0"):
        measure([lambda: None], seconds)
