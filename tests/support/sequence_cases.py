"""Hypothesis strategies for the operations of sequence models, as support/operation_cases.py writes them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Quantization, Tensor, arithmetic_sequence
from lepton_sdk.program.recurrent import Gru, Lstm
from lepton_sdk.program.sequence import UNARY_FUNCTIONS, Gather, LayerNorm, MatMul, Slice, Unary
from lepton_sdk.program.tensors import constant
from support.operation_cases import (
    DTYPES,
    Array,
    Draw,
    float_array,
    float_clamps,
    int8_array,
    int8_clamps,
    quantizations,
    seeds,
)
from support.programs import Case, program_of

POSITIVE = ("log", "sqrt", "rsqrt", "reciprocal")
ABOVE_ONE = ("acosh",)
WITHIN_ONE = ("acos", "asin", "atanh")


@st.composite
def matmul_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Products with any leading axes, some stretched, b as it is or transposed."""
    rng = draw(seeds())
    rows, inner, columns = (draw(st.integers(1, n)) for n in (9, 70, 40))
    lead = draw(st.sampled_from(((), (2,), (3, 2), (2, 1, 3))))
    stretched = tuple(n if draw(st.booleans()) else 1 for n in lead)
    left, right = (lead, stretched) if draw(st.booleans()) else (stretched, lead)
    right = right[draw(st.integers(0, len(right))) :] if left is lead else right
    turned = draw(st.booleans())
    shapes = [(*left, rows, inner), (*right, *((columns, inner) if turned else (inner, columns)))]
    y_shape = (*np.broadcast_shapes(left, right), rows, columns)
    q = [draw(quantizations()) if dtype == "int8" else None for _ in "aby"]
    if dtype == "int8" and q[0] and q[1] and draw(st.booleans()):
        # A result scale that leaves most results inside int8.
        q[2] = Quantization((float(np.float32(q[0].scale * q[1].scale * 60 * np.sqrt(inner) + 1e-9)),), 3)
    tensors = [Tensor(n, s, dtype, held) for n, s, held in zip("aby", [*shapes, y_shape], q)]
    clamp = draw(int8_clamps() if dtype == "int8" else float_clamps())
    arrays = tuple(int8_array(rng, s) if dtype == "int8" else float_array(rng, s) for s in shapes)
    return Case(program_of(tensors, [MatMul("a", "b", "y", turned, clamp)]), arrays)


