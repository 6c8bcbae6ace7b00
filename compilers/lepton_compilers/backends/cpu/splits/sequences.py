"""Cuts of the kernels of sequence.h, elementwise.h and vision.h: rows, matrices, elements, outermost axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from lepton_compilers.backends.cpu.plans.layout import blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, along, elements

_INT8_MACS_A_NS = 5
_VNNI_MACS_A_NS = 150
_FLOAT_MACS_A_NS = 15
_SOFTMAX_VALUES_A_NS = 8
_STRETCHED_A_NS = 4
_UNARY_A_NS = 1
_COPIED_A_NS = 10
_REDUCED_A_NS = 4
"""Orders of magnitude, to tell work worth sharing from work that is not."""


def matrices(itemsize: int, macs_a_ns: float) -> Rule:
    """Products of matrices: the outermost axis of several, rows of a single one."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        extents = [a[f"n{axis}"] for axis in range(4)]
        rows, inner, columns, all_of_them = a["rows"], a["inner"], a["columns"], math.prod(extents)
        ns = all_of_them * rows * inner * columns / macs_a_ns
        axis = next((axis for axis, extent in enumerate(extents) if extent > 1), None)
        if axis is None:
            steps = {"a_": inner * itemsize, "y_": columns * itemsize}
            return along("rows", lambda a: steps, lambda a: ns)(a, buffers)
        each = math.prod(extents[axis + 1 :]) * rows * columns
        steps = {"a_": a[f"a{axis}"] * itemsize, "b_": a[f"b{axis}"] * itemsize, "y_": each * itemsize}
        return along(f"n{axis}", lambda a: steps, lambda a: ns)(a, buffers)

    return rule


