"""Tile shapes for kernels with 32 vector registers: mr pixels by nv blocks of 16 channels.

Accumulators, weights and one broadcast input share the registers; a row's last tile should not be a sliver.
`…_tile` is the table: what a layer gets unless a measurement says otherwise. `…_tiles` are all legal ones,
the table's first, as tile_choice.py wants them: none that needs more registers, or more sums than a kernel
declares. Which tile is taken changes no bit, but for two that say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from lepton_compilers.backends.cpu.plans.tile_choice import Tile, Tiles

REGISTERS = 32
MOST_SUMS = 28
"""Of a tile of products, as its kernels declare them."""
MOST_DEPTHWISE_SUMS = 16
MOST_ROW_BLOCKS = 16
MOST_PANEL_BLOCKS = 4
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
    return even(pixels, 12 if nv == 2 else 16), nv


def spatial_tile(width: int, blocks: int, taps: int) -> tuple[int, int]:
    """(mr, nv) of a convolution whose kernel holds weights of `taps` columns at once.

    One tap at a time leaves registers for a second block: half as many inputs are broadcast. Of two blocks
    two threads take one each.
    """
    if taps == 1 and blocks > 2 and width >= 16:
        return even(width, 13), 2
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


def matrix_tile(rows: int, blocks: int) -> tuple[int, int]:
    """(mr, nv) of int8 rows by columns, where both lie row by row: 64 results of a row are stored at once."""
    nv = min(blocks, 4)
    return even(rows, (16, 12, 8, 6)[nv - 1]), nv


def float_product_tile(pixels: int, blocks: int) -> tuple[int, int]:
    """(mr, nv) of rows of pixels by columns of weights in float32.

    16 sums hide the latency of two units; with 28 of them little else finds a register.
    """
    nv = min(blocks, 2)
    return even(pixels, 8 if nv == 2 else 16), nv


def group_inputs(begin: int, end: int, each: int, inner: int) -> tuple[int, int]:
    """First and last + 1 input channel, from a whole block on, that outputs begin to end - 1 read.

    Of a convolution in groups of `inner` inputs and `each` outputs.
    """
    return begin // each * inner // 16 * 16, ((end - 1) // each + 1) * inner


def _group_products(out: int, each: int, inner: int, nv: int) -> int:
    """Products of a pixel, with those by zero that panels of nv blocks make where they straddle groups."""
    spans = [group_inputs(at, min(at + nv * 16, out), each, inner) for at in range(0, out, nv * 16)]
    return sum((last - first) * nv * 16 for first, last in spans)


def float_group_tile(pixels: int, out: int, each: int, inner: int) -> tuple[int, int]:
    """(mr, nv) of a float32 1 × 1 convolution in groups: panels of one block where wider ones waste more."""
    one, two = (_group_products(out, each, inner, nv) for nv in (1, 2))
    return (even(pixels, 16), 1) if out <= 16 or one < 0.9 * two else float_product_tile(pixels, 2)


def float_spatial_tile(width: int, blocks: int, taps: int) -> tuple[int, int]:
    """(mr, nv) of a float32 convolution whose kernel holds weights of `taps` columns at once.

    One tap at a time leaves registers for a second block: half as many inputs are broadcast. Of two blocks
    two threads take one each.
    """
    if taps == 1 and blocks > 2 and width >= 14:
        return even(width, 14), 2
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


# All legal tiles, the table's first


def sizes(width: int, most: int) -> list[int]:
    """Tiles of `width`, none above `most` or below half of that, the least waste for their count."""
    largest = min(width, most)
    limits = (n for n in range(largest, -(-largest // 2) - 1, -1) if n <= 16 or (largest - n) % 2 == 0)
    return list(dict.fromkeys(even(width, limit) for limit in limits))


def ordered(table: Tile, families: Iterable[Sequence[Tile]]) -> Tiles:
    """The table's, then the first of each family in turn, the second, and so on: a short search sees all."""
    turns = itertools.zip_longest(*families)
    return tuple(dict.fromkeys((table, *(tile for turn in turns for tile in turn if tile is not None))))


def row_tiles(width: int, most: int) -> Tiles:
    """(mr,) of a kernel that works along a row: the even ones."""
    return tuple((mr,) for mr in sizes(width, most))


