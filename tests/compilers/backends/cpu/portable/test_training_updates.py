"""Updates of dense weights by gradients that are never stored end where the two operations in turn do."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.splits import parts
from lepton_sdk.engines.pool import open_pool
from lepton_sdk.program import Function, Program, Tensor, Variable
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import DenseGradWeight, SgdMomentum
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.native import Native


@pytest.fixture(params=("x86-64", "x86-64-avx2", "x86-64-avx512vnni"))
def row(request: pytest.FixtureRequest) -> cpu.Cpu:
    found = get_target(str(request.param))
    if not runs_here(found):
        pytest.skip(f"this machine does not execute {found.name}")
    return found


def step(rows: int, inner: int, out: int, kept: bool = False) -> Program:
    """One gradient and its update; kept: the gradient is an output as well."""
    random = np.random.default_rng(inner)
    start = {n: random.normal(size=(out, inner)).astype(np.float32) for n in ("w", "v")}
    tensors = {n: constant(n, value) for n, value in start.items()}
    shapes = {"x": (rows, inner), "dy": (rows, out), "g": (out, inner), "rate": (1,), "momentum": (1,)}
    tensors |= {n: Tensor(n, shape, "float32") for n, shape in shapes.items()}
    operations = (DenseGradWeight("x", "dy", "g"), SgdMomentum("w", "v", "g", "rate", "momentum"))
    body = Function("train", ("x", "dy", "rate", "momentum"), ("g",) if kept else (), operations)
    return Program({"train": body}, tensors, (Variable("w", True), Variable("v")))


@pytest.mark.parametrize(
    ("rows", "inner", "out"), [(1, 1, 1), (7, 70, 33), (8, 640, 128), (32, 300, 10), (16, 1000, 48)]
)
def test_an_update_ends_where_the_reference_does_in_parts_too(
    row: cpu.Cpu, rows: int, inner: int, out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    program = step(rows, inner, out)
    assert [call.kernel for call in cpu.plan(program, row, "train").calls] == ["dense_update"]
    artifact = cpu.lower(program, row)
    whole, split, defined = Native(program, artifact), Native(program, artifact), Reference(program)
    pool = open_pool(split.library, 3)
    random = np.random.default_rng(0)
    for _ in range(3):
        shapes = ((rows, inner), (rows, out))
        inputs = [random.normal(size=shape).astype(np.float32) for shape in shapes]
        inputs += [np.full(1, 0.1, np.float32), np.full(1, 0.9, np.float32)]
        whole.run(inputs, "train")
        split.run(inputs, "train", pool.address if pool else None)
        defined.run(inputs, "train")
    if pool:
        pool.close()
    for name in ("w", "v"):
        expected = defined.variables[name]
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(whole.variable(name), expected, rtol=1e-5, atol=3e-6 * scale)
        assert whole.variable(name).tobytes() == split.variable(name).tobytes()


def test_a_gradient_that_something_else_reads_is_stored(row: cpu.Cpu) -> None:
    kernels = [call.kernel for call in cpu.plan(step(4, 16, 16, kept=True), row, "train").calls]
    assert kernels == ["dense_grad_weight", "sgd_momentum"]
