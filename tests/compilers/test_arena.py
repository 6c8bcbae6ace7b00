"""The arena's plan: nothing that lives at the same time shares bytes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lepton_compilers.arena import ALIGNMENT, Lifetime, aligned, plan_arena


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    count = draw(st.integers(0, 20))
    result = []
    for index in range(count):
        first = draw(st.integers(0, 15))
        last = draw(st.integers(first, 16))
        result.append(Lifetime(f"b{index}", draw(st.integers(1, 500)), first, last))
    return result


@given(lifetimes(), st.integers(0, 100), st.integers(0, 100))
def test_buffers_that_live_together_are_disjoint_with_room_between(
    lives: list[Lifetime], before: int, after: int
) -> None:
    arena = plan_arena(lives, before, after)
    assert set(arena.offsets) == {life.name for life in lives}
    for life in lives:
        start = arena.offsets[life.name]
        assert start % ALIGNMENT == 0
        assert start >= before
        assert start + life.nbytes + after <= arena.nbytes
    for i, a in enumerate(lives):
        for b in lives[:i]:
            if a.overlaps(b):
                x, y = arena.offsets[a.name], arena.offsets[b.name]
                apart = max(before, after)
                assert x + a.nbytes + apart <= y or y + b.nbytes + apart <= x


@given(lifetimes())
def test_the_plan_does_not_depend_on_the_order_of_requests(lives: list[Lifetime]) -> None:
    assert plan_arena(lives) == plan_arena(list(reversed(lives)))


def test_a_chain_takes_no_more_than_its_widest_step() -> None:
    sizes = [640, 128, 512, 64, 1024, 64]
    chain = [Lifetime(f"t{i}", size, i, i + 1) for i, size in enumerate(sizes)]
    widest = max(aligned(a) + aligned(b) for a, b in itertools.pairwise(sizes))
    assert plan_arena(chain).nbytes == widest
