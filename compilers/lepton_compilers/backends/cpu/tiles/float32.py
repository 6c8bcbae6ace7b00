"""Tiles of the float32 kernels by instruction set: AVX-512's of avx512.py, AVX2's and NEON's.

A block of 16 channels is two vectors on AVX2, four on NEON; sums, and what they are made of, share 16 or 32
registers. As in avx512.py a table's tile comes first, then all other legal ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.tile_choice import Tile, Tiles
from lepton_compilers.backends.cpu.tiles import avx512
from lepton_compilers.backends.cpu.tiles.avx512 import even, ordered, sizes


class FloatTiles(Protocol):
    """Legal tiles, the table's first. out: output channels; widths and heights of what is computed."""

    def product(self, pixels: int, out: int) -> Tiles:
        """(mr, nv) of rows of pixels by columns of weights."""

    def group(self, pixels: int, out: int, each: int, inner: int) -> Tiles:
        """(mr, nv) of a 1 × 1 convolution in groups of `inner` inputs and `each` outputs."""

    def spatial(self, width: int, out: int, taps: int) -> Tiles:
        """(mr, nv) of a convolution whose kernel takes `taps` columns at once."""

    def depthwise(self, height: int, width: int) -> Tiles:
        """(mr, rows) of a 3 × 3 depthwise convolution."""

    def row(self, out: int) -> Tiles:
        """(nv,) of a matrix-vector product."""

    def winograd(self, height: int, width: int, inner: int, out: int) -> Tiles:
        """(m, tiles together, mr, nv); m = 0 stands for the direct sum, (0, 0, mr, nv)."""


class Avx512Tiles:
    """One vector a block, 32 registers."""

    def product(self, pixels: int, out: int) -> Tiles:
        """Two blocks, or one and more pixels."""
        return avx512.float_product_tiles(pixels, blocks(out))

    def group(self, pixels: int, out: int, each: int, inner: int) -> Tiles:
        """One block where two waste more."""
        return avx512.float_group_tiles(pixels, out, each, inner)

    def spatial(self, width: int, out: int, taps: int) -> Tiles:
        """For the weights of `taps` columns in registers."""
        return avx512.float_spatial_tiles(width, blocks(out), taps)

    def depthwise(self, height: int, width: int) -> Tiles:
        """Two rows."""
        return avx512.float_depthwise_tiles(height, width)

    def row(self, out: int) -> Tiles:
        """Up to 8 blocks, by table."""
        return avx512.float_row_tiles(blocks(out))

    def winograd(self, height: int, width: int, inner: int, out: int) -> Tiles:
        """By the weights that a kernel reads."""
        return avx512.winograd_tiles(height, width, inner, out)


@dataclass(frozen=True, slots=True)
class NarrowTiles:
    """Several vectors a block.

    floats: of a vector. wide: blocks that a panel takes where an even number of them is to be computed.
    holds_pixels: whether all pixels of a tile stay in registers, else the fewer of pixels and weights.
    windows: sums of a depthwise tile, in two rows. most_row_blocks: of a panel of a matrix-vector product.
    """

    floats: int
    registers: int
    wide: int
    holds_pixels: bool
    windows: int
    most_row_blocks: int
    scratch_bytes: int

    def product(self, pixels: int, out: int) -> Tiles:
        """(mr, nv): as many sums as there are registers for; legal ones have a register for each."""
        wide = self.wide if blocks(out) % self.wide == 0 else 1
        table = (even(pixels, self._most(out, wide)), wide)
        panels = range(1, min(blocks(out), 2) + 1)
        return ordered(table, [[(mr, nv) for mr in sizes(pixels, self._most(out, nv))] for nv in panels])

    def group(self, pixels: int, out: int, each: int, inner: int) -> Tiles:
        """One block where AVX-512 takes one."""
        nv = min(self.wide, avx512.float_group_tile(pixels, out, each, inner)[1])
        table = (even(pixels, self._most(out, nv)), nv)
        return tuple(dict.fromkeys((table, *self.product(pixels, out))))

    def spatial(self, width: int, out: int, taps: int) -> Tiles:
        """The same: weights of further columns are read when they are needed."""
        return self.product(width, out)

    def depthwise(self, height: int, width: int) -> Tiles:
        """(mr, rows) with at most `windows` sums in the table's, 16 in others."""
        rows = min(height, 2)
        others = [[(mr, row) for mr in sizes(width, 16 // row)] for row in range(1, min(height, 4) + 1)]
        return ordered((even(width, self.windows // rows), rows), others)

    def row(self, out: int) -> Tiles:
        """(nv,): fewer blocks a panel split their sums, another order."""
        limits = (n for n in range(self.most_row_blocks, 0, -1) if n <= blocks(out))
        return tuple((nv,) for nv in dict.fromkeys((even(blocks(out), self.most_row_blocks), *limits)))

    def winograd(self, height: int, width: int, inner: int, out: int) -> Tiles:
        """Where AVX-512 has them, with tiles of products of their own."""
        if avx512.winograd_tile(height, width, inner, out) is None:
            return ()
        m = 4 if inner * out <= avx512.MOST_WEIGHTS_OF_LARGE_TILES else 2
        found: list[Tile] = []
        for size in (m, 6 - m):
            count = -(-height // size) * -(-width // size)
            most = self.scratch_bytes // ((size + 2) ** 2 * (inner + out) * 4)
            together = even(count, min(max(most, 6), 24))
            found += [(size, together, *tile) for tile in self.product(together, out)[:2]]
        return (*found, *((0, 0, *tile) for tile in self.spatial(width, out, taps=3)[:2]))

    def _most(self, out: int, nv: int) -> int:
        vectors = -(-min(out, nv * LANES) // self.floats)
        if self.holds_pixels:
            return (self.registers - 1) // (vectors + 1)
        fitting = (mr for mr in range(1, self.registers) if mr * vectors + min(mr, vectors) < self.registers)
        return max(fitting, default=1)


AVX512 = Avx512Tiles()
AVX2 = NarrowTiles(
    floats=8,
    registers=16,
    wide=2,
    holds_pixels=False,
    windows=8,
    most_row_blocks=6,
    scratch_bytes=160 * 1024,
)
NEON = NarrowTiles(
    floats=4,
    registers=32,
    wide=1,
    holds_pixels=True,
    windows=16,
    most_row_blocks=6,
    scratch_bytes=160 * 1024,
)

BY_HEADER: Mapping[str, FloatTiles] = {
    "avx512f.h": AVX512,
    "avx2_fma.h": AVX2,
    "neon_f32.h": NEON,
}
"""Tiles for the kernels of a header."""
