"""Hypothesis strategies for programs of one operation, with inputs, inside the arithmetic's ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Padding, Quantization, Tensor, arithmetic
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Softmax,
    Sub,
    Table,
    Transpose,
    window_shape,
)
from lepton_sdk.program.tensors import constant
from support.programs import Case, program_of

Array = npt.NDArray[Any]
Draw = st.DrawFn
CHANNELS = (1, 2, 3, 4, 7, 8, 16, 17, 24, 32)
LIMIT = 2**31 - 1


def seeds() -> st.SearchStrategy[np.random.Generator]:
    """Generators of arrays."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def quantizations(draw: Draw) -> Quantization:
    """One scale for a whole tensor, and a zero point, often at the ends of its range."""
    scale = np.float32(2.0 ** draw(st.floats(-9, 0)))
    zero = draw(st.one_of(st.sampled_from((-128, 0, 127)), st.integers(-128, 127)))
    return Quantization((float(scale),), zero)


@st.composite
def int8_clamps(draw: Draw) -> Clamp | None:
    """No clamp, or any that holds at least one value."""
    if draw(st.booleans()):
        return None
    low = draw(st.integers(-128, 127))
    return Clamp(low, draw(st.integers(low, 127)))


@st.composite
def float_clamps(draw: Draw) -> Clamp | None:
    """No clamp, or one around zero."""
    low = draw(st.one_of(st.none(), st.floats(-2, 0.5, width=32)))
    return None if low is None else Clamp(low, low + 2)


def int8_array(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Every value of int8, or clusters at its ends."""
    if rng.integers(3) == 0:
        return rng.choice(np.array([-128, -127, 126, 127], np.int8), shape)
    return rng.integers(-128, 128, shape).astype(np.int8)


def float_array(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Normally distributed float32."""
    return np.asarray(rng.normal(size=shape), np.float32)


@st.composite
def windows(
    draw: Draw, size: int = 20, kernel: int = 4
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], Padding, tuple[int, int]]:
    """(size, kernel, stride, padding, dilation) with at least one output, no window all padding."""
    sides = []
    common = draw(st.sampled_from((3, 3, 1, None)))
    step = draw(st.sampled_from((1, 1, 2)))
    for axis in range(2):
        k = common or draw(st.integers(1, kernel))
        widest = st.integers(0, 1 if common and draw(st.booleans()) else k - 1).map(
            lambda n, k=k: min(n, k - 1)
        )
        before, after = draw(widest), draw(widest)
        n = draw(st.integers(max(1, k - min(before, after)), size if axis else size // 2))
        sides.append((n, k, step if common else draw(st.integers(1, 3)), before, after))
    (h, kh, sh, top, bottom), (w, kw, sw, left, right) = sides
    dilation = (1, 1)
    if draw(st.integers(0, 5)) == 0 and kh > 1 and kw > 1:
        grown = (2, 2)
        if min(window_shape((h, w), (kh, kw), (sh, sw), Padding(top, bottom, left, right), grown)) > 0:
            dilation = grown
    return (h, w), (kh, kw), (sh, sw), Padding(top, bottom, left, right), dilation


def _int8_products(
    draw: Draw, x_q: Quantization, y_q: Quantization, weight: Array, channels_axis: int
) -> list[Tensor]:
    """weight, bias and multiplier whose sums fit in int32 and whose results mostly lie inside int8."""
    rng = draw(seeds())
    channels = weight.shape[channels_axis]
    axes = tuple(i for i in range(weight.ndim) if i != channels_axis)
    reach = int(np.abs(weight.astype(np.int64)).sum(axis=axes).max()) * 255
    spread = max(reach / 8, 1.0)
    bias = rng.integers(-int(spread), int(spread) + 1, channels)
    if draw(st.integers(0, 3)) == 0:
        bias[rng.integers(channels)] = rng.choice([-(2**30), 2**30])
    assert np.abs(bias).max() + reach <= LIMIT
    goal = 2.0 ** draw(st.floats(4, 9)) / spread
    scales = np.float32(goal * y_q.scale / x_q.scale) * rng.uniform(0.5, 1.5, channels).astype(np.float32)
    if rng.integers(4) == 0:
        scales[:] = scales[0]
    multiplier = arithmetic.requantise_multiplier(x_q.scale, scales, y_q.scale)
    per_channel = Quantization(tuple(float(s) for s in scales.astype(np.float32)), 0, channels_axis)
    return [
        constant("weight", weight, per_channel),
        constant("bias", bias.astype(np.int32)),
        constant("multiplier", multiplier),
    ]


def _int8_weight(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return rng.integers(-127, 128, shape).astype(np.int8)


@st.composite
def conv2d_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Convolutions: 1 × 1, 3 × 3 and others, any stride, padding, zero point, clamp and bias up to 2^30."""
    rng, ((h, w), kernel, stride, padding, dilation) = draw(seeds()), draw(windows())
    c, o = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((*CHANNELS, 48, 64)))
    n = draw(st.sampled_from((1, 1, 2)))
    out = window_shape((h, w), kernel, stride, padding, dilation)
    return _sliding(
        draw, rng, dtype, (n, h, w, c), (o, *kernel, c), 0, (n, *out, o), Conv2d, stride, padding, dilation
    )


@st.composite
def depthwise_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Depthwise convolutions, also with several outputs a channel."""
    rng, ((h, w), kernel, stride, padding, dilation) = draw(seeds()), draw(windows())
    c, each = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 1, 1, 2)))
    n = draw(st.sampled_from((1, 1, 2)))
    out = window_shape((h, w), kernel, stride, padding, dilation)
    shapes = ((n, h, w, c), (*kernel, c * each), 2, (n, *out, c * each))
    return _sliding(draw, rng, dtype, *shapes, DepthwiseConv2d, stride, padding, dilation)


