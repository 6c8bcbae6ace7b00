"""Code that multiplies bfloat16 gives what the spelled-out program gives, up to the order of its sums."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.splits import parts
from lepton_sdk.engines.pool import open_pool
from lepton_sdk.program import Operation, Padding, Program, Tensor, reference
from lepton_sdk.program.bfloat16 import rounded, spelled_out
from lepton_sdk.program.operations import Add, AveragePool2d, Conv2d, Dense, DepthwiseConv2d, MaxPool2d
from lepton_sdk.program.tensors import Clamp, constant
from lepton_targets import get_target
from lepton_targets.errors import UsageError
from lepton_targets.host import runs_here
from support.bfloat16_cases import BFLOAT16_CASES
from support.native import Native
from support.programs import Case, program_of, together

TARGET = get_target("x86-64-avx512bf16")
executed = pytest.mark.skipif(not runs_here(TARGET), reason=f"this machine does not execute {TARGET.name}")

SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


def kernels(program: Program) -> list[str]:
    return [call.kernel for call in cpu.plan(program, TARGET, precision="bf16").calls]


@executed
@pytest.mark.parametrize("cases", BFLOAT16_CASES.values(), ids=BFLOAT16_CASES)
def test_one_layer_is_the_spelled_out_layer(cases: st.SearchStrategy[Case]) -> None:
    @SLOW
    @given(st.lists(cases, min_size=20, max_size=20))
    def check(drawn: list[Case]) -> None:
        program = together(drawn)
        code = Native(program, cpu.lower(program, TARGET, precision="bf16"))
        for index, case in enumerate(drawn):
            (expected,) = reference.run(spelled_out(case.program), case.inputs)
            (found,) = code.run(case.inputs, f"case{index}")
            # Sums of equal products in another order; Winograd's tiles add and subtract some more.
            bound = 2e-5 * max(1.0, float(np.abs(expected).max()))
            message = str(case.program.function().operations)
            np.testing.assert_allclose(found, expected, rtol=0, atol=bound, err_msg=message)

    check()


@executed
def test_parts_in_any_order_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)

    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*BFLOAT16_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program = together(cases)
        code = Native(program, cpu.lower(program, TARGET, precision="bf16"))
        pool = open_pool(code.library, 3)
        assert pool is not None
        with closing(pool):
            for index, case in enumerate(cases):
                (whole,) = code.run(case.inputs, f"case{index}")
                (split,) = code.run(case.inputs, f"case{index}", pool.address)
                assert split.tobytes() == whole.tobytes(), case.program.function().operations

    check()


class Chain:
    """Operations in turn on maps of one network."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.random = np.random.default_rng(0)
        self.tensors = [Tensor("x", shape, "float32")]
        self.operations: list[Operation] = []

    def tensor(self, name: str, *shape: int) -> str:
        self.tensors.append(Tensor(name, shape, "float32"))
        return name

    def constant(self, name: str, *shape: int, scale: float = 0.2) -> str:
        value = (self.random.normal(size=shape) * scale).astype(np.float32)
        self.tensors.append(constant(name, value))
        return name

    def conv(self, x: str, y: str, inner: int, out: int, kernel: int = 1, side: int = 9) -> str:
        weight = self.constant(f"{y}.w", out, kernel, kernel, inner, scale=1 / (kernel * inner**0.5))
        edge, relu = kernel // 2, Clamp(0.0, float("inf")) if y.startswith("relu") else None
        bias, padding = self.constant(f"{y}.b", out), Padding(edge, edge, edge, edge)
        self.operations.append(
            Conv2d(x, weight, bias, None, self.tensor(y, 1, side, side, out), padding=padding, clamp=relu)
        )
        return y

    def program(self) -> Program:
        return program_of(self.tensors, self.operations)


def block() -> Program:
    """A bottleneck whose result is read by another one, a pool and a sum, then a dense layer."""
    chain = Chain((1, 9, 9, 24))
    first = chain.conv("x", "first", 24, 48)
    chain.conv(chain.conv(first, "relu1", 48, 24), "relu2", 24, 24, 3)
    chain.conv("relu2", "third", 24, 48)
    chain.operations.append(Add("third", first, chain.tensor("sum", 1, 9, 9, 48), Clamp(0.0, float("inf"))))
    chain.operations.append(MaxPool2d("sum", chain.tensor("pooled", 1, 4, 4, 48), (2, 2), (2, 2)))
    chain.conv("sum", "relu3", 48, 48)
    chain.operations.append(Add("relu3", "sum", chain.tensor("twice", 1, 9, 9, 48)))
    chain.conv("twice", "last", 48, 17)
    weight, bias = chain.constant("dw", 3, 3, 48), chain.constant("db", 48)
    pad = Padding(1, 1, 1, 1)
    chain.operations.append(
        DepthwiseConv2d("pooled", weight, bias, None, chain.tensor("deep", 1, 4, 4, 48), (1, 1), pad)
    )
    chain.operations.append(AveragePool2d("deep", chain.tensor("mean", 1, 1, 1, 48), (4, 4), (4, 4)))
    return chain.program()


