"""Training in machine code against the reference executor: each operation alone, then whole steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.differentiate import differentiate
from lepton_sdk.program import Function, Operation, Program, Tensor, Variable, reference
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import TRAINING_OPERATIONS, SgdMomentum, SoftmaxCrossEntropy
from lepton_targets import CPUS, Cpu, get_target, host
from lepton_targets.host import runs_here
from support.float_networks import everything_network
from support.native import Native
from support.programs import Case, together
from support.training_cases import CASES

# Shrinking compiles at every step; the failing operation is named in the message instead.
SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


OTHER_MACHINES = tuple({row.machine: row for row in CPUS if row.machine != host().machine}.values())


@pytest.fixture(params=("x86-64", "x86-64-avx2", "x86-64-avx512vnni"))
def target(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if not runs_here(get_target(name)):
        pytest.skip(f"this machine does not execute {name}")
    return name


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_each_operation_is_near_the_reference(kind: type[Operation], target: str) -> None:
    @SLOW
    @given(st.lists(CASES[kind], min_size=16, max_size=16))
    def check(cases: list[Case]) -> None:
        program = together(cases)
        native = Native(program, cpu.lower(program, get_target(target)))
        for index, case in enumerate(cases):
            expected = reference.run(case.program, case.inputs)
            for a, b in zip(native.run(case.inputs, f"case{index}"), expected, strict=True):
                scale = max(1.0, float(np.abs(b).max()))
                message = str((case.program.function().operations, [x.shape for x in case.inputs]))
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-6 * scale, err_msg=message)

    check()


def test_every_operation_of_training_has_cases_and_a_form_on_every_cpu() -> None:
    assert {*CASES, SgdMomentum} == {*TRAINING_OPERATIONS}
    program = differentiate(everything_network().program(), batch=2)
    for row in CPUS:
        for op in program.function("train").operations:
            assert cpu.supports(op, program.tensors, row), (row.name, op)


@pytest.mark.parametrize("row", OTHER_MACHINES, ids=lambda row: row.machine)
def test_a_step_compiles_for_every_other_machine(row: Cpu) -> None:
    program = differentiate(everything_network().program(), batch=2)
    artifact = cpu.lower(program, row)
    assert artifact.code[:4] == b"\x7fELF"
    assert {*artifact.functions} == {"infer", "train", "evaluate"}


def test_twenty_steps_end_near_the_reference_and_twice_at_the_same_bits(target: str) -> None:
    program = differentiate(everything_network().program(), batch=6)
    artifact = cpu.lower(program, get_target(target))
    first, second, defined = Native(program, artifact), Native(program, artifact), Reference(program)
    random = np.random.default_rng(3)
    rate, momentum = np.full(1, 0.02, np.float32), np.full(1, 0.9, np.float32)
    for _ in range(20):
        features = random.normal(size=(6, 12, 10, 3)).astype(np.float32)
        labels = random.integers(-1, 5, 6).astype(np.int32)
        inputs = [features, labels, rate, momentum]
        (ours,), (again,) = first.run(inputs, "train"), second.run(inputs, "train")
        (expected,) = defined.run(inputs, "train")
        assert ours == again
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    for variable in program.variables:
        ours = first.variable(variable.tensor)
        np.testing.assert_array_equal(ours, second.variable(variable.tensor))
        np.testing.assert_allclose(ours, defined.variables[variable.tensor], atol=1e-4)
    evaluated = zip(first.run(inputs[:2], "evaluate"), defined.run(inputs[:2], "evaluate"), strict=True)
    for a, b in evaluated:
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_an_update_is_the_references_bit_for_bit(target: str) -> None:
    random = np.random.default_rng(0)
    start = {n: random.normal(size=(3, 37)).astype(np.float32) for n in ("w", "v")}
    tensors = {n: constant(n, value) for n, value in start.items()}
    tensors |= {n: Tensor(n, (1,), "float32") for n in ("rate", "momentum")}
    tensors["g"] = Tensor("g", (3, 37), "float32")
    step = Function("train", ("g", "rate", "momentum"), (), (SgdMomentum("w", "v", "g", "rate", "momentum"),))
    program = Program({"train": step}, tensors, (Variable("w", True), Variable("v")))
    native, defined = Native(program, cpu.lower(program, get_target(target))), Reference(program)
    for _ in range(3):
        inputs = [random.normal(size=(3, 37)), [0.1], [0.9]]
        arrays = [np.asarray(x, np.float32) for x in inputs]
        native.run(arrays, "train")
        defined.run(arrays, "train")
    for name in start:
        np.testing.assert_array_equal(native.variable(name), defined.variables[name])


def test_exp_and_log_are_accurate_to_two_units_in_the_last_place(target: str) -> None:
    """For logits (a, 0) and the larger one as label, the loss is log(1 + exp(−|a|))."""
    a = np.concatenate([np.linspace(-12, 12, 400), np.geomspace(1e-6, 12, 100)]).astype(np.float32)
    shapes = {"logits": (1, 2), "loss": (1,), "probabilities": (1, 2)}
    tensors = {n: Tensor(n, s, "float32") for n, s in shapes.items()}
    tensors["labels"] = Tensor("labels", (1,), "int32")
    op = SoftmaxCrossEntropy("logits", "labels", "loss", "probabilities")
    body = Function("infer", ("logits", "labels"), ("loss", "probabilities"), (op,))
    program = Program({"infer": body}, tensors)
    native = Native(program, cpu.lower(program, get_target(target)))
    for value in a:
        larger = np.array([int(value < 0)], np.int32)
        loss, probabilities = native.run([np.array([[value, 0]], np.float32), larger])
        small = np.exp(-abs(float(value)))
        expected = np.log1p(small)
        # float32 has rounded 1 + exp before its logarithm is taken.
        allowed = 2 * np.spacing(np.float32(expected)) + np.spacing(np.float32(1 + small)) / 2
        assert abs(float(loss[0]) - expected) <= allowed, value
        np.testing.assert_allclose(probabilities.max(), 1 / (1 + small), rtol=2.5e-7)