@st.composite
def layer_norm_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Rows of 1 to 300 values, some all alike, centred or not, with and without an offset."""
    rng, n = draw(seeds()), draw(st.one_of(st.integers(1, 40), st.just(300)))
    axes = draw(st.sampled_from(((n,), (2, n))))
    shape = (*draw(st.sampled_from(((), (1,), (3,), (2, 2)))), *axes)
    q = [draw(quantizations()) if dtype == "int8" else None for _ in "xy"]
    gain, offset = (float_array(rng, axes) for _ in range(2))
    if q[1] is not None:
        gain, offset = gain / np.float32(q[1].scale), offset / np.float32(q[1].scale)
    tensors = [Tensor("x", shape, dtype, q[0]), constant("gain", gain), Tensor("y", shape, dtype, q[1])]
    held = draw(st.booleans())
    if held:
        tensors.append(constant("offset", offset))
    op = LayerNorm(
        "x",
        "gain",
        "offset" if held else None,
        "y",
        draw(st.sampled_from((1e-5, 1e-12, 1e-2))),
        draw(st.booleans()),
    )
    x = int8_array(rng, shape) if dtype == "int8" else float_array(rng, shape)
    if draw(st.integers(0, 3)) == 0:
        x[...] = x.reshape(-1)[0]
    return Case(program_of(tensors, [op]), (x,))


@st.composite
def unary_cases(draw: Draw) -> Case:
    """Every function where it is smooth."""
    rng, name = draw(seeds()), draw(st.sampled_from(UNARY_FUNCTIONS))
    x = 3 * float_array(rng, (draw(st.integers(1, 50)),))
    if name in POSITIVE:
        x = np.abs(x) + np.float32(0.1)
    elif name in ABOVE_ONE:
        x = np.abs(x) + np.float32(1.1)
    elif name in WITHIN_ONE or name == "tan":
        x = np.float32(0.9) * np.sin(x)
    tensors = [Tensor(n, x.shape, "float32") for n in "xy"]
    parameter = draw(st.sampled_from((1.0, 0.25)))
    return Case(program_of(tensors, [Unary("x", "y", name, parameter)]), (x,))


def _array(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "float32":
        return float_array(rng, shape)
    return int8_array(rng, shape) if dtype == "int8" else rng.integers(0, 100, shape).astype(dtype)


@st.composite
def slice_cases(draw: Draw) -> Case:
    """One to four axes, steps of either sign, any type."""
    rng, dtype = draw(seeds()), draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    begin, step, extents = [], [], []
    for n in shape:
        if draw(st.booleans()):
            first, by, count = 0, 1, n
        else:
            first, by = draw(st.integers(0, n - 1)), draw(st.sampled_from((1, 2, -1, -3)))
            count = draw(st.integers(1, 1 + (first if by < 0 else n - 1 - first) // abs(by)))
        begin.append(first), step.append(by), extents.append(count)
    q = draw(quantizations()) if dtype == "int8" else None
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", tuple(extents), dtype, q)]
    op = Slice("x", "y", tuple(begin), tuple(step))
    return Case(program_of(tensors, [op]), (_array(rng, dtype, shape),))


@st.composite
def gather_cases(draw: Draw) -> Case:
    """Rows of constants and of inputs; indices of both types, some negative, some beyond the ends."""
    rng, dtype = draw(seeds()), draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axis = draw(st.integers(0, len(shape) - 1))
    chosen = tuple(draw(st.lists(st.integers(1, 4), max_size=2)))
    kind = draw(st.sampled_from(("int32", "int64")))
    indices = np.asarray(rng.integers(-shape[axis] - 1, shape[axis] + 2, chosen)).astype(kind)
    q = draw(quantizations()) if dtype == "int8" else None
    table = _array(rng, dtype, shape)
    y = Tensor("y", (*shape[:axis], *chosen, *shape[axis + 1 :]), dtype, q)
    op = Gather("x", "indices", "y", axis)
    if draw(st.booleans()):
        tensors = [constant("x", table, q), Tensor("indices", chosen, kind), y]
        return Case(program_of(tensors, [op]), (indices,))
    if draw(st.booleans()):
        return Case(
            program_of([Tensor("x", shape, dtype, q), constant("indices", indices), y], [op]), (table,)
        )
    tensors = [Tensor("x", shape, dtype, q), Tensor("indices", chosen, kind), y]
    return Case(program_of(tensors, [op]), (table, indices))


@st.composite
def recurrent_cases(draw: Draw, kind: type[Lstm] | type[Gru], dtype: str = "int8") -> Case:
    """Up to six steps in either direction, one or several sequences, with and without first states."""
    rng = draw(seeds())
    steps, batch, inputs, units = (draw(st.integers(1, n)) for n in (6, 3, 20, 20))
    rows = units * (4 if kind is Lstm else 3)
    x_shape, y_shape = (steps, batch, inputs), (steps, batch, units)
    first, reset_after = draw(st.booleans()), draw(st.booleans())
    names: dict[str, str | None] = {n: n for n in ("x", "weight", "recurrent", "bias", "y")}
    names |= dict.fromkeys(("multiplier", "recurrent_multiplier", "sigmoid", "tanh", "initial_h"))
    arrays = [_array(rng, dtype, x_shape)]
    states: list[Tensor] = []
    if dtype == "int8":
        x_q, y_q = draw(quantizations()), Quantization((1 / 128,), draw(st.sampled_from((0, 5))))
        cell = Quantization((2.0 ** -draw(st.integers(0, 12)),))
        scales = np.float32(2.0 ** draw(st.floats(-9, -5)))
        constants = [
            constant("weight", rng.integers(-127, 128, (rows, inputs)).astype(np.int8)),
            constant("recurrent", rng.integers(-127, 128, (rows, units)).astype(np.int8)),
            constant("bias", float_array(rng, (rows,)) * np.float32(4096)),
            constant("multiplier", arithmetic_sequence.gate_multiplier(0.05, np.full(rows, scales))),
            constant(
                "recurrent_multiplier", arithmetic_sequence.gate_multiplier(1 / 128, np.full(rows, scales))
            ),
            *(constant(name, arithmetic_sequence.gate_table(name)) for name in ("sigmoid", "tanh")),
        ]
        names |= {n: n for n in ("multiplier", "recurrent_multiplier", "sigmoid", "tanh")}
        h_first = rng.integers(-20000, 20000, y_shape[1:]).astype(np.int16) if kind is Gru else None
        h_first = int8_array(rng, y_shape[1:]) if h_first is None else h_first
        c_first = rng.integers(-(2**15), 2**15, y_shape[1:]).astype(np.int16)
    else:
        x_q = y_q = cell = None
        constants = [
            constant("weight", float_array(rng, (rows, inputs)) / np.float32(np.sqrt(inputs))),
            constant("recurrent", float_array(rng, (rows, units)) / np.float32(np.sqrt(units))),
            constant("bias", float_array(rng, (rows,))),
        ]
        h_first, c_first = float_array(rng, y_shape[1:]), float_array(rng, y_shape[1:])
    tensors = [Tensor("x", x_shape, dtype, x_q), *constants, Tensor("y", y_shape, dtype, y_q)]
    if first:
        names["initial_h"] = "initial_h"
        states.append(Tensor("initial_h", y_shape[1:], h_first.dtype.name, y_q if kind is Lstm else None))
        arrays.append(h_first)
    if kind is Lstm:
        names |= {"initial_c": "initial_c" if first else None, "c": "c"}
        tensors.append(Tensor("c", y_shape[1:], "int16" if dtype == "int8" else dtype, cell))
        if first:
            states.append(Tensor("initial_c", y_shape[1:], c_first.dtype.name, cell))
            arrays.append(c_first)
    else:
        names["recurrent_bias"] = "recurrent_bias" if reset_after else None
        if reset_after:
            bias = float_array(rng, (units,))
            tensors.append(constant("recurrent_bias", bias * np.float32(4096) if dtype == "int8" else bias))
    op = kind(**names, reverse=draw(st.booleans()))  # type: ignore[arg-type]
    return Case(program_of([*tensors, *states], [op]), tuple(arrays))


SEQUENCE_EXACT_CASES: dict[str, st.SearchStrategy[Case]] = {
    "MatMul": matmul_cases(),
    "LayerNorm": layer_norm_cases(),
    "Slice": slice_cases(),
    "Gather": gather_cases(),
    "Lstm": recurrent_cases(Lstm),
    "Gru": recurrent_cases(Gru),
}
"""Operations whose bytes are defined, by name."""

SEQUENCE_FLOAT_CASES: dict[str, st.SearchStrategy[Case]] = {
    "MatMul": matmul_cases("float32"),
    "LayerNorm": layer_norm_cases("float32"),
    "Unary": unary_cases(),
    "Lstm": recurrent_cases(Lstm, "float32"),
    "Gru": recurrent_cases(Gru, "float32"),
}
"""float32 operations, compared with a tolerance."""
