"""Measuring in turns: calls are timed equally often, progress is told; what is no time is refused."""

from __future__ import annotations

import pytest

from lepton_sdk.benchmark import measure
from lepton_targets.errors import BadInputError


def test_calls_take_turns_and_progress_is_told_between_them() -> None:
    told: list[float] = []
    first, second = measure([lambda: None, lambda: sum(range(100))], 0.05, told.append)
    assert first.samples == second.samples == len(told) >= 5
    assert 0 < first.min <= first.median <= first.p99
    assert told == sorted(told)
    assert told[-1] >= 0.05


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_are_none(seconds: float) -> None:
    with pytest.raises(BadInputError, match="give a number above 0"):
        measure([lambda: None], seconds)
