"""Winograd's forms of training's convolutions against the reference executor: alone, and in whole steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.splits import parts
from lepton_compilers.differentiate import differentiate
from lepton_sdk.engines.pool import open_pool
from lepton_sdk.program import Clamp, Function, Padding, Program, Tensor, Variable, reference
from lepton_sdk.program.operations import ClampTo, Conv2d, Relu, Reshape, window_shape
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import Conv2dGradInput, Conv2dGradWeight
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.native import Native
from support.programs import Case, program_of, together
from support.training_cases import case

SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)

WINOGRAD_ERROR = 2e-5
"""Of the largest result: transforms multiply by up to 16 at each end."""


@pytest.fixture
def row() -> cpu.Cpu:
    found = get_target("x86-64-avx512vnni")
    if not runs_here(found):
        pytest.skip("this machine has no AVX-512")
    return found


@st.composite
def gradients(draw: st.DrawFn) -> Case:
    kernel = draw(st.sampled_from((3, 5)))
    padding = Padding(*(draw(st.integers(0, kernel)) for _ in range(4)))
    size = (draw(st.integers(kernel + 3, 15)), draw(st.integers(kernel + 3, 15)))
    n, c, o = draw(st.integers(1, 8)), draw(channels()), draw(channels())
    dy = (n, *window_shape(size, (kernel, kernel), (1, 1), padding, (1, 1)), o)
    x, weight, seed = (n, *size, c), (o, kernel, kernel, c), draw(st.integers(0, 10**6))
    if draw(st.booleans()):
        op = Conv2dGradInput("dy", "w", "dx", (1, 1), padding)
        return case(op, {"dy": dy, "w": weight, "dx": x}, seed)
    return case(Conv2dGradWeight("x", "dy", "dw", (1, 1), padding), {"x": x, "dy": dy, "dw": weight}, seed)


def channels() -> st.SearchStrategy[int]:
    return st.sampled_from((16, 32, 48, 64))


def kernels(program: Program, row: cpu.Cpu, function: str) -> list[str]:
    return [call.kernel for call in cpu.plan(program, row, function).calls]


def test_gradients_are_near_the_reference_in_parts_too(row: cpu.Cpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)

    @SLOW
    @given(st.lists(gradients(), min_size=8, max_size=8))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, row))
        pool = open_pool(native.library, 3)
        for index, one in enumerate(cases):
            message = str((one, [x.shape for x in one.inputs]))
            assert any("winograd" in kernel for kernel in kernels(program, row, f"case{index}")), message
            (whole,) = native.run(one.inputs, f"case{index}")
            (expected,) = reference.run(one.program, one.inputs)
            scale = float(np.abs(expected).max())
            np.testing.assert_allclose(whole, expected, rtol=0, atol=WINOGRAD_ERROR * scale, err_msg=message)
            if pool:
                (split,) = native.run(one.inputs, f"case{index}", pool.address)
                assert split.tobytes() == whole.tobytes(), message
        if pool:
            pool.close()

    check()


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_by_variables_takes_the_bounds_behind_it(row: cpu.Cpu, kernel: int, bias: bool) -> None:
    random = np.random.default_rng(kernel)
    values = {"w": random.normal(size=(32, kernel, kernel, 16)).astype(np.float32)}
    if bias:
        values["b"] = random.normal(size=32).astype(np.float32)
    tensors = [constant(name, value) for name, value in values.items()]
    tensors += [Tensor("x", (3, 9, 11, 16), "float32")]
    tensors += [Tensor(name, (3, 9, 11, 32), "float32") for name in ("y", "z")]
    pads = Padding(*[kernel // 2] * 4)
    conv = Conv2d("x", "w", "b" if bias else None, None, "y", padding=pads)
    x = random.normal(size=(3, 9, 11, 16)).astype(np.float32)
    (unbounded,) = reference.run(program_of(tensors, [conv]), [x])
    for behind in (Relu("y", "z"), Relu("y", "z", 6.0), ClampTo("y", "z", Clamp(-1.0, 2.0)), None):
        plain = program_of(tensors, [conv, behind] if behind else [conv])
        variables = tuple(Variable(name, True) for name in values)
        program = Program(plain.functions, plain.tensors, variables)
        names = kernels(program, row, "infer")
        assert "winograd_training" in names
        assert not any("clamp" in name for name in names)
        (found,) = Native(program, cpu.lower(program, row)).run([x])
        (expected,) = Reference(program).run([x])
        np.testing.assert_allclose(found, expected, rtol=0, atol=WINOGRAD_ERROR * np.abs(unbounded).max())


def test_a_result_that_something_else_reads_is_kept_before_its_bounds(row: cpu.Cpu) -> None:
    random = np.random.default_rng(0)
    weight = constant("w", random.normal(size=(16, 3, 3, 16)).astype(np.float32))
    shape = (2, 8, 8, 16)
    tensors = [weight, *(Tensor(name, shape, "float32") for name in ("x", "y", "z"))]
    conv = Conv2d("x", "w", None, None, "y", padding=Padding(1, 1, 1, 1))
    body = Function("infer", ("x",), ("y", "z"), (conv, Relu("y", "z")))
    program = Program({"infer": body}, {t.name: t for t in tensors}, (Variable("w", True),))
    x = random.normal(size=shape).astype(np.float32)
    found = Native(program, cpu.lower(program, row)).run([x])
    for a, b in zip(found, Reference(program).run([x]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=WINOGRAD_ERROR * np.abs(b).max())


def test_steps_of_a_network_follow_the_reference(row: cpu.Cpu) -> None:
    random = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> Tensor:
        fan = int(np.prod(shape[1:]))
        return constant(name, (random.normal(size=shape) / np.sqrt(fan)).astype(np.float32))

    pads = Padding(1, 1, 1, 1)
    shape = (1, 8, 8, 16)
    tensors = [weight("w1", 16, 3, 3, 16), weight("w2", 16, 3, 3, 16), weight("head", 16, 8, 8, 16)]
    tensors += [Tensor(name, shape, "float32") for name in ("x", "a", "b", "c")]
    tensors += [Tensor("scores", (1, 1, 1, 16), "float32"), Tensor("flat", (1, 16), "float32")]
    body = program_of(
        tensors,
        [
            Conv2d("x", "w1", None, None, "a", padding=pads),
            Relu("a", "b"),
            Conv2d("b", "w2", None, None, "c", padding=pads),
            Conv2d("c", "head", None, None, "scores"),
            Reshape("scores", "flat"),
        ],
    )
    variables = tuple(Variable(name, True) for name in ("w1", "w2", "head"))
    program = differentiate(Program(body.functions, body.tensors, variables), batch=4)
    native, defined = Native(program, cpu.lower(program, row)), Reference(program)
    assert {"winograd_training", "winograd_products"} <= {*kernels(program, row, "train")}
    assert not {"pack_f32", "unpack_f32"} & {*kernels(program, row, "train")}
    for _ in range(10):
        features = random.normal(size=(4, 8, 8, 16)).astype(np.float32)
        labels = random.integers(0, 16, 4).astype(np.int32)
        inputs = [features, labels, np.full(1, 0.02, np.float32), np.full(1, 0.9, np.float32)]
        (ours,), (expected,) = native.run(inputs, "train"), defined.run(inputs, "train")
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    for variable in program.variables:
        expected = defined.variables[variable.tensor]
        np.testing.assert_allclose(native.variable(variable.tensor), expected, atol=1e-4)
