"""Ways to cut a call of a micro-kernel into parts: what splits.py's rules are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plan import Buffer, Place
from lepton_compilers.backends.cpu.signatures import Arguments


@dataclass(frozen=True, slots=True)
class Cut:
    """One axis. units: what there is along it, at most so many parts; ns: what the whole takes, roughly.

    part(first, count): the arguments of a call that does `count` units from `first` on.
    """

    units: int
    ns: float
    part: Callable[[int, int], tuple[Place | int, ...]]


Buffers = Mapping[str, Buffer]
Rule = Callable[[Arguments, Buffers], Cut | None]


def window_rows(
    a: Arguments,
    stride: int,
    reach: int,
    row: int,
    y_row: int,
    ns: float,
    pointers: tuple[str, str] = ("x", "y"),
    border: str = "pt",
) -> Cut:
    """Rows of y by windows of `reach` rows that stand `stride` apart; row, y_row: bytes; pointers: x and y;
    border: the parameter of the rows on top.

    A part sees only the rows that it reaches: its border on top is what is left of the map's.
    """
    h, oh, pt = a["h"], a["oh"], a[border]
    x, y = pointers

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        top = first * stride - pt
        begin = max(top, 0)
        end = min(h, (first + count - 1) * stride - pt + reach)
        changes = {x: begin * row, "h": max(end - begin, 0), "oh": count, border: begin - top}
        changes |= {name: first * y_row for name in (y, "residual") if a.has(name)}
        return a.changed(**changes)

    return Cut(oh, ns, part)


def elements(pointers: Mapping[str, int], an_ns: float, unit: int = 64, count: str = "n") -> Rule:
    """A run of elements; pointers: bytes of each one's elements; unit: elements that stay together."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        n = a[count]

        def part(first: int, units: int) -> tuple[Place | int, ...]:
            begins = {name: first * unit * size for name, size in pointers.items()}
            return a.changed(**{count: min(units * unit, n - first * unit)}, **begins)

        return Cut(-(-n // unit), n / an_ns, part)

    return rule
