"""Tiles behind kernels/blocked.h: their sizes, what their maps and weights hold, where their sums start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.plans.layout import LANES, MapElements, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.tile_choice import Tile, Tiles
from lepton_compilers.backends.cpu.portable.layers import Products, add_constants, int_bounds
from lepton_compilers.backends.cpu.tiles.avx512 import even, ordered, sizes
from lepton_compilers.backends.cpu.weights.packing import channel_panels, in_lanes
from lepton_compilers.backends.cpu.weights.ranges import leaves_int32
from lepton_sdk.program.operations import Add, AveragePool2d, ClampTo, DepthwiseConv2d, MaxPool2d

Int8Array = npt.NDArray[np.int8]
Lanes = Callable[[int], npt.NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class BlockedTiles:
    """What the rows of int8.py must know of a header's tiles.

    unit: input channels that one multiplication sums. lanes: for a number of output channels, which channel
    each lane of the weights is; channels beyond the number are zero. sums: vectors of sums that a tile may
    hold; lanes_a_vector: sums of one. spatial_sums: vectors of sums of a 3 × 3 tile, where they are not as
    many. panel: blocks of output channels that a tile takes at least; one_pixel_panel: at most, where it has
    one pixel. pixels: that it has at most. together: pixels that one multiplication takes. columns_inside:
    whether the columns of a 3 × 3 kernel stand inside the loop over channels. depthwise, depthwise3x3:
    weights [KH, KW, C] as tiles want them. depthwise_leaves_out: whether the 3 × 3 tile leaves out what lies
    beside a map. winograd: whether its tiles serve kernels/winograd_pairs.h.
    """

    header: str
    elements: MapElements
    weight_type: type[np.int8] | type[np.int16]
    unit: int
    lanes: Lanes
    lanes_a_vector: int
    sums: int
    depthwise: Callable[[Int8Array], npt.NDArray[np.generic]]
    depthwise3x3: Callable[[Int8Array], npt.NDArray[np.generic]]
    depthwise_pixels: int
    spatial_sums: int = 0
    panel: int = 1
    one_pixel_panel: int = 6
    pixels: int = 24
    together: int = 1
    columns_inside: bool = False
    depthwise_leaves_out: bool = True
    winograd: bool = False

    def tile(self, width: int, out: int, spatial: bool = False) -> tuple[int, int]:
        """(pixels, blocks of 16 channels): as many sums as there is room for, no sliver at the end."""
        if width == 1:
            return 1, even(blocks(out), self.one_pixel_panel)
        sums = self._room(spatial)
        room = sums * self.lanes_a_vector // LANES
        wide = min(blocks(out), max(self.panel, room // width))
        vectors = -(-min(out, wide * LANES) // self.lanes_a_vector)
        most = min(sums // vectors // self.together * self.together, self.pixels)
        return even(width, max(most, 1)), wide

    def _room(self, spatial: bool) -> int:
        return self.spatial_sums if spatial and self.spatial_sums else self.sums

    def tiles(self, width: int, out: int, spatial: bool = False) -> Tiles:
        """All that fit: of `tile`, as tiles/avx512.py has them."""
        narrowest = min(blocks(out), self.panel if width > 1 else 1)
        found: list[list[Tile]] = []
        for wide in range(narrowest, min(blocks(out), self.one_pixel_panel) + 1):
            vectors = -(-min(out, wide * LANES) // self.lanes_a_vector)
            most = min(self._room(spatial) // vectors // self.together * self.together, self.pixels)
            found.append([(mr, wide) for mr in (sizes(width, most) if most else ())])
        return ordered(self.tile(width, out, spatial), found)

    # What stands for a tensor's values

    def zero(self, op_zero: int) -> int:
        """The map's value for the real number zero."""
        return op_zero - self.elements.subtracted(op_zero)

    def offset(self, zero_point: int) -> int:
        """What a map's value lacks to be q."""
        return self.elements.subtracted(zero_point)

    def bounds(
        self, op: Products | Add | AveragePool2d | MaxPool2d | ClampTo, draft: Draft
    ) -> tuple[int, int, int]:
        """Zero point, lower and upper bound of the result as its map counts."""
        zero = draft.tensors[op.y].zero_point
        low, high = int_bounds(op.clamp)
        offset = self.offset(zero)
        return self.zero(zero), low - offset, high - offset

    def result(self, op: Products, draft: Draft) -> tuple[int, ...]:
        """zy, lo, hi, wide."""
        return (*self.bounds(op, draft), int(leaves_int32(op, draft.tensors)))

    def addition(self, op: Add, first: str, draft: Draft) -> tuple[int, ...]:
        """base, multipliers of operand `first` and of the other one, shift, zy, lo, hi."""
        t = draft.tensors
        ma, mb, shift = add_constants(op, t)
        base = (1 << (shift - 1)) - self.zero(t[op.a].zero_point) * ma - self.zero(t[op.b].zero_point) * mb
        factors = (ma, mb) if op.a == first else (mb, ma)
        return (base, *factors, shift, *self.bounds(op, draft))

    # Constants

    def starts(self, op: Products, draft: Draft, variants: bool = False) -> tuple[Place, Place, int]:
        """Where sums start, bias − zx·Σw modulo 2^32 unless maps are centred, and multipliers, by lane.

        variants: for 3 × 3 kernels, the starts of windows that lose rows or columns as blocked.h wants them,
        and the distance between two. One serves all where what is lost is worth nothing: then it is 0.
        """
        weight, zero = int8_weight(op, draft), self.zero(draft.tensors[op.x].zero_point)
        depthwise = isinstance(op, DepthwiseConv2d)
        rows, columns = (0, 1) if depthwise else (1, 2)
        bias = draft.value(op.bias) if op.bias else None
        channels = draft.tensors[op.y].shape[-1]
        start = np.zeros(channels, np.int64) if bias is None else bias.astype(np.int64)
        lanes = self.lanes(blocks(channels) * LANES if depthwise else channels)
        several = variants and zero != 0
        totals = []
        for lost_rows in range(4 if several else 1):
            for lost_columns in range(4 if several else 1):
                seen = weight.astype(np.int64)
                for axis, lost in ((rows, lost_rows), (columns, lost_columns)) if several else ():
                    seen = np.take(seen, range(lost & 1, 3 - (lost >> 1)), axis)
                sums = seen.sum(
                    tuple(axis for axis in range(seen.ndim) if axis != (seen.ndim - 1) * depthwise)
                )
                totals.append(in_lanes(start - zero * sums, lanes))
        # A wrapped start is exact again once the sum is complete: the sum itself fits in int32.
        wrapped = (np.concatenate(totals).astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
        multiplier = draft.value(op.multiplier or "")
        assert multiplier is not None  # accepted
        factors = in_lanes(np.broadcast_to(multiplier, (channels,)).astype(np.float32), lanes)
        return draft.constant(wrapped), draft.constant(factors), len(lanes) if several else 0

    def panels(self, weight: Int8Array | npt.NDArray[np.int16], panel: int) -> npt.NDArray[np.generic]:
        """Weights [O, A, K, B], A and B taps outside and inside the loop over channels, as tiles read."""
        return channel_panels(weight.astype(self.weight_type), panel, self.unit, self.lanes)


def int8_weight(op: Products, draft: Draft) -> Int8Array:
    """The weights of an operation that int8_products accepted."""
    weight = draft.value(op.weight)
    assert weight is not None  # accepted
    return np.asarray(weight, np.int8)
