"""Code for other CPUs, run under qemu-user: the same bytes as the reference executor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_sdk.program import reference
from lepton_targets import CPUS, get_target
from support import elf
from support.emulated import Emulated
from support.operation_cases import EXACT_CASES, FLOAT_CASES
from support.programs import Case, together
from support.tolerances import tolerance

OTHERS = ("aarch64", "cortex-a76", "neoverse-v1", "armv7", "riscv64", "riscv64-v")


@pytest.mark.parametrize("target", OTHERS)
def test_every_operation_under_emulation(target: str) -> None:
    every = st.tuples(*EXACT_CASES.values(), *FLOAT_CASES.values())

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(every)
    def check(cases: tuple[Case, ...]) -> None:
        program, row = together(cases), get_target(target)
        emulated = Emulated(program, cpu.lower(program, row), row)
        for index, case in enumerate(cases):
            found = emulated.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                message = str(case.program.function().operations)
                if index < len(EXACT_CASES):
                    np.testing.assert_array_equal(a, b, err_msg=message)
                else:
                    allowed = tolerance(case.program, row) * max(1.0, float(np.abs(b).max()))
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=allowed, err_msg=message)

    check()


@pytest.mark.parametrize("row", CPUS, ids=lambda row: row.name)
def test_shared_objects_need_nothing_and_export_their_functions(row: cpu.Cpu) -> None:
    @settings(max_examples=1, deadline=None, derandomize=True, phases=(Phase.generate,))
    @given(st.tuples(*EXACT_CASES.values(), *FLOAT_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        artifact = cpu.lower(together(cases), row)
        found = elf.parse(artifact.code)
        assert (found.undefined, found.needed, found.relocations) == ((), 0, 0)
        pool = {name for name in found.exports if name.startswith("lepton_pool_")}
        symbols = {f.symbol for f in artifact.functions.values()}
        forms = {f"{symbol}_{form}" for symbol in symbols for form in ("bound", "timed")}
        assert set(found.exports) - pool == symbols | forms

    check()
