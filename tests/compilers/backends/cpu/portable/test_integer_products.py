"""The last resort's integer products, of a CPU that has no kernels of its own: the reference's bytes.

Where registers have 64 bits, two sums share one; where they have 32, none do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_sdk.program import Padding, Quantization, Tensor, reference
from lepton_sdk.program.operations import Conv2d, DepthwiseConv2d
from lepton_targets import Isa, get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.native import Native
from support.operation_cases import EXACT_CASES
from support.programs import Case, program_of, together

PRODUCTS = ("Conv2d", "DepthwiseConv2d", "Dense", "GroupedConv2d")


def without_kernels(name: str) -> cpu.Cpu:
    """The CPU as if no kernels were written for it."""
    return get_target(name).replace(isa=Isa.PORTABLE)


def check(cases: Sequence[Case], row: cpu.Cpu) -> None:
    program = together(cases)
    artifact = cpu.lower(program, row)
    run = (Native(program, artifact) if runs_here(row) else Emulated(program, artifact, row)).run
    for index, case in enumerate(cases):
        (found,) = run(case.inputs, f"case{index}")
        (expected,) = reference.run(case.program, case.inputs)
        np.testing.assert_array_equal(found, expected, err_msg=str(case.program.function().operations))


def sliding(
    kind: type[Conv2d] | type[DepthwiseConv2d], width: int, kernel: int, left: int, right: int
) -> Case:
    """Kernels of two rows and many columns over three channels; half the windows reach beside the map."""
    rng = np.random.default_rng(width)
    by_channel = (2, kernel, 3) if kind is DepthwiseConv2d else (3, 2, kernel, 3)
    columns = left + width + right - kernel + 1
    tensors = [
        Tensor("x", (1, 4, width, 3), "int8", Quantization((0.5,), -3)),
        Tensor(
            "w", by_channel, "int8", Quantization((0.25,), 0), rng.integers(-127, 128, by_channel, np.int8)
        ),
        Tensor("b", (3,), "int32", value=rng.integers(-900, 900, 3, np.int32)),
        Tensor("m", (3,), "float32", value=np.float32([0.001, 0.002, 0.0007])),
        Tensor("y", (1, 4, columns, 3), "int8", Quantization((0.5,), 5)),
    ]
    op = kind("x", "w", "b", "m", "y", padding=Padding(0, 1, left, right))
    return Case(program_of(tensors, [op]), (rng.integers(-128, 128, (1, 4, width, 3), np.int8),))


@pytest.mark.parametrize("name", ["x86-64", "riscv64", "armv7"])
def test_products_of_any_shape(name: str) -> None:
    row = without_kernels(name)

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*(EXACT_CASES[product] for product in PRODUCTS for _ in range(6))))
    def any_shape(cases: tuple[Case, ...]) -> None:
        check(cases, row)

    any_shape()


@pytest.mark.parametrize("name", ["x86-64", "armv7"])
def test_kernels_wider_than_a_tile(name: str) -> None:
    shapes = ((20, 19, 9, 9), (9, 11, 10, 0), (9, 11, 0, 10), (3, 8, 4, 6), (30, 5, 0, 2))
    cases = [sliding(kind, *shape) for kind in (Conv2d, DepthwiseConv2d) for shape in shapes]
    check(cases, without_kernels(name))
