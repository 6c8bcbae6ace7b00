"""Transposed convolutions as convolutions of phases: the same bytes, by operations that CPUs are fast at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.rewrites.phases import in_phases
from lepton_sdk.program import Padding, Tensor, reference
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import ConvTranspose2d
from lepton_targets import get_target
from support.programs import Case, program_of
from support.vision_cases import transposed_cases


@settings(max_examples=60, deadline=None, derandomize=True)
@given(transposed_cases())
def test_the_bytes_are_the_same(case: Case) -> None:
    split = in_phases(case.program, "infer")
    expected = reference.run(case.program, case.inputs)[0]
    np.testing.assert_array_equal(reference.run(split, case.inputs)[0], expected)


@pytest.mark.parametrize(
    ("kernel", "padding", "operations"),
    [
        (2, Padding(), ["Conv2d", "Reshape", "Transpose", "Reshape"]),
        (4, Padding(1, 1, 1, 1), ["Conv2d", "Reshape", "Transpose", "Reshape", "Slice"]),
        # A border wider than the window leaves nothing to pad: such a layer stays as it is.
        (3, Padding(0, 9, 0, 0), ["ConvTranspose2d"]),
    ],
)
def test_a_stride_of_two_is_one_convolution(kernel: int, padding: Padding, operations: list[str]) -> None:
    weight = np.ones((3, kernel, kernel, 4), np.float32)
    whole = (6 - 1) * 2 + kernel
    extents = (whole - padding.top - padding.bottom, whole - padding.left - padding.right)
    tensors = [
        Tensor("x", (1, 6, 6, 4), "float32"),
        constant("weight", weight),
        Tensor("y", (1, *extents, 3), "float32"),
    ]
    program = program_of(tensors, [ConvTranspose2d("x", "weight", None, None, "y", (2, 2), padding)])
    split = in_phases(program, "infer").function().operations
    assert [type(op).__name__ for op in split] == operations
    calls = {call.kernel for call in cpu.plan(program, get_target("x86-64")).calls}
    assert ("conv_transpose_float" in calls) == (operations == ["ConvTranspose2d"])
