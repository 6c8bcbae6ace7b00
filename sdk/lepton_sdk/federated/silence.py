"""Notices that the server answers nothing, so that a device that nobody knows does not wait unseen."""

from __future__ import annotations

from collections.abc import Callable

SILENCE_S = 30.0


class Silence:
    """Time since the first request without an answer. Told of once, until the next answer."""

    def __init__(self, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._since: float | None = None
        self._told = False

    def asked(self) -> None:
        """An answer is awaited from now on, where none was yet."""
        if self._since is None:
            self._since = self._clock()

    def answered(self) -> None:
        self._since, self._told = None, False

    def overdue(self) -> float | None:
        """Seconds of silence, once, when they are more than is put up with; else None."""
        if self._told or self._since is None:
            return None
        seconds = self._clock() - self._since
        if seconds < self._patience_s:
            return None
        self._told = True
        return seconds
