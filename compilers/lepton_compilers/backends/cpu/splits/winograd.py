"""Cuts of Winograd's kernels: tiles of the map by output channels, a scratch of its own for each part."""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule
from lepton_compilers.backends.cpu.tiles.avx512 import WINOGRAD_SCRATCH_BYTES, even
from lepton_compilers.backends.cpu.weights.winograd import places

_PARTS = 4
_MACS_A_NS = 150
_LEAST_TILES = 8
"""A part's: fewer leave registers idle."""
_CACHED_BYTES = 1 << 20
"""A core's cache. Of weights beyond it a part should read its share once, or all for many tiles."""


def grid(tiles: int, panels: int, weight_bytes: int) -> tuple[int, int]:
    """(Runs of panels of output channels, runs of tiles). Every run of panels transforms its inputs anew."""
    if weight_bytes > _CACHED_BYTES and tiles < _PARTS * _LEAST_TILES and panels > 1:
        return 2, 1
    runs = _PARTS
    while runs > 1 and tiles < runs * _LEAST_TILES:
        runs //= 2  # three runs would leave one of two threads with two
    return 1, runs


def winograd(a: Arguments, buffers: Buffers) -> Cut:
    """A unit is a run of panels by a run of tiles; there is one run of panels, or one of tiles."""
    c, o, m, nv, oh, ow = (a[name] for name in ("c", "o", "m", "nv", "oh", "ow"))
    tiles, panels, n = -(-oh // m) * -(-ow // m), -(-blocks(o) // nv), places(m)
    by_channels, by_tiles = grid(tiles, panels, n * c * o * 4)
    most = min(-(-panels // by_channels) * nv, blocks(o))
    tile_bytes = n * (blocks(c) + most) * LANES * 4
    registers = 14 if nv == 2 else 16
    limit = min(2 * registers if nv == 2 else registers, WINOGRAD_SCRATCH_BYTES // tile_bytes)
    together = even(-(-tiles // by_tiles), max(limit, registers + 2 if by_channels > 1 else _LEAST_TILES))
    ranged = a.inserted("nv", all=blocks(o), begin=0, end=tiles)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        p, t = divmod(first, by_tiles)
        runs = -(-count // by_tiles)
        block, end = p * panels // by_channels * nv, (p + runs) * panels // by_channels * nv
        channels = min(o, end * LANES) - block * LANES
        begins = {"bias": block * LANES * 4, "weight": block * LANES * c * 4}
        begins |= {name: block * oh * ow * LANES * 4 for name in ("y", "residual") if a.has(name)}
        return ranged.changed(
            o=channels,
            together=together,
            # A tile of products keeps to the registers that it was chosen for.
            mr=min(even(together, registers), a["mr"]),
            begin=t * tiles // by_tiles,
            end=min(t + count, by_tiles) * tiles // by_tiles,
            **begins,
        )

    kernel = "winograd_range_add_f32" if a.has("residual") else "winograd_range_f32"
    ns = oh * ow * c * o * 9 / _MACS_A_NS
    return Cut(by_channels * by_tiles, ns, part, kernel, ("scratch", together * tile_bytes))


RULES: Mapping[str, Rule] = {"winograd_f32": winograd, "winograd_add_f32": winograd}
