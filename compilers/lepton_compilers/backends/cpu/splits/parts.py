"""How calls of micro-kernels fall into parts that can run at the same time.

A rule knows along which axis a kernel's work can be cut and what a cut changes: a few literals, and where the
pointers begin. Kernels know nothing of it: a part is a call like any other. The parts are fixed here, when a
network is compiled, so that the bytes never depend on how many threads there are.

A kernel without a rule, or with too little work, runs as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lepton_compilers.backends.cpu.plans.plan import Call, Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits import (
    avx512,
    bfloat16,
    blocked,
    dense,
    sequences,
    training,
    training_winograd,
    winograd,
)
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, constant

MOST_PARTS = 8
"""Four threads get two parts each, so that one that comes late leaves work to the others."""

LEAST_PART_NS = 600
"""A fork and join of awake threads costs about 150 ns and some lines that move between caches."""

RULES: Mapping[str, Rule] = {
    **dense.RULES,
    **blocked.RULES,
    **avx512.RULES,
    **winograd.RULES,
    **sequences.RULES,
    **training.RULES,
    **training_winograd.RULES,
    **bfloat16.RULES,
}
"""By kernel."""

READ_ONLY = frozenset(
    {"w_", "weight", "b_", "bias", "m_", "multiplier", "table", "table_", "gain_", "offset_"}
)
"""Parameters that kernels never write through, whatever they point to."""


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a call, equal ones as one call that repeats; none where it stays whole.

    ns: what it takes, roughly; 0 where no rule knows. scratch: bytes that buffers must have for the parts.
    """

    parts: tuple[Call, ...] = ()
    ns: float = 0
    scratch: Mapping[str, int] = field(default_factory=dict)


WHOLE = Split()


def joined(splits: Sequence[Split], calls: Sequence[Call]) -> bool:
    """Whether calls that may run at the same time are worth one fork for all, in parts or as they are."""
    single = all(split.parts or call.times == 1 for split, call in zip(splits, calls))
    return single and sum(split.ns for split in splits) >= 2 * LEAST_PART_NS


def split(call: Call, names: tuple[str, ...], buffers: Buffers, most: int = MOST_PARTS) -> Split:
    """At most `most` parts of a call; none where it stays whole."""
    rule = sequences.UNARY if call.kernel.startswith("unary_") else RULES.get(call.kernel)
    if rule is None:
        return WHOLE
    arguments = Arguments(call, names)
    cut = rule(arguments, buffers)
    if cut is None:
        return WHOLE
    if call.times > 1:
        return _images(call, cut, arguments, buffers)
    count = _parts(cut, most)
    if count < 2:
        return Split(ns=cut.ns)
    # Neighbours differ by one unit at most, and so do halves.
    starts = [part * cut.units // count for part in range(count + 1)]
    parts = [cut.part(first, end - first) for first, end in itertools.pairwise(starts)]
    if cut.scratch is None:
        return Split(_repeated(cut.kernel or call.kernel, parts), cut.ns)
    name, nbytes = cut.scratch
    place = arguments.place(name)
    at = call.arguments.index(place)
    parts = [_moved(part, at, number * nbytes) for number, part in enumerate(parts)]
    return Split(_repeated(cut.kernel or call.kernel, parts), cut.ns, {place.buffer: count * nbytes})


def _images(call: Call, cut: Cut, arguments: Arguments, buffers: Buffers) -> Split:
    """Repetitions as parts, where they write apart: a few get a scratch of their own."""
    ns, scratch = cut.ns * call.times, {}
    if cut.scratch is not None and call.times <= MOST_PARTS:
        place = arguments.place(cut.scratch[0])
        nbytes = buffers[place.buffer].nbytes
        scratch[place.buffer] = nbytes * call.times
        moved = [place.stepping(nbytes) if a == place else a for a in call.arguments]
        call = Call(call.kernel, tuple(moved), call.times)
    named = dict(zip(arguments.names, call.arguments, strict=True))
    apart = all(
        place.step or name in READ_ONLY or constant(place, buffers)
        for name, place in named.items()
        if isinstance(place, Place)
    )
    return Split((call,), ns, scratch) if apart and ns >= 2 * LEAST_PART_NS else Split(ns=ns)


def _parts(cut: Cut, most: int) -> int:
    """The largest power of two, for halves stay even, that leaves every part worth its fork."""
    count = 1
    while count * 2 <= min(cut.units, most) and cut.ns / (count * 2) >= LEAST_PART_NS:
        count *= 2
    return count


def _moved(part: tuple[Place | int, ...], at: int, nbytes: int) -> tuple[Place | int, ...]:
    place = part[at]
    assert isinstance(place, Place)
    return (*part[:at], place + nbytes, *part[at + 1 :])


def _repeated(kernel: str, parts: list[tuple[Place | int, ...]]) -> tuple[Call, ...]:
    """Parts that differ only by equal steps of their addresses become one call with `times`."""
    calls: list[Call] = []
    rest = parts
    while rest:
        steps = _steps(rest[0], rest[1]) if len(rest) > 1 else None
        times = 1
        while steps is not None and times < len(rest) and _steps(rest[times - 1], rest[times]) == steps:
            times += 1
        first = iter(steps or ())
        arguments = tuple(
            a.stepping(next(first)) if isinstance(a, Place) and times > 1 else a for a in rest[0]
        )
        calls.append(Call(kernel, arguments, times))
        rest = rest[times:]
    return tuple(calls)


def _steps(a: tuple[Place | int, ...], b: tuple[Place | int, ...]) -> tuple[int, ...] | None:
    """Bytes from each address of `a` to that of `b`; None where a literal differs."""
    steps = []
    for before, after in zip(a, b, strict=True):
        if isinstance(before, Place) and isinstance(after, Place):
            steps.append(after.offset - before.offset)
        elif before != after:
            return None
    return tuple(steps)
