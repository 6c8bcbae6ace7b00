"""Cuts of avx512bf16.h: panels of output channels, rows where one block is all there is, Winograd's tiles.

Results and residuals may differ in the bytes of their elements, which calls state.
"""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, elements
from lepton_compilers.backends.cpu.tiles.avx512 import even
from lepton_compilers.backends.cpu.weights.winograd import places

_MACS_A_NS = 200
_TRANSFORMED_MACS_A_NS = 300
_WEIGHTS_A_NS = 20
"""Orders of magnitude, to tell work worth sharing from work that is not."""

_TILE_RUNS = 4
_LEAST_TILES = 8
"""A run's: fewer leave registers idle."""


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
    """Runs of tiles, a scratch of its own for each."""
    c, o, m, oh, ow, together = (a[name] for name in ("c", "o", "m", "oh", "ow", "together"))
    tiles = -(-oh // m) * -(-ow // m)
    parts = max(1, min(_TILE_RUNS, tiles // _LEAST_TILES))
    most = min(together, -(-tiles // parts))
    ranged = a.inserted("nv", begin=0, end=tiles)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin, end = (n * tiles // parts for n in (first, first + count))
        mr = even(most, 14 if a["nv"] == 2 else 16)
        return ranged.changed(together=most, mr=mr, begin=begin, end=end)

    kernel = "winograd_range_add_bf16" if a.has("residual") else "winograd_range_bf16"
    ns = oh * ow * c * o * 9 / _TRANSFORMED_MACS_A_NS
    tile_bytes = places(m) * (blocks(c) + blocks(o)) * LANES * 4
    return Cut(parts, ns, part, kernel, ("scratch", most * tile_bytes))


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
