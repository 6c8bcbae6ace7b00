"""The plan of kernel calls: what is aliased, overwritten, converted, refused; and its printed form."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import No, cpu
from lepton_sdk.program import Function, Padding, Program, Quantization, Tensor, Variable, reference
from lepton_sdk.program.operations import Add, Conv2d, Dense, Relu, Reshape, Softmax, Transpose
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import SgdMomentum
from lepton_targets import get_target
from lepton_targets.errors import UnsupportedOperatorError
from support.native import Native
from support.programs import Case, program_of

PORTABLE, SSE2, VNNI = get_target("riscv64"), get_target("x86-64"), get_target("x86-64-avx512vnni")
Q = Quantization((0.5,), -128)


def floats(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "float32")


def kernels(program: Program, row: cpu.Cpu = PORTABLE) -> list[str]:
    return [call.kernel for call in cpu.plan(program, row).calls]


def agree(program: Program, *inputs: np.ndarray) -> None:
    found = Native(program, cpu.lower(program, SSE2)).run(inputs)
    for a, b in zip(found, reference.run(program, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def conv_weights(out: int, kernel: int, inner: int) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [
        constant("w", rng.integers(-9, 10, (out, kernel, kernel, inner)).astype(np.int8)),
        constant("b", np.zeros(out, np.int32)),
        constant("m", np.full(out, 0.01, np.float32)),
    ]


def test_a_reshape_before_an_output_moves_no_bytes() -> None:
    tensors = [floats("x", 2, 3), floats("a", 2, 3), floats("y", 6)]
    program = program_of(tensors, [Relu("x", "a"), Reshape("a", "y")])
    assert kernels(program) == ["clamp_to_float"]
    assert cpu.plan(program, PORTABLE).arena_bytes == 0
    agree(program, np.float32([[-1, 2, 3], [4, -5, 6]]))


def test_element_wise_operations_run_over_what_nothing_reads_later() -> None:
    names = ("x", "a", "b", "c", "y")
    chain = [Relu("x", "a"), Relu("a", "b", 6.0), Add("b", "a", "c"), Softmax("c", None, "y")]
    program = program_of([floats(name, 1, 64) for name in names], chain)
    # a is read twice, so b needs a place of its own; c goes over b.
    assert cpu.plan(program, PORTABLE).arena_bytes == 2 * 256


def test_an_input_or_constant_that_is_returned_is_copied() -> None:
    tensors = [floats("x", 3), constant("k", np.float32([1, 2, 3])), floats("y", 3)]
    function = Function("infer", ("x",), ("x", "k", "y", "y"), (Add("x", "k", "y"),))
    agree(Program({"infer": function}, {t.name: t for t in tensors}), np.float32([4, 5, 6]))


def test_a_reshaped_variable_keeps_its_value_when_the_variable_changes() -> None:
    tensors = [constant("p", np.float32([1, 2])), constant("v", np.float32([0, 0]))]
    tensors += [floats("g", 2), floats("lr", 1), floats("mu", 1), floats("before", 2, 1), floats("y", 2, 1)]
    operations = (Reshape("p", "before"), SgdMomentum("p", "v", "g", "lr", "mu"), Relu("before", "y"))
    function = Function("infer", ("g", "lr", "mu"), ("y",), operations)
    variables = (Variable("p", trainable=True), Variable("v"))
    program = Program({"infer": function}, {t.name: t for t in tensors}, variables)
    native = Native(program, cpu.lower(program, SSE2))
    inputs = (np.float32([1, 1]), np.float32([0.5]), np.float32([0]))
    np.testing.assert_array_equal(native.run(inputs)[0], np.float32([[1], [2]]))
    np.testing.assert_array_equal(native.variable("p"), np.float32([0.5, 1.5]))


def test_layouts_are_converted_only_where_neighbours_differ() -> None:
    x, a, y = (Tensor(name, (1, 6, 6, 16), "int8", Q) for name in ("x", "a", "y"))
    same = Padding(1, 1, 1, 1)
    both = [
        Conv2d("x", "w", "b", "m", "a", padding=same),
        Conv2d("a", "w", "b", "m", "y", padding=same),
    ]
    program = program_of([x, a, y, *conv_weights(16, 3, 16)], both)
    assert kernels(program, VNNI) == ["pack_u8", "conv3x3_u8", "conv3x3_u8", "unpack_u8"]
    assert kernels(program) == ["conv2d_int8", "conv2d_int8"]


def test_a_dense_layer_reads_a_flattened_map_as_it_lies() -> None:
    rng = np.random.default_rng(0)
    tensors = [Tensor("x", (1, 2, 2, 16), "int8", Q), Tensor("a", (1, 2, 2, 16), "int8", Q)]
    tensors += [Tensor("f", (1, 64), "int8", Q), Tensor("y", (1, 5), "int8", Q), *conv_weights(16, 1, 16)]
    tensors += [constant("dw", rng.integers(-9, 10, (5, 64)).astype(np.int8))]
    tensors += [constant("db", np.zeros(5, np.int32)), constant("dm", np.full(5, 0.01, np.float32))]
    operations = [
        Conv2d("x", "w", "b", "m", "a"),
        Reshape("a", "f"),
        Dense("f", "dw", "db", "dm", "y"),
    ]
    program = program_of(tensors, operations)
    assert kernels(program, VNNI) == ["pack_u8", "pointwise_u8", "dense_u8", "unpack_u8"]


def test_the_printed_plan_names_kernels_and_addresses() -> None:
    program = program_of([floats("x", 4), floats("y", 4)], [Relu("x", "y")])
    text = cpu.plan(program, PORTABLE).show()
    assert text.splitlines() == [
        "infer: 1 calls, arena 0 bytes",
        "  clamp_to_float(input0[0], output0[0], 4, 0, 2139095040)",
    ]


def test_what_has_no_form_is_refused_by_name() -> None:
    tensors = [Tensor("x", (1,) * 7, "float32"), Tensor("y", (1,) * 7, "float32")]
    op = Transpose("x", "y", tuple(range(7)))
    case = Case(program_of(tensors, [op]), ())
    answer = cpu.supports(op, case.program.tensors, PORTABLE)
    assert isinstance(answer, No)
    assert "rank above 6" in answer.reason
    with pytest.raises(UnsupportedOperatorError, match="step 0: Transpose 'y'") as caught:
        cpu.lower(case.program, PORTABLE)
    assert answer.reason in caught.value.details


def test_sums_that_could_overflow_are_refused() -> None:
    tensors = [Tensor("x", (1, 4), "int8", Q), Tensor("y", (1, 1), "int8", Q)]
    tensors += [constant("w", np.full((1, 4), 127, np.int8)), constant("m", np.ones(1, np.float32))]
    tensors += [constant("b", np.int32([2**31 - 1]))]
    op = Dense("x", "w", "b", "m", "y")
    answer = cpu.supports(op, program_of(tensors, [op]).tensors, VNNI)
    assert isinstance(answer, No)
    assert "int32 accumulator" in answer.reason


def test_a_plan_says_whose_calls_are_whose() -> None:
    tensors = [floats("x", 2, 3), floats("a", 2, 3), floats("b", 6), floats("y", 6)]
    program = program_of(tensors, [Relu("x", "a"), Reshape("a", "b"), Relu("b", "y")])
    layers = cpu.plan(program, PORTABLE).layers
    assert [(layer.name, layer.first, layer.end) for layer in layers] == [
        ("Relu 'a' (float32 2×3 → float32 2×3)", 0, 1),
        ("Relu 'y' (float32 6 → float32 6)", 1, 2),
    ]
    conv = [
        Tensor("x", (1, 8, 8, 16), "int8", Q),
        *conv_weights(32, 3, 16),
        Tensor("y", (1, 6, 6, 32), "int8", Q),
    ]
    program = program_of(conv, [Conv2d("x", "w", "b", "m", "y")])
    (layer,) = cpu.plan(program, VNNI).layers
    assert (layer.dtype, layer.macs) == ("int8", 6 * 6 * 32 * 3 * 3 * 16)
    # Its maps are put into blocks before, and taken out of them after it.
    assert layer.end - layer.first > 1
