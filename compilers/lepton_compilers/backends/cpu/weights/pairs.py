"""Depthwise weights for multiplications that sum two products of 16 bits: taps by twos, a row a block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.plans.layout import LANES
from lepton_compilers.backends.cpu.weights.packing import padded

Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]
Order = npt.NDArray[np.intp]
"""Which channel of a block each lane is."""


def row_pairs(weight: Int8Array, order: Order) -> Int16Array:
    """Weights [KH, KW, C]: the taps of a row by twos, [C / 16][KH · ⌈KW / 2⌉][16][2]."""
    rows = np.asarray(padded(weight, 1, 2), np.int8)
    return _by_block(rows.reshape(-1, 2, rows.shape[2]), order)


def window_pairs(weight: Int8Array, order: Order) -> Int16Array:
    """Weights [3, 3, C] as row by row the pairs (0, 1), (2, -), (-, 0), (1, 2): [C / 16][12][16][2]."""
    none = np.zeros_like(weight[:, 0])
    w0, w1, w2 = weight[:, 0], weight[:, 1], weight[:, 2]
    pairs = np.stack([w0, w1, w2, none, none, w0, w1, w2], axis=1)
    return _by_block(pairs.reshape(12, 2, -1), order)


def _by_block(taps: Int8Array, order: Order) -> Int16Array:
    """Taps [pairs, 2, C] as [C / 16][pairs · 16 · 2]."""
    by_block = padded(taps, 2).astype(np.int16).reshape(*taps.shape[:2], -1, LANES)[..., order]
    by_block = by_block.transpose(2, 0, 3, 1)
    return np.ascontiguousarray(by_block.reshape(by_block.shape[0], -1))
