"""Tile shapes for kernels with 32 vector registers: mr pixels by nv blocks of 16 channels.

Accumulators, weights and one broadcast input share the registers; a row's last tile should not be a sliver.
"""

from __future__ import annotations

REGISTERS = 32


def even(width: int, limit: int) -> int:
    """The largest tile up to `limit` whose count covers `width` with the least waste."""
    tiles = -(-width // limit)
    return -(-width // tiles)


def pointwise_tile(pixels: int, blocks: int) -> tuple[int, int]:
    """(mr, nv) of a 1 × 1 convolution over a run of pixels."""
    nv = min(blocks, 2)
    return min(pixels, 12 if nv == 2 else 16), nv


def spatial_tile(width: int, blocks: int, taps: int) -> tuple[int, int]:
    """(mr, nv) of a convolution whose kernel holds weights of `taps` columns at once."""
    if width >= 16 or blocks == 1:
        return even(width, 16), 1
    nv = min(blocks, 2 if width > 4 else 4)
    return even(width, (REGISTERS - 2 - taps * nv) // nv), nv


def depthwise_tile(height: int, width: int, stride: int) -> tuple[int, int]:
    """(mr, rows) of a 3 × 3 depthwise convolution: two rows share the transposes of their windows."""
    return (min(width, 8) if width <= 6 or width >= 8 else 4), min(height, 2)


def dense_blocks(blocks: int) -> int:
    """Blocks of a panel of a matrix-vector product."""
    return min(blocks, 8)
