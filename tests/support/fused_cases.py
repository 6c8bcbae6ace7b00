"""Hypothesis strategies for operations that a back end runs as one."""

from __future__ import annotations

from hypothesis import strategies as st

from lepton_sdk.program import Tensor
from lepton_sdk.program.operations import Add, Conv2d
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
def residual_cases(draw: Draw, dtype: str = "int8") -> Case:
    """Any convolution and the addition of a second input to its result, on either side."""
    conv = draw(conv2d_cases(dtype))
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
