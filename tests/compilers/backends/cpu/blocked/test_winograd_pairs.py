"""Winograd's form in integers on plain x86-64 and AVX2: the direct sum's bytes, whatever the channels."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_sdk.program import Padding, Program, Quantization, Tensor, reference
from lepton_sdk.program.operations import Conv2d
from lepton_sdk.program.tensors import constant
from support.executed import executed
from support.native import Native
from support.programs import program_of

TARGETS = ("x86-64", "x86-64-avx2")
SAME, NONE = Padding(1, 1, 1, 1), Padding()


def convolution(height: int, width: int, inner: int, out: int, padding: Padding, weight: int = 0) -> Program:
    """3 × 3 at stride 1; all weights `weight`, or random ones where that is 0."""
    random = np.random.default_rng(inner + out)
    rows = height + padding.top + padding.bottom - 2
    columns = width + padding.left + padding.right - 2
    weights = (
        random.integers(-128, 128, (out, 3, 3, inner)) if not weight else np.full((out, 3, 3, inner), weight)
    )
    return program_of(
        [
            Tensor("x", (1, height, width, inner), "int8", Quantization((0.5,), -128)),
            Tensor("y", (1, rows, columns, out), "int8", Quantization((0.5,), 3)),
            constant("w", weights.astype(np.int8)),
            constant("b", random.integers(-1000, 1000, out).astype(np.int32)),
            constant("m", np.full(out, 0.02 / inner, np.float32)),
        ],
        [Conv2d("x", "w", "b", "m", "y", padding=padding)],
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "program",
    [
        convolution(4, 4, 16, 16, SAME),
        convolution(7, 5, 20, 40, NONE),
        convolution(6, 9, 128, 72, Padding(0, 1, 1, 0)),
        # So many channels that few tiles are transformed at a time.
        convolution(5, 5, 256, 96, SAME),
        convolution(5, 5, 512, 64, SAME),
        # Products that leave int32, and sums that do not.
        convolution(6, 6, 448, 32, NONE, weight=-128),
        convolution(6, 6, 448, 32, SAME, weight=127),
    ],
)
def test_bytes_are_those_of_the_direct_sum(program: Program, target: str) -> None:
    row = executed(target)
    assert "winograd_map" in [call.kernel for call in cpu.plan(program, row).calls]
    shape = program.tensors["x"].shape
    extremes = (np.full(shape, 127, np.int8), np.full(shape, -128, np.int8))
    native = Native(program, cpu.lower(program, row))
    for x in (np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8), *extremes):
        (expected,) = reference.run(program, [x])
        np.testing.assert_array_equal(native.run([x])[0], expected)
