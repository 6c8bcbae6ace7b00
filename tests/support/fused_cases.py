"""Hypothesis strategies for operations that a back end runs as one."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Padding, Tensor
from lepton_sdk.program.operations import Add, Conv2d, GroupedConv2d, window_shape
from lepton_sdk.program.tensors import constant
from support.operation_cases import (
    Draw,
    conv2d_cases,
    float_array,
    float_clamps,
    int8_array,
    int8_clamps,
    quantizations,
    seeds,
)
from support.programs import Case, program_of


@st.composite
def wide_convolution_cases(draw: Draw) -> Case:
    """float32 convolutions of many channels by 3 × 3 kernels, on maps that no tile divides evenly."""
    rng, stride = draw(seeds()), draw(st.sampled_from((1, 1, 2)))
    h, w = draw(st.integers(3, 18)), draw(st.integers(3, 18))
    c, o = draw(st.sampled_from((16, 17, 24, 40))), draw(st.sampled_from((16, 20, 32, 48)))
    padding = Padding(*(draw(st.integers(0, 1)) for _ in range(4)))
    n = draw(st.sampled_from((1, 1, 2)))
    y = (n, *window_shape((h, w), (3, 3), (stride, stride), padding), o)
    weight = float_array(rng, (o, 3, 3, c)) / np.float32(3 * math.sqrt(c))
    tensors = [
        Tensor("x", (n, h, w, c), "float32"),
        constant("weight", weight),
        constant("bias", float_array(rng, (o,))),
        Tensor("y", y, "float32"),
    ]
    clamp = draw(float_clamps())
    op = Conv2d("x", "weight", "bias", None, "y", (stride, stride), padding, clamp=clamp)
    return Case(program_of(tensors, [op]), (float_array(rng, (n, h, w, c)),))


@st.composite
def wide_group_cases(draw: Draw) -> Case:
    """float32 1 × 1 convolutions in groups whose channels fill blocks of 16, or straddle them."""
    rng, groups = draw(seeds()), draw(st.sampled_from((2, 3)))
    inner, each = draw(st.sampled_from((16, 20, 80))), draw(st.sampled_from((16, 20, 72)))
    n, h, w = draw(st.sampled_from((1, 2))), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    tensors = [
        Tensor("x", (n, h, w, groups * inner), "float32"),
        constant("weight", float_array(rng, (groups * each, 1, 1, inner)) / np.float32(math.sqrt(inner))),
        constant("bias", float_array(rng, (groups * each,))),
        Tensor("y", (n, h, w, groups * each), "float32"),
    ]
    op = GroupedConv2d("x", "weight", "bias", None, "y", clamp=draw(float_clamps()))
    return Case(program_of(tensors, [op]), (float_array(rng, (n, h, w, groups * inner)),))


@st.composite
def residual_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Any convolution and the addition of a second input to its result, on either side."""
    conv = draw(
        conv2d_cases(dtype) if dtype == "int8" else st.one_of(conv2d_cases(dtype), wide_convolution_cases())
    )
    (product,) = conv.program.function().operations
    assert isinstance(product, Conv2d)
    rng, shape = draw(seeds()), conv.program.tensors["y"].shape
    operands = ("y", "other") if draw(st.booleans()) else ("other", "y")
    exact = dtype == "int8"
    tensors = [
        Tensor(name, shape, dtype, draw(quantizations()) if exact else None) for name in ("other", "sum")
    ]
    clamp = draw(int8_clamps() if exact else float_clamps())
    program = program_of([*conv.program.tensors.values(), *tensors], [product, Add(*operands, "sum", clamp)])
    other = int8_array(rng, shape) if exact else float_array(rng, shape)
    return Case(program, (*conv.inputs, other))
