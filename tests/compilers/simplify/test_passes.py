"""What each simplification takes away, and what it must leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.simplify import EXACT_SIMPLIFICATIONS
from lepton_compilers.simplify.fold_constant_channels import fold_constant_channels
from lepton_compilers.simplify.run import simplify
from lepton_sdk.program import Clamp, Function, Operation, Padding, Program, Quantization, Tensor, Variable
from lepton_sdk.program.operations import ClampTo, Conv2d, GroupedConv2d, Pad, Reshape, Table, Transpose
from lepton_sdk.program.reference import run
from lepton_sdk.program.tensors import constant
from support.programs import program_of

Array = npt.NDArray[Any]
Q = Quantization((0.0625,), -128)


def activation(name: str, *shape: int, quantization: Quantization = Q) -> Tensor:
    return Tensor(name, shape, "int8", quantization)


def kinds(program: Program) -> list[str]:
    return [type(op).__name__ for op in program.function().operations]


def two_convolutions(bias: Sequence[int], second: int, padding: Padding) -> Program:
    """3 channels → 2 (channel 1 has no weights) → 4 by a `second` × `second` kernel."""
    rng = np.random.default_rng(0)
    first = rng.integers(-127, 128, (2, 1, 1, 3)).astype(np.int8)
    first[1] = 0
    size = 6 - second + 1 + padding.top + padding.bottom
    tensors = [
        activation("x", 1, 6, 6, 3),
        constant("w1", first),
        constant("b1", np.array(bias, np.int32)),
        constant("m1", np.full(2, 0.004, np.float32)),
        activation("h", 1, 6, 6, 2),
        constant("w2", rng.integers(-127, 128, (4, second, second, 2)).astype(np.int8)),
        constant("m2", np.full(4, 0.002, np.float32)),
        activation("y", 1, size, size, 4),
    ]
    operations = [
        Conv2d("x", "w1", "b1", "m1", "h"),
        Conv2d("h", "w2", None, "m2", "y", padding=padding),
    ]
    return program_of(tensors, operations)


def hidden_channels(program: Program) -> int:
    return program.tensors["h"].shape[-1]


def assert_equal_bytes(before: Program, after: Program) -> None:
    rng = np.random.default_rng(1)
    for _ in range(8):
        x = rng.integers(-128, 128, before.tensors["x"].shape).astype(np.int8)
        np.testing.assert_array_equal(run(before, [x])[0], run(after, [x])[0])


def test_a_constant_becomes_a_bias_that_was_not_there() -> None:
    before = two_convolutions([0, 10_000], 1, Padding())
    after = fold_constant_channels(before)
    assert hidden_channels(after) == 1
    assert after.function().operations[1].bias is not None  # type: ignore[attr-defined]
    assert_equal_bytes(before, after)


@pytest.mark.parametrize(("bias", "left"), [(0, 1), (10_000, 2), (2**30, 2), (-(2**30), 1)])
def test_behind_padding_only_the_zero_point_is_constant(bias: int, left: int) -> None:
    before = two_convolutions([0, bias], 3, Padding(1, 1, 1, 1))
    after = fold_constant_channels(before)
    assert hidden_channels(after) == left
    assert_equal_bytes(before, after)


@pytest.mark.parametrize("bias", [2**30, -(2**30), 77])
def test_without_padding_any_constant_goes(bias: int) -> None:
    before = two_convolutions([0, bias], 3, Padding())
    after = fold_constant_channels(before)
    assert hidden_channels(after) == 1
    assert_equal_bytes(before, after)


def test_what_a_convolution_in_groups_reads_stays_whole() -> None:
    plain = two_convolutions([0, 10_000], 1, Padding())
    first = plain.function().operations[0]
    weight = constant("w2", np.ones((4, 1, 1, 1), np.int8))
    body = Function("infer", ("x",), ("y",), (first, GroupedConv2d("h", "w2", None, "m2", "y")))
    grouped = Program({"infer": body}, {**plain.tensors, "w2": weight})
    assert simplify(grouped) is grouped


def test_an_output_keeps_its_constant_channels() -> None:
    before = two_convolutions([0, 5], 1, Padding())
    body = before.function()
    visible = Program({"infer": Function("infer", body.inputs, ("h", "y"), body.operations)}, before.tensors)
    assert fold_constant_channels(visible) is visible


def single_convolution(*before: Operation, tensors: Sequence[Tensor] = (), read: str) -> Program:
    weight = np.random.default_rng(0).integers(-127, 128, (2, 3, 3, 3)).astype(np.int8)
    shapes = {t.name: t.shape for t in tensors} | {"x": (1, 6, 6, 3)}
    held = [
        activation("x", 1, 6, 6, 3),
        constant("w", weight),
        constant("m", np.full(2, 0.001, np.float32)),
        activation("y", 1, shapes[read][1] - 2, shapes[read][2] - 2, 2),
        *tensors,
    ]
    return program_of(held, [*before, Conv2d(read, "w", None, "m", "y")])


@pytest.mark.parametrize(("fill", "merged"), [(-128, True), (0, False)])
def test_a_pad_of_the_zero_point_becomes_padding(fill: int, merged: bool) -> None:
    pad = Pad("x", "p", (0, 1, 2, 0), (0, 1, 0, 0), fill)
    before = single_convolution(pad, tensors=[activation("p", 1, 8, 8, 3)], read="p")
    after = simplify(before)
    assert kinds(after) == (["Conv2d"] if merged else ["Pad", "Conv2d"])
    if merged:
        assert after.function().operations[0].padding == Padding(1, 1, 2, 0)  # type: ignore[attr-defined]
    assert_equal_bytes(before, after)


def test_transposes_that_cancel_and_clamps_that_cannot_bite_go() -> None:
    operations = (
        Transpose("x", "a", (0, 2, 3, 1)),
        Transpose("a", "b", (0, 3, 1, 2)),
        ClampTo("b", "c", Clamp(-128, 127)),
    )
    between = [activation("a", 1, 6, 3, 6), activation("b", 1, 6, 6, 3), activation("c", 1, 6, 6, 3)]
    before = single_convolution(*operations, tensors=between, read="c")
    after = simplify(before)
    assert kinds(after) == ["Conv2d"]
    assert_equal_bytes(before, after)


def test_an_identity_between_an_input_and_an_output_stays() -> None:
    program = program_of([activation("x", 2, 3), activation("y", 2, 3)], [Reshape("x", "y")])
    assert simplify(program) is program


def test_two_tables_become_one() -> None:
    rng = np.random.default_rng(0)
    held = [constant(f"t{i}", rng.integers(-128, 128, 256).astype(np.int8)) for i in range(2)]
    ends = [activation(name, 2, 40) for name in "xhy"]
    before = program_of([*held, *ends], [Table("x", "t0", "h"), Table("h", "t1", "y")])
    after = simplify(before)
    assert kinds(after) == ["Table"]
    assert_equal_bytes(before, after)


def test_a_program_with_variables_keeps_every_one() -> None:
    whole = two_convolutions([0, 10_000], 1, Padding())
    program = Program(whole.functions, whole.tensors, (Variable("b1"),))
    assert simplify(program) is program


def test_explain_names_every_pass() -> None:
    records: list[Any] = []
    simplify(two_convolutions([0, 10_000], 1, Padding()), records)
    assert [r.name for r in records] == [apply.__name__ for apply in EXACT_SIMPLIFICATIONS]
    assert "multiply-accumulates" in {r.name: r.change for r in records}["fold_constant_channels"]