@st.composite
def grouped_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Convolutions in one to four groups."""
    rng, ((h, w), kernel, stride, padding, dilation) = draw(seeds()), draw(windows(size=12))
    groups, inner, each = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 18))
    out = window_shape((h, w), kernel, stride, padding, dilation)
    x, y = (draw(st.sampled_from((1, 2))), h, w, groups * inner), groups * each
    shapes = (x, (y, *kernel, inner), 0, (x[0], *out, y))
    return _sliding(draw, rng, dtype, *shapes, GroupedConv2d, stride, padding, dilation)


def _sliding(
    draw: Draw,
    rng: np.random.Generator,
    dtype: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    axis: int,
    y: tuple[int, ...],
    kind: type[Conv2d] | type[DepthwiseConv2d] | type[GroupedConv2d],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int],
) -> Case:
    tensors, fields = _product_tensors(draw, rng, dtype, x, weight, axis, y)
    op = kind(**fields, stride=stride, padding=padding, dilation=dilation)
    array = int8_array(rng, x) if dtype == "int8" else float_array(rng, x)
    return Case(program_of(tensors, [op]), (array,))


def _product_tensors(
    draw: Draw,
    rng: np.random.Generator,
    dtype: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    axis: int,
    y: tuple[int, ...],
) -> tuple[list[Tensor], dict[str, Any]]:
    names: dict[str, Any] = {"x": "x", "weight": "weight", "bias": "bias", "y": "y"}
    if dtype == "int8":
        x_q, y_q = draw(quantizations()), draw(quantizations())
        constants = _int8_products(draw, x_q, y_q, _int8_weight(rng, weight), axis)
        names |= {"multiplier": "multiplier", "clamp": draw(int8_clamps())}
        return [Tensor("x", x, dtype, x_q), *constants, Tensor("y", y, dtype, y_q)], names
    fan_in = math.prod(weight) // weight[axis]
    constants = [constant("weight", float_array(rng, weight) / np.float32(math.sqrt(fan_in)))]
    if draw(st.booleans()):
        constants.append(constant("bias", float_array(rng, weight[axis : axis + 1])))
    else:
        names["bias"] = None
    names |= {"multiplier": None, "clamp": draw(float_clamps())}
    return [Tensor("x", x, dtype), *constants, Tensor("y", y, dtype)], names


@st.composite
def dense_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Matrix products, one row or several."""
    rng = draw(seeds())
    n, i, o = draw(st.sampled_from((1, 1, 2, 5))), draw(st.integers(1, 150)), draw(st.integers(1, 150))
    tensors, fields = _product_tensors(draw, rng, dtype, (n, i), (o, i), 0, (n, o))
    array = int8_array(rng, (n, i)) if dtype == "int8" else float_array(rng, (n, i))
    return Case(program_of(tensors, [Dense(**fields)]), (array,))


