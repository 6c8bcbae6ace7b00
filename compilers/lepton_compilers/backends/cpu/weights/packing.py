"""Constants as kernels want them: one blob of weights, and the rearrangements that fill it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lepton_compilers.arena import aligned
from lepton_compilers.backends.cpu.plans.layout import LANES, blocks

Array = npt.NDArray[np.generic]


class WeightBlob:
    """One 64-byte aligned blob; equal constants share their bytes. Kernels may read 64 bytes past its end."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._offsets: dict[bytes, int] = {}

    def add(self, value: Array) -> int:
        """Offset of the array's C-order bytes, added where they are not there yet."""
        content = np.ascontiguousarray(value).tobytes()
        digest = hashlib.sha256(content).digest()
        if digest not in self._offsets:
            self._offsets[digest] = len(self._bytes)
            self._bytes += content
            self._bytes += bytes(aligned(len(self._bytes)) - len(self._bytes))
        return self._offsets[digest]

    def content(self) -> bytes:
        """The blob."""
        return bytes(self._bytes) + bytes(64)


def padded(value: Array, axis: int, multiple: int = LANES) -> Array:
    """`value` with zeros appended along `axis` up to a multiple."""
    missing = -value.shape[axis] % multiple
    return np.pad(value, [(0, missing if i == axis else 0) for i in range(value.ndim)])


def float_columns(weight: Array) -> Array:
    """Weights [O, …] as [O/16][…][16]: lanes are output channels."""
    flat = padded(weight.reshape(weight.shape[0], -1), 0)
    return np.ascontiguousarray(flat.reshape(blocks(weight.shape[0]), LANES, -1).transpose(0, 2, 1))


