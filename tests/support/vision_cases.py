"""Hypothesis strategies for programs of one vision operation, with inputs. As operation_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Operation, Padding, Quantization, Tensor, arithmetic
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import (
    ArgMax,
    ArgMin,
    ConvTranspose2d,
    Maximum,
    Minimum,
    MirrorPad,
    Prelu,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ResizeBilinear,
    ResizeNearest,
)
from support.operation_cases import (
    CHANNELS,
    Array,
    Draw,
    float_array,
    int8_array,
    maps,
    quantizations,
    seeds,
)
from support.programs import Case, program_of


def _array(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "float32":
        return float_array(rng, shape)
    if dtype == "int8":
        return int8_array(rng, shape)
    return rng.integers(-100, 100, shape).astype(dtype)


def _case(op: Operation, tensors: list[Tensor], *arrays: Array) -> Case:
    return Case(program_of(tensors, [op]), arrays)


@st.composite
def transposed_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Kernels narrower and wider than the stride, cut and extended outputs, per-channel scales."""
    rng = draw(seeds())
    n, h, w = draw(st.sampled_from((1, 2))), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    c, o = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    kernel, stride = [(draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(2)]
    extents, cut = [], []
    for size, k, s in zip((h, w), kernel, stride):
        reach = (size - 1) * s + k
        before = draw(st.integers(0, min(k - 1, reach - 1)))
        after = draw(st.integers(-2, min(k - 1, reach - 1 - before)))
        extents.append(reach - before - after)
        cut += [before, after]
    weight = rng.integers(-127, 128, (o, *kernel, c)).astype(np.int8)
    op = ConvTranspose2d("x", "weight", "bias", "multiplier", "y", stride, Padding(*cut))
    x_shape, y_shape = (n, h, w, c), (n, *extents, o)
    if dtype == "float32":
        op = ConvTranspose2d("x", "weight", "bias", None, "y", stride, Padding(*cut), Clamp(-1, 6))
        tensors = [Tensor("x", x_shape, dtype), Tensor("y", y_shape, dtype)]
        tensors += [
            constant("weight", float_array(rng, weight.shape)),
            constant("bias", float_array(rng, (o,))),
        ]
        return _case(op, tensors, float_array(rng, x_shape))
    x_q, y_q = draw(quantizations()), draw(quantizations())
    spread = float(np.abs(weight.astype(np.int64)).sum((1, 2, 3)).max()) * 30
    scales = (rng.uniform(0.5, 1.5, o) * 128 / spread * y_q.scale / x_q.scale).astype(np.float32)
    tensors = [
        Tensor("x", x_shape, dtype, x_q),
        constant("weight", weight, Quantization(tuple(float(s) for s in scales), 0, 0)),
        constant("bias", rng.integers(-1000, 1000, o).astype(np.int32)),
        constant("multiplier", arithmetic.requantise_multiplier(x_q.scale, scales, y_q.scale)),
        Tensor("y", y_shape, dtype, y_q),
    ]
    return _case(op, tensors, int8_array(rng, x_shape))


@st.composite
def nearest_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Any rows and columns of the source, in any order."""
    rng, x = draw(seeds()), draw(maps())
    q = draw(quantizations()) if dtype == "int8" else None
    rows, columns = (rng.integers(0, n, draw(st.integers(1, 12))).astype(np.int32) for n in x[1:3])
    tensors = [
        Tensor("x", x, dtype, q),
        constant("rows", rows),
        constant("columns", columns),
        Tensor("y", (x[0], rows.size, columns.size, x[3]), dtype, q),
    ]
    return _case(ResizeNearest("x", "rows", "columns", "y"), tensors, _array(rng, dtype, x))


@st.composite
def bilinear_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Any neighbours with any weights."""
    rng, x = draw(seeds()), draw(maps())
    q = draw(quantizations()) if dtype == "int8" else None
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    weights = [rng.integers(0, 2049, n).astype(np.int32) for n in (height, width)]
    if dtype == "float32":
        weights = [(each / 2048).astype(np.float32) for each in weights]
    tensors = [
        Tensor("x", x, dtype, q),
        constant("rows", rng.integers(0, x[1], (height, 2)).astype(np.int32)),
        constant("columns", rng.integers(0, x[2], (width, 2)).astype(np.int32)),
        constant("down", weights[0]),
        constant("across", weights[1]),
        Tensor("y", (x[0], height, width, x[3]), dtype, q),
    ]
    op = ResizeBilinear("x", "rows", "columns", "down", "across", "y")
    return _case(op, tensors, _array(rng, dtype, x))


@st.composite
def reduce_cases(draw: Draw, kind: Any, dtype: str = "int8") -> Case:
    """Any axes of up to five."""
    rng = draw(seeds())
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))
    if draw(st.booleans()):
        shape = (*shape[:-1], draw(st.sampled_from((17, 33))))
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape)))))
    x_q = draw(quantizations()) if dtype == "int8" else None
    y_q = draw(quantizations()) if dtype == "int8" and kind in (ReduceMean, ReduceSum) else x_q
    y = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    tensors = [Tensor("x", shape, dtype, x_q), Tensor("y", y, dtype, y_q)]
    return _case(kind("x", "y", axes), tensors, _array(rng, dtype, shape))


