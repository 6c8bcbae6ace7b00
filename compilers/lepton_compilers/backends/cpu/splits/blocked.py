"""Cuts of the kernels of blocked.h: int8 maps in blocks of 16 channels, for AVX2 and NEON.

An instruction set chooses how wide the elements of a map and its weights are; the cuts learn it from the
buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, along, padded_rows, window_rows

_MACS_A_NS = 60
_WINDOWS_A_NS = 15
_PADDED_A_NS = 20
"""Orders of magnitude, to tell work worth sharing from work that is not."""

Number = Callable[[Arguments], int]


def _itemsize(a: Arguments, buffers: Buffers) -> int:
    """Bytes of each value of the map that a call writes."""
    buffer = buffers[a.place("y_").buffer]
    assert buffer.element_bytes, f"'{buffer.name}' holds a map and does not say how wide its values are"
    return buffer.element_bytes


def _as_y(a: Arguments, nbytes: int) -> dict[str, int]:
    """`nbytes` for y and, where there is one, for the residual, which lies as y does."""
    return {name: nbytes for name in ("y_", "residual") if a.has(name)}


def _panels(a: Arguments, buffers: Buffers, itemsize: int, ns: float) -> Cut | None:
    """Panels of nv blocks of output channels, where all are whole."""
    o, nv = a["o"], a["nv"]
    if o % LANES:
        return None
    weights = buffers[a.place("w_").buffer].nbytes // blocks(o)
    # The starts of windows on a border follow one another a whole set apart: a block is 16 int32 in each.
    y_block = a["oh"] * a["ow"] * LANES * itemsize
    a_block = {"w_": weights, "b_": LANES * 4, "m_": LANES * 4, **_as_y(a, y_block)}

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begins = {name: first * nv * nbytes for name, nbytes in a_block.items()}
        return a.changed(o=min(count * nv * LANES, o - first * nv * LANES), **begins)

    return Cut(-(-blocks(o) // nv), ns, part)


def products(taps: Number, rows: Callable[[Arguments, int, float], Cut | None]) -> Rule:
    """Panels of output channels; where one block is all there is, rows or pixels."""

    def rule(a: Arguments, buffers: Buffers) -> Cut | None:
        outputs = a["oh"] * a["ow"] * LANES
        itemsize = _itemsize(a, buffers)
        ns = outputs / LANES * a["o"] * a["c"] * taps(a) / _MACS_A_NS
        return _panels(a, buffers, itemsize, ns) if blocks(a["o"]) > 1 else rows(a, itemsize, ns)

    return rule


def _rows_or_pixels(a: Arguments, itemsize: int, ns: float) -> Cut:
    """Of conv_map, whose x has its border written out: rows; tiles of pixels where there is one row."""
    if a["oh"] > 1:

        def row_part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = _as_y(a, first * a["ow"] * LANES * itemsize)
            return a.changed(x=first * a["step"] * itemsize, oh=count, **begins)

        return Cut(a["oh"], ns, row_part)
    mr = a["mr"]

    def pixel_part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * mr * itemsize
        begins = _as_y(a, begin * LANES)
        return a.changed(x=begin * a["pixel"], ow=min(count * mr, a["ow"] - first * mr), **begins)

    return Cut(-(-a["ow"] // mr), ns, pixel_part)


def _rows_with_borders(a: Arguments, itemsize: int, ns: float) -> Cut | None:
    """Of conv3x3_map, where one block comes in."""
    if blocks(a["c"]) > 1:
        return None
    row, y_row = a["w"] * LANES * itemsize, a["ow"] * LANES * itemsize
    return window_rows(a, a["stride"], 3, row, y_row, ns, ("x", "y_"), "top")


def channels(taps: Number, constants: Mapping[str, int] | None = None) -> Rule:
    """Blocks of channels that never meet. constants: bytes of a block of each."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        c, x, y = a["c"], a["h"] * a["w"] * LANES, a["oh"] * a["ow"] * LANES
        itemsize = _itemsize(a, buffers)
        a_block = {"x_": x * itemsize, "y_": y * itemsize, **(constants or {})}
        if constants:
            a_block["w_"] = buffers[a.place("w_").buffer].nbytes // blocks(c)

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {name: first * nbytes for name, nbytes in a_block.items()}
            return a.changed(c=min(count * LANES, c - first * LANES), **begins)

        return Cut(blocks(c), y * blocks(c) * taps(a) / _WINDOWS_A_NS, part)

    return rule


def _padded_maps(a: Arguments, buffers: Buffers) -> Cut:
    """Blocks, each with its border."""
    x, wide = a["h"] * a["w"] * LANES, a["left"] + a["w"] + a["right"]
    y = (a["top"] + a["h"] + a["bottom"]) * wide * LANES
    itemsize = _itemsize(a, buffers)
    steps = {"x_": x * itemsize, "y_": y * itemsize}
    return along("blocks", lambda a: steps, lambda a: a["blocks"] * y / _PADDED_A_NS)(a, buffers)


def _padded_rows(a: Arguments, buffers: Buffers) -> Cut:
    """Rows of a map of few channels."""
    return padded_rows(a, (1, _itemsize(a, buffers)), _PADDED_A_NS)


def runs(*pointers: str) -> Rule:
    """Elements that all fare alike; pointers: those that step."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        n, unit = a["n"], 64
        itemsize = _itemsize(a, buffers)

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = dict.fromkeys(pointers, first * unit * itemsize)
            return a.changed(n=min(count * unit, n - first * unit), **begins)

        return Cut(-(-n // unit), n / 8, part)

    return rule


def _kernel(a: Arguments) -> int:
    return a["kh"] * a["kw"]


def _rows_of_tiles(a: Arguments, buffers: Buffers) -> Cut:
    """Of winograd_map: tiles of 2 × 2 outputs, 4 × 4 inputs."""
    itemsize = _itemsize(a, buffers)
    ns = a["oh"] * a["ow"] * a["o"] * a["c"] * 4 / _MACS_A_NS
    row, y_row = a["w"] * LANES * itemsize, a["ow"] * LANES * itemsize
    return window_rows(a, 1, 3, row, y_row, ns, ("x", "y_"), "top", together=2)


_STARTS = {"b_": LANES * 4, "m_": LANES * 4}

RULES: Mapping[str, Rule] = {
    "conv_map": products(_kernel, _rows_or_pixels),
    "conv_add_map": products(_kernel, _rows_or_pixels),
    "conv3x3_map": products(lambda a: 9, _rows_with_borders),
    "conv3x3_add_map": products(lambda a: 9, _rows_with_borders),
    "winograd_map": _rows_of_tiles,
    "winograd_add_map": _rows_of_tiles,
    "depthwise_map": channels(_kernel, _STARTS),
    "depthwise3x3_map": channels(lambda a: 9, _STARTS),
    "average_pool_map": channels(_kernel),
    "max_pool_map": channels(_kernel),
    "pad_map": _padded_maps,
    "pad_rows": _padded_rows,
    "add_map": runs("a_", "b_", "y_"),
    "clamp_map": runs("x_", "y_"),
    "table_map": runs("x_", "y_"),
}
