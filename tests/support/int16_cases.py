"""Hypothesis strategies for programs of one operation on int16, inside the arithmetic's ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Padding, Quantization, Tensor
from lepton_sdk.program import arithmetic_int16 as int16
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    GroupedConv2d,
    MaxPool2d,
    Mul,
    Quantize,
    Softmax,
    Sub,
    Table,
    window_shape,
)
from lepton_sdk.program.operations_int16 import FixedPointSigmoid, FixedPointTanh, Requantize
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import ReduceMean
from support.operation_cases import CHANNELS, Draw, float_array, int8_array, maps, seeds, windows
from support.programs import Case, program_of

Array = npt.NDArray[Any]
ENDS = np.array([-32768, -32767, -1, 0, 1, 32767], np.int16)


def int16_array(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Every value of int16, or clusters at its ends and around zero."""
    if rng.integers(3) == 0:
        return rng.choice(ENDS, shape)
    return rng.integers(-32768, 32768, shape).astype(np.int16)


@st.composite
def scales(draw: Draw, low: float = -15, high: float = -6) -> Quantization:
    """One scale for a whole tensor, sometimes a power of two; zero point 0."""
    exponent = draw(st.one_of(st.floats(low, high), st.integers(int(low), int(high)).map(float)))
    return Quantization((float(np.float32(2.0**exponent)),))


@st.composite
def clamps(draw: Draw) -> Clamp | None:
    """No clamp, or any that holds at least one value."""
    if draw(st.booleans()):
        return None
    low = draw(st.integers(-32768, 32767))
    return Clamp(low, draw(st.integers(low, 32767)))


def _products(
    draw: Draw,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    axis: int,
    y: tuple[int, ...],
    multiplier: Callable[[Array], Array] = int16.requantise_multiplier,
) -> tuple[list[Tensor], dict[str, Any], Array]:
    """Tensors and fields whose results mostly lie inside int16, biases beyond 32 bits among them."""
    rng, x_q, y_q = draw(seeds()), draw(scales()), draw(scales())
    # Weights at one end make the largest partial sums there are.
    alike = draw(st.integers(0, 4)) == 0
    numbers = np.full(weight, 127, np.int8) if alike else rng.integers(-127, 128, weight).astype(np.int8)
    channels = weight[axis]
    fan_in = math.prod(weight) // channels
    spread = 32768 * 64 * math.sqrt(fan_in)
    bias = rng.integers(-int(spread), int(spread) + 1, channels)
    if draw(st.integers(0, 3)) == 0:
        bias[rng.integers(channels)] = rng.choice([-(2**40), 2**40])
    reals = 2.0 ** draw(st.floats(13, 17)) / spread * rng.uniform(0.5, 1.5, channels)
    weight_scales = np.float32(reals * y_q.scale / x_q.scale)
    tensors = [
        Tensor("x", x, "int16", x_q),
        constant("weight", numbers, Quantization(tuple(map(float, weight_scales)), 0, axis)),
        constant("bias", bias),
        constant("multiplier", multiplier(reals)),
        Tensor("y", y, "int16", y_q),
    ]
    fields: dict[str, Any] = {
        "x": "x",
        "weight": "weight",
        "bias": "bias",
        "multiplier": "multiplier",
        "y": "y",
    }
    if draw(st.integers(0, 3)) == 0:
        fields["bias"] = None
    array = np.full(x, -32768, np.int16) if alike else int16_array(rng, x)
    return tensors, fields | {"clamp": draw(clamps())}, array


