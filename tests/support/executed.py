"""CPUs that this machine executes, and one that no target names: x86-64 by the kernels of last resort."""

from __future__ import annotations

import pytest

from lepton_targets import Cpu, Isa, get_target
from lepton_targets.host import runs_here

PORTABLE = "portable"
X86_64 = (PORTABLE, "x86-64", "x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni")


def cpu_named(name: str) -> Cpu:
    """The target's row; of `portable` that of x86-64 without kernels of its own, as other CPUs have them."""
    row = get_target("x86-64" if name == PORTABLE else name)
    assert isinstance(row, Cpu)
    return row.replace(isa=Isa.PORTABLE) if name == PORTABLE else row


def executed(name: str) -> Cpu:
    """As cpu_named; the test is skipped where this machine does not execute it."""
    row = cpu_named(name)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {name}")
    return row
