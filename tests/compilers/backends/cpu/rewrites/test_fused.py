"""Operations that run as one give what they give in turn, and run as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_sdk.program import Padding, Program, Quantization, Tensor, reference
from lepton_sdk.program.operations import Add, Conv2d
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.float_networks import Network
from support.fused_cases import residual_cases, wide_convolution_cases, wide_group_cases
from support.native import Native
from support.programs import Case, program_of, together
from support.tolerances import tolerance

SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
Q = Quantization((0.5,), -128)


WIDE_VECTORS = ("x86-64-avx512vnni", "x86-64-avx512vbmi")
EMULATED = ("aarch64", "cortex-a76", "neoverse-v1", "armv7", "riscv64-v")


@pytest.fixture(params=WIDE_VECTORS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def machine_code(program: Program, target: str) -> Native | Emulated:
    row = get_target(target)
    if target in EMULATED:
        return Emulated(program, cpu.lower(program, row), row)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    return Native(program, cpu.lower(program, row))


def outputs(cases: list[Case], target: str) -> list[list[np.ndarray]]:
    program = together(cases)
    code = machine_code(program, target)
    return [code.run(case.inputs, f"case{index}") for index, case in enumerate(cases)]


@pytest.mark.parametrize("target", [*WIDE_VECTORS, "x86-64-avx2", "x86-64-avxvnni", *EMULATED])
def test_int8_residual_sums_are_the_bytes_of_the_reference(target: str) -> None:
    @SLOW
    @given(st.lists(residual_cases(), min_size=20, max_size=20))
    def check(cases: list[Case]) -> None:
        for case, found in zip(cases, outputs(cases, target)):
            (expected,) = reference.run(case.program, case.inputs)
            np.testing.assert_array_equal(found[0], expected, err_msg=str(case.program.function().operations))

    check()


WIDE = {
    "sums": residual_cases("float32"),
    "wide": wide_convolution_cases(),
    "groups": wide_group_cases(),
}


@pytest.mark.parametrize("cases", WIDE.values(), ids=WIDE)
def test_float_convolutions_are_near_the_reference(cases: st.SearchStrategy[Case], target: str) -> None:
    @SLOW
    @given(st.lists(cases, min_size=20, max_size=20))
    def check(drawn: list[Case]) -> None:
        for case, found in zip(drawn, outputs(drawn, target)):
            (expected,) = reference.run(case.program, case.inputs)
            bound = tolerance(case.program, get_target(target)) * max(1.0, float(np.abs(expected).max()))
            message = str(case.program.function().operations)
            np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=bound, err_msg=message)

    check()


def block(padding: Padding, *operations: Add) -> Program:
    """A 3 × 3 convolution of x to a, and additions."""
    rng = np.random.default_rng(0)
    names = {"x", "a", *(name for op in operations for name in (*op.inputs, *op.outputs))}
    maps = [Tensor(name, (1, 6, 6, 16), "int8", Q) for name in sorted(names)]
    constants = [
        constant("w", rng.integers(-9, 10, (16, 3, 3, 16)).astype(np.int8)),
        constant("b", np.zeros(16, np.int32)),
        constant("m", np.full(16, 0.01, np.float32)),
    ]
    conv = Conv2d("x", "w", "b", "m", "a", padding=padding)
    return program_of([*maps, *constants], [conv, *operations])


@pytest.mark.parametrize("target", [*WIDE_VECTORS, "x86-64-avx2", "x86-64-avxvnni", *EMULATED])
@pytest.mark.parametrize("operands", [("a", "x"), ("x", "a")])
def test_the_residual_may_be_what_the_convolution_reads(operands: tuple[str, str], target: str) -> None:
    program = block(Padding(1, 1, 1, 1), Add(*operands, "y"))
    x = np.random.default_rng(1).integers(-128, 128, (1, 6, 6, 16)).astype(np.int8)
    (expected,) = reference.run(program, [x])
    np.testing.assert_array_equal(machine_code(program, target).run([x])[0], expected)


def kernels(program: Program, target: str) -> list[str]:
    return [call.kernel for call in cpu.plan(program, get_target(target)).calls]


@pytest.mark.parametrize(
    ("target", "conv", "ending"),
    [
        ("x86-64-avx512vnni", "conv3x3", "u8"),
        ("x86-64-avx2", "winograd", "map"),
        ("neoverse-v1", "conv3x3", "map"),
    ],
)
def test_a_residual_is_added_before_the_sum_is_stored(target: str, conv: str, ending: str) -> None:
    same = Padding(1, 1, 1, 1)
    expected = [f"pack_{ending}", f"{conv}_add_{ending}", f"unpack_{ending}"]
    assert kernels(block(same, Add("a", "x", "y")), target) == expected
    twice = block(same, Add("a", "x", "y"), Add("a", "y", "z"))
    assert f"{conv}_{ending}" in kernels(twice, target), "a is read twice and must be stored"


def test_a_target_without_such_a_kernel_runs_both_in_turn() -> None:
    program = block(Padding(1, 1, 1, 1), Add("a", "x", "y"))
    calls = [call.kernel for call in cpu.plan(program, get_target("riscv64")).calls]
    assert calls == ["conv2d_int8", "stretched_add_int8"]
    assert "ConvAdd" not in cpu.operations(get_target("x86-64-avx512vnni"))


def test_a_residual_block_whose_weights_change_compiles_as_one_whose_weights_stay(target: str) -> None:
    network = Network((1, 8, 8, 16)).conv(16).relu()
    shortcut = network.x
    program = network.conv(16).add(shortcut).program()
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 16)).astype(np.float32)
    (found,) = machine_code(program, target).run([image])
    (expected,) = reference.run(program, [image])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
