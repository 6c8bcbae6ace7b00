"""Tiles of avx512bf16.h and avx512bf16_winograd.h: what fits in registers and caches."""

from __future__ import annotations

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.tiles.avx512 import even
from lepton_sdk.program.bfloat16_winograd import PLACES

WINOGRAD_SCRATCH_BYTES = 1 << 19
"""Of transformed inputs, beside which weights pass through the second-level cache."""


def product_tile(pixels: int, out_blocks: int) -> tuple[int, int]:
    """(mr, nv): pixels by blocks of output channels of a tile whose steps hold the weights of one place."""
    nv = min(out_blocks, 2)
    return even(pixels, 14 if nv == 2 else 16), nv


def window_tile(width: int, out_blocks: int) -> tuple[int, int]:
    """(mr, nv) of a tile whose steps hold the weights of three columns."""
    if width >= 14 or out_blocks == 1:
        return even(width, 16), 1
    nv = min(out_blocks, 2)
    return even(width, 12 if nv == 2 else 16), nv


def tile_bytes(inner: int, nv: int) -> int:
    """Scratch of a tile in Winograd's form: transformed inputs, products of one panel."""
    return PLACES * LANES * (blocks(inner) * 2 + nv * 4)


def tiles_together(tiles: int, inner: int) -> int:
    """Tiles of a map in Winograd's form whose transformed inputs stay in the second-level cache."""
    return even(tiles, max(28, WINOGRAD_SCRATCH_BYTES // (PLACES * LANES * blocks(inner) * 2)))
