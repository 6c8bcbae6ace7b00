"""How calls of micro-kernels fall into parts that can run at the same time.

A rule knows along which axis a kernel's work can be cut and what a cut changes: a few literals, and where the
pointers begin. Kernels know nothing of it: a part is a call like any other. The parts are fixed here, when a
network is compiled, so that the bytes never depend on how many threads there are.

A kernel without a rule, or with too little work, runs as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from lepton_compilers.backends.cpu import split_maps
from lepton_compilers.backends.cpu.cuts import Buffers, Cut, Rule, elements, window_rows
from lepton_compilers.backends.cpu.layout import LANES, blocks
from lepton_compilers.backends.cpu.plan import Call, Place, Space
from lepton_compilers.backends.cpu.signatures import Arguments

MOST_PARTS = 8
"""Four threads get two parts each, so that one that comes late leaves work to the others."""

LEAST_PART_NS = 600
"""A fork and join of awake threads costs about 150 ns and some lines that move between caches."""


def split(call: Call, names: tuple[str, ...], buffers: Buffers) -> tuple[Call, ...]:
    """The parts of a call, equal ones as one call that repeats; empty where it stays whole."""
    rule = RULES.get(call.kernel)
    if rule is None:
        return ()
    cut = rule(Arguments(call, names), buffers)
    if call.times > 1:
        each = cut.ns if cut is not None else 0
        apart = all(place.step for place in call.places if not _constant(place, buffers))
        return (call,) if apart and each * call.times >= 2 * LEAST_PART_NS else ()
    if cut is None:
        return ()
    count = _parts(cut)
    if count < 2:
        return ()
    size = -(-cut.units // count)
    spans = [(first, min(size, cut.units - first)) for first in range(0, cut.units, size)]
    return _repeated(call.kernel, [cut.part(first, n) for first, n in spans])


def _parts(cut: Cut) -> int:
    """The largest power of two, for halves stay even, that leaves every part worth its fork."""
    count = 1
    while count * 2 <= min(cut.units, MOST_PARTS) and cut.ns / (count * 2) >= LEAST_PART_NS:
        count *= 2
    return count


def _constant(place: Place, buffers: Buffers) -> bool:
    return buffers[place.buffer].space.constant


def _repeated(kernel: str, parts: list[tuple[Place | int, ...]]) -> tuple[Call, ...]:
    """Parts that differ only by equal steps of their addresses become one call with `times`."""
    calls: list[Call] = []
    rest = parts
    while rest:
        steps = _steps(rest[0], rest[1]) if len(rest) > 1 else None
        times = 1
        while steps is not None and times < len(rest) and _steps(rest[times - 1], rest[times]) == steps:
            times += 1
        first = iter(steps or ())
        arguments = tuple(
            a.stepping(next(first)) if isinstance(a, Place) and times > 1 else a for a in rest[0]
        )
        calls.append(Call(kernel, arguments, times))
        rest = rest[times:]
    return tuple(calls)


def _steps(a: tuple[Place | int, ...], b: tuple[Place | int, ...]) -> tuple[int, ...] | None:
    """Bytes from each address of `a` to that of `b`; None where a literal differs."""
    steps = []
    for before, after in zip(a, b, strict=True):
        if isinstance(before, Place) and isinstance(after, Place):
            steps.append(after.offset - before.offset)
        elif before != after:
            return None
    return tuple(steps)


# Rules for maps in blocks of 16 channels


def _constants(a: Arguments, channels: int, buffers: Buffers) -> dict[str, int]:
    """Bytes that a block of channels takes of each constant: all are laid out block after block."""
    sizes = {name: buffers[a.place(name).buffer] for name in a.pointers}
    return {
        name: buffer.nbytes // blocks(channels)
        for name, buffer in sizes.items()
        if buffer.space is Space.WEIGHTS
    }


def output_panels(y_block: Callable[[Arguments], int], macs: Callable[[Arguments], int]) -> Rule:
    """Panels of nv blocks of output channels; y_block: bytes of a block of y."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        o, nv, at = a["o"], a["nv"], a["nv"] * LANES
        block = _constants(a, o, buffers)
        # A residual lies as y does.
        block |= {name: y_block(a) for name in ("y", "residual") if a.has(name)}

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {name: first * nv * nbytes for name, nbytes in block.items()}
            return a.changed(o=min(count * at, o - first * at), **begins)

        return Cut(-(-blocks(o) // nv), _vnni_ns(a, macs(a), blocks(o) * y_block(a)), part)

    return rule


def _vnni_ns(a: Arguments, macs: int, y_bytes: int) -> float:
    """Products, and the sum with a residual."""
    return macs / _VNNI_MACS_A_NS + (y_bytes / _SUMS_A_NS if a.has("residual") else 0)


def channel_blocks(
    y_block: Callable[[Arguments], int],
    ns: Callable[[Arguments], float],
    itemsize: int = 1,
    pointers: tuple[str, str] = ("x", "y"),
) -> Rule:
    """Blocks of channels that never meet: depthwise products and windows; y_block: elements of one of y."""
    x, y = pointers

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        c = a["c"]
        maps = {x: a["h"] * a["w"] * LANES * itemsize, y: y_block(a) * itemsize}
        block = _constants(a, c, buffers) | maps

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begins = {name: first * nbytes for name, nbytes in block.items()}
            return a.changed(c=min(count * LANES, c - first * LANES), **begins)

        return Cut(blocks(c), ns(a), part)

    return rule


def _first_layer_rows(a: Arguments, buffers: Buffers) -> Cut | None:
    """Rows of conv_u8, whose map has its border written out; one block of output channels."""
    if blocks(a["o"]) > 1:
        return output_panels(_map, _conv_macs)(a, buffers)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * a["ow"] * LANES
        begins = {name: begin for name in ("y", "residual") if a.has(name)}
        return a.changed(x=first * a["step"], oh=count, **begins)

    return Cut(a["oh"], _vnni_ns(a, _conv_macs(a), _map(a)), part)


def _conv3x3(a: Arguments, buffers: Buffers) -> Cut | None:
    """Panels of output channels; where there is one block in and out, rows with what they reach."""
    macs = a["oh"] * a["ow"] * a["o"] * a["c"] * 9
    if blocks(a["o"]) > 1:
        return output_panels(_map, lambda a: macs)(a, buffers)
    if blocks(a["c"]) > 1:
        return None
    ns = _vnni_ns(a, macs, _map(a))
    return window_rows(a, a["stride"], 3, a["w"] * LANES, a["ow"] * LANES, ns)


def _map(a: Arguments) -> int:
    return a["oh"] * a["ow"] * LANES


def _conv_macs(a: Arguments) -> int:
    return a["oh"] * a["ow"] * a["o"] * a["kh"] * a["kw"] * a["groups"] * 4


# Rules for dense maps, NHWC


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


_MOVED_A_NS = 50
_VNNI_MACS_A_NS = 300
_SUMS_A_NS = 20
_FLOAT_COST = 4
_INT8_MACS_A_NS = 10
_FLOAT_MACS_A_NS = 30
"""Orders of magnitude, to tell work worth sharing from work that is not."""

_window_int8 = dense_rows("x_", "y_", 1, 4, products=False)
_pointwise = output_panels(
    lambda a: a["pixels"] * LANES, lambda a: a["pixels"] * a["o"] * -(-a["c"] // 4) * 4
)
_window_float = dense_rows("x_", "y_", 4, 4, products=False)

_float_map = output_panels(
    lambda a: _map(a) * 4, lambda a: a["oh"] * a["ow"] * a["o"] * a["c"] * 9 * _FLOAT_COST
)
_float_taps = output_panels(
    lambda a: _map(a) * 4, lambda a: a["oh"] * a["ow"] * a["o"] * a["kh"] * a["kw"] * a["c"] * _FLOAT_COST
)
_float_pixels = output_panels(
    lambda a: a["pixels"] * LANES * 4, lambda a: a["pixels"] * a["o"] * a["c"] * _FLOAT_COST
)


def _float_windows(taps: Callable[[Arguments], int]) -> Rule:
    return channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * taps(a) / 30, 4, ("x_", "y_"))


RULES: Mapping[str, Rule] = {
    **split_maps.RULES,
    # avx512f.h
    "conv_f32": _float_taps,
    "conv_add_f32": _float_taps,
    "conv3x3_f32": _float_map,
    "conv3x3_add_f32": _float_map,
    "pointwise_f32": _float_pixels,
    "pointwise_add_f32": _float_pixels,
    "depthwise3x3_f32": _float_windows(lambda a: 9),
    "depthwise_f32": _float_windows(lambda a: a["kh"] * a["kw"]),
    "max_pool_f32": _float_windows(lambda a: a["kh"] * a["kw"]),
    "average_pool_f32": _float_windows(lambda a: a["kh"] * a["kw"]),
    "add_f32": elements({"a": 4, "b": 4, "y": 4}, 16),
    "clamp_f32": elements({"x": 4, "y": 4}, 24),
    # avx512vnni.h
    "conv_u8": _first_layer_rows,
    "conv_add_u8": _first_layer_rows,
    "conv3x3_u8": _conv3x3,
    "conv3x3_add_u8": _conv3x3,
    "pointwise_u8": _pointwise,
    "pointwise_add_u8": _pointwise,
    "dense_u8": output_panels(lambda a: LANES, lambda a: a["o"] * a["groups"] * 4),
    "depthwise3x3_u8": channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * 9 / 80),
    "depthwise_u8": channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * a["kh"] * a["kw"] / 40),
    "average_pool_u8": channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * a["kh"] * a["kw"] / 40),
    "max_pool_u8": channel_blocks(_map, lambda a: _map(a) * blocks(a["c"]) * a["kh"] * a["kw"] / 40),
    "add_u8": elements({"a": 1, "b": 1, "y": 1}, _SUMS_A_NS),
    "clamp_u8": elements({"x": 1, "y": 1}, 60),
    "table_u8": elements({"x": 1, "y": 1}, 2),
    # portable.h
    "transpose": _outermost("x", "y"),
    "place": _outermost("y", "x"),
    "conv2d_int8": dense_rows("x", "y", 1, _INT8_MACS_A_NS, products=True),
    "depthwise_int8": dense_rows("x_", "y_", 1, _INT8_MACS_A_NS, products=False),
    "conv2d_float": dense_rows("x_", "y_", 4, _FLOAT_MACS_A_NS, products=True),
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
"""By kernel. Training's kernels sum over the whole batch and stay whole."""
