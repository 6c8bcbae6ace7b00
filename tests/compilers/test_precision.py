"""`precision="bf16"`: what targets make of it, what the bundle says, what its self-test allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.compilation import compile
from lepton_compilers.golden import golden_vectors, tolerances
from lepton_compilers.precision import precisions_by_target
from lepton_sdk import Session
from lepton_sdk.program import Program, Tensor, reference
from lepton_sdk.program.bfloat16 import kept, rounded, spelled_out
from lepton_sdk.program.operations import Add, Conv2d, Dense, Relu
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target
from lepton_targets.errors import UnavailableError, UsageError
from lepton_targets.host import runs_here
from support.command_line import lepton
from support.evaluation_data import FLOAT_NETWORKS, mlperf_tiny
from support.programs import program_of

BF16, AVX2 = "x86-64-avx512bf16", "x86-64-avx2"


def dense() -> Program:
    random = np.random.default_rng(0)
    weight = constant("w", random.normal(size=(8, 32)).astype(np.float32))
    tensors = [Tensor("x", (1, 32), "float32"), weight, Tensor("y", (1, 8), "float32")]
    return program_of(tensors, [Dense("x", "w", None, None, "y")])


def test_targets_that_cannot_compute_in_float32() -> None:
    rows = [get_target(BF16), get_target(AVX2)]
    assert precisions_by_target(dense(), rows, "bf16") == {BF16: "bf16", AVX2: "float32"}
    assert precisions_by_target(dense(), rows, "float32") == {BF16: "float32", AVX2: "float32"}


def test_only_targets_that_cannot_is_an_error_that_names_those_that_can() -> None:
    with pytest.raises(UnavailableError, match="no CPU of x86-64-avx2 multiplies bfloat16") as error:
        precisions_by_target(dense(), [get_target(AVX2)], "bf16")
    assert f"targets that do: {BF16}" in error.value.details


def test_other_names_models_without_products_and_tuning_are_refused() -> None:
    rows = [get_target(BF16)]
    relu = program_of(
        [Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")], [Relu("x", "y", None)]
    )
    with pytest.raises(UsageError, match="accepted: float32, bf16"):
        precisions_by_target(dense(), rows, "fp16")
    with pytest.raises(UsageError, match="the model has none"):
        precisions_by_target(relu, rows, "bf16")
    with pytest.raises(UsageError, match="tiles are searched for float32 and int8"):
        precisions_by_target(dense(), rows, "bf16", tuned=True)


def test_operands_are_rounded_once_and_sums_are_not() -> None:
    program = dense()
    x = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    (found,) = reference.run(spelled_out(program), [x])
    weight = program.tensors["w"].value
    assert weight is not None
    exact = rounded(x).astype(np.float64) @ rounded(weight).astype(np.float64).T
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert np.abs(found - rounded(found)).max() > 0


def test_a_map_is_kept_rounded_only_between_products() -> None:
    shape = (1, 4, 4, 16)
    names = ("x", "a", "b", "sum", "c", "d")
    weight = constant("w", np.ones((16, 1, 1, 16), np.float32))
    program = program_of(
        [weight, *(Tensor(name, shape, "float32") for name in names)],
        [
            Conv2d("x", "w", None, None, "a"),
            Conv2d("a", "w", None, None, "b"),
            Add("b", "a", "sum"),
            Conv2d("sum", "w", None, None, "c"),
            Add("c", "sum", "d"),
        ],
    )
    # b is added before it is rounded; d is returned.
    assert kept(program.function(), program.tensors) == {"a", "sum"}


def test_the_self_test_allows_what_rounding_costs_and_no_more() -> None:
    program = dense()
    vectors = golden_vectors(program, None, 4, spelled_out(program))
    largest = max(vector.rounding[0] for vector in vectors)
    peak = max(float(np.abs(vector.outputs[0]).max()) for vector in vectors)
    assert 0 < largest < 0.02 * peak
    assert tolerances(program, "infer", vectors)["y"] == pytest.approx(1e-4 * max(1, peak) + 2 * largest)
    exact = tolerances(program, "infer", golden_vectors(program, None, 4))["y"]
    assert exact == pytest.approx(1e-4 * max(1, peak))


def test_a_bundle_says_which_target_multiplies_how(tmp_path: Path) -> None:
    model, output = mlperf_tiny(FLOAT_NETWORKS["ad"]), tmp_path / "ad.lep"
    compile(model, [AVX2, BF16], precision="bf16", output=output)
    shown = lepton("inspect", output, "--json").json
    assert {a["target"]: a["precision"] for a in shown["artifacts"]} == {AVX2: "float32", BF16: "bf16"}
    assert shown["provenance"]["options"]["precision"] == {AVX2: "float32", BF16: "bf16"}
    plain = compile(model, AVX2)
    assert plain.manifest.precision(AVX2) is None
    if runs_here(get_target(BF16)):
        assert Session(output).target == BF16
        Session(output).self_test()


def test_the_command_refuses_what_the_function_does(tmp_path: Path) -> None:
    model, output = mlperf_tiny(FLOAT_NETWORKS["ad"]), tmp_path / "ad.lep"
    done = lepton("compile", model, "--target", AVX2, "--precision", "bf16", "-o", output, check=False)
    assert done.code == 5
    assert f"targets that do: {BF16}" in done.err
    done = lepton("compile", model, "--target", BF16, "--precision", "half", "-o", output, check=False)
    assert done.code == 2
    assert not output.exists()
