"""The rows of x86-64 with AVX2: int8 maps as int16 less their zero point, kernels/avx2.h."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.plans.layout import LANES, MapElements
from lepton_compilers.backends.cpu.weights.pairs import row_pairs, window_pairs

HALVES = np.array([0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15])
"""Channels of a block in the order in which vpunpck leaves and vpack takes them."""


def lanes(channels: int) -> npt.NDArray[np.intp]:
    """Which channel each lane is: blocks in halves, but 8 channels or fewer at the end in order."""
    whole = -(-channels // LANES) if channels % LANES == 0 or channels % LANES > 8 else channels // LANES
    rest = np.arange(whole * LANES, -(-channels // 8) * 8)
    return np.concatenate([block * LANES + HALVES for block in range(whole)] + [rest])


KERNELS = BlockedKernels(
    header="avx2.h",
    elements=MapElements(2, centred=True),
    weight_type=np.int16,
    unit=2,
    lanes=lanes,
    lanes_a_vector=8,
    sums=12,
    depthwise=partial(row_pairs, order=HALVES),
    depthwise3x3=partial(window_pairs, order=HALVES),
    depthwise_pixels=4,
    panel=2,
    columns_inside=True,
    winograd=True,
)
