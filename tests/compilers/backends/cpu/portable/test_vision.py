"""Every vision operation alone: what a CPU computes against the reference executor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import Yes, cpu
from lepton_sdk.program import Tensor, reference, serialize
from lepton_sdk.program.detection import Detections
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import VISION_OPERATIONS
from lepton_targets import CPUS, get_target
from lepton_targets.host import runs_here
from support.elf import parse
from support.native import Native
from support.programs import Case, program_of, together
from support.vision_cases import EXACT_VISION, FLOAT_VISION

CASES_AN_OPERATION = 8
# Shrinking compiles at every step; the failing operation is named in the message instead.
ONE_LIBRARY = settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


def several(strategies: dict[str, st.SearchStrategy[Case]]) -> st.SearchStrategy[list[Case]]:
    """Cases of every operation, one list."""
    each = [
        st.lists(s, min_size=CASES_AN_OPERATION, max_size=CASES_AN_OPERATION) for s in strategies.values()
    ]
    return st.tuples(*each).map(lambda lists: [case for cases in lists for case in cases])


@pytest.mark.parametrize("target", ["x86-64", "x86-64-avx512vnni"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "float"])
def test_results_are_those_of_the_reference(target: str, exact: bool) -> None:
    if not runs_here(get_target(target)):
        pytest.skip(f"this machine does not execute {target}")

    @ONE_LIBRARY
    @given(several(EXACT_VISION if exact else FLOAT_VISION))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, get_target(target)))
        for index, case in enumerate(cases):
            named = str(case.program.function().operations)
            found, expected = (
                native.run(case.inputs, f"case{index}"),
                reference.run(case.program, case.inputs),
            )
            for a, b in zip(found, expected, strict=True):
                if exact:
                    np.testing.assert_array_equal(a, b, err_msg=named)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=named)

    check()


def test_every_vision_operation_has_cases() -> None:
    assert {kind.__name__ for kind in VISION_OPERATIONS} == {*EXACT_VISION, *FLOAT_VISION}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.one_of(*EXACT_VISION.values(), *FLOAT_VISION.values()))
def test_every_vision_operation_survives_its_bytes_and_runs_on_every_cpu(case: Case) -> None:
    again = serialize.load(serialize.dump(case.program))
    assert again.functions == case.program.functions
    (op,) = case.program.function().operations
    for row in CPUS:
        assert cpu.supports(op, case.program.tensors, row) == Yes()


def test_cores_of_32_bits_need_no_library() -> None:
    """An integer division or a wide shift would be a call of what is not there."""

    @ONE_LIBRARY
    @given(several({**EXACT_VISION, **{f"{name} float": cases for name, cases in FLOAT_VISION.items()}}))
    def check(cases: list[Case]) -> None:
        tensors = [Tensor(name, (1, 30, 4), "float32") for name in ("encoded", "scores")]
        tensors += [constant("anchors", np.ones((30, 4), np.float32)), Tensor("boxes", (1, 5, 4), "float32")]
        tensors += [Tensor(name, (1, 5), "float32") for name in ("classes", "best")]
        tensors.append(Tensor("count", (1,), "float32"))
        ends = ("encoded", "scores", "anchors", "boxes", "classes", "best", "count")
        op = Detections(*ends, 3, 5, 1, 4, True, 0.1, 0.5, 10.0, 10.0, 5.0, 5.0)
        program = together([*cases, Case(program_of(tensors, [op]), ())])
        assert parse(cpu.lower(program, get_target("armv7")).code).undefined == ()

    check()
