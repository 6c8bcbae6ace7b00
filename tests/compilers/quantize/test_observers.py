"""Observers on distributions whose best range is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lepton_compilers.quantize.histogram import BINS, Histogram
from lepton_compilers.quantize.observers import (
    OBSERVERS,
    SOFTMAX_REACH,
    Entropy,
    MeanSquaredError,
    MinMax,
    MovingAverage,
    Observer,
    Percentile,
    SoftmaxInput,
)

values = arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e6, 1e6, width=32))


def seen(observer: Observer, *samples: np.ndarray) -> tuple[float, float]:
    for sample in samples:
        observer.observe(np.asarray(sample, np.float32))
    return observer.range()


@pytest.mark.parametrize("name", OBSERVERS)
@given(st.lists(values, min_size=1, max_size=4))
def test_every_range_holds_zero_and_lies_within_what_was_seen(name: str, samples: list[np.ndarray]) -> None:
    low, high = seen(OBSERVERS[name](), *samples)
    together = np.concatenate(samples)
    assert min(float(together.min()), 0) <= low <= 0 <= high <= max(float(together.max()), 0)


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_tensor_of_zeros_has_no_range(name: str) -> None:
    assert seen(OBSERVERS[name](), np.zeros(8)) == (0, 0)


@given(st.lists(values, min_size=1, max_size=5))
def test_a_histogram_does_not_depend_on_the_order_of_samples(samples: list[np.ndarray]) -> None:
    first, second = Histogram(), Histogram()
    for forwards, backwards in zip(samples, reversed(samples)):
        first.observe(forwards)
        second.observe(backwards)
    np.testing.assert_array_equal(first.counts, second.counts)
    assert (first.zeros, first.width, first.low, first.high) == (
        *(second.zeros, second.width, second.low, second.high),
    )
    assert first.counts.sum() + first.zeros == sum(sample.size for sample in samples)
    assert max(-first.low, first.high) <= first.width * BINS / 2


def test_min_max_takes_the_extremes() -> None:
    assert seen(MinMax(), [1, 2], [-3, 0.5]) == (-3, 2)
    assert seen(MinMax(), [1, 2]) == (0, 2)


def test_a_moving_average_forgets_an_outlier() -> None:
    low, high = seen(MovingAverage(0.5), [-1, 2], [-1, 10], [-1, 2])
    assert (low, high) == (-1, 4)


def test_a_percentile_cuts_its_share_off_either_end() -> None:
    uniform = np.linspace(-1, 1, 200_001)
    low, high = seen(Percentile(95), uniform)
    # 5 % at either end of a range two wide; a bin is 1/2048.
    assert (low, high) == pytest.approx((-0.9, 0.9), abs=1 / 2048)
    assert seen(Percentile(100), uniform) == (-1, 1)


def test_least_squared_error_of_a_laplace_distribution() -> None:
    # In units of the scale the error is 2e^−a + a² / (3 · 2^16): least where e^−a = a / (3 · 2^16).
    x = (np.arange(2_000_000) + 0.5) / 2_000_000
    laplace = np.sign(x - 0.5) * -np.log1p(-2 * np.abs(x - 0.5))
    low, high = seen(MeanSquaredError(), laplace)
    assert (-low, high) == (pytest.approx(9.90, rel=0.05), pytest.approx(9.90, rel=0.05))


def test_least_squared_error_keeps_a_uniform_distribution_whole() -> None:
    low, high = seen(MeanSquaredError(), np.linspace(-2, 6, 100_001))
    assert (low, high) == pytest.approx((-2, 6), rel=0.02)


def test_entropy_keeps_a_uniform_distribution_and_drops_a_lone_outlier() -> None:
    assert seen(Entropy(), np.linspace(-2, 2, 100_001)) == pytest.approx((-2, 2), rel=0.02)
    normal = np.random.default_rng(0).normal(size=200_000)
    low, high = seen(Entropy(), np.append(normal, 100.0))
    assert 2 < high < 10
    assert -10 < low < -2


def test_logits_too_low_to_show_in_a_softmax_may_saturate() -> None:
    logits = np.array([[20.0, 3.0, -90.0], [5.0, -60.0, 4.0]])
    assert seen(SoftmaxInput(), logits) == (5 - SOFTMAX_REACH, 20)
    assert seen(SoftmaxInput(), np.array([[3.0, 2.5, 2.0]])) == (0, 3)
