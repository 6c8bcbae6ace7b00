"""What a pass is, and the record that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Pass = Callable[[Any], Any]
"""Relax module → Relax module."""


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did: its name, its time, the change of the module in words."""

    name: str
    seconds: float
    change: str