@st.composite
def maps(draw: Draw) -> tuple[int, int, int, int]:
    """Shapes of feature maps."""
    sizes = st.integers(1, 9)
    return draw(st.sampled_from((1, 1, 2))), draw(sizes), draw(sizes), draw(st.sampled_from(CHANNELS))


def _array(rng: np.random.Generator, dtype: str, shape: Sequence[int]) -> Array:
    if dtype == "int8":
        return int8_array(rng, shape)
    if dtype == "float32":
        return float_array(rng, shape)
    return rng.integers(0, 100, shape).astype(dtype)


@st.composite
def two_operand_cases(draw: Draw, kind: type[Add] | type[Sub] | type[Mul], dtype: str = "int8") -> Case:
    """Two tensors of their own scales, often one stretched over the other; sometimes one with itself."""
    rng, whole = draw(seeds()), draw(maps())
    shapes = [whole, whole]
    if draw(st.booleans()):
        keep = draw(st.lists(st.booleans(), min_size=4, max_size=4))
        small = tuple(n if kept else 1 for n, kept in zip(whole, keep))
        shapes[draw(st.integers(0, 1))] = small[draw(st.integers(0, 3)) if small[0] == 1 else 0 :]
    clamp = draw(int8_clamps() if dtype == "int8" else float_clamps())
    q = [draw(quantizations()) if dtype == "int8" else None for _ in "aby"]
    a, b = (Tensor(n, s, dtype, held) for n, s, held in zip("ab", shapes, q))
    y = Tensor("y", np.broadcast_shapes(*shapes), dtype, q[2])
    if draw(st.integers(0, 7)) == 0:
        y = Tensor("y", a.shape, dtype, q[2])
        return Case(program_of([a, y], [kind("a", "a", "y", clamp)]), (_array(rng, dtype, a.shape),))
    arrays = (_array(rng, dtype, a.shape), _array(rng, dtype, b.shape))
    return Case(program_of([a, b, y], [kind("a", "b", "y", clamp)]), arrays)


@st.composite
def pool_cases(draw: Draw, kind: type[AveragePool2d] | type[MaxPool2d], dtype: str = "int8") -> Case:
    """Pools, windows cut by the border included; means with equal and with different scales."""
    rng, ((h, w), kernel, stride, padding, _) = draw(seeds()), draw(windows(size=14))
    if draw(st.booleans()):
        kernel, stride, padding = (h, w), (1, 1), Padding()
    n, c = draw(st.sampled_from((1, 1, 2))), draw(st.sampled_from(CHANNELS))
    out = window_shape((h, w), kernel, stride, padding)
    x_q = draw(quantizations()) if dtype == "int8" else None
    y_q = x_q
    if dtype == "int8" and kind is AveragePool2d and draw(st.booleans()):
        y_q = draw(quantizations())
    clamp = draw(int8_clamps() if dtype == "int8" else float_clamps())
    tensors = [Tensor("x", (n, h, w, c), dtype, x_q), Tensor("y", (n, *out, c), dtype, y_q)]
    op = kind("x", "y", kernel, stride, padding, clamp)
    return Case(program_of(tensors, [op]), (_array(rng, dtype, (n, h, w, c)),))


