"""What values of a tensor int8 is to span: five ways to choose a range from what calibration shows.

Every range holds zero, for padding and ReLU need it exact. Values outside the range saturate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lepton_compilers.quantize.histogram import Histogram

Array = npt.NDArray[Any]
Range = tuple[float, float]
"""(low ≤ 0, high ≥ 0)."""

STEPS = 255
MOMENTUM = 0.9
PERCENTILE = 99.99
SHRINKINGS = np.linspace(1.0, 0.05, 96)
"""Shares of the observed range that the search for the least squared error tries, each end by itself."""
ENTROPY_LEVELS = 128
"""Levels that a magnitude is told apart by: half of int8."""

SOFTMAX_REACH = 8.0
"""e^−8 is 1/2981: far below half of 1/256, with room for the error of the logits themselves."""


class Observer(Protocol):
    """Sees a tensor's values, sample after sample, then says which range int8 shall span."""

    def observe(self, values: Array) -> None:
        """Finite values of any shape."""
        ...

    def range(self) -> Range:
        """The range to span."""
        ...


class MinMax:
    """From the smallest value seen to the largest: nothing saturates on the samples."""

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0

    def observe(self, values: Array) -> None:
        """Widen the range."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def range(self) -> Range:
        """The range seen."""
        return self.low, self.high


class MovingAverage:
    """Extremes of each sample, averaged with weights that fade by `momentum` a sample."""

    def __init__(self, momentum: float = MOMENTUM) -> None:
        self.momentum = momentum
        self._ends: tuple[float, float] | None = None

    def observe(self, values: Array) -> None:
        """Move the ends towards this sample's; the first sample sets them."""
        low, high = float(values.min()), float(values.max())
        if self._ends is not None:
            keep = self.momentum
            low = keep * self._ends[0] + (1 - keep) * low
            high = keep * self._ends[1] + (1 - keep) * high
        self._ends = low, high

    def range(self) -> Range:
        """The averaged ends."""
        low, high = self._ends or (0.0, 0.0)
        return min(low, 0.0), max(high, 0.0)


class Percentile:
    """The range that leaves out the same share of values at either end: 0.01 % at 99.99."""

    def __init__(self, percentile: float = PERCENTILE) -> None:
        self.percentile = percentile
        self.histogram = Histogram()

    def observe(self, values: Array) -> None:
        """Count the values."""
        self.histogram.observe(values)

    def range(self) -> Range:
        """Ends at bin edges, within what was seen."""
        h = self.histogram
        outside = (1 - self.percentile / 100) * (h.counts.sum() + h.zeros)
        half = len(h.counts) // 2
        # A tail is counted from its end; it stops before the bin that would take too much.
        below = int(np.searchsorted(np.cumsum(h.counts), outside, side="right"))
        above = int(np.searchsorted(np.cumsum(h.counts[::-1]), outside, side="right"))
        low, high = (below - half) * h.width, (half - above) * h.width
        return min(max(low, h.low), 0.0), max(min(high, h.high), 0.0)


class MeanSquaredError:
    """The range of least expected squared error: rounding, step²/12, against saturation.

    Zeros cost nothing. Source: Banner, Nahshan, Soudry, "Post training 4-bit quantization of convolutional
    networks for rapid-deployment" (2019), section 3, with the observed distribution in place of a fitted one.
    """

    def __init__(self) -> None:
        self.histogram = Histogram()

    def observe(self, values: Array) -> None:
        """Count the values."""
        self.histogram.observe(values)

    def range(self) -> Range:
        """The better end given the other, in turn, until neither moves."""
        h = self.histogram
        lows, highs = h.low * SHRINKINGS, h.high * SHRINKINGS
        centres, counts = h.centres, h.counts.astype(np.float64)
        below = np.array([(counts * np.minimum(centres - low, 0) ** 2).sum() for low in lows])
        above = np.array([(counts * np.maximum(centres - high, 0) ** 2).sum() for high in highs])
        rounding = ((highs[None] - lows[:, None]) / STEPS) ** 2 / 12 * counts.sum()
        error = below[:, None] + above[None] + rounding
        best_low, best_high = np.unravel_index(int(error.argmin()), error.shape)
        return float(lows[best_low]), float(highs[best_high])


class Entropy:
    """The range whose int8 histogram tells least less than the values' own: minimal KL divergence.

    One threshold on the magnitude serves both ends. Source: Migacz, "8-bit inference with TensorRT" (2017).
    Zeros are left out, for every threshold holds them exactly.
    """

    def __init__(self) -> None:
        self.histogram = Histogram()

    def observe(self, values: Array) -> None:
        """Count the values."""
        self.histogram.observe(values)

    def range(self) -> Range:
        """The values seen, cut at the threshold."""
        h = self.histogram
        half = len(h.counts) // 2
        magnitudes = h.counts[half:] + h.counts[:half][::-1]
        used = int(np.flatnonzero(magnitudes).max(initial=0)) + 1
        cuts = [*range(ENTROPY_LEVELS, used, 16), used]
        threshold = min(cuts, key=lambda cut: (_divergence(magnitudes, cut), -cut)) * h.width
        return max(h.low, -threshold), min(h.high, threshold)


def _divergence(counts: Array, cut: int) -> float:
    """KL divergence of counts [bins], cut with the tail in the last bin, from their int8 form."""
    kept = counts[:cut].astype(np.float64)
    reference = kept.copy()
    reference[-1] += counts[cut:].sum()
    level = np.arange(cut) * ENTROPY_LEVELS // cut
    filled = kept > 0
    mass = np.bincount(level, kept, ENTROPY_LEVELS)
    bins = np.bincount(level, filled, ENTROPY_LEVELS)
    spread = np.where(filled, (mass / np.maximum(bins, 1))[level], 0.0)
    p, q = reference / reference.sum() if reference.sum() else reference, spread / max(spread.sum(), 1.0)
    told = p > 0
    # What the cut range can't hold at all counts as if it were as rare as one value.
    rare = 1.0 / max(float(counts.sum()), 1.0)
    return float((p[told] * np.log(p[told] / np.maximum(q[told], rare))).sum())


class SoftmaxInput:
    """From what can still show in a softmax's int8 result to the largest logit.

    A logit more than SOFTMAX_REACH below its row's largest gives less than half of the result's step, 1/256,
    and may saturate; the steps that saves tell the leading classes apart.
    """

    def __init__(self) -> None:
        self.seen = MinMax()
        self.least_maximum = np.inf

    def observe(self, values: Array) -> None:
        """Widen the range by logits [..., classes]."""
        self.seen.observe(values)
        self.least_maximum = min(self.least_maximum, float(values.max(axis=-1).min()))

    def range(self) -> Range:
        """The part that counts."""
        low, high = self.seen.range()
        return min(max(low, self.least_maximum - SOFTMAX_REACH), 0.0), high


OBSERVERS: Mapping[str, Callable[[], Observer]] = {
    "min-max": MinMax,
    "moving-average": MovingAverage,
    "percentile": Percentile,
    "entropy": Entropy,
    "mse": MeanSquaredError,
}
"""By the names that `--observer` takes."""


def extremes(observer: Observer) -> Range:
    """All that was seen: what int16 spans, whose steps are small enough to saturate nothing."""
    if isinstance(observer, SoftmaxInput):
        return observer.seen.range()
    if isinstance(observer, Percentile | MeanSquaredError | Entropy):
        return min(observer.histogram.low, 0.0), max(observer.histogram.high, 0.0)
    return observer.range()
