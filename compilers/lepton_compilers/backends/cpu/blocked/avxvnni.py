"""The rows of x86-64 with AVX-VNNI, 256 bits wide: int8 maps as q + 128, kernels/avxvnni.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.avx2 import HALVES, lanes
from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.plans.layout import LANES, MapElements
from lepton_compilers.backends.cpu.weights.packing import depthwise_pairs, padded

Int8Array = npt.NDArray[np.int8]


def row_fours(weight: Int8Array) -> Int8Array:
    """Depthwise weights [KH, KW, C] as [C / 16][KH][KW / 4][16][4]: a row's taps by fours, a block a row."""
    rows = np.asarray(padded(padded(weight, 1, 4), 2), np.int8)
    taps = rows.reshape(-1, 4, rows.shape[2] // LANES, LANES)[..., HALVES].transpose(2, 0, 3, 1)
    return np.ascontiguousarray(taps.reshape(taps.shape[0], -1))


def window_pairs(weight: Int8Array) -> Int8Array:
    """Depthwise weights [3, 3, C] as rows of taps for a window and for its right neighbour; a row a block."""
    pairs = np.asarray(depthwise_pairs(weight), np.int8)[..., HALVES, :]
    return np.ascontiguousarray(pairs.reshape(pairs.shape[0], -1))


KERNELS = BlockedKernels(
    header="avxvnni.h",
    elements=MapElements(least=-128),
    weight_type=np.int8,
    unit=4,
    lanes=lanes,
    lanes_a_vector=8,
    sums=12,
    spatial_sums=10,
    depthwise=row_fours,
    depthwise3x3=window_pairs,
    depthwise_pixels=6,
    columns_inside=True,
)