@st.composite
def softmax_cases(draw: Draw, dtype: str = "int8") -> Case:
    """A few rows or many, of up to 40 classes."""
    rng, shape = draw(seeds()), (draw(st.sampled_from((1, 2, 3, 40))), draw(st.integers(1, 40)))
    if dtype == "float32":
        tensors = [Tensor("x", shape, dtype), Tensor("y", shape, dtype)]
        values = np.float32(draw(st.floats(0.1, 40))) * float_array(rng, shape)
        return Case(program_of(tensors, [Softmax("x", None, "y")]), (values,))
    x_q = draw(quantizations())
    tensors = [
        Tensor("x", shape, dtype, x_q),
        constant("table", arithmetic.softmax_table(x_q.scale)),
        Tensor("y", shape, dtype, Quantization((1 / 256,), -128)),
    ]
    return Case(program_of(tensors, [Softmax("x", "table", "y")]), (int8_array(rng, shape),))


@st.composite
def table_cases(draw: Draw) -> Case:
    """Any table of 256 int8 values."""
    rng, shape = draw(seeds()), draw(maps())
    tensors = [
        Tensor("x", shape, "int8", draw(quantizations())),
        constant("table", int8_array(rng, (256,))),
        Tensor("y", shape, "int8", draw(quantizations())),
    ]
    return Case(program_of(tensors, [Table("x", "table", "y")]), (int8_array(rng, shape),))


@st.composite
def relu_cases(draw: Draw) -> Case:
    """With and without a maximum."""
    rng, shape = draw(seeds()), draw(maps())
    tensors = [Tensor(name, shape, "float32") for name in "xy"]
    op = Relu("x", "y", draw(st.sampled_from((None, 1.0, 6.0))))
    return Case(program_of(tensors, [op]), (4 * float_array(rng, shape),))