@st.composite
def sliding_cases(draw: Draw, kind: type[Conv2d] | type[DepthwiseConv2d] | type[GroupedConv2d]) -> Case:
    """Convolutions of any stride, padding and dilation."""
    (h, w), kernel, stride, padding, dilation = draw(windows(size=12))
    c, n = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 1, 2)))
    out = window_shape((h, w), kernel, stride, padding, dilation)
    if kind is DepthwiseConv2d:
        o = c * draw(st.sampled_from((1, 1, 2)))
        weight, axis = (*kernel, o), 2
    elif kind is GroupedConv2d:
        groups, inner = draw(st.integers(1, 4)), draw(st.integers(1, 9))
        c, o = groups * inner, groups * draw(st.integers(1, 9))
        weight, axis = (o, *kernel, inner), 0
    else:
        # More products than 32 bits hold, over the taps or within one.
        c, o = draw(st.sampled_from((*CHANNELS, 70, 601))), draw(st.sampled_from(CHANNELS))
        weight, axis = (o, *kernel, c), 0
    tensors, fields, x = _products(draw, (n, h, w, c), weight, axis, (n, *out, o))
    op = kind(**fields, stride=stride, padding=padding, dilation=dilation)
    return Case(program_of(tensors, [op]), (x,))


@st.composite
def dense_cases(draw: Draw) -> Case:
    """Matrix products, some with more terms than 32 bits hold."""
    n, i, o = draw(st.sampled_from((1, 1, 3))), draw(st.one_of(st.integers(1, 150), st.just(1200))), 17
    tensors, fields, x = _products(draw, (n, i), (o, i), 0, (n, o), int16.dense_multiplier)
    return Case(program_of(tensors, [Dense(**fields)]), (x,))


@st.composite
def two_operand_cases(draw: Draw, kind: type[Add] | type[Sub] | type[Mul]) -> Case:
    """Two tensors of their own scales, often one stretched over the other; sometimes one with itself."""
    rng, whole = draw(seeds()), draw(maps())
    small = tuple(n if draw(st.booleans()) else 1 for n in whole)
    shapes = [whole, draw(st.sampled_from((whole, small)))]
    if draw(st.booleans()):
        shapes.reverse()
    a_q, b_q = draw(scales()), draw(scales())
    if kind is Mul:
        y_q = draw(scales(-28, -25))
        y_q = Quantization((float(np.float32(max(y_q.scale, 1.01 * a_q.scale * b_q.scale))),))
    else:
        y_q = draw(scales())
    tensors = [Tensor("a", shapes[0], "int16", a_q), Tensor("b", shapes[1], "int16", b_q)]
    tensors.append(Tensor("y", np.broadcast_shapes(*shapes), "int16", y_q))
    arrays = tuple(int16_array(rng, shape) for shape in shapes)
    return Case(program_of(tensors, [kind("a", "b", "y", draw(clamps()))]), arrays)


@st.composite
def pool_cases(draw: Draw, kind: type[AveragePool2d] | type[MaxPool2d]) -> Case:
    """Pools, windows cut by the border included."""
    rng, ((h, w), kernel, stride, padding, _) = draw(seeds()), draw(windows(size=12))
    if draw(st.booleans()):
        kernel, stride, padding = (h, w), (1, 1), Padding()
    n, c, q = draw(st.sampled_from((1, 1, 2))), draw(st.sampled_from(CHANNELS)), draw(scales())
    out = window_shape((h, w), kernel, stride, padding)
    tensors = [Tensor("x", (n, h, w, c), "int16", q), Tensor("y", (n, *out, c), "int16", q)]
    op = kind("x", "y", kernel, stride, padding, draw(clamps()))
    return Case(program_of(tensors, [op]), (int16_array(rng, (n, h, w, c)),))