@st.composite
def arg_cases(draw: Draw, kind: Any) -> Case:
    """Any axis; few different values, so that the first of equals matters."""
    rng, shape = draw(seeds()), draw(maps())
    dtype = draw(st.sampled_from(("int8", "float32", "int32")))
    index = draw(st.sampled_from(("int32", "int64")))
    axis = draw(st.integers(0, 3))
    q = draw(quantizations()) if dtype == "int8" else None
    y = tuple(n for at, n in enumerate(shape) if at != axis)
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", y, index)]
    return _case(kind("x", "y", axis), tensors, rng.integers(-3, 3, shape).astype(dtype))


@st.composite
def mirror_cases(draw: Draw) -> Case:
    """Up to five axes, any type, either mirror."""
    rng, edge = draw(seeds()), draw(st.integers(0, 1))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))
    dtype = draw(st.sampled_from(("int8", "float32", "int64")))
    before, after = (tuple(draw(st.integers(0, n - 1 + edge)) for n in shape) for _ in range(2))
    q = draw(quantizations()) if dtype == "int8" else None
    y = tuple(b + n + a for b, n, a in zip(before, shape, after))
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", y, dtype, q)]
    return _case(MirrorPad("x", "y", before, after, edge), tensors, _array(rng, dtype, shape))


@st.composite
def extreme_cases(draw: Draw, kind: Any, dtype: str = "int8") -> Case:
    """Two operands, one often stretched; int8 shares one quantisation."""
    rng, whole = draw(seeds()), draw(maps())
    small = tuple(n if draw(st.booleans()) else 1 for n in whole)
    shapes = draw(st.permutations((whole, small)))
    q = draw(quantizations()) if dtype == "int8" else None
    tensors = [Tensor(name, shape, dtype, q) for name, shape in zip("ab", shapes)]
    tensors.append(Tensor("y", whole, dtype, q))
    arrays = tuple(_array(rng, dtype, shape) for shape in shapes)
    return _case(kind("a", "b", "y"), tensors, *arrays)


@st.composite
def prelu_cases(draw: Draw, dtype: str = "int8") -> Case:
    """A slope a channel, or one for all."""
    rng, shape = draw(seeds()), draw(maps())
    slopes = draw(st.sampled_from(((1, 1, shape[3]), (1,), shape[1:])))
    qs = [draw(quantizations()) if dtype == "int8" else None for _ in "aby"]
    tensors = [Tensor(n, s, dtype, q) for n, s, q in zip("aby", (shape, slopes, shape), qs)]
    return _case(Prelu("a", "b", "y"), tensors, _array(rng, dtype, shape), _array(rng, dtype, slopes))


EXACT_VISION: dict[str, st.SearchStrategy[Case]] = {
    "ConvTranspose2d": transposed_cases(),
    "ResizeNearest": st.one_of(nearest_cases(), nearest_cases("float32")),
    "ResizeBilinear": bilinear_cases(),
    "ReduceMean": reduce_cases(ReduceMean),
    "ReduceSum": st.one_of(reduce_cases(ReduceSum), reduce_cases(ReduceSum, "int32")),
    "ReduceMax": st.one_of(*(reduce_cases(ReduceMax, dtype) for dtype in ("int8", "float32", "int32"))),
    "ReduceMin": st.one_of(*(reduce_cases(ReduceMin, dtype) for dtype in ("int8", "float32", "int32"))),
    "ArgMax": arg_cases(ArgMax),
    "ArgMin": arg_cases(ArgMin),
    "MirrorPad": mirror_cases(),
    "Maximum": st.one_of(*(extreme_cases(Maximum, dtype) for dtype in ("int8", "float32", "int32"))),
    "Minimum": st.one_of(*(extreme_cases(Minimum, dtype) for dtype in ("int8", "float32", "int32"))),
    "Prelu": st.one_of(prelu_cases(), prelu_cases("float32")),
}
"""Operations whose bytes are defined, by name."""

FLOAT_VISION: dict[str, st.SearchStrategy[Case]] = {
    "ConvTranspose2d": transposed_cases("float32"),
    "ResizeBilinear": bilinear_cases("float32"),
    "ReduceMean": reduce_cases(ReduceMean, "float32"),
    "ReduceSum": reduce_cases(ReduceSum, "float32"),
    "ReduceProd": reduce_cases(ReduceProd, "float32"),
}
"""float32 operations, compared with a tolerance."""
