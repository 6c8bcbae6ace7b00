"""Cuts of the kernels of portable.h: dense tensors, channels last."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, elements, window_rows

_MOVED_A_NS = 50
_INT8_MACS_A_NS = 10
_FLOAT_MACS_A_NS = 30
"""Orders of magnitude, to tell work worth sharing from work that is not."""


def dense_rows(x: str, y: str, itemsize: int, an_ns: float, products: bool) -> Rule:
    """Rows of a convolution or window; pixels where there is one row, of a kernel of one place."""

    def rule(a: Arguments, buffers: Buffers) -> Cut | None:
        kh, kw, c = a["kh"], a["kw"], a["c"]
        o = a["o"] if a.has("o") else c
        dh = a["dh"] if a.has("dh") else 1
        inner = c if products else 1
        ns = a["oh"] * a["ow"] * o * kh * kw * inner / an_ns
        if a["oh"] == 1 and kh == kw == a["sw"] == 1 and a["pt"] == a["pl"] == 0:
            return _pixels(a, x, y, c * itemsize, o * itemsize, ns)
        row, y_row = a["w"] * c * itemsize, a["ow"] * o * itemsize
        return window_rows(a, a["sh"], (kh - 1) * dh + 1, row, y_row, ns, (x, y))

    return rule


_PIXELS = 48
"""A multiple of the tiles of float convolutions."""


def _pixels(a: Arguments, x: str, y: str, pixel: int, y_pixel: int, ns: float) -> Cut:
    def part(first: int, units: int) -> tuple[Place | int, ...]:
        begin, count = first * _PIXELS, min(units * _PIXELS, a["ow"] - first * _PIXELS)
        return a.changed(**{x: begin * pixel, y: begin * y_pixel}, w=count, ow=count)

    return Cut(-(-a["ow"] // _PIXELS), ns, part)


_COLUMNS = 64
"""A multiple of the output channels that float products hold at once."""

_float_rows = dense_rows("x", "y", 4, _FLOAT_MACS_A_NS, products=True)


def _float_products(a: Arguments, buffers: Buffers) -> Cut | None:
    """Rows or pixels; output channels of a few pixels, of which every part reads weights of its own."""
    o, c, ow = a["o"], a["c"], a["ow"]
    if a["oh"] * a["kh"] * a["kw"] > 1 or ow >= 2 * _PIXELS:
        return _float_rows(a, buffers)
    ranged = a.inserted("o", all=o)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * _COLUMNS
        begins = {"weight": begin * c * 4, "bias": begin * 4, "y": begin * 4}
        return ranged.changed(o=min(count * _COLUMNS, o - begin), **begins)

    return Cut(-(-o // _COLUMNS), ow * o * c / _FLOAT_MACS_A_NS, part, "conv2d_float_range")


def _packed_columns(a: Arguments, buffers: Buffers) -> Cut:
    """Blocks of 16 rows of x."""
    o, block = a["o"], a["k"] * 16 * 4

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        return a.changed(o=min(count * 16, o - first * 16), x_=first * block, y_=first * block)

    return Cut(-(-o // 16), o * a["k"] / _FLOAT_MACS_A_NS, part)


def _outermost(moved: str, dense: str) -> Rule:
    """The first axis that has an extent.

    moved: the pointer that the steps s0 to s5 lead through, in elements; dense: the other one.
    """

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        extents = [a[f"n{axis}"] for axis in range(6)]
        axis = next((axis for axis, extent in enumerate(extents) if extent > 1), 5)
        inner, size = math.prod(extents[axis + 1 :]), a["size"]

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {moved: first * a[f"s{axis}"] * size, dense: first * inner * size}
            return a.changed(**{f"n{axis}": count}, **begins)

        return Cut(extents[axis], math.prod(extents) * size / _MOVED_A_NS, part)

    return rule


_window_int8 = dense_rows("x_", "y_", 1, 4, products=False)
_window_float = dense_rows("x_", "y_", 4, 4, products=False)

RULES: Mapping[str, Rule] = {
    "transpose": _outermost("x", "y"),
    "place": _outermost("y", "x"),
    "conv2d_int8": dense_rows("x", "y", 1, _INT8_MACS_A_NS, products=True),
    "grouped_conv2d_int8": dense_rows("x_", "y_", 1, _INT8_MACS_A_NS, products=True),
    "grouped_conv2d_float": dense_rows("x_", "y_", 4, _FLOAT_MACS_A_NS, products=True),
    "copy_bytes": elements({"x": 1, "y": 1}, _MOVED_A_NS),
    "depthwise_int8": dense_rows("x_", "y_", 1, _INT8_MACS_A_NS, products=False),
    "conv2d_float": _float_products,
    "pack_columns_float": _packed_columns,
    "depthwise_float": dense_rows("x_", "y_", 4, _FLOAT_MACS_A_NS, products=False),
    "average_pool_int8": _window_int8,
    "max_pool_int8": _window_int8,
    "average_pool_float": _window_float,
    "max_pool_float": _window_float,
    "clamp_to_float": elements({"x_": 4, "y_": 4}, 8),
    "table_int8": elements({"x": 1, "y": 1}, 2),
    "quantize_int8": elements({"x_": 4, "y_": 1}, 4),
    "dequantize_int8": elements({"x_": 1, "y_": 4}, 4),
}
