"""Maps joined along channels: what is written in place, what is copied, and that bytes stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.splits import parts
from lepton_sdk.program import Clamp, Function, Operation, Padding, Program, Quantization, Tensor, reference
from lepton_sdk.program.operations import Add, ClampTo, Concat, Conv2d
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.native import Native

Array = npt.NDArray[Any]
SIDE = 3
TARGETS = ("x86-64", "x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni")
Q = Quantization((0.5,), -3)


class Maps:
    """A program of maps [images, 3, 3, channels] and whole numbers, so that float32 sums are exact."""

    def __init__(self, dtype: str, channels: int, images: int = 1) -> None:
        self.rng, self.dtype, self.images = np.random.default_rng(7), dtype, images
        self.tensors: dict[str, Tensor] = {}
        self.operations: list[Operation] = []
        self.channels = {"x": channels}
        self._tensor("x", channels)

    def _tensor(self, name: str, channels: int) -> str:
        quantization = Q if self.dtype == "int8" else None
        shape = (self.images, SIDE, SIDE, channels)
        self.tensors[name], self.channels[name] = Tensor(name, shape, self.dtype, quantization), channels
        return name

    def _constant(self, name: str, value: Array) -> str:
        self.tensors[name] = constant(name, value)
        return name

    def conv(self, x: str, y: str, out: int, kernel: int = 1) -> str:
        held: tuple[str, str | None, str | None]
        weight = self.rng.integers(-1, 2, (out, kernel, kernel, self.channels[x]))
        if self.dtype == "int8":
            held = (
                self._constant(f"{y}/w", weight.astype(np.int8)),
                self._constant(f"{y}/b", np.arange(out, dtype=np.int32)),
                self._constant(f"{y}/m", np.full(out, 0.4, np.float32)),
            )
        else:
            bias = self._constant(f"{y}/b", np.arange(out, dtype=np.float32))
            held = (self._constant(f"{y}/w", weight.astype(np.float32)), bias, None)
        border = kernel // 2
        padding = Padding(border, border, border, border)
        bounds = self.bounds(-100, 100)
        self.operations.append(Conv2d(x, *held, self._tensor(y, out), padding=padding, clamp=bounds))
        return y

    def bounds(self, low: int, high: int) -> Clamp:
        return Clamp(low, high) if self.dtype == "int8" else Clamp(float(low), float(high))

    def clamp(self, x: str, y: str) -> str:
        self.operations.append(ClampTo(x, self._tensor(y, self.channels[x]), self.bounds(-20, 30)))
        return y

    def concat(self, xs: tuple[str, ...], y: str) -> str:
        self.operations.append(Concat(xs, self._tensor(y, sum(self.channels[x] for x in xs)), 3))
        return y

    def program(self, *outputs: str) -> Program:
        return Program({"infer": Function("infer", ("x",), outputs, tuple(self.operations))}, self.tensors)

    def input(self) -> Array:
        values = self.rng.integers(-60, 60, self.tensors["x"].shape)
        return values.astype(self.dtype)


def kernels(program: Program, target: str) -> list[str]:
    return [call.kernel for call in cpu.plan(program, get_target(target)).calls]


def agree(maps: Maps, program: Program, target: str) -> None:
    row = get_target(target)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    x = maps.input()
    found = Native(program, cpu.lower(program, row)).run((x,))
    for a, b in zip(found, reference.run(program, (x,)), strict=True):
        np.testing.assert_array_equal(a, b)


def dense_block(maps: Maps, listed: bool) -> Program:
    """Three layers that read all before them; listed: each joins all parts, not the last whole and one."""
    parts, whole = [maps.conv("x", "stem", 32)], "stem"
    for layer in range(3):
        # The whole is read twice, and nothing may overwrite it while a later whole holds it.
        inner = maps.conv(maps.clamp(whole, f"{layer}/bounded"), f"{layer}/inner", 24)
        parts.append(maps.conv(inner, f"{layer}/new", 16, kernel=3))
        whole = maps.concat(tuple(parts) if listed else (whole, parts[-1]), f"{layer}/whole")
    return maps.program(maps.conv(maps.clamp(whole, "bounded"), "y", 5))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_dense_block_copies_nothing(target: str, dtype: str, listed: bool) -> None:
    maps = Maps(dtype, 16)
    program = dense_block(maps, listed)
    if (dtype, target) != ("float32", "x86-64"):  # whose float maps are dense
        assert not {"copy_bytes", "place"} & set(kernels(program, target))
    agree(maps, program, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_layers_cut_for_threads_write_into_the_whole(
    target: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joined buffer is larger than the map that a call writes; cuts must not mistake its size."""
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    maps = Maps(dtype, 32)
    both = (maps.conv("x", "a", 64), maps.conv("x", "b", 64, kernel=3))
    agree(maps, maps.program(maps.conv(maps.concat(both, "whole"), "y", 5)), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_part_twice_and_parts_in_another_order_are_copied(target: str, dtype: str) -> None:
    maps = Maps(dtype, 16)
    a, b = maps.conv("x", "a", 16), maps.conv("x", "b", 32)
    twice, turned = maps.concat((a, b, a), "twice"), maps.concat((b, a), "turned")
    program = maps.program(maps.conv(twice, "y", 8), maps.conv(turned, "z", 8), turned)
    agree(maps, program, target)


@pytest.mark.parametrize("target", TARGETS)
def test_a_part_that_is_computed_from_its_neighbour_is_copied(target: str) -> None:
    maps = Maps("int8", 16)
    a = maps.conv("x", "a", 16)
    b, c = maps.conv(a, "b", 16), maps.conv("x", "c", 160)
    program = maps.program(maps.conv(maps.concat((a, b, c), "all"), "y", 16))
    assert kernels(program, target).count("copy_bytes") == 1
    agree(maps, program, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_several_images_and_parts_that_end_inside_a_block(target: str, dtype: str) -> None:
    for images, first, second in ((2, 16, 32), (2, 16, 5), (1, 16, 5), (1, 5, 16)):
        maps = Maps(dtype, 16, images)
        whole = maps.concat((maps.conv("x", "a", first), maps.conv("x", "b", second)), "both")
        agree(maps, maps.program(maps.conv(whole, "y", 8), whole), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_part_that_is_blocked_after_its_whole_leaves_it_alone(target: str, dtype: str) -> None:
    maps = Maps(dtype, 16)
    # Joined as dense bytes; the bounds go over the whole's blocks, and then x is wanted in blocks.
    bounded = maps.clamp(maps.concat(("x", "x"), "both"), "bounded")
    agree(maps, maps.program(maps.conv("x", "y", 16), maps.conv(bounded, "z", 16)), target)


def test_a_whole_that_would_hold_more_than_copies_do_is_copied() -> None:
    maps = Maps("int8", 16)
    skipped = maps.conv("x", "skipped", 16)
    wide = maps.conv(maps.conv(skipped, "wide", 640), "wider", 640)
    narrow = maps.conv(wide, "narrow", 160)
    program = maps.program(maps.conv(maps.concat((skipped, narrow), "both"), "y", 16))
    found = cpu.plan(program, get_target("x86-64-avx512vnni"))
    assert [call.kernel for call in found.calls].count("copy_bytes") == 2
    # The two wide maps and the skipped one; in place, all of the whole would lie beside the wide maps.
    assert found.arena_bytes < (640 + 640 + 176) * SIDE * SIDE
    agree(maps, program, "x86-64-avx512vnni")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_joins_and_overwriting_gives_the_same_bytes(dtype: str, seed: int) -> None:
    """Maps that are read late, in several wholes, or overwritten once nothing reads them."""
    maps, rng = Maps(dtype, 16), np.random.default_rng(seed)
    names = [maps.conv("x", "first", 16)]
    for step in range(14):
        x, kind = str(rng.choice(names[-6:])), int(rng.integers(5))
        alike = [name for name in names if maps.channels[name] == maps.channels[x]]
        if kind == 0 or maps.channels[x] > 200:
            names.append(maps.conv(x, f"{step}/conv", int(rng.choice([16, 32, 48]))))
        elif kind == 1:
            names.append(maps.clamp(x, f"{step}/bounded"))
        elif kind == 2 and dtype == "float32":
            y = maps._tensor(f"{step}/sum", maps.channels[x])
            maps.operations.append(Add(x, str(rng.choice(alike)), y, maps.bounds(-50, 50)))
            names.append(y)
        else:
            others = tuple(str(name) for name in rng.choice(names[-6:], int(rng.integers(1, 3))))
            names.append(maps.concat((x, *others), f"{step}/whole"))
    read = {name for op in maps.operations for name in op.inputs}
    program = maps.program(*(name for name in names if name not in read or rng.random() < 0.1))
    agree(maps, program, "x86-64-avx512vnni")
    agree(maps, program, "x86-64-avx2")
