"""How often values fell where, over a range that grows as values arrive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BINS = 4096
"""Bins a histogram, half on either side of zero: 16 or more for each of the 255 steps of int8."""
_HALF = BINS // 2


class Histogram:
    """Counts over [−BINS/2, BINS/2) · width. Zeros are counted apart, for int8 holds zero exactly.

    The width is a power of two and doubles when a value falls outside: pairs of bins then merge, so what
    is counted does not depend on the order of the values.
    """

    def __init__(self) -> None:
        self.counts: Array = np.zeros(BINS, np.int64)
        self.zeros = 0
        self.width = 0.0
        self.low = 0.0
        self.high = 0.0

    def observe(self, values: Array) -> None:
        """Count finite values of any shape."""
        flat = values.reshape(-1).astype(np.float64)
        used = flat[flat != 0]
        self.zeros += flat.size - used.size
        if not used.size:
            return
        self.low, self.high = min(self.low, float(used.min())), max(self.high, float(used.max()))
        self._widen(max(-self.low, self.high))
        places = np.clip(np.floor(used / self.width).astype(np.int64) + _HALF, 0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    @property
    def centres(self) -> Array:
        """The middle of every bin, float64 [BINS], ascending."""
        middles: Array = (np.arange(BINS) - _HALF + 0.5) * self.width
        return middles

    def _widen(self, magnitude: float) -> None:
        needed = math.ldexp(1.0, math.frexp(magnitude)[1]) / _HALF
        if self.width == 0:
            self.width = needed
        while self.width < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[_HALF // 2 : _HALF // 2 + _HALF] = merged
            self.width *= 2
