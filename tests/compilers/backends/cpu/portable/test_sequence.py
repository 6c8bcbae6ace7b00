"""Every operation of sequence models alone: what a CPU computes against the reference executor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import Yes, cpu
from lepton_sdk.program import reference, serialize
from lepton_sdk.program.recurrent import RECURRENT_OPERATIONS
from lepton_sdk.program.sequence import SEQUENCE_OPERATIONS
from lepton_targets import CPUS, get_target
from support.emulated import Emulated
from support.native import Native
from support.programs import Case, together
from support.sequence_cases import SEQUENCE_EXACT_CASES, SEQUENCE_FLOAT_CASES

# Shrinking compiles at every step; the failing operation is named in the message instead.
SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
CASES_A_LIBRARY = 16


def lists(cases: st.SearchStrategy[Case]) -> st.SearchStrategy[list[Case]]:
    return st.lists(cases, min_size=CASES_A_LIBRARY, max_size=CASES_A_LIBRARY)


@pytest.mark.parametrize("operation", SEQUENCE_EXACT_CASES)
def test_bytes_are_those_of_the_reference(operation: str) -> None:
    @SLOW
    @given(lists(SEQUENCE_EXACT_CASES[operation]))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, get_target("host")))
        for index, case in enumerate(cases):
            found = native.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


@pytest.mark.parametrize("operation", SEQUENCE_FLOAT_CASES)
def test_float_results_are_near_the_reference(operation: str) -> None:
    @SLOW
    @given(lists(SEQUENCE_FLOAT_CASES[operation]))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, get_target("host")))
        for index, case in enumerate(cases):
            found = native.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                message = str(case.program.function().operations)
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=message)

    check()


@pytest.mark.parametrize("target", ["cortex-a53", "armv7", "riscv64"])
def test_the_same_bytes_under_emulation(target: str) -> None:
    @SLOW
    @given(st.tuples(*SEQUENCE_EXACT_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program, row = together(cases), get_target(target)
        emulated = Emulated(program, cpu.lower(program, row), row)
        for index, case in enumerate(cases):
            found = emulated.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


def test_every_operation_has_cases() -> None:
    named = {*SEQUENCE_EXACT_CASES, *SEQUENCE_FLOAT_CASES}
    assert {kind.__name__ for kind in (*SEQUENCE_OPERATIONS, *RECURRENT_OPERATIONS)} == named


@pytest.mark.parametrize("operation", {**SEQUENCE_EXACT_CASES, **SEQUENCE_FLOAT_CASES})
def test_every_operation_survives_its_bytes(operation: str) -> None:
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given((SEQUENCE_EXACT_CASES | SEQUENCE_FLOAT_CASES)[operation])
    def check(case: Case) -> None:
        again = serialize.load(serialize.dump(case.program))
        assert again.functions == case.program.functions

    check()


@pytest.mark.parametrize("row", CPUS, ids=lambda row: row.name)
def test_every_cpu_supports_every_operation(row: object) -> None:
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(st.one_of(*SEQUENCE_EXACT_CASES.values(), *SEQUENCE_FLOAT_CASES.values()))
    def check(case: Case) -> None:
        (op,) = case.program.function().operations
        assert cpu.supports(op, case.program.tensors, row) == Yes()

    check()
