"""What attention takes, by VNNI: the bytes of the reference, whatever the shapes and values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_sdk.program import Quantization, Tensor, arithmetic, reference
from lepton_sdk.program.operations import Dense, Softmax, Table
from lepton_sdk.program.sequence import MatMul
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.native import Native
from support.programs import Case, program_of, together
from support.sequence_cases import matmul_cases

CASES_A_LIBRARY = 16
SLOW = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)


@pytest.fixture(params=("x86-64-avx512vnni", "x86-64-avx512vbmi"))
def row(request: pytest.FixtureRequest) -> cpu.Cpu:
    found = get_target(str(request.param))
    if not runs_here(found):
        pytest.skip(f"this machine does not execute {found.name}")
    return found


def assert_bytes_of_the_reference(cases: list[Case], row: cpu.Cpu) -> None:
    program = together(cases)
    native = Native(program, cpu.lower(program, row))
    for index, case in enumerate(cases):
        (expected,) = reference.run(case.program, case.inputs)
        (found,) = native.run(case.inputs, f"case{index}")
        np.testing.assert_array_equal(found, expected, err_msg=str(case.program.tensors))


def test_products_of_any_shape(row: cpu.Cpu) -> None:
    @SLOW
    @given(st.lists(matmul_cases(), min_size=CASES_A_LIBRARY, max_size=CASES_A_LIBRARY))
    def check(cases: list[Case]) -> None:
        assert_bytes_of_the_reference(cases, row)

    check()


def product(
    rows: int, inner: int, columns: int, transposed: bool, zeros: tuple[int, int], fill: int | None = None
) -> Case:
    """One product; fill: what all of a and b hold, else random."""
    rng = np.random.default_rng(rows)
    shapes = ((rows, inner), (columns, inner) if transposed else (inner, columns))
    q = [Quantization((0.5,), zero) for zero in zeros]
    # Results fill int8, and leave it at the ends.
    q.append(Quantization((float(np.float32(10 * np.sqrt(inner))),), -7))
    tensors = [Tensor(n, s, "int8", held) for n, s, held in zip("aby", (*shapes, (rows, columns)), q)]
    arrays = tuple(
        rng.integers(-128, 128, s).astype(np.int8) if fill is None else np.full(s, fill, np.int8)
        for s in shapes
    )
    return Case(program_of(tensors, [MatMul("a", "b", "y", transposed)]), arrays)


@pytest.mark.parametrize("transposed", [False, True])
def test_products_as_attention_has_them(row: cpu.Cpu, transposed: bool) -> None:
    cases = [
        product(64, 32, 64, transposed, (-4, 6)),
        product(64, 64, 32, transposed, (-128, -3)),
        product(49, 33, 49, transposed, (127, -128)),
        product(7, 130, 150, transposed, (-128, 127)),
        product(1, 3, 16, transposed, (0, 0)),
    ]
    assert_bytes_of_the_reference(cases, row)


@pytest.mark.parametrize("fill", [-128, 127])
def test_the_largest_sums(row: cpu.Cpu, fill: int) -> None:
    zeros = (-1 - fill, -1 - fill)
    cases = [product(5, 30000, 20, turned, zeros, fill) for turned in (False, True)]
    assert_bytes_of_the_reference(cases, row)


def softmax(rows: int, n: int, scale: float, alike: bool = False) -> Case:
    """Of rows of n values; alike: all of them the same."""
    rng, shape, scale = np.random.default_rng(n), (rows, n), float(np.float32(scale))
    tensors = [
        Tensor("x", shape, "int8", Quantization((scale,), 3)),
        constant("table", arithmetic.softmax_table(scale)),
        Tensor("y", shape, "int8", Quantization((1 / 256,), -128)),
    ]
    x = rng.integers(-128, 128, shape).astype(np.int8)
    if alike:
        x[...] = x[:, :1]
    return Case(program_of(tensors, [Softmax("x", "table", "y")]), (x,))


def test_softmax_of_many_rows(row: cpu.Cpu) -> None:
    cases = [softmax(rows, n, 0.05) for rows in (8, 16, 41) for n in (1, 3, 4, 15, 17, 64, 131)]
    cases += [softmax(33, 20, scale) for scale in (1e-4, 0.01, 0.9)]
    cases += [softmax(16, n, 0.1, alike=True) for n in (1, 2, 256, 300)]
    assert_bytes_of_the_reference(cases, row)
    kernels = [call.kernel for call in cpu.plan(cases[0].program, row).calls]
    assert kernels == ["softmax_rows_int8"]


def dense(rows: int, inner: int, out: int, alike: bool) -> Case:
    """A layer over rows; alike: one multiplier for all channels."""
    rng, q = np.random.default_rng(out), Quantization((0.5,), 5)
    tensors = [Tensor("x", (rows, inner), "int8", q), Tensor("y", (rows, out), "int8", q)]
    tensors.append(constant("w", rng.integers(-127, 128, (out, inner)).astype(np.int8)))
    tensors.append(constant("b", rng.integers(-999, 999, out).astype(np.int32)))
    factors = (1 if alike else rng.uniform(0.5, 2, out)) * np.full(out, 0.6 / 128 / np.sqrt(inner))
    tensors.append(constant("m", factors.astype(np.float32)))
    x = rng.integers(-128, 128, (rows, inner)).astype(np.int8)
    return Case(program_of(tensors, [Dense("x", "w", "b", "m", "y")]), (x,))


def test_layers_over_many_rows(row: cpu.Cpu) -> None:
    shapes = [(64, 128, 128), (2, 3, 1), (7, 17, 33), (13, 66, 70), (50, 32, 16), (9, 512, 520)]
    cases = [dense(*shape, alike) for shape in shapes for alike in (False, True)]
    assert_bytes_of_the_reference(cases, row)
    kernels = [call.kernel for call in cpu.plan(cases[0].program, row).calls]
    # Rows of whole blocks turn into blocks and back as one long row does.
    assert kernels == ["pack_u8", "dense_rows_u8", "unpack_u8"]


def looked_up(shape: tuple[int, ...]) -> Case:
    """A function of one int8 tensor by its table."""
    rng, q = np.random.default_rng(7), Quantization((0.5,), 5)
    tensors = [Tensor(name, shape, "int8", q) for name in "xy"]
    tensors.append(constant("table", rng.integers(-128, 128, 256).astype(np.int8)))
    x = rng.integers(-128, 128, shape).astype(np.int8)
    return Case(program_of(tensors, [Table("x", "table", "y")]), (x,))


def test_tables_look_up_where_a_tensor_lies(row: cpu.Cpu) -> None:
    assert_bytes_of_the_reference([looked_up(shape) for shape in ((300,), (7, 65), (2, 3, 4, 5))], row)
    assert [call.kernel for call in cpu.plan(looked_up((7, 65)).program, row).calls] == ["table_u8"]
    layer, rng, hidden = dense(6, 20, 33, True), np.random.default_rng(8), Quantization((0.5,), 1)
    tensors = dict(layer.program.tensors)
    tensors["h"] = Tensor("h", (6, 33), "int8", hidden)
    tensors["table"] = constant("table", rng.integers(-128, 128, 256).astype(np.int8))
    ops = [Dense("x", "w", "b", "m", "h"), Table("h", "table", "y")]
    behind = Case(program_of(list(tensors.values()), ops), layer.inputs)
    assert_bytes_of_the_reference([behind], row)
    kernels = [call.kernel for call in cpu.plan(behind.program, row).calls]
    assert [kernel for kernel in kernels if "pack" not in kernel] == ["dense_rows_u8", "table_u8"]
    assert kernels.index("table_u8") < kernels.index("unpack_u8")
