"""Ways to cut a call of a micro-kernel into parts: what the rules of parts.py are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plans.plan import Buffer, Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments


@dataclass(frozen=True, slots=True)
class Cut:
    """One axis. units: what there is along it, at most so many parts; ns: what the whole takes, roughly.

    part(first, count): the arguments of a call that does `count` units from `first` on.
    kernel: what parts call, where that is another than the whole does.
    scratch: bytes that each part needs of its own behind a pointer, by its name.
    """

    units: int
    ns: float
    part: Callable[[int, int], tuple[Place | int, ...]]
    kernel: str | None = None
    scratch: tuple[str, int] | None = None


Buffers = Mapping[str, Buffer]
Rule = Callable[[Arguments, Buffers], Cut | None]


def larger_half(units: int) -> float:
    """What share of equal units the busier of two threads has."""
    return -(-units // 2) / units


def constant(place: Place, buffers: Buffers) -> bool:
    """Whether nothing ever writes there."""
    return buffers[place.buffer].space.constant


def window_rows(
    a: Arguments,
    stride: int,
    reach: int,
    row: int,
    y_row: int,
    ns: float,
    pointers: tuple[str, str] = ("x", "y"),
    border: str = "pt",
    together: int = 1,
) -> Cut:
    """Rows of y by windows of `reach` rows that stand `stride` apart; row, y_row: bytes; pointers: x and y;
    border: the parameter of the rows on top; together: rows of y that a part does not tear apart.

    A part sees only the rows that it reaches: its border on top is what is left of the map's.
    """
    h, oh, pt = a["h"], a["oh"], a[border]
    x, y = pointers

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        y_first, rows = first * together, min(count * together, oh - first * together)
        top = y_first * stride - pt
        begin = max(top, 0)
        end = min(h, (y_first + rows - 1) * stride - pt + reach)
        changes = {x: begin * row, "h": max(end - begin, 0), "oh": rows, border: begin - top}
        changes |= {name: y_first * y_row for name in (y, "residual") if a.has(name)}
        return a.changed(**changes)

    return Cut(-(-oh // together), ns, part)


def elements(pointers: Mapping[str, int], an_ns: float, unit: int = 64, count: str = "n") -> Rule:
    """A run of elements; pointers: bytes of each one's elements; unit: elements that stay together."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        n = a[count]

        def part(first: int, units: int) -> tuple[Place | int, ...]:
            begins = {name: first * unit * size for name, size in pointers.items()}
            return a.changed(**{count: min(units * unit, n - first * unit)}, **begins)

        return Cut(-(-n // unit), n / an_ns, part)

    return rule


def along(
    count: str, steps: Callable[[Arguments], Mapping[str, int]], ns: Callable[[Arguments], float]
) -> Callable[[Arguments, Buffers], Cut]:
    """An axis whose extent is the parameter `count`; steps: bytes from one to the next behind pointers."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        step = steps(a)

        def part(first: int, units: int) -> tuple[Place | int, ...]:
            return a.changed(**{count: units}, **{name: first * nbytes for name, nbytes in step.items()})

        return Cut(a[count], ns(a), part)

    return rule


def padded_rows(a: Arguments, itemsize: tuple[int, int], an_ns: float) -> Cut:
    """Rows of a map with a border written around it, [top + h + bottom][left + row + right].

    itemsize: bytes of an element of x and of y. The first part writes the rows on top, the last those below.
    """
    h, row, top, bottom = a["h"], a["row"], a["top"], a["bottom"]
    wide = a["left"] + row + a["right"]

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        y = (top + first) * wide if first else 0
        begins = dict(zip(a.pointers, (first * row * itemsize[0], y * itemsize[1]), strict=True))
        last = first + count == h
        return a.changed(h=count, top=0 if first else top, bottom=bottom if last else 0, **begins)

    return Cut(h, (top + h + bottom) * wide / an_ns, part)


def map_range(a: Arguments, kernel: str, unit: int, pixel: Mapping[str, int], ns: float) -> Cut:
    """`unit` pixels after the other, by a kernel that also takes the `map` they belong to, behind `pixels`.

    pixel: bytes of a pixel behind each pointer that moves.
    """
    pixels = a["pixels"]
    ranged = a.inserted("pixels", map=pixels)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * unit
        begins = {name: begin * nbytes for name, nbytes in pixel.items()}
        return ranged.changed(pixels=min(count * unit, pixels - begin), **begins)

    return Cut(-(-pixels // unit), ns, part, kernel)
