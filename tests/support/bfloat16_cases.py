"""Hypothesis strategies for float32 layers whose products may be bfloat16, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Padding, Tensor
from lepton_sdk.program.operations import Add, Conv2d, window_shape
from lepton_sdk.program.tensors import constant
from support.fused_cases import residual_cases, wide_convolution_cases, wide_group_cases
from support.operation_cases import Draw, conv2d_cases, dense_cases, float_array, float_clamps, seeds
from support.programs import Case, program_of
from support.vision_cases import transposed_cases


@st.composite
def transformed_cases(draw: Draw) -> Case:
    """3 × 3 at stride 1 of so many channels that Winograd's tiles pay, on maps of some size; sums too."""
    rng, h, w = draw(seeds()), draw(st.integers(7, 19)), draw(st.integers(7, 19))
    c, o = draw(st.sampled_from((64, 72, 77))), draw(st.sampled_from((64, 70, 80)))
    padding = Padding(*(draw(st.integers(0, 1)) for _ in range(4)))
    y = (1, *window_shape((h, w), (3, 3), (1, 1), padding), o)
    tensors = [
        Tensor("x", (1, h, w, c), "float32"),
        constant("weight", float_array(rng, (o, 3, 3, c)) / np.float32(3 * math.sqrt(c))),
        constant("bias", float_array(rng, (o,))),
        Tensor("y", y, "float32"),
    ]
    inputs = [float_array(rng, (1, h, w, c))]
    if draw(st.booleans()):
        op = Conv2d("x", "weight", "bias", None, "y", (1, 1), padding, clamp=draw(float_clamps()))
        return Case(program_of(tensors, [op]), tuple(inputs))
    tensors += [Tensor("residual", y, "float32"), Tensor("sum", y, "float32")]
    op = Conv2d("x", "weight", "bias", None, "y", (1, 1), padding)
    add = Add("y", "residual", "sum", draw(float_clamps()))
    return Case(program_of(tensors, [op, add]), (*inputs, float_array(rng, y)))


@st.composite
def pointwise_cases(draw: Draw) -> Case:
    """1 × 1 of channels that fill blocks of 16 or not, odd numbers among them; at a stride too."""
    rng, h, w = draw(seeds()), draw(st.integers(1, 7)), draw(st.integers(1, 17))
    c, o = draw(st.sampled_from((3, 8, 16, 21, 64))), draw(st.sampled_from((1, 16, 24, 33, 50)))
    n, stride = draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 1, 2)))
    y = (n, *window_shape((h, w), (1, 1), (stride, stride), Padding()), o)
    tensors = [
        Tensor("x", (n, h, w, c), "float32"),
        constant("weight", float_array(rng, (o, 1, 1, c)) / np.float32(math.sqrt(c))),
        Tensor("y", y, "float32"),
    ]
    op = Conv2d("x", "weight", None, None, "y", (stride, stride), clamp=draw(float_clamps()))
    return Case(program_of(tensors, [op]), (float_array(rng, (n, h, w, c)),))


BFLOAT16_CASES: Mapping[str, st.SearchStrategy[Case]] = {
    "any": conv2d_cases("float32"),
    "wide": wide_convolution_cases(),
    "transformed": transformed_cases(),
    "pointwise": pointwise_cases(),
    "groups": wide_group_cases(),
    "sums": residual_cases("float32"),
    "dense": dense_cases("float32"),
    "transposed": transposed_cases("float32"),
}