@executed
def test_a_network_rounds_where_the_spelled_out_program_does() -> None:
    program = block()
    x = np.random.default_rng(1).normal(size=(1, 9, 9, 24)).astype(np.float32)
    found = Native(program, cpu.lower(program, TARGET, precision="bf16")).run([x])
    in_float = reference.run(program, [x])
    for result, expected, exact in zip(found, reference.run(spelled_out(program), [x]), in_float):
        scale = float(np.abs(exact).max())
        assert np.abs(result - expected).max() < 2e-3 * scale, "only what a sum's order rounds otherwise"
        assert np.abs(result - expected).mean() < np.abs(result - exact).mean() / 4


@executed
def test_a_sum_with_the_input_adds_it_unrounded() -> None:
    chain = Chain((1, 5, 5, 16))
    chain.conv("x", "y", 16, 16, side=5)
    chain.operations.append(Add("y", "x", chain.tensor("sum", 1, 5, 5, 16)))
    program = chain.program()
    x = np.random.default_rng(1).normal(size=(1, 5, 5, 16)).astype(np.float32)
    (found,) = Native(program, cpu.lower(program, TARGET, precision="bf16")).run([x])
    (expected,) = reference.run(spelled_out(program), [x])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_maps_between_products_are_kept_as_bfloat16() -> None:
    chain = Chain((1, 9, 9, 24))
    chain.conv(chain.conv(chain.conv("x", "relu1", 24, 24), "relu2", 24, 24, 3), "last", 24, 17)
    found = kernels(chain.program())
    assert found == ["pack_bf16", "pointwise_bf16", "conv3x3_bf16", "pointwise_bf16", "unpack_f32"]


def test_many_channels_are_transformed_where_a_map_has_many_tiles() -> None:
    for side, found in ((9, "winograd_bf16"), (7, "conv3x3_bf16")):
        chain = Chain((1, side, side, 64))
        chain.conv(chain.conv("x", "relu1", 64, 64, 3, side), "last", 64, 64, 3, side)
        assert kernels(chain.program()) == ["pack_bf16", found, found, "unpack_f32"]


def test_weights_take_half_the_bytes() -> None:
    chain = Chain((1, 9, 9, 64))
    chain.conv("x", "y", 64, 64)
    program = chain.program()
    half, whole = (cpu.estimate(program, TARGET, precision=p).weights_bytes for p in ("bf16", "float32"))
    assert half < 0.6 * whole


def test_other_targets_say_that_they_have_no_such_products() -> None:
    chain = Chain((1, 9, 9, 64))
    chain.conv("x", "y", 64, 64)
    program = chain.program()
    assert cpu.precisions(get_target("x86-64-avx2")) == ("float32",)
    with pytest.raises(UsageError, match="x86-64-avx2 has no 'bf16' products"):
        cpu.lower(program, get_target("x86-64-avx2"), precision="bf16")


def outputs_of_dense(rows: Sequence[float]) -> np.ndarray:
    x = np.array([rows], np.float32)
    weight = constant("w", np.eye(len(rows), dtype=np.float32))
    tensors = [Tensor("x", x.shape, "float32"), weight, Tensor("y", x.shape, "float32")]
    program = program_of(tensors, [Dense("x", "w", None, None, "y")])
    return Native(program, cpu.lower(program, TARGET, precision="bf16")).run([x])[0][0]


@executed
def test_operands_round_to_nearest_even() -> None:
    step = 2.0**-7
    values = [1 + step / 2, 1 + 3 * step / 2, 1 + step / 2 + 2**-20, -1 - 3 * step / 2, 3e38, 1e-40, 0.0]
    expected = [1.0, 1 + 2 * step, 1 + step, -1 - 2 * step, 3e38, 0.0, 0.0]
    found = outputs_of_dense(values)
    np.testing.assert_array_equal(found, rounded(np.array(values, np.float32)))
    np.testing.assert_allclose(found, expected, rtol=3e-3)
    np.testing.assert_array_equal(found[:4], np.array(expected[:4], np.float32))


@executed
def test_what_is_not_finite_stays_at_its_place() -> None:
    """A channel without a partner is paired with zero, not with the number beside it."""
    tensors = [Tensor("x", (1, 1, 4, 3), "float32"), constant("w", np.ones((1, 1, 1, 3), np.float32))]
    op = Conv2d("x", "w", None, None, "y")
    program = program_of([*tensors, Tensor("y", (1, 1, 4, 1), "float32")], [op])
    x = np.ones((1, 1, 4, 3), np.float32)
    x[0, 0, 2] = np.nan
    x[0, 0, 3] = np.inf
    found = Native(program, cpu.lower(program, TARGET, precision="bf16")).run([x])[0]
    np.testing.assert_array_equal(found.reshape(4), np.array([3, 3, np.nan, np.inf], np.float32))