@st.composite
def clamp_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Clamps that stand alone."""
    rng, shape = draw(seeds()), draw(maps())
    q = draw(quantizations()) if dtype == "int8" else None
    clamp = draw(int8_clamps() if dtype == "int8" else float_clamps()) or Clamp(-1, 1)
    tensors = [Tensor(name, shape, dtype, q) for name in "xy"]
    return Case(program_of(tensors, [ClampTo("x", "y", clamp)]), (_array(rng, dtype, shape),))


DTYPES = ("int8", "uint8", "int32", "float32", "int16", "int64")


@st.composite
def reshape_cases(draw: Draw) -> Case:
    """A map flattened, in any type."""
    rng, shape, dtype = draw(seeds()), draw(maps()), draw(st.sampled_from(DTYPES))
    q = draw(quantizations()) if dtype == "int8" else None
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", (shape[0], math.prod(shape[1:])), dtype, q)]
    return Case(program_of(tensors, [Reshape("x", "y")]), (_array(rng, dtype, shape),))


@st.composite
def transpose_cases(draw: Draw) -> Case:
    """Any order of up to five axes, any type."""
    rng, dtype = draw(seeds()), draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=5)))
    axes = tuple(draw(st.permutations(range(len(shape)))))
    q = draw(quantizations()) if dtype == "int8" else None
    y = tuple(shape[axis] for axis in axes)
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", y, dtype, q)]
    return Case(program_of(tensors, [Transpose("x", "y", axes)]), (_array(rng, dtype, shape),))


@st.composite
def pad_cases(draw: Draw) -> Case:
    """Borders of zero to three places on up to four axes, any type."""
    rng, dtype = draw(seeds()), draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    before, after = (tuple(draw(st.integers(0, 3)) for _ in shape) for _ in range(2))
    value = draw(st.integers(0, 100)) if dtype != "float32" else draw(st.floats(-9, 9, width=32))
    q = draw(quantizations()) if dtype == "int8" else None
    y = tuple(b + n + a for b, n, a in zip(before, shape, after))
    tensors = [Tensor("x", shape, dtype, q), Tensor("y", y, dtype, q)]
    op = Pad("x", "y", before, after, float(value))
    return Case(program_of(tensors, [op]), (_array(rng, dtype, shape),))


@st.composite
def concat_cases(draw: Draw) -> Case:
    """One to four parts along any axis, any type; sometimes one part twice."""
    rng, dtype = draw(seeds()), draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    axis = draw(st.integers(0, len(shape) - 1))
    extents = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    shapes = [(*shape[:axis], extent, *shape[axis + 1 :]) for extent in extents]
    q = draw(quantizations()) if dtype == "int8" else None
    xs = [Tensor(f"x{i}", part, dtype, q) for i, part in enumerate(shapes)]
    twice = draw(st.booleans())
    names = (*(x.name for x in xs), *((xs[0].name,) if twice else ()))
    whole = sum(extents) + (extents[0] if twice else 0)
    y = Tensor("y", (*shape[:axis], whole, *shape[axis + 1 :]), dtype, q)
    arrays = tuple(_array(rng, dtype, part) for part in shapes)
    return Case(program_of([*xs, y], [Concat(names, "y", axis)]), arrays)


@st.composite
def quantize_cases(draw: Draw) -> Case:
    """Ties, huge values, infinities and NaN among ordinary ones."""
    rng, shape, q = draw(seeds()), draw(maps()), draw(quantizations())
    values = float_array(rng, shape) * np.float32(100 * q.scale)
    special = np.array(
        [np.nan, np.inf, -np.inf, 3e38, -3e38, -0.0, 0.5 * q.scale, -2.5 * q.scale], np.float32
    )
    mask = rng.integers(0, 4, shape) == 0
    values[mask] = rng.choice(special, int(mask.sum()))
    tensors = [Tensor("x", shape, "float32"), Tensor("y", shape, "int8", q)]
    return Case(program_of(tensors, [Quantize("x", "y")]), (values,))


@st.composite
def dequantize_cases(draw: Draw) -> Case:
    """Every int8 value."""
    rng, shape = draw(seeds()), draw(maps())
    tensors = [Tensor("x", shape, "int8", draw(quantizations())), Tensor("y", shape, "float32")]
    return Case(program_of(tensors, [Dequantize("x", "y")]), (int8_array(rng, shape),))


EXACT_CASES: dict[str, st.SearchStrategy[Case]] = {
    "Conv2d": conv2d_cases(),
    "DepthwiseConv2d": depthwise_cases(),
    "GroupedConv2d": grouped_cases(),
    "Dense": dense_cases(),
    "Add": two_operand_cases(Add),
    "Sub": two_operand_cases(Sub),
    "Mul": two_operand_cases(Mul),
    "AveragePool2d": pool_cases(AveragePool2d),
    "MaxPool2d": pool_cases(MaxPool2d),
    "Softmax": softmax_cases(),
    "Table": table_cases(),
    "ClampTo": clamp_cases(),
    "Reshape": reshape_cases(),
    "Transpose": transpose_cases(),
    "Pad": pad_cases(),
    "Concat": concat_cases(),
    "Quantize": quantize_cases(),
    "Dequantize": dequantize_cases(),
}
"""Operations whose bytes are defined, by name."""

FLOAT_CASES: dict[str, st.SearchStrategy[Case]] = {
    "Conv2d": conv2d_cases("float32"),
    "DepthwiseConv2d": depthwise_cases("float32"),
    "GroupedConv2d": grouped_cases("float32"),
    "Dense": dense_cases("float32"),
    "Add": two_operand_cases(Add, "float32"),
    "Sub": two_operand_cases(Sub, "float32"),
    "Mul": two_operand_cases(Mul, "float32"),
    "AveragePool2d": pool_cases(AveragePool2d, "float32"),
    "MaxPool2d": pool_cases(MaxPool2d, "float32"),
    "Softmax": softmax_cases("float32"),
    "Relu": relu_cases(),
    "ClampTo": clamp_cases("float32"),
}
"""float32 operations, compared with a tolerance."""
