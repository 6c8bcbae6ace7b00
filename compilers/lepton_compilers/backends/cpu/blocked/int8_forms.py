"""What int8 rows of vector instruction sets ask of an operation: the forms that their tiles are made for."""

from __future__ import annotations

from collections.abc import Callable

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.portable.layers import add_constants, int8_products, typed
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    DepthwiseConv2d,
    MaxPool2d,
    Table,
)

FEW_CHANNELS = 4
"""Up to here a kernel row of neighbouring pixels fills a product's 4 bytes better than blocks of 16."""


def few_channels(op: Conv2d, t: Tensors) -> Answer:
    """Few channels: a kernel row of neighbouring pixels fills a product better than blocks of them do."""
    few = t[op.x].shape[3] <= FEW_CHANNELS and op.dilation[1] == 1
    return int8_products(op, t) if few else No(f"more than {FEW_CHANNELS} input channels")


def pointwise(op: Conv2d, t: Tensors) -> Answer:
    """1 × 1 at stride 1 without padding."""
    plain = t[op.weight].shape[1:3] == op.stride == (1, 1) and not op.padding
    return int8_products(op, t) if plain else No("a kernel other than 1 × 1 at stride 1")


def three_by_three(op: Conv2d | DepthwiseConv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 or 2, no dilation."""
    shape = t[op.weight].shape
    kernel = shape[1:3] if isinstance(op, Conv2d) else shape[:2]
    fits = kernel == (3, 3) and op.stride in ((1, 1), (2, 2)) and op.dilation == (1, 1)
    return int8_products(op, t) if fits else No("a kernel other than 3 × 3 at stride 1 or 2")


def depthwise(op: DepthwiseConv2d, t: Tensors) -> Answer:
    """One output channel an input channel."""
    single = t[op.x].shape[3] == t[op.y].shape[3]
    return int8_products(op, t) if single else No("several output channels an input channel")


def depthwise3x3(op: DepthwiseConv2d, t: Tensors) -> Answer:
    """Both of the above."""
    answer = three_by_three(op, t)
    return answer if isinstance(answer, No) else depthwise(op, t)


def int8_add(op: Add, t: Tensors) -> Answer:
    """Operands of one shape, and a sum that 32 bits hold."""
    answer = typed(t, "int8", op.a, op.b, op.y)
    if isinstance(answer, No):
        return answer
    if t[op.a].shape != t[op.b].shape:
        return No("an operand that is stretched")
    return when(1 <= add_constants(op, t)[2] <= 30, "a sum whose shift leaves 32 bits")


def adding(accepts: Callable[[Conv2d, Tensors], Answer]) -> Callable[[ConvAdd, Tensors], Answer]:
    """The same convolutions with an int8 residual added."""

    def both(op: ConvAdd, t: Tensors) -> Answer:
        answer = int8_add(op.add, t)
        return answer if isinstance(answer, No) else accepts(op.conv, t)

    return both


def int8_maps(op: AveragePool2d | MaxPool2d | ClampTo | Table, t: Tensors) -> Answer:
    """int8 feature maps at both ends."""
    answer = typed(t, "int8", op.x, op.y)
    return answer if isinstance(answer, No) else when(len(t[op.x].shape) == 4, "no feature map")
