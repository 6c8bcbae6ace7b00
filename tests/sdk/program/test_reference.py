"""Reference rules against loops that follow the definitions literally."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Function, Padding, Program, Quantization, Tensor, arithmetic
from lepton_sdk.program.operations import (
    AveragePool2d,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Table,
    window_shape,
)
from lepton_sdk.program.reference import Reference, run
from lepton_sdk.program.tensors import constant
from lepton_targets.errors import BadInputError

RANDOM = np.random.default_rng(7)


def int8(*shape):
    return RANDOM.integers(-128, 128, shape).astype(np.int8)


def weight(*shape):
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def program(op, *tensors, inputs=("x",), outputs=("y",)):
    return Program({"infer": Function("infer", inputs, outputs, (op,))}, {t.name: t for t in tensors})


@st.composite
def maps(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = Padding(*(draw(st.integers(0, k - 1)) for k in (kernel[0], kernel[0], kernel[1], kernel[1])))
    size = (draw(st.integers(kernel[0], 8)), draw(st.integers(kernel[1], 8)))
    return size, kernel, stride, padding


def places(size, kernel, stride, padding, row, column):
    """Input coordinates and kernel coordinates of one output place that lie inside the map."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            y, x = row * stride[0] + i - padding.top, column * stride[1] + j - padding.left
            if 0 <= y < size[0] and 0 <= x < size[1]:
                yield y, x, i, j


@settings(max_examples=40)
@given(maps(), st.integers(1, 5), st.integers(1, 4), st.integers(-128, 127), st.booleans())
def test_convolutions_sum_what_lies_inside_the_map(case, channels, out, zero, depthwise):
    size, kernel, stride, padding = case
    x_q, y_q = Quantization((0.25,), zero), Quantization((0.5,), -3)
    x = int8(1, *size, channels)
    out = channels * out if depthwise else out
    w = weight(*kernel, out) if depthwise else weight(out, *kernel, channels)
    bias = RANDOM.integers(-5000, 5000, out).astype(np.int32)
    m = RANDOM.uniform(1e-4, 1e-2, out).astype(np.float32)
    height, width = window_shape(size, kernel, stride, padding)
    kind = DepthwiseConv2d if depthwise else Conv2d
    op = kind("x", "w", "b", "m", "y", stride, padding, clamp=Clamp(-100, 90))
    p = program(
        op,
        Tensor("x", x.shape, "int8", x_q),
        Tensor("y", (1, height, width, out), "int8", y_q),
        constant("w", w),
        constant("b", bias),
        constant("m", m),
    )
    accumulator = np.zeros((1, height, width, out), np.int64) + bias
    for row in range(height):
        for column in range(width):
            for y, xx, i, j in places(size, kernel, stride, padding, row, column):
                value = x[0, y, xx].astype(np.int64) - zero
                for o in range(out):
                    if depthwise:
                        accumulator[0, row, column, o] += value[o // (out // channels)] * int(w[i, j, o])
                    else:
                        accumulator[0, row, column, o] += int(value @ w[o, i, j].astype(np.int64))
    np.testing.assert_array_equal(run(p, [x])[0], arithmetic.requantise(accumulator, m, -3, -100, 90))


@settings(max_examples=40)
@given(maps(), st.booleans())
def test_pools_leave_padding_out(case, average):
    size, kernel, stride, padding = case
    x = int8(1, *size, 2)
    height, width = window_shape(size, kernel, stride, padding)
    q = Quantization((0.5,), 9)
    kind = AveragePool2d if average else MaxPool2d
    p = program(
        kind("x", "y", kernel, stride, padding),
        Tensor("x", x.shape, "int8", q),
        Tensor("y", (1, height, width, 2), "int8", q),
    )
    found = run(p, [x])[0]
    for row in range(height):
        for column in range(width):
            covered = [x[0, y, xx] for y, xx, _, _ in places(size, kernel, stride, padding, row, column)]
            values = np.array(covered).astype(np.int64)
            expected = arithmetic.rounded_mean(values.sum(0), len(values)) if average else values.max(0)
            np.testing.assert_array_equal(found[0, row, column], expected)


def test_float_and_int8_dense_agree_within_a_step():
    x, w = RANDOM.normal(size=(3, 20)).astype(np.float32), RANDOM.normal(size=(5, 20)).astype(np.float32)
    tensors = (Tensor("x", (3, 20), "float32"), Tensor("y", (3, 5), "float32"), constant("w", w))
    y = run(program(Dense("x", "w", None, None, "y"), *tensors), [x])[0]
    np.testing.assert_allclose(y, x @ w.T, rtol=1e-5)
    sx, sw, sy = np.float32(np.abs(x).max() / 127), np.abs(w).max(1) / 127, np.float32(np.abs(y).max() / 127)
    quantised = program(
        Dense("x", "w", None, "m", "y"),
        Tensor("x", (3, 20), "int8", Quantization((float(sx),))),
        Tensor("y", (3, 5), "int8", Quantization((float(sy),))),
        constant("w", np.rint(w / sw[:, None]).astype(np.int8)),
        constant("m", arithmetic.requantise_multiplier(sx, sw, sy)),
    )
    q = run(quantised, [arithmetic.quantize(x, float(sx), 0)])[0]
    assert np.abs(q * sy - y).max() < 3 * sy


def test_table_is_indexed_from_minus_128():
    values = RANDOM.permutation(np.arange(-128, 128)).astype(np.int8)
    x = np.arange(-128, 128, dtype=np.int8)
    q = Quantization((1.0,))
    tensors = (Tensor("x", (256,), "int8", q), Tensor("y", (256,), "int8", q), constant("t", values))
    np.testing.assert_array_equal(run(program(Table("x", "t", "y"), *tensors), [x])[0], values)


def test_a_wrong_input_is_named_with_what_is_expected():
    q = Quantization((1.0,))
    tensors = (Tensor("x", (2, 2), "int8", q), Tensor("y", (2, 2), "int8", q), constant("t", int8(256)))
    reference = Reference(program(Table("x", "t", "y"), *tensors))
    with pytest.raises(BadInputError, match=r"input 'x' is int8 \(2, 3\); expected int8 \(2, 2\)"):
        reference.run([int8(2, 3)])
    with pytest.raises(BadInputError, match="takes 1 inputs, 2 were given"):
        reference.run([int8(2, 2), int8(2, 2)])
