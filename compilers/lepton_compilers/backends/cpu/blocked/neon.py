"""The rows of Arm CPUs with NEON: int8 maps that hold q, kernels/neon.h and its kin by extension."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.plans.layout import MapElements, blocks
from lepton_compilers.backends.cpu.weights.packing import depthwise_pairs, taps_by_block

Int8Array = npt.NDArray[np.int8]

SIGNED = MapElements()
"""s8: q itself."""


def lanes(channels: int) -> npt.NDArray[np.intp]:
    """Which channel each lane is: all in order, up to a whole vector of sums."""
    return np.arange(-(-channels // 4) * 4)


def taps(weight: Int8Array) -> Int8Array:
    """Depthwise weights [KH, KW, C] as [C / 16][KH · KW][16]; a row a block."""
    return np.asarray(taps_by_block(weight), np.int8)


def window_pairs(weight: Int8Array) -> Int8Array:
    """Depthwise weights [3, 3, C] as rows of taps for a window and for its right neighbour; a row a block."""
    return np.asarray(depthwise_pairs(weight).reshape(blocks(weight.shape[2]), -1), np.int8)


NEON = BlockedKernels(
    header="neon.h",
    elements=SIGNED,
    weight_type=np.int8,
    unit=16,
    lanes=lanes,
    lanes_a_vector=4,
    sums=24,
    depthwise=taps,
    depthwise3x3=taps,
    depthwise_pixels=4,
    pixels=4,
    depthwise_leaves_out=False,
)

ARMV7 = dataclasses.replace(NEON, sums=8, depthwise_pixels=1, one_pixel_panel=2, pixels=2)
"""16 registers."""

NEON_DOTPROD = dataclasses.replace(
    NEON, header="neon_dotprod.h", unit=4, depthwise3x3=window_pairs, pixels=24, depthwise_leaves_out=True
)

NEON_I8MM = dataclasses.replace(NEON_DOTPROD, header="neon_i8mm.h", unit=8, together=2, one_pixel_panel=3)