def packed_bytes(rows: int, inner: int, columns: int) -> int:
    """What matmul_vnni packs b into: blocks of 16 columns, where their sums start, and sums of rows."""
    return 64 * blocks(columns) * (-(-inner // 4) + 1) + -(-4 * rows // 64) * 64


def _matmul_vnni(a: Arguments, buffers: Buffers) -> Cut:
    """As matrices; every part packs the b that it reads."""
    cut = matrices(1, _VNNI_MACS_A_NS)(a, buffers)
    assert cut is not None
    scratch = packed_bytes(a["rows"], a["inner"], a["columns"])
    return dataclasses.replace(cut, scratch=("packed", scratch))


def softmax_bytes(n: int) -> int:
    """Scratch of softmax_rows_int8, for rows of n values."""
    return 320 * -(-n // 4)


def _softmax_rows_int8(a: Arguments, buffers: Buffers) -> Cut:
    """Sixteens of rows, as the kernel takes them."""
    rows, n = a["rows"], a["n"]

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * 16
        return a.changed(rows=min(count * 16, rows - begin), x_=begin * n, y_=begin * n)

    return Cut(-(-rows // 16), rows * n / _SOFTMAX_VALUES_A_NS, part, scratch=("scratch", softmax_bytes(n)))


def stretched(itemsize: int) -> Rule:
    """The outermost axis of y; runs of elements where there is but one."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        extents = [a[f"n{axis}"] for axis in range(6)]
        axis = next((axis for axis, extent in enumerate(extents) if extent > 1), 5)
        ns, unit = math.prod(extents) / _STRETCHED_A_NS, 64 if axis == 5 else 1
        step = {"a_": a[f"a{axis}"], "b_": a[f"b{axis}"], "y_": math.prod(extents[axis + 1 :])}

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begin = first * unit
            begins = {name: begin * of * itemsize for name, of in step.items()}
            return a.changed(**{f"n{axis}": min(count * unit, extents[axis] - begin)}, **begins)

        return Cut(-(-extents[axis] // unit), ns, part)

    return rule


def _rows(pointers: Mapping[str, int], a_value_ns: float) -> Rule:
    """Rows of n values; pointers: bytes of a value behind each that has such rows."""
    return along(
        "rows",
        lambda a: {name: a["n"] * size for name, size in pointers.items()},
        lambda a: a["rows"] * a["n"] * a_value_ns,
    )


def _slice(a: Arguments, buffers: Buffers) -> Cut:
    extents = [a[f"n{axis}"] for axis in range(6)]
    axis = next((axis for axis, extent in enumerate(extents) if extent > 1), 5)
    steps = {"x": a[f"s{axis}"], "y": math.prod(extents[axis + 1 :]) * a["size"]}
    nbytes = math.prod(extents) * a["size"]
    return along(f"n{axis}", lambda a: steps, lambda a: nbytes / _COPIED_A_NS)(a, buffers)


def _gathered(a: Arguments, buffers: Buffers) -> Cut:
    """Indices; where several tables are read by the same ones, tables."""
    size, count = a["size"], a["count"]
    ns = a["outer"] * count * size / _COPIED_A_NS
    if a["outer"] == 1:
        return along("count", lambda a: {"indices": a["width"], "y": size}, lambda a: ns)(a, buffers)
    return along("outer", lambda a: {"x": a["extent"] * size, "y": count * size}, lambda a: ns)(a, buffers)


def _resized(tables: Mapping[str, int], pixel: Callable[[Arguments], int], y: str) -> Rule:
    """Rows of y; tables: bytes of a row's entry in each; pixel: bytes of one."""
    return along(
        "oh",
        lambda a: {**tables, y: a["ow"] * pixel(a)},
        lambda a: a["oh"] * a["ow"] * pixel(a) / _COPIED_A_NS,
    )


def reduced(itemsize: int) -> Rule:
    """The outermost kept axis that has an extent; runs of 32, as the kernel takes them, of the innermost."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        extents = [a[f"k{axis}"] for axis in range(3)]
        summed = math.prod(a[f"r{axis}"] for axis in range(3))
        axis = next((axis for axis, extent in enumerate(extents) if extent > 1), 2)
        unit, inner = 32 if axis == 2 else 1, math.prod(extents[axis + 1 :])

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begin = first * unit
            begins = {"x_": begin * a[f"ks{axis}"] * itemsize, "y_": begin * inner * itemsize}
            return a.changed(**{f"k{axis}": min(count * unit, extents[axis] - begin)}, **begins)

        return Cut(-(-extents[axis] // unit), math.prod(extents) * summed / _REDUCED_A_NS, part)

    return rule


def arg(itemsize: int) -> Rule:
    """What stands outside the axis that is searched."""

    def steps(a: Arguments) -> Mapping[str, int]:
        return {"x_": a["n"] * a["inner"] * itemsize, "y_": a["inner"] * (8 if a["wide"] else 4)}

    return along("outer", steps, lambda a: a["outer"] * a["n"] * a["inner"] / _REDUCED_A_NS)


_SEQUENCES_TOGETHER = 4
"""Sequences of a batch that share what a step reads of the weights: a part with fewer would read as much."""


def recurrent(gates: int, rows: Mapping[str, int], macs_a_ns: float) -> Rule:
    """Sequences of a batch. rows: bytes of a unit of one behind each pointer to states."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        units, wide = a["units"], -(-a["units"] // 16) * 16
        ns = a["steps"] * a["rows"] * gates * units * units / macs_a_ns
        steps = {"of_x": gates * wide * 4, "gates_": 4 * wide * 4}
        steps |= {name: units * nbytes for name, nbytes in rows.items()}

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            begin = first * _SEQUENCES_TOGETHER
            begins = {name: begin * nbytes for name, nbytes in steps.items()}
            return a.changed(rows=min(count * _SEQUENCES_TOGETHER, a["rows"] - begin), **begins)

        return Cut(-(-a["rows"] // _SEQUENCES_TOGETHER), ns, part)

    return rule


_ROWS_TOGETHER = 6


def _gate_products(a: Arguments, buffers: Buffers) -> Cut | None:
    """Rows of x, as many as a tile has at most."""
    outputs = a["panels"] * a["blocks"] * 16
    ns = a["rows"] * a["inputs"] * outputs / _INT8_MACS_A_NS
    return elements({"x": a["inputs"], "of_x": outputs * 4}, a["rows"] / ns, _ROWS_TOGETHER, "rows")(
        a, buffers
    )


_LANE_SIZES = {"int8": 1, "float": 4, "int32": 4}

UNARY: Rule = elements({"x_": 4, "y_": 4}, _UNARY_A_NS)
"""Of every function of one number."""

RULES: Mapping[str, Rule] = {
    # sequence.h
    "matmul_int8": matrices(1, _INT8_MACS_A_NS),
    "matmul_transposed_int8": matrices(1, _INT8_MACS_A_NS),
    "matmul_vnni": _matmul_vnni,
    "matmul_float": matrices(4, _FLOAT_MACS_A_NS),
    "matmul_transposed_float": matrices(4, _FLOAT_MACS_A_NS),
    "layer_norm_int8": _rows({"x_": 1, "y_": 1}, 1),
    "layer_norm_float": _rows({"x_": 4, "y_": 4}, 0.5),
    "slice_bytes": _slice,
    # recurrent.h, recurrent_f32.h
    "gate_products_int8": _gate_products,
    "lstm_int8": recurrent(4, {"h0_": 1, "c_": 2, "y_": 1}, _INT8_MACS_A_NS),
    "gru_int8": recurrent(3, {"state_": 2, "first_": 1, "y_": 1}, _INT8_MACS_A_NS),
    "lstm_f32": recurrent(4, {"h0_": 4, "c_": 4, "y_": 4}, _FLOAT_MACS_A_NS),
    "gru_f32": recurrent(3, {"h0_": 4, "y_": 4}, _FLOAT_MACS_A_NS),
    "gather_rows": _gathered,
    # portable.h
    "softmax_int8": _rows({"x_": 1, "y_": 1}, 1),
    "softmax_rows_int8": _softmax_rows_int8,
    "softmax_float": _rows({"x_": 4, "y_": 4}, 1),
    "clamp_int8": elements({"x_": 1, "y_": 1}, 20),
    # elementwise.h
    **{
        f"stretched_{name}_{kind}": stretched(size)
        for kind, size in _LANE_SIZES.items()
        for name in ("add", "sub", "mul", "max", "min", "prelu")
    },
    # vision.h
    "resize_nearest": _resized({"rows_": 4}, lambda a: a["pixel"], "y"),
    "resize_bilinear_int8": _resized({"rows_": 8, "down_": 4}, lambda a: a["c"], "y_"),
    "resize_bilinear_float": _resized({"rows_": 8, "down_": 4}, lambda a: a["c"] * 4, "y_"),
    **{
        f"reduce_{name}_{kind}": reduced(size)
        for kind, size in _LANE_SIZES.items()
        for name in ("sum", "prod", "max", "min")
    },
    **{f"arg_{kind}": arg(size) for kind, size in _LANE_SIZES.items()},
    "table_uint8": elements({"x": 1, "y": 1}, 2),
}
