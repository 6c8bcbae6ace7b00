"""How far float results of a back end may lie from the reference."""

from __future__ import annotations

from lepton_compilers.backends import cpu
from lepton_sdk.program import Program
from lepton_targets import Cpu


def tolerance(program: Program, row: Cpu) -> float:
    """Share of the largest result: what another order of sums costs, or Winograd's transforms."""
    transformed = any("winograd" in call.kernel for call in cpu.plan(program, row).calls)
    return 2e-5 if transformed else 3e-6
