"""Readings of a clock that compiled code takes between its steps (runtime/lepton_stamps.h).

The clock is the C library's clock_gettime, called by the code itself: nothing depends on the CPU, and a
reading costs tens of nanoseconds.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lepton_targets.errors import BundleFormatError, UnavailableError

STAMP_BYTES = 16
"""LEPTON_STAMP_BYTES."""
READINGS_BEFORE = 3
"""LEPTON_READINGS_BEFORE the first step: one waits for memory, and two lie apart what a reading takes."""

_RECORDED_BYTES = 16 << 20
"""The last so many runs are kept whose readings fit here."""


class _Stamps(ctypes.Structure):
    """lepton_stamps."""

    _fields_ = (
        ("clock", ctypes.c_void_p),
        ("id", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
    )


class Stamps:
    """A record of runs: a row of readings for each, some before its first step and one after every step.

    address: what a timed function gets as its lepton_stamps.
    """

    def __init__(self, steps: int) -> None:
        """Raises UnavailableError on a system without clock_gettime."""
        self._used_bytes = (READINGS_BEFORE + steps) * STAMP_BYTES
        # Room for one more, so that code with more steps shows itself.
        self._row_bytes = self._used_bytes + STAMP_BYTES
        self._rows = max(_RECORDED_BYTES // self._row_bytes, 1)
        self._clock = _clock()
        self._format = timespec_format(self._clock)
        # Written to, so that no step pays for the page it is noted in.
        self._record = np.full(self._rows * self._row_bytes, 0xFF, np.uint8)
        self._stamps = _Stamps(ctypes.cast(self._clock, ctypes.c_void_p), time.CLOCK_MONOTONIC)
        self._runs = 0
        self.address = ctypes.addressof(self._stamps)

    def recorded(self, run: Callable[[], object]) -> None:
        """Record a run of a timed function. Raises BundleFormatError where it has another number of steps."""
        row = self._record.ctypes.data + self._runs % self._rows * self._row_bytes
        self._stamps.next, self._stamps.end = row, row + self._row_bytes
        run()
        self._runs += 1
        if self._stamps.next != row + self._used_bytes:
            raise BundleFormatError(
                "the bundle's code takes other steps than the bundle says", "compile the model again"
            )

    def durations_ns(self) -> np.ndarray:
        """int64 [runs, 1 + steps]: what a reading took, then each step with the reading after it."""
        runs = min(self._runs, self._rows)
        fields = self._record[: runs * self._row_bytes].view(self._format).reshape(runs, -1)[:, :-1]
        readings = fields["seconds"].astype(np.int64) * 1_000_000_000 + fields["nanoseconds"]
        return np.diff(readings[:, READINGS_BEFORE - 2 :], axis=1)


def _clock() -> Any:
    try:
        return ctypes.CDLL(None).clock_gettime
    except (AttributeError, OSError, TypeError):
        raise UnavailableError("this system's C library has no clock_gettime to time layers by") from None


def timespec_format(clock: Callable[..., int]) -> np.dtype:
    """How a `struct timespec` lies in a stamp: on 32-bit systems that depends on the C library.

    Tried against Python's own reading of the same clock. Raises UnavailableError where none fits.
    """
    content = np.zeros(STAMP_BYTES, np.uint8)
    before = time.monotonic_ns()
    clock(ctypes.c_int(time.CLOCK_MONOTONIC), ctypes.c_void_p(content.ctypes.data))
    after = time.monotonic_ns()
    for seconds, nanoseconds, offset in (("i8", "i8", 8), ("i8", "i4", 8), ("i4", "i4", 4)):
        form = np.dtype(
            {
                "names": ["seconds", "nanoseconds"],
                "formats": [seconds, nanoseconds],
                "offsets": [0, offset],
                "itemsize": STAMP_BYTES,
            }
        )
        found = content.view(form)[0]
        if before <= int(found["seconds"]) * 1_000_000_000 + int(found["nanoseconds"]) <= after:
            return form
    raise UnavailableError("this system's clock_gettime gives times in a form that is not known here")
