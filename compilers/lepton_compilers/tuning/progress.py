"""How far a search has come, as one line with a bar of the time."""

from __future__ import annotations

from dataclasses import dataclass

_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Progress:
    """spent, seconds: of the search. done: layers whose tiles are all tried; better: with a faster one."""

    spent: float
    seconds: float
    done: int
    layers: int
    better: int

    def __str__(self) -> str:
        """`tune ━━━━──── 12 of 60 s · 4 of 31 layers done, 2 with a faster tile`"""
        part = min(self.spent / self.seconds, 1.0) if self.seconds > 0 else 1.0
        bar = ("━" * round(part * _WIDTH)).ljust(_WIDTH, "─")
        return (
            f"tune {bar} {self.spent:.0f} of {self.seconds:.0f} s · "
            f"{self.done} of {self.layers} layers done, {self.better} with a faster tile"
        )
