"""Tile shapes for kernels with 32 vector registers: mr pixels by nv blocks of 16 channels.

Accumulators, weights and one broadcast input share the registers; a row's last tile should not be a sliver.
"""

from __future__ import annotations

REGISTERS = 32
LEAST_WINOGRAD_CHANNELS = 16
MOST_WEIGHTS_OF_LARGE_TILES = 128 * 256
WINOGRAD_SCRATCH_BYTES = 640 * 1024
"""What tiles before and after their products may take of the second-level cache."""


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


def float_product_tile(pixels: int, blocks: int) -> tuple[int, int]:
    """(mr, nv) of rows of pixels by columns of weights in float32."""
    nv = min(blocks, 2)
    return even(pixels, 14 if nv == 2 else 16), nv


def float_spatial_tile(width: int, blocks: int, taps: int) -> tuple[int, int]:
    """(mr, nv) of a float32 convolution whose kernel holds weights of `taps` columns at once."""
    if width >= 14 or blocks == 1:
        return even(width, 16), 1
    nv = min(blocks, 2 if width > 4 else 4)
    return even(width, (REGISTERS - 2 - taps * nv) // nv), nv


def float_depthwise_tile(height: int, width: int) -> tuple[int, int]:
    """(mr, rows) of a 3 × 3 float32 depthwise convolution: the taps' weights take nine registers."""
    return even(width, 8), min(height, 2)


def float_row_blocks(blocks: int) -> int:
    """Blocks of a panel of a float32 matrix-vector product."""
    return min(blocks, 8)


def winograd_tile(height: int, width: int, inner: int, out: int) -> tuple[int, int, int, int] | None:
    """(m, tiles together, mr, nv) of a 3 × 3 float32 convolution in Winograd's form, where that pays.

    m = 4 has the fewest products, but 4 times a kernel's weights: many channels read those from far away.
    """
    if inner < LEAST_WINOGRAD_CHANNELS or out < LEAST_WINOGRAD_CHANNELS or min(height, width) < 4:
        return None
    m = 4 if inner * out <= MOST_WEIGHTS_OF_LARGE_TILES else 2
    nv, tile_bytes = min(-(-out // 16), 2), (m + 2) ** 2 * (inner + out) * 4
    most = max(8, min(28 if nv == 2 else 16, WINOGRAD_SCRATCH_BYTES // tile_bytes))
    together = even(-(-height // m) * -(-width // m), most)
    return m, together, even(together, 14 if nv == 2 else 16), nv
