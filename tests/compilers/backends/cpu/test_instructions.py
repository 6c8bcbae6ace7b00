"""Instructions of one inference: counted exactly, so that a slower kernel shows on any machine."""

from __future__ import annotations

import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_targets import get_target
from lepton_targets.host import machine, runs_here
from support.evaluation_data import committed_kws
from support.instructions import instructions

COUNTED = {
    "x86-64-avx2": 541_940,
    "cortex-a53": 884_000,
    "cortex-a76": 395_260,
    "neoverse-v1": 363_900,
    "riscv64-v": 581_500,
}
"""Instructions of a KWS inference as last measured."""
COMPILER = 0.01
"""What another version of the C compiler may add."""


@pytest.mark.parametrize("target", COUNTED)
def test_an_inference_takes_no_more_instructions_than_last_measured(target: str) -> None:
    row = get_target(target)
    if row.machine == machine() and not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    model, samples, _ = committed_kws()
    program, sample = program_from(model), samples[:1]
    found = instructions(program, cpu.lower(program, row), row, [sample])
    assert found <= COUNTED[target] * (1 + COMPILER), f"{target}: {found} instructions"
    assert found > program.macs("infer") / 64, "fewer than any of these instruction sets could do"
