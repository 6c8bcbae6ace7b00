"""Rows of recurrent layers, from what makes their runs of steps: a direction alone, or both at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lepton_compilers.backends.answers import Answer, No
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.rewrites.directions import BothDirections
from lepton_sdk.program import Tensors
from lepton_sdk.program.recurrent import Gru, Lstm

Recurrent = Lstm | Gru
Steps = Iterator[Callable[[], None]]
"""For every run of steps, once what comes before is drafted: what adds the call of the recurrence."""


def recurrent_rows(
    accepts: Callable[[Recurrent, Tensors], Answer],
    steps: Callable[[Recurrent, Draft], Steps],
    header: str,
) -> Rows:
    """Lstm, Gru, and two of them in opposite directions, whose recurrences run beside each other."""

    def accepts_both(op: BothDirections, t: Tensors) -> Answer:
        answer = accepts(op.first, t)
        return answer if isinstance(answer, No) else accepts(op.second, t)

    def emit(op: Recurrent, draft: Draft) -> None:
        for add in steps(op, draft):
            add()

    def emit_both(op: BothDirections, draft: Draft) -> None:
        for first, second in zip(steps(op.first, draft), steps(op.second, draft), strict=True):
            with draft.together():
                first()
                second()

    row = (Lowering(accepts, emit, header),)
    return {Lstm: row, Gru: row, BothDirections: (Lowering(accepts_both, emit_both, header),)}
