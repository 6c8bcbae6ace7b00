"""The simplifications are run, each leaving its record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from lepton_compilers.passes.record import PassRecord
from lepton_compilers.simplify import EXACT_SIMPLIFICATIONS
from lepton_compilers.simplify.body import ProgramPass
from lepton_sdk.program import Program


def simplify(
    program: Program,
    explain: list[PassRecord] | None = None,
    passes: Sequence[ProgramPass] = EXACT_SIMPLIFICATIONS,
) -> Program:
    """The program after every pass in turn. One with variables stays whole: training needs all of them."""
    if program.variables:
        return program
    for apply in passes:
        start = time.perf_counter()
        after = apply(program)
        if explain is not None:
            name = getattr(apply, "__name__", type(apply).__name__)
            explain.append(PassRecord(name, time.perf_counter() - start, _change(program, after)))
        program = after
    return program


def _change(before: Program, after: Program) -> str:
    """Operations that came (+) and went (−), then multiply-accumulates and bytes of constants that went."""
    found, left = (Counter(type(op).__name__ for op in p.function().operations) for p in (before, after))
    kinds = sorted({*found, *left})
    moved = [f"{'+' if n > 0 else '−'}{abs(n)} {kind}" for kind in kinds if (n := left[kind] - found[kind])]
    if (macs := before.macs() - after.macs()) > 0:
        moved.append(f"−{macs:,} multiply-accumulates of {before.macs():,}")
    if (nbytes := _constant_bytes(before) - _constant_bytes(after)) > 0:
        moved.append(f"−{nbytes:,} bytes of constants of {_constant_bytes(before):,}")
    return ", ".join(moved) or "no operation came or went"


def _constant_bytes(program: Program) -> int:
    return sum(tensor.nbytes for tensor in program.constants())
