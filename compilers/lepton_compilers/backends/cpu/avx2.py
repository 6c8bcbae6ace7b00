"""The rows of x86-64 with AVX2: int8 maps as int16 less their zero point, kernels/avx2.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked import BlockedKernels
from lepton_compilers.backends.cpu.layout import LANES, MapElements
from lepton_compilers.backends.cpu.packing import padded

HALVES = np.array([0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15])
"""Channels of a block in the order in which vpunpck leaves and vpack takes them."""

Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]


def lanes(channels: int) -> npt.NDArray[np.intp]:
    """Which channel each lane is: blocks in halves, but 8 channels or fewer at the end in order."""
    whole = -(-channels // LANES) if channels % LANES == 0 or channels % LANES > 8 else channels // LANES
    rest = np.arange(whole * LANES, -(-channels // 8) * 8)
    return np.concatenate([block * LANES + HALVES for block in range(whole)] + [rest])


def _by_halves(taps: Int8Array) -> Int16Array:
    """Taps [pairs, 2, C] as [C / 16][pairs][2][8][2]; a row a block."""
    by_block = padded(taps, 2).astype(np.int16).reshape(*taps.shape[:2], -1, LANES)[..., HALVES]
    by_block = by_block.transpose(2, 0, 3, 1)
    return np.ascontiguousarray(by_block.reshape(by_block.shape[0], -1))


def row_pairs(weight: Int8Array) -> Int16Array:
    """Depthwise weights [KH, KW, C]: the taps of a row by twos."""
    rows = np.asarray(padded(weight, 1, 2), np.int8)
    return _by_halves(rows.reshape(-1, 2, rows.shape[2]))


def window_pairs(weight: Int8Array) -> Int16Array:
    """Depthwise weights [3, 3, C] as row by row the pairs (0, 1), (2, -), (-, 0), (1, 2)."""
    none = np.zeros_like(weight[:, 0])
    w0, w1, w2 = weight[:, 0], weight[:, 1], weight[:, 2]
    pairs = np.stack([w0, w1, w2, none, none, w0, w1, w2], axis=1)
    return _by_halves(pairs.reshape(12, 2, -1))


KERNELS = BlockedKernels(
    header="avx2.h",
    elements=MapElements(2, centred=True),
    weight_type=np.int16,
    unit=2,
    lanes=lanes,
    lanes_a_vector=8,
    sums=12,
    depthwise=row_pairs,
    depthwise3x3=window_pairs,
    depthwise_pixels=4,
    panel=2,
    columns_inside=True,
)
