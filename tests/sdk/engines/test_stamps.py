"""Readings of a clock by compiled code: how they are kept, and how a `struct timespec` is read anywhere."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lepton_sdk.engines.stamps import READINGS_BEFORE, STAMP_BYTES, Stamps, timespec_format
from lepton_targets.errors import BundleFormatError, UnavailableError


class Code:
    """Python in place of a timed function of so many steps, as runtime/lepton_stamps.h has it."""

    def __init__(self, steps: int, stamps: Stamps) -> None:
        self.readings = READINGS_BEFORE + steps
        self.fields = ctypes.cast(stamps.address, ctypes.POINTER(ctypes.c_void_p * 4)).contents
        self.clock = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(self.fields[0])

    def __call__(self) -> None:
        for _ in range(self.readings):
            place, end = self.fields[2], self.fields[3]
            if place == end:
                return
            assert self.clock(time.CLOCK_MONOTONIC, place) == 0
            self.fields[2] = place + STAMP_BYTES


def test_a_row_a_run_and_a_column_a_step() -> None:
    stamps = Stamps(steps=3)
    code = Code(3, stamps)
    for _ in range(5):
        stamps.recorded(code)
    durations = stamps.durations_ns()
    assert durations.shape == (5, 1 + 3)
    assert (durations >= 0).all()
    assert durations.sum() > 0


def test_a_record_that_is_full_keeps_the_last_runs() -> None:
    stamps = Stamps(steps=100_000)
    code = Code(100_000, stamps)
    kept = (16 << 20) // ((READINGS_BEFORE + 100_000 + 1) * STAMP_BYTES)
    for _ in range(kept + 2):
        stamps.recorded(code)
    assert stamps.durations_ns().shape == (kept, 1 + 100_000)


@pytest.mark.parametrize("steps", [0, 2, 4, 40])
def test_code_with_another_number_of_steps_is_refused(steps: int) -> None:
    stamps = Stamps(steps=3)
    with pytest.raises(BundleFormatError, match="other steps"):
        stamps.recorded(Code(steps, stamps))


def clock(form: str) -> Callable[..., int]:
    """A clock_gettime that writes times in a form of the `struct` module."""

    def gettime(_: Any, place: ctypes.c_void_p) -> int:
        assert place.value is not None
        content = struct.pack(form, *divmod(time.monotonic_ns(), 1_000_000_000))
        ctypes.memmove(place.value, content, len(content))
        return 0

    return gettime


@pytest.mark.parametrize("form", ["<qq", "<qixxxx", "<ii"], ids=["64-bit", "time64 of musl", "32-bit"])
def test_the_form_of_a_time_is_found_by_trying(form: str) -> None:
    found = timespec_format(clock(form))
    content = struct.pack(form, 5, 999_999_999).ljust(STAMP_BYTES, b"\xff")
    (read,) = np.frombuffer(content, found)
    assert (read["seconds"], read["nanoseconds"]) == (5, 999_999_999)


def test_an_unknown_form_is_no_reason_to_guess() -> None:
    with pytest.raises(UnavailableError, match="form"):
        timespec_format(clock(">qq"))