def int8_columns(weight: Array) -> Array:
    """int8 weights [O, …] as [O / 8][…][8]: what portable.h sums side by side."""
    flat = padded(weight.reshape(weight.shape[0], -1), 0, 8)
    return np.ascontiguousarray(flat.reshape(len(flat) // 8, 8, -1).transpose(0, 2, 1))


def float_bits(value: float) -> int:
    """The float32's bits as a signed integer: how a literal float reaches a kernel without rounding."""
    return int(np.asarray(value, np.float32).view(np.int32))


def vnni_panels(weight: Array, blocks_a_panel: int) -> Array:
    """int8 weights [O, A, K, B] as panels of 16-channel blocks, each [A][K/4][B][blocks][16][4]; 1-D.

    A and B are taps outside and inside the loop over input channels K. The last panel may be narrower.
    """
    out, outer, _, inner = weight.shape
    grouped = padded(padded(weight, 2, 4), 0)
    grouped = grouped.reshape(blocks(out), LANES, outer, -1, 4, inner).transpose(2, 3, 5, 0, 1, 4)
    panels = [
        grouped[:, :, :, start : start + blocks_a_panel].reshape(-1)
        for start in range(0, blocks(out), blocks_a_panel)
    ]
    return np.concatenate(panels)


def float_panels(weight: Array, blocks_a_panel: int) -> Array:
    """float32 weights [O, A, K, B] as panels of 16-channel blocks, each [A][K][B][blocks][16]; 1-D.

    A and B are taps outside and inside the loop over input channels K. The last panel may be narrower.
    """
    out, outer, inner, within = weight.shape
    grouped = padded(weight, 0).reshape(blocks(out), LANES, outer, inner, within).transpose(2, 3, 4, 0, 1)
    panels = [
        grouped[:, :, :, start : start + blocks_a_panel].reshape(-1)
        for start in range(0, blocks(out), blocks_a_panel)
    ]
    return np.concatenate(panels)


def bfloat16_panels(weight: Array, blocks_a_panel: int) -> Array:
    """float32 weights [O, A, K, B] that are bfloat16, as uint16: panels [A][K/2][B][blocks][16][2]; 1-D.

    A and B are taps outside and inside the loop over input channels K. The last panel may be narrower.
    """
    halves = (np.ascontiguousarray(weight, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return channel_panels(halves, blocks_a_panel, 2, lambda channels: np.arange(blocks(channels) * LANES))


def depthwise_pairs(weight: Array) -> Array:
    """int8 weights [3, 3, C] as [block][ky][2][16][4]: taps (w0, w1, w2, 0) and (0, w0, w1, w2)."""
    by_block = padded(weight, 2).reshape(3, 3, -1, LANES).transpose(2, 0, 3, 1)
    pairs = np.zeros((by_block.shape[0], 3, 2, LANES, 4), np.int8)
    pairs[:, :, 0, :, :3] = by_block
    pairs[:, :, 1, :, 1:] = by_block
    return pairs


def depthwise_quads(weight: Array, stride: int) -> Array:
    """int8 weights [KH, KW, C] as [block][KH][phases][quads][16][4]: windows begin anywhere in a quad.

    A window begins at columns 0, stride, … of four; its taps lie there, zeros before and after them.
    """
    rows, taps, channels = weight.shape
    phases = range(0, 4, stride)
    quads = -(-(phases[-1] + taps) // 4)
    placed = np.zeros((rows, len(phases), quads * 4, blocks(channels) * LANES), np.int8)
    for index, phase in enumerate(phases):
        placed[:, index, phase : phase + taps, :channels] = weight
    split = placed.reshape(rows, len(phases), quads, 4, -1, LANES)
    return np.ascontiguousarray(split.transpose(4, 0, 1, 2, 5, 3))


def depthwise_fours(weight: Array) -> Array:
    """int8 weights [KH, KW, C] as [block][taps / 4][16][4], taps in row order."""
    taps = padded(padded(weight.reshape(-1, weight.shape[2]), 0, 4), 1)
    return taps.reshape(taps.shape[0] // 4, 4, -1, LANES).transpose(2, 0, 3, 1)


def flattened_columns(weight: Array, pixels: int, channels: int) -> Array:
    """Dense weights [O, pixels · channels] with inputs in the order of a blocked map, padding included."""
    by_pixel = padded(weight.reshape(-1, pixels, channels), 2)
    return by_pixel.reshape(len(weight), pixels, -1, LANES).transpose(0, 2, 1, 3).reshape(len(weight), -1)


def in_lanes(value: Array, lanes: npt.NDArray[np.intp], axis: int = 0) -> Array:
    """`value` with its entries along `axis` in the order of `lanes`; zeros for those beyond its end."""
    missing = max(int(lanes.max()) + 1 - value.shape[axis], 0)
    grown = np.pad(value, [(0, missing if i == axis else 0) for i in range(value.ndim)])
    return np.take(grown, lanes, axis)


def channel_panels(
    weight: Array, blocks_a_panel: int, unit: int, lanes: Callable[[int], npt.NDArray[np.intp]]
) -> Array:
    """Weights [O, A, K, B] as panels of blocks of 16 channels, each [A][K / unit][B][lanes][unit]; 1-D.

    A and B are taps outside and inside the loop over input channels K. lanes: the order of output channels.
    """
    out, outer, _, inner = weight.shape
    units = padded(weight, 2, unit)
    units = units.reshape(out, outer, -1, unit, inner).transpose(1, 2, 4, 0, 3)
    panels = []
    for start in range(0, out, blocks_a_panel * LANES):
        panel = units[:, :, :, start : start + blocks_a_panel * LANES]
        panels.append(in_lanes(panel, lanes(panel.shape[3]), 3).reshape(-1))
    return np.concatenate(panels)


def input_pairs(weight: Array) -> Array:
    """int8 weights [O, KH, KW, C] as [O / 16][KH][KW][C / 2][16][2]: pairs of inputs, lanes of outputs."""
    whole = padded(padded(weight, 3, 2), 0)
    blocked = whole.reshape(-1, LANES, *weight.shape[1:3], whole.shape[3] // 2, 2)
    return np.ascontiguousarray(blocked.transpose(0, 2, 3, 4, 1, 5))


def taps_by_block(weight: Array) -> Array:
    """Depthwise weights [KH, KW, C] as [C / 16][KH · KW][16]; a row a block."""
    by_block = padded(weight.reshape(-1, weight.shape[2]), 1)
    by_block = by_block.reshape(by_block.shape[0], -1, LANES).transpose(1, 0, 2)
    return by_block.reshape(by_block.shape[0], -1)
