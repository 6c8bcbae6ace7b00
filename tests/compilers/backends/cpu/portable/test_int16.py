"""Every int16 operation alone: what a CPU computes against the reference executor, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import Yes, cpu
from lepton_sdk.program import reference, serialize
from lepton_sdk.program.operations_int16 import INT16_OPERATIONS
from lepton_sdk.program.reference_int16 import INT16_RULES
from lepton_targets import CPUS, get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.int16_cases import INT16_CASES
from support.native import Native
from support.programs import Case, together

# Shrinking compiles at every step; the failing operation is named in the message instead.
SLOW = settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
CASES_A_LIBRARY = 20


# Where wider lanes matter; Conv2d has instructions of its own (add_pair_products in kernels/int16.h).
PRODUCTS = ("Conv2d", "DepthwiseConv2d", "AveragePool2d", "Add")
FAST = [(name, target) for name in PRODUCTS for target in ("x86-64-avx2", "x86-64-avx512vnni")]


@pytest.mark.parametrize(("operation", "target"), [*((name, "x86-64") for name in INT16_CASES), *FAST])
def test_bytes_are_those_of_the_reference(operation: str, target: str) -> None:
    row = get_target(target)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")

    @SLOW
    @given(st.lists(INT16_CASES[operation], min_size=CASES_A_LIBRARY, max_size=CASES_A_LIBRARY))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, row))
        for index, case in enumerate(cases):
            found = native.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


@pytest.mark.parametrize("target", ["cortex-a76", "riscv64"])
def test_the_same_bytes_under_emulation(target: str) -> None:
    @SLOW
    @given(st.tuples(*INT16_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program, row = together(cases), get_target(target)
        emulated = Emulated(program, cpu.lower(program, row), row)
        for index, case in enumerate(cases):
            found = emulated.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.one_of(*INT16_CASES.values()))
def test_every_cpu_supports_every_operation_and_its_bytes_survive(case: Case) -> None:
    (op,) = case.program.function().operations
    for row in CPUS:
        assert cpu.supports(op, case.program.tensors, row) == Yes()
    assert serialize.load(serialize.dump(case.program)).functions == case.program.functions


def test_every_rule_has_cases() -> None:
    assert {kind.__name__ for kind in INT16_RULES} == set(INT16_CASES)
    assert {kind.__name__ for kind in INT16_OPERATIONS} <= set(INT16_CASES)
