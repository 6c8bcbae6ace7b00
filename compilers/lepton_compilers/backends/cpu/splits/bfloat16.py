"""Cuts of avx512bf16.h: panels of output channels, rows where one block is all there is, Winograd's tiles.

Results and residuals may differ in the bytes of their elements, which calls state.
"""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, elements
from lepton_compilers.backends.cpu.tiles.bfloat16 import product_tile, tile_bytes, tiles_together
from lepton_sdk.program.bfloat16_winograd import PLACES

_MACS_A_NS = 200
_TRANSFORMED_MACS_A_NS = 300
_WEIGHTS_A_NS = 20
"""Orders of magnitude, to tell work worth sharing from work that is not."""

_TILE_RUNS = 4
_LEAST_TILES = 28
"""A run's: weights are read for two tiles of registers at least."""


def _panels(a: Arguments, buffers: Buffers, y_block: int, ns: float) -> Cut:
    """Panels of nv blocks of output channels; y_block: elements of a block of y."""
    o, nv = a["o"], a["nv"]
    weight, bias = (name for name in a.pointers if name in ("weight", "w_", "bias", "b_"))
    a_block = {weight: buffers[a.place(weight).buffer].nbytes // blocks(o), bias: LANES * 4}
    a_block["y"] = y_block * (a["y_bytes"] if a.has("y_bytes") else 4)
    if a.has("residual"):
        a_block["residual"] = y_block * a["r_bytes"]

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begins = {name: first * nv * nbytes for name, nbytes in a_block.items()}
        return a.changed(o=min(count * nv * LANES, o - first * nv * LANES), **begins)

    return Cut(-(-blocks(o) // nv), ns, part)


def _map(a: Arguments) -> int:
    return a["oh"] * a["ow"] * LANES


def _pointwise(a: Arguments, buffers: Buffers) -> Cut:
    pixels = a["pixels"]
    return _panels(a, buffers, pixels * LANES, pixels * a["o"] * a["c"] / _MACS_A_NS)


def _conv3x3(a: Arguments, buffers: Buffers) -> Cut:
    return _panels(a, buffers, _map(a), a["oh"] * a["ow"] * a["o"] * a["c"] * 9 / _MACS_A_NS)


def _conv(a: Arguments, buffers: Buffers) -> Cut:
    """Rows of a map whose border is written out, where there is one block of output channels."""
    ns = a["oh"] * a["ow"] * a["o"] * a["c"] * a["kh"] * a["kw"] / _MACS_A_NS
    if blocks(a["o"]) > 1:
        return _panels(a, buffers, _map(a), ns)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        row = a["ow"] * LANES
        begins = {"x": first * a["step"] * 2, "y": first * row * a["y_bytes"]}
        if a.has("residual"):
            begins["residual"] = first * row * a["r_bytes"]
        return a.changed(oh=count, **begins)

    return Cut(a["oh"], ns, part)


def _row(a: Arguments, buffers: Buffers) -> Cut:
    return _panels(a, buffers, LANES, a["inner"] * a["o"] / _WEIGHTS_A_NS)


def _winograd(a: Arguments, buffers: Buffers) -> Cut:
    """Runs of tiles; of few tiles runs of panels, each of which transforms the inputs anew."""
    c, o, nv, oh, ow = (a[name] for name in ("c", "o", "nv", "oh", "ow"))
    tiles, panels = a["end"], -(-blocks(o) // nv)
    ns = oh * ow * c * o * 9 / _TRANSFORMED_MACS_A_NS
    y_block = oh * ow * LANES
    a_block = {"weight": PLACES * -(-c // 2) * LANES * 4, "bias": LANES * 4, "y": y_block * a["y_bytes"]}
    if a.has("residual"):
        a_block["residual"] = y_block * a["r_bytes"]

    def of_panels(first: int, count: int) -> tuple[Place | int, ...]:
        begin, end = (n * panels // runs * nv for n in (first, first + count))
        begins = {name: begin * nbytes for name, nbytes in a_block.items()}
        return a.changed(o=min(o, end * LANES) - begin * LANES, **begins)

    def of_tiles(first: int, count: int) -> tuple[Place | int, ...]:
        begin, end = (n * tiles // runs for n in (first, first + count))
        return a.changed(together=together, mr=product_tile(together, nv)[0], begin=begin, end=end)

    if tiles >= _TILE_RUNS * _LEAST_TILES:
        runs = _TILE_RUNS
        together = tiles_together(-(-tiles // runs), c)
        return Cut(runs, ns, of_tiles, None, ("scratch", tile_bytes(c, nv) * together))
    runs = min(_TILE_RUNS, panels)
    return Cut(runs, ns, of_panels, None, ("scratch", tile_bytes(c, nv) * a["together"]))


RULES: Mapping[str, Rule] = {
    "pointwise_bf16": _pointwise,
    "pointwise_add_bf16": _pointwise,
    "conv3x3_bf16": _conv3x3,
    "conv3x3_add_bf16": _conv3x3,
    "conv_bf16": _conv,
    "conv_add_bf16": _conv,
    "row_bf16": _row,
    "winograd_bf16": _winograd,
    "winograd_add_bf16": _winograd,
    "narrow_bf16": elements({"x_": 4, "y_": 2}, 16),
    "widen_bf16": elements({"x": 2, "y": 4}, 16),
}
