"""What float32 rows on blocked maps ask of an operation: the forms that their tiles are made for."""

from __future__ import annotations

from collections.abc import Callable

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.portable.layers import Products, float_products, typed
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_compilers.backends.cpu.tiles.avx512 import winograd_tile
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    DepthwiseConv2d,
    GroupedConv2d,
    MaxPool2d,
    Relu,
)

FEW_CHANNELS = 4
"""Up to here a kernel row of neighbouring pixels fills a loop better than blocks of 16 channels."""


def constant_products(op: Products, t: Tensors) -> Answer:
    """float32 with weights that a function never changes."""
    answer = float_products(op, t)
    if isinstance(answer, No):
        return answer
    held = t[op.weight].value is not None and (op.bias is None or t[op.bias].value is not None)
    return when(held, "weights that are computed")


def few_channels(op: Conv2d, t: Tensors) -> Answer:
    """Few channels: a kernel row of neighbouring pixels fills a loop better than blocks of them do."""
    few = t[op.x].shape[3] <= FEW_CHANNELS and op.dilation[1] == 1
    return constant_products(op, t) if few else No(f"more than {FEW_CHANNELS} input channels")


def pointwise(op: Conv2d, t: Tensors) -> Answer:
    """1 × 1 at stride 1 without padding."""
    plain = t[op.weight].shape[1:3] == op.stride == (1, 1) and not op.padding
    return constant_products(op, t) if plain else No("a kernel other than 1 × 1 at stride 1")


def grouped_pointwise(op: GroupedConv2d, t: Tensors) -> Answer:
    """The same in groups."""
    plain = t[op.weight].shape[1:3] == op.stride == (1, 1) and not op.padding
    return constant_products(op, t) if plain else No("a kernel other than 1 × 1 at stride 1, in groups")


def three_by_three(op: Conv2d | DepthwiseConv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 or 2, no dilation, and a border of at most 1."""
    shape, p = t[op.weight].shape, op.padding
    kernel = shape[1:3] if isinstance(op, Conv2d) else shape[:2]
    fits = kernel == (3, 3) and op.stride in ((1, 1), (2, 2)) and op.dilation == (1, 1)
    narrow = max(p.top, p.bottom, p.left, p.right) <= 1
    return constant_products(op, t) if fits and narrow else No("a kernel other than 3 × 3 at stride 1 or 2")


def winograd(op: Conv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 on maps that are worth Winograd's transforms."""
    answer = three_by_three(op, t)
    if isinstance(answer, No):
        return answer
    (_, oh, ow, o), c = t[op.y].shape, t[op.x].shape[3]
    pays = op.stride == (1, 1) and winograd_tile(oh, ow, c, o) is not None
    return when(pays, "a map on which Winograd's tiles don't pay")


def depthwise(op: DepthwiseConv2d, t: Tensors) -> Answer:
    """One output channel an input channel."""
    single = t[op.x].shape[3] == t[op.y].shape[3]
    return constant_products(op, t) if single else No("several output channels an input channel")


def depthwise3x3(op: DepthwiseConv2d, t: Tensors) -> Answer:
    """3 × 3 as above, one output channel an input channel."""
    answer = three_by_three(op, t)
    return answer if isinstance(answer, No) else depthwise(op, t)


def equal_maps(op: Add, t: Tensors) -> Answer:
    """Feature maps of one shape."""
    answer = typed(t, "float32", op.a, op.b, op.y)
    if isinstance(answer, No):
        return answer
    return when(len(t[op.a].shape) == 4 and t[op.a].shape == t[op.b].shape, "no two maps of one shape")


def float_maps(op: AveragePool2d | MaxPool2d | ClampTo | Relu, t: Tensors) -> Answer:
    """float32 feature maps at both ends."""
    answer = typed(t, "float32", op.x, op.y)
    return answer if isinstance(answer, No) else when(len(t[op.x].shape) == 4, "no feature map")


def adding(accepts: Callable[[Conv2d, Tensors], Answer]) -> Callable[[ConvAdd, Tensors], Answer]:
    """A row for the convolution that may add a residual as well, where it has no bounds of its own."""

    def both(op: ConvAdd, t: Tensors) -> Answer:
        answer = equal_maps(op.add, t)
        if isinstance(answer, No):
            return answer
        return accepts(op.conv, t) if op.conv.clamp is None else No("bounds before the residual")

    return both
