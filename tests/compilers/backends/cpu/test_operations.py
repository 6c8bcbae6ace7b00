"""Every operation alone: what a CPU computes against the reference executor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import Yes, cpu
from lepton_sdk.program import reference, serialize
from lepton_sdk.program.operations import INFERENCE_OPERATIONS
from lepton_targets import CPUS
from support.executed import X86_64, cpu_named, executed
from support.native import Native
from support.operation_cases import EXACT_CASES, FLOAT_CASES
from support.programs import Case, together
from support.tolerances import tolerance

# Shrinking compiles at every step; the failing operation is named in the message instead.
SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
CASES_A_LIBRARY = 16


@pytest.fixture(params=(*X86_64, "x86-64-avx512vbmi"))
def target(request: pytest.FixtureRequest) -> str:
    executed(request.param)
    return str(request.param)


def outputs(cases: list[Case], target: str) -> list[list[np.ndarray]]:
    program = together(cases)
    native = Native(program, cpu.lower(program, cpu_named(target)))
    return [native.run(case.inputs, f"case{index}") for index, case in enumerate(cases)]


def lists(cases: st.SearchStrategy[Case]) -> st.SearchStrategy[list[Case]]:
    return st.lists(cases, min_size=CASES_A_LIBRARY, max_size=CASES_A_LIBRARY)


@pytest.mark.parametrize("operation", EXACT_CASES)
def test_int8_bytes_are_those_of_the_reference(operation: str, target: str) -> None:
    @SLOW
    @given(lists(EXACT_CASES[operation]))
    def check(cases: list[Case]) -> None:
        for case, found in zip(cases, outputs(cases, target)):
            expected = reference.run(case.program, case.inputs)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


@pytest.mark.parametrize("operation", FLOAT_CASES)
def test_float_results_are_near_the_reference(operation: str, target: str) -> None:
    @SLOW
    @given(lists(FLOAT_CASES[operation]))
    def check(cases: list[Case]) -> None:
        for case, found in zip(cases, outputs(cases, target)):
            expected = reference.run(case.program, case.inputs)
            allowed = tolerance(case.program, cpu_named(target))
            for a, b in zip(found, expected, strict=True):
                bound = allowed * max(1.0, float(np.abs(b).max()))
                np.testing.assert_allclose(
                    a, b, rtol=1e-5, atol=bound, err_msg=str(case.program.function().operations)
                )

    check()


def test_every_operation_of_inference_has_cases() -> None:
    named = {*EXACT_CASES, *FLOAT_CASES}
    assert {kind.__name__ for kind in INFERENCE_OPERATIONS} == named


@pytest.mark.parametrize("operation", [*EXACT_CASES, *FLOAT_CASES])
def test_every_operation_survives_its_bytes(operation: str) -> None:
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given((EXACT_CASES | FLOAT_CASES)[operation])
    def check(case: Case) -> None:
        again = serialize.load(serialize.dump(case.program))
        assert again.functions == case.program.functions

    check()


@pytest.mark.parametrize("row", CPUS, ids=lambda row: row.name)
def test_every_cpu_supports_every_operation(row: object) -> None:
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(st.one_of(*EXACT_CASES.values(), *FLOAT_CASES.values()))
    def check(case: Case) -> None:
        (op,) = case.program.function().operations
        assert cpu.supports(op, case.program.tensors, row) == Yes()

    check()
