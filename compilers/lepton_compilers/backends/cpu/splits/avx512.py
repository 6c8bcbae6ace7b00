"""Cuts of the kernels of avx512vnni.h and blocked_f32.h, maps in blocks of 16 channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place, Space
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import (
    Buffers,
    Cut,
    Rule,
    elements,
    larger_half,
    map_range,
    padded_rows,
    window_rows,
)

VNNI_MACS_A_NS = 300
FLOAT_MACS_A_NS = 75
_SUMS_A_NS = 20
_PACKED_A_NS = 8
_BYTES_A_NS = 40
"""Orders of magnitude, to tell work worth sharing from work that is not; last, from afar."""

Number = Callable[[Arguments], int]


def constant_blocks(a: Arguments, buffers: Buffers, channels: int) -> dict[str, int]:
    """Bytes that a block of channels takes of each constant: all are laid out block after block."""
    found = {name: buffers[a.place(name).buffer] for name in a.pointers}
    return {
        name: buffer.nbytes // blocks(channels)
        for name, buffer in found.items()
        if buffer.space is Space.WEIGHTS
    }


def output_panels(y_block: Number, ns: Callable[[Arguments], float]) -> Callable[[Arguments, Buffers], Cut]:
    """Panels of nv blocks of output channels; y_block: bytes of a block of y."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        o, nv, at = a["o"], a["nv"], a["nv"] * LANES
        block = constant_blocks(a, buffers, o)
        if a.has("alike") and a["alike"]:
            block["m_"] = 0
        # A residual lies as y does.
        block |= {name: y_block(a) for name in ("y", "y_", "residual") if a.has(name)}

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {name: first * nv * nbytes for name, nbytes in block.items()}
            return a.changed(o=min(count * at, o - first * at), **begins)

        return Cut(-(-blocks(o) // nv), ns(a), part)

    return rule


def channel_blocks(
    y_block: Number,
    ns: Callable[[Arguments], float],
    itemsize: int = 1,
    pointers: tuple[str, str] = ("x", "y"),
    x_block: Number = lambda a: a["h"] * a["w"] * LANES,
) -> Rule:
    """Blocks of channels that never meet, as of windows; x_block, y_block: elements of one."""
    x, y = pointers

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        c = a["c"]
        block = constant_blocks(a, buffers, c)
        block |= {x: x_block(a) * itemsize, y: y_block(a) * itemsize}

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {name: first * nbytes for name, nbytes in block.items()}
            return a.changed(c=min(count * LANES, c - first * LANES), **begins)

        return Cut(blocks(c), ns(a), part)

    return rule


def _map(a: Arguments) -> int:
    return a["oh"] * a["ow"] * LANES


def pointwise(kernel: str, itemsize: int, ns: Callable[[Arguments], float]) -> Rule:
    """Panels of output channels or tiles of pixels, what leaves two threads less to do and to read."""
    panels = output_panels(lambda a: a["pixels"] * LANES * itemsize, ns)

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        by_panels, tile, pixel = panels(a, buffers), a["mr"], LANES * itemsize
        moving = {name: pixel for name in ("x", "y", "residual") if a.has(name)}
        name = kernel.replace("pointwise", "pointwise_range" + ("_add" if a.has("residual") else ""))
        by_pixels = map_range(a, name, tile, moving, by_panels.ns)
        # What both threads read: all of x by panels, all weights by pixels.
        x, weights = a["pixels"] * a["c"] * itemsize, a["c"] * a["o"] * itemsize
        of_panels = by_panels.ns * larger_half(by_panels.units) + x / 2 / _BYTES_A_NS
        of_pixels = by_pixels.ns * larger_half(by_pixels.units) + weights / 2 / _BYTES_A_NS
        return by_panels if of_panels <= of_pixels else by_pixels

    return rule


def _moved(kernel: str, x: str, y: str, blocked: str, itemsize: int) -> Rule:
    """Pixels between dense tensors and blocked maps; blocked: which of the pointers is the map's."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        channels = a["channels"]
        pixel = {name: (LANES if name == blocked else channels) * itemsize for name in (x, y)}
        ns = a["pixels"] * blocks(channels) * LANES / _PACKED_A_NS / itemsize
        return map_range(a, kernel, 16, pixel, ns)

    return rule


# Int8, avx512vnni.h


def _sum_ns(a: Arguments, y_bytes: int) -> float:
    """Of the sum with a residual."""
    return y_bytes / _SUMS_A_NS if a.has("residual") else 0


def _conv_u8_ns(a: Arguments) -> float:
    macs = a["oh"] * a["ow"] * a["o"] * a["kh"] * a["kw"] * a["groups"] * 4
    return macs / VNNI_MACS_A_NS + _sum_ns(a, blocks(a["o"]) * _map(a))


def _conv3x3_u8_ns(a: Arguments) -> float:
    macs = a["oh"] * a["ow"] * a["o"] * a["c"] * 9
    return macs / VNNI_MACS_A_NS + _sum_ns(a, blocks(a["o"]) * _map(a))


def _pointwise_u8_ns(a: Arguments) -> float:
    macs = a["pixels"] * a["o"] * -(-a["c"] // 4) * 4
    return macs / VNNI_MACS_A_NS + _sum_ns(a, a["pixels"] * blocks(a["o"]) * LANES)


def _first_layer_rows(a: Arguments, buffers: Buffers) -> Cut:
    """Rows of conv_u8, whose map has its border written out; one block of output channels."""
    if blocks(a["o"]) > 1:
        return output_panels(_map, _conv_u8_ns)(a, buffers)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * a["ow"] * LANES
        begins = {name: begin for name in ("y", "residual") if a.has(name)}
        return a.changed(x=first * a["step"], oh=count, **begins)

    return Cut(a["oh"], _conv_u8_ns(a), part)


def _conv3x3(a: Arguments, buffers: Buffers) -> Cut | None:
    """Panels of output channels; where there is one block in and out, rows with what they reach."""
    if blocks(a["o"]) > 1:
        return output_panels(_map, _conv3x3_u8_ns)(a, buffers)
    if blocks(a["c"]) > 1:
        return None
    return window_rows(a, a["stride"], 3, a["w"] * LANES, a["ow"] * LANES, _conv3x3_u8_ns(a))


def _dense_rows_u8(a: Arguments, buffers: Buffers) -> Cut:
    """Tiles of rows, or panels of columns where there are too few."""
    ns = a["rows"] * a["o"] * a["groups"] * 4 / VNNI_MACS_A_NS
    tile, rows = a["mr"], a["rows"]
    panels = output_panels(lambda a: LANES, lambda a: ns)(a, buffers)
    if larger_half(panels.units) < larger_half(-(-rows // tile)):
        return panels

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * tile
        begins = {"x": begin * a["x_row"], "y": begin * a["y_row"]}
        return a.changed(rows=min(count * tile, rows - begin), **begins)

    return Cut(-(-rows // tile), ns, part)


def _windows_u8(taps: Number, an_ns: float) -> Rule:
    return channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * taps(a) / an_ns)


def _window(a: Arguments) -> int:
    return a["kh"] * a["kw"]


def padded_maps(count: str, row: str, itemsize: int) -> Rule:
    """Maps with a border written around each, or the rows of a single one of few channels.

    count: the parameter of how many; row: that of a row's extent, in what left and right count too;
    itemsize: bytes of one of those.
    """

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        if a[count] == 1 and row == "row":
            return padded_rows(a, (itemsize, itemsize), _BYTES_A_NS / itemsize)
        wide, h = a["left"] + a[row] + a["right"], a["top"] + a["h"] + a["bottom"]
        y_bytes = h * wide * itemsize

        def part(first: int, maps: int) -> tuple[Place | int, ...]:
            begins = {"x": first * a["h"] * a[row] * itemsize, "y": first * y_bytes}
            return a.changed(**{count: maps}, **begins)

        return Cut(a[count], a[count] * y_bytes / _BYTES_A_NS, part)

    return rule


# Float32, blocked_f32.h


def _conv_ns(taps: Number) -> Callable[[Arguments], float]:
    return lambda a: a["oh"] * a["ow"] * a["o"] * a["c"] * taps(a) / FLOAT_MACS_A_NS


def _windows_f32(taps: Number) -> Rule:
    return channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * taps(a) / 30, 4, ("x_", "y_"))


def _dense_f32(a: Arguments, buffers: Buffers) -> Cut:
    """Panels of columns of weights, or tiles of rows."""
    ns = a["rows"] * a["inner"] * a["o"] / FLOAT_MACS_A_NS
    ranged = a.inserted("o", wide=a["o"])
    panels = output_panels(lambda a: LANES * 4, lambda a: ns)(ranged, buffers)
    tile, rows = a["mr"], a["rows"]
    if larger_half(panels.units) <= larger_half(-(-rows // tile)):
        return dataclasses.replace(panels, kernel="dense_range_f32")

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * tile
        begins = {"x": begin * a["step"] * 4, "y": begin * a["o"] * 4}
        return a.changed(rows=min(count * tile, rows - begin), **begins)

    return Cut(-(-rows // tile), ns, part)


_pointwise_f32 = pointwise("pointwise_f32", 4, lambda a: a["pixels"] * a["o"] * a["c"] / FLOAT_MACS_A_NS)
_pointwise_u8 = pointwise("pointwise_u8", 1, _pointwise_u8_ns)


def _panels_f32(taps: Number) -> Rule:
    return output_panels(lambda a: _map(a) * 4, _conv_ns(taps))


RULES: Mapping[str, Rule] = {
    # blocked_f32.h
    "conv_f32": _panels_f32(_window),
    "conv_add_f32": _panels_f32(_window),
    "conv3x3_f32": _panels_f32(lambda a: 9),
    "conv3x3_add_f32": _panels_f32(lambda a: 9),
    "pointwise_f32": _pointwise_f32,
    "pointwise_add_f32": _pointwise_f32,
    "row_f32": output_panels(lambda a: LANES * 4, lambda a: a["inner"] * a["o"] / 10),
    "dense_f32": _dense_f32,
    "depthwise3x3_f32": _windows_f32(lambda a: 9),
    "depthwise_f32": _windows_f32(_window),
    "max_pool_f32": _windows_f32(_window),
    "average_pool_f32": _windows_f32(_window),
    "global_average_f32": channel_blocks(
        lambda a: LANES,
        lambda a: a["pixels"] * blocks(a["c"]) * LANES / 30,
        4,
        ("x_", "y_"),
        lambda a: a["pixels"] * LANES,
    ),
    "add_f32": elements({"a": 4, "b": 4, "y": 4}, 8),
    "clamp_f32": elements({"x": 4, "y": 4}, 12),
    "pack_f32": _moved("pack_range_f32", "x", "y", "y", 4),
    "unpack_f32": _moved("unpack_range_f32", "x", "y", "x", 4),
    "pad_f32": padded_maps("maps", "row", 4),
    # avx512vnni.h
    "conv_u8": _first_layer_rows,
    "conv_add_u8": _first_layer_rows,
    "conv3x3_u8": _conv3x3,
    "conv3x3_add_u8": _conv3x3,
    "pointwise_u8": _pointwise_u8,
    "pointwise_add_u8": _pointwise_u8,
    "dense_u8": output_panels(lambda a: LANES, lambda a: a["o"] * a["groups"] * 4 / VNNI_MACS_A_NS),
    "dense_rows_u8": _dense_rows_u8,
    "depthwise3x3_u8": _windows_u8(lambda a: 9, 80),
    "depthwise_u8": _windows_u8(_window, 40),
    "depthwise_rows_u8": _windows_u8(_window, 80),
    "average_pool_u8": _windows_u8(_window, 40),
    "max_pool_u8": _windows_u8(_window, 40),
    "add_u8": elements({"a": 1, "b": 1, "y": 1}, _SUMS_A_NS),
    "clamp_u8": elements({"x": 1, "y": 1}, 60),
    "table_u8": elements({"x": 1, "y": 1}, 2),
    "pack_u8": _moved("pack_range_u8", "x", "y", "y", 1),
    "unpack_u8": _moved("unpack_range_u8", "x", "y", "x", 1),
    "pad_map_u8": padded_maps("blocks", "w", LANES),
    "pad_rows_u8": lambda a, buffers: padded_rows(a, (1, 1), _BYTES_A_NS),
}
