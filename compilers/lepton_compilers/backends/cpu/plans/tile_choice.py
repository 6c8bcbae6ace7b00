"""Where the choice of a kernel's tile is made: the table, unless a measurement says otherwise.

A rule asks its draft with all legal tiles, the table's first; the draft asks the TileChoice that it was
given, and keeps what was asked and answered in the plan, so that a tuner can list what there is to try.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import Conv2d, Dense, DepthwiseConv2d, GroupedConv2d

Products = Conv2d | DepthwiseConv2d | GroupedConv2d | Dense
Tile = tuple[int, ...]
"""Literals of a kernel that say how it works, not what it computes."""
Tiles = tuple[Tile, ...]


@dataclass(frozen=True, slots=True, order=True)
class TiledLayer:
    """What a tile is chosen for: a kernel of `header`, and the layer's shapes.

    x, weight, y: as the operation's tensors. stride, dilation: rows, columns. padding: top, bottom, left,
    right. adds: whether a residual is added at once.
    """

    kernel: str
    header: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    y: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    adds: bool

    def __str__(self) -> str:
        shapes = (self.x, self.weight, self.y)
        x, weight, y = ("×".join(map(str, shape)) for shape in shapes)
        return f"{self.kernel} {x} by {weight} to {y}"


TileChoice = Callable[[TiledLayer, Tiles], Tile]
"""(layer, legal tiles) to one of them."""


@dataclass(frozen=True, slots=True)
class TileUse:
    """A choice as it was made. step: of the operation in the planned function."""

    layer: TiledLayer
    tiles: Tiles
    chosen: Tile
    step: int


def by_table(layer: TiledLayer, tiles: Tiles) -> Tile:
    """The table's."""
    return tiles[0]


def tiled_layer(kernel: str, header: str, op: Products | ConvAdd, t: Tensors) -> TiledLayer:
    """The layer of an operation that `kernel` runs."""
    products = op.conv if isinstance(op, ConvAdd) else op
    stride, dilation, padding = (1, 1), (1, 1), (0, 0, 0, 0)
    if not isinstance(products, Dense):
        p = products.padding
        stride, dilation, padding = products.stride, products.dilation, (p.top, p.bottom, p.left, p.right)
    x, weight, y = (t[name].shape for name in (products.x, products.weight, products.y))
    return TiledLayer(kernel, header, x, weight, y, stride, dilation, padding, isinstance(op, ConvAdd))