def _product_tiles(width: int, blocks: int, taps: int) -> list[list[Tile]]:
    """(mr, nv) that leave registers for the weights of `taps` columns and a broadcast input, by nv."""
    found: list[list[Tile]] = []
    for nv in range(1, min(blocks, MOST_PANEL_BLOCKS) + 1):
        room = min(MOST_SUMS, REGISTERS - 1 - taps * nv)
        found.append([(mr, nv) for mr in sizes(width, room // nv)])
    return found


def pointwise_tiles(pixels: int, blocks: int) -> Tiles:
    """Of pointwise_tile."""
    return ordered(pointwise_tile(pixels, blocks), _product_tiles(pixels, blocks, taps=1))


def spatial_tiles(width: int, blocks: int, taps: int) -> Tiles:
    """Of spatial_tile."""
    return ordered(spatial_tile(width, blocks, taps), _product_tiles(width, blocks, taps))


def depthwise_tiles(height: int, width: int, stride: int) -> Tiles:
    """Of depthwise_tile."""
    return ordered(depthwise_tile(height, width, stride), _window_tiles(height, width))


def _window_tiles(height: int, width: int) -> list[list[Tile]]:
    """(mr, rows), by rows."""
    rows = range(1, min(height, 4) + 1)
    return [[(mr, row) for mr in sizes(width, MOST_DEPTHWISE_SUMS // row)] for row in rows]


def dense_tiles(blocks: int) -> Tiles:
    """Of dense_blocks, as (nv,)."""
    return _panels(dense_blocks(blocks), blocks)


def matrix_tiles(rows: int, blocks: int) -> Tiles:
    """Of matrix_tile."""
    return ordered(matrix_tile(rows, blocks), _product_tiles(rows, blocks, taps=1))


def _panels(table: int, blocks: int) -> Tiles:
    others = (nv for nv in (16, 12, 6, 4, 3, 2, 1) if nv <= min(blocks, MOST_ROW_BLOCKS))
    return tuple((nv,) for nv in dict.fromkeys((table, *others)))


def float_product_tiles(pixels: int, blocks: int) -> Tiles:
    """Of float_product_tile."""
    return ordered(float_product_tile(pixels, blocks), _product_tiles(pixels, blocks, taps=1))


def float_group_tiles(pixels: int, out: int, each: int, inner: int) -> Tiles:
    """Of float_group_tile."""
    families = _product_tiles(pixels, -(-out // 16), taps=1)
    return ordered(float_group_tile(pixels, out, each, inner), families)


def float_spatial_tiles(width: int, blocks: int, taps: int) -> Tiles:
    """Of float_spatial_tile."""
    return ordered(float_spatial_tile(width, blocks, taps), _product_tiles(width, blocks, taps))


def float_depthwise_tiles(height: int, width: int) -> Tiles:
    """Of float_depthwise_tile."""
    return ordered(float_depthwise_tile(height, width), _window_tiles(height, width))


def float_row_tiles(blocks: int) -> Tiles:
    """Of float_row_blocks, as (nv,). Fewer blocks a panel split their sums: another order."""
    return _panels(float_row_blocks(blocks), blocks)


def winograd_tiles(height: int, width: int, inner: int, out: int) -> Tiles:
    """Of winograd_tile; m = 0 stands for the direct sum, (0, 0, mr, nv). Another m rounds otherwise.

    Panels hold two blocks at most: splits/winograd.py, whose parts take tiles of their own, counts on that.
    """
    table = winograd_tile(height, width, inner, out)
    if table is None:
        return ()
    blocks = -(-out // 16)
    found: list[Tile] = [table]
    for m in (table[0], 6 - table[0]):
        count = -(-height // m) * -(-width // m)
        room = WINOGRAD_SCRATCH_BYTES // ((m + 2) ** 2 * (inner + out) * 4)
        for together in sizes(count, min(max(8, room), 56))[::2]:
            for nv in range(min(blocks, 2), 0, -1):
                found.append((m, together, even(together, 14 if nv == 2 else 16), nv))
    direct = float_spatial_tiles(width, blocks, taps=3)
    return tuple(dict.fromkeys((*found, *((0, 0, *tile) for tile in direct[:3]))))
