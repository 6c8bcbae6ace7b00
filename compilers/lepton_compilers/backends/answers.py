"""Whether a back end can do something, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Yes:
    """It can."""

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True)
class No:
    """It can't; `reason` says what was found and what is accepted."""

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


Answer = Yes | No


def when(condition: bool, reason: str) -> Answer:
    """Yes where `condition` holds, else No with the reason."""
    return Yes() if condition else No(reason)
