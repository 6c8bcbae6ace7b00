"""Every legal tile of every kernel computes the same: int8 the reference's bytes, float32 the table's."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice
from lepton_sdk.program import Padding, Program, Quantization, Tensor, reference
from lepton_sdk.program.operations import Add, Conv2d, Dense, DepthwiseConv2d, GroupedConv2d, window_shape
from lepton_sdk.program.tensors import constant
from lepton_targets import Cpu, get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.native import Native
from support.programs import program_of

VNNI, AVX2 = get_target("x86-64-avx512vnni"), get_target("x86-64-avx2")
needs_vnni = pytest.mark.skipif(not runs_here(VNNI), reason="this machine lacks AVX-512 VNNI")
ANOTHER_ORDER = ("row_f32", "winograd_f32")
"""Kernels whose tiles sum in another order, or round otherwise."""


class Layers:
    """Layers side by side on two maps, `few` of 3 channels and `wide` of 40, and a row of 72 numbers."""

    def __init__(self, dtype: str) -> None:
        self.random = np.random.default_rng(7)
        self.dtype = dtype
        self.tensors: list[Tensor] = []
        self.operations: list[Conv2d | DepthwiseConv2d | GroupedConv2d | Dense | Add] = []
        for name, shape in (("few", (1, 9, 17, 3)), ("wide", (1, 7, 11, 40)), ("row", (1, 72))):
            self.tensor(name, shape)

    def tensor(self, name: str, shape: tuple[int, ...]) -> str:
        zero = Quantization((0.0625,), -128 if name != "row" else 3) if self.dtype == "int8" else None
        self.tensors.append(Tensor(name, shape, self.dtype, zero))
        return name

    def products(self, shape: tuple[int, ...], out: int) -> tuple[str, str, str | None]:
        number, random = len(self.tensors), self.random
        if self.dtype == "float32":
            weight, bias = random.normal(size=shape) / 8, random.normal(size=out)
            held = [constant(f"w{number}", weight.astype(np.float32))]
            held.append(constant(f"b{number}", bias.astype(np.float32)))
        else:
            scales = Quantization(tuple(np.full(out, 2.0**-7)), 0, shape.index(out) if len(shape) != 3 else 2)
            held = [constant(f"w{number}", random.integers(-127, 128, shape).astype(np.int8), scales)]
            held.append(constant(f"b{number}", random.integers(-9000, 9000, out).astype(np.int32)))
            held.append(constant(f"m{number}", random.uniform(1e-3, 3e-3, out).astype(np.float32)))
        self.tensors += held
        return held[0].name, held[1].name, held[2].name if len(held) == 3 else None

    def conv(self, x: str, out: int, kernel: int, stride: int = 1, add: bool = False) -> None:
        _, h, w, c = next(t.shape for t in self.tensors if t.name == x)
        border = Padding(*[kernel // 2] * 4)
        size = window_shape((h, w), (kernel, kernel), (stride, stride), border)
        parts = self.products((out, kernel, kernel, c), out)
        y = self.tensor(f"y{len(self.operations)}", (1, *size, out))
        self.operations.append(Conv2d(x, *parts, y, (stride, stride), border))
        if add:
            self.operations.append(Add(y, x, self.tensor(f"y{len(self.operations)}", (1, *size, out))))

    def depthwise(self, stride: int) -> None:
        _, h, w, c = next(t.shape for t in self.tensors if t.name == "wide")
        border = Padding(1, 1, 1, 1)
        size = window_shape((h, w), (3, 3), (stride, stride), border)
        parts = self.products((3, 3, c), c)
        y = self.tensor(f"y{len(self.operations)}", (1, *size, c))
        self.operations.append(DepthwiseConv2d("wide", *parts, y, (stride, stride), border))

    def program(self) -> Program:
        self.conv("few", 24, 3)
        self.conv("wide", 72, 1)
        self.conv("wide", 56, 3)
        self.conv("wide", 40, 3, add=True)
        self.conv("wide", 40, 3, stride=2)
        self.conv("wide", 24, 5)
        self.depthwise(1)
        self.depthwise(2)
        if self.dtype == "float32":
            parts = self.products((72, 1, 1, 20), 72)
            y = self.tensor("groups", (1, 7, 11, 72))
            self.operations.append(GroupedConv2d("wide", *parts, y))
        parts = self.products((136, 72), 136)
        self.operations.append(Dense("row", *parts, self.tensor("scores", (1, 136))))
        return program_of(self.tensors, self.operations)

    def inputs(self, program: Program) -> list[np.ndarray]:
        shapes = [program.tensors[name].shape for name in program.function().inputs]
        if self.dtype == "int8":
            return [self.random.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
        return [self.random.normal(size=shape).astype(np.float32) for shape in shapes]


def nth(n: int) -> TileChoice:
    """Tile number n of every layer, counted around."""
    return lambda layer, tiles: tiles[n % len(tiles)]


SOME, ALL = range(1, 3), pytest.param(range(64), marks=pytest.mark.slow, id="all")


def tile_counts(program: Program, row: Cpu) -> list[int]:
    return [len(use.tiles) for use in cpu.plan(program, row).tiles]


@pytest.mark.parametrize("numbers", [pytest.param(SOME, id="some"), ALL])
@pytest.mark.parametrize("row", [pytest.param(VNNI, marks=needs_vnni), AVX2], ids=lambda row: row.name)
def test_every_tile_gives_the_references_bytes(row: Cpu, numbers: range) -> None:
    layers = Layers("int8")
    program = layers.program()
    inputs = layers.inputs(program)
    expected = reference.run(program, inputs)
    counts = tile_counts(program, row)
    assert len(counts) == 9
    assert min(counts) > 1
    for n in numbers[: max(counts)]:
        found = Native(program, cpu.lower(program, row, choice=nth(n))).run(inputs)
        for name, a, b in zip(program.function().outputs, found, expected, strict=True):
            np.testing.assert_array_equal(a, b, f"{name}, tiles number {n}")


@pytest.mark.parametrize("numbers", [pytest.param(range(1, 2), id="some"), ALL])
@pytest.mark.parametrize("name", ["cortex-a53", "neoverse-v1", "armv7", "riscv64-v"])
def test_tiles_of_other_cpus_give_the_references_bytes(name: str, numbers: range) -> None:
    layers, row = Layers("int8"), get_target(name)
    program = layers.program()
    inputs = layers.inputs(program)
    expected = reference.run(program, inputs)
    for n in numbers[: max(tile_counts(program, row))]:
        found = Emulated(program, cpu.lower(program, row, choice=nth(n)), row).run(inputs)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@needs_vnni
@pytest.mark.parametrize("numbers", [pytest.param(range(1, 3), id="some"), ALL])
def test_a_float_tile_changes_bits_only_where_it_says_so(numbers: range) -> None:
    layers = Layers("float32")
    program = layers.program()
    inputs = layers.inputs(program)
    uses = cpu.plan(program, VNNI).tiles
    otherwise = {use.layer.y for use in uses if use.layer.kernel in ANOTHER_ORDER}
    assert {use.layer.kernel for use in uses} >= {*ANOTHER_ORDER, "pointwise_f32", "conv3x3_f32", "conv_f32"}
    table = Native(program, cpu.lower(program, VNNI)).run(inputs)
    for n in numbers[: max(tile_counts(program, VNNI))]:
        found = Native(program, cpu.lower(program, VNNI, choice=nth(n))).run(inputs)
        for name, a, b in zip(program.function().outputs, found, table, strict=True):
            if a.shape in otherwise:
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
            else:
                np.testing.assert_array_equal(a, b, f"{name}, tiles number {n}")
