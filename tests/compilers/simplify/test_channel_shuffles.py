"""A channel shuffle on a turned map becomes one on the map as it lies, with the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.simplify.merge_channel_shuffles import merge_channel_shuffles
from lepton_sdk.program import Program, Quantization, Tensor
from lepton_sdk.program.operations import Reshape, Transpose
from lepton_sdk.program.reference import run
from support.programs import program_of

Q = Quantization((0.0625,), -128)


def shuffle(n: int, h: int, w: int, groups: int, each: int, swap: tuple[int, ...]) -> Program:
    """NHWC to NCHW, reshape to groups, swap, reshape back, to NHWC again."""
    channels, shape = groups * each, (n, groups, each, h, w)
    shapes = {
        "x": (n, h, w, channels),
        "turned": (n, channels, h, w),
        "apart": shape,
        "swapped": tuple(shape[axis] for axis in swap),
        "together": (n, channels, h, w),
        "y": (n, h, w, channels),
    }
    operations = [
        Transpose("x", "turned", (0, 3, 1, 2)),
        Reshape("turned", "apart"),
        Transpose("apart", "swapped", swap),
        Reshape("swapped", "together"),
        Transpose("together", "y", (0, 2, 3, 1)),
    ]
    return program_of([Tensor(name, s, "int8", Q) for name, s in shapes.items()], operations)


@pytest.mark.parametrize(
    ("n", "h", "w", "groups", "each"), [(1, 5, 4, 3, 20), (2, 3, 3, 2, 8), (1, 2, 7, 4, 4)]
)
def test_a_shuffle_moves_the_map_once(n: int, h: int, w: int, groups: int, each: int) -> None:
    before = shuffle(n, h, w, groups, each, (0, 2, 1, 3, 4))
    after = merge_channel_shuffles(before)
    assert [type(op).__name__ for op in after.function().operations] == ["Reshape", "Transpose", "Reshape"]
    x = np.random.default_rng(0).integers(-128, 128, (n, h, w, groups * each)).astype(np.int8)
    np.testing.assert_array_equal(run(after, [x])[0], run(before, [x])[0])


def test_another_swap_stays() -> None:
    before = shuffle(1, 4, 4, 4, 4, (0, 3, 1, 2, 4))
    assert merge_channel_shuffles(before) is before
