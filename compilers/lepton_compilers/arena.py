"""One block of memory for every intermediate: buffers whose lifetimes overlap get disjoint places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer that must keep its bytes from step `first` to step `last`, both included."""

    name: str
    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Whether both must exist at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets, all multiples of ALIGNMENT, and the bytes that hold every buffer and the slack around them."""

    offsets: Mapping[str, int]
    nbytes: int


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """`nbytes` rounded up to a multiple of `alignment`."""
    return -(-nbytes // alignment) * alignment


def plan_arena(lifetimes: Iterable[Lifetime], before: int = 0, after: int = 0) -> Arena:
    """Place the largest buffers first, each in the tightest gap that is free while it lives.

    before, after: bytes around every buffer that kernels may read but never write, rounded up to the
    alignment: nothing else that lives then lies there, so that a thread which reads a little too far never
    meets one that writes. Deterministic: ties go by first step, then by name.
    """
    start, apart = aligned(before), aligned(max(before, after))
    placed: list[tuple[int, Lifetime]] = []
    for life in sorted(lifetimes, key=lambda x: (-x.nbytes, x.first, x.name)):
        busy = sorted((o, o + aligned(p.nbytes) + apart) for o, p in placed if p.overlaps(life))
        placed.append((_tightest_gap(busy, aligned(life.nbytes) + apart, start), life))
    end = max((offset + aligned(life.nbytes) for offset, life in placed), default=start)
    return Arena({life.name: offset for offset, life in placed}, end + aligned(after))


def _tightest_gap(busy: list[tuple[int, int]], size: int, start: int) -> int:
    best: tuple[int, int] | None = None
    end = start
    for low, high in busy:
        gap = low - end
        if gap >= size and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, high)
    return end if best is None else best[1]