@st.composite
def softmax_cases(draw: Draw) -> Case:
    """Rows of up to 40 classes."""
    rng, shape = draw(seeds()), (draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    tensors = [
        Tensor("x", shape, "int16", draw(scales())),
        constant("table", int16.softmax_tables()),
        Tensor("y", shape, "int16", Quantization((2.0**-15,))),
    ]
    return Case(program_of(tensors, [Softmax("x", "table", "y")]), (int16_array(rng, shape),))


@st.composite
def element_cases(draw: Draw, kind: Any) -> Case:
    """One element at a time: tables, curves, clamps."""
    rng, shape, q = draw(seeds()), draw(maps()), draw(scales())
    tensors = [Tensor("x", shape, "int16", q)]
    if kind is ClampTo:
        tensors.append(Tensor("y", shape, "int16", q))
        op: Any = ClampTo("x", "y", draw(clamps()) or Clamp(-5, 5))
    elif kind is Table:
        tensors.append(constant("table", np.sort(int16_array(rng, (513,)))))
        tensors.append(Tensor("y", shape, "int16", draw(scales())))
        op = Table("x", "table", "y")
    else:
        tensors.append(constant("table", int16.sigmoid_table()))
        tensors.append(Tensor("y", shape, "int16", Quantization((2.0**-15,))))
        op = kind("x", "table", "y")
    return Case(program_of(tensors, [op]), (int16_array(rng, shape),))


@st.composite
def requantize_cases(draw: Draw) -> Case:
    """Between int16 and int16, int16 and int8, int8 and int16."""
    rng, shape = draw(seeds()), draw(maps())
    kinds = draw(st.sampled_from((("int16", "int16"), ("int16", "int8"), ("int8", "int16"))))
    tensors = []
    for name, dtype in zip("xy", kinds):
        q = draw(scales())
        if dtype == "int8":
            q = Quantization((float(np.float32(q.scale * 256)),), draw(st.integers(-128, 127)))
        tensors.append(Tensor(name, shape, dtype, q))
    clamp = draw(clamps()) if kinds[1] == "int16" else None
    x = int16_array(rng, shape) if kinds[0] == "int16" else int8_array(rng, shape)
    return Case(program_of(tensors, [Requantize("x", "y", clamp)]), (x,))


@st.composite
def mean_cases(draw: Draw) -> Case:
    """Over any axes of a map."""
    rng, shape, x_q, y_q = draw(seeds()), draw(maps()), draw(scales(-13, -10)), draw(scales(-13, -6))
    axes = tuple(sorted(draw(st.sets(st.integers(0, 3), min_size=1))))
    left = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    if x_q.scale >= y_q.scale * math.prod(shape) / math.prod(left):
        y_q = x_q
    tensors = [Tensor("x", shape, "int16", x_q), Tensor("y", left, "int16", y_q)]
    return Case(program_of(tensors, [ReduceMean("x", "y", axes)]), (int16_array(rng, shape),))


@st.composite
def quantize_cases(draw: Draw) -> Case:
    """Ties, huge values, infinities and NaN among ordinary ones."""
    rng, shape, q = draw(seeds()), draw(maps()), draw(scales())
    values = float_array(rng, shape) * np.float32(20000 * q.scale)
    special = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.5 * q.scale, -2.5 * q.scale], np.float32)
    mask = rng.integers(0, 4, shape) == 0
    values[mask] = rng.choice(special, int(mask.sum()))
    tensors = [Tensor("x", shape, "float32"), Tensor("y", shape, "int16", q)]
    return Case(program_of(tensors, [Quantize("x", "y")]), (values,))


@st.composite
def dequantize_cases(draw: Draw) -> Case:
    """Every int16 value."""
    rng, shape = draw(seeds()), draw(maps())
    tensors = [Tensor("x", shape, "int16", draw(scales())), Tensor("y", shape, "float32")]
    return Case(program_of(tensors, [Dequantize("x", "y")]), (int16_array(rng, shape),))


INT16_CASES: dict[str, st.SearchStrategy[Case]] = {
    "Conv2d": sliding_cases(Conv2d),
    "DepthwiseConv2d": sliding_cases(DepthwiseConv2d),
    "GroupedConv2d": sliding_cases(GroupedConv2d),
    "Dense": dense_cases(),
    "Add": two_operand_cases(Add),
    "Sub": two_operand_cases(Sub),
    "Mul": two_operand_cases(Mul),
    "AveragePool2d": pool_cases(AveragePool2d),
    "MaxPool2d": pool_cases(MaxPool2d),
    "Softmax": softmax_cases(),
    "Table": element_cases(Table),
    "ClampTo": element_cases(ClampTo),
    "Quantize": quantize_cases(),
    "Dequantize": dequantize_cases(),
    "Requantize": requantize_cases(),
    "ReduceMean": mean_cases(),
    "FixedPointSigmoid": element_cases(FixedPointSigmoid),
    "FixedPointTanh": element_cases(FixedPointTanh),
}
"""Operations with an int16 form of their own, by name; moves take any type (support/operation_cases.py)."""
