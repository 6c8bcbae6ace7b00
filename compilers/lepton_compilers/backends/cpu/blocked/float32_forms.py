"""What float32 rows on blocked maps ask of an operation: the forms that their tiles are made for."""

from __future__ import annotations

from collections.abc import Callable

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.blocked import forms
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
    MaxPool2d,
    Relu,
)


def constant_products(op: Products, t: Tensors) -> Answer:
    """float32 with weights that a function never changes."""
    answer = float_products(op, t)
    if isinstance(answer, No):
        return answer
    held = t[op.weight].value is not None and (op.bias is None or t[op.bias].value is not None)
    return when(held, "weights that are computed")


def narrow_border(op: Conv2d | DepthwiseConv2d, t: Tensors) -> Answer:
    """A border of at most 1, which kernels skip."""
    p = op.padding
    return when(max(p.top, p.bottom, p.left, p.right) <= 1, "a border of more than 1 around 3 × 3")


few_channels = forms.of(constant_products, forms.few_channels)
pointwise = grouped_pointwise = forms.of(constant_products, forms.pointwise)
three_by_three = forms.of(constant_products, forms.three_by_three, narrow_border)
depthwise = forms.of(constant_products, forms.depthwise)
depthwise3x3 = forms.of(constant_products, forms.three_by_three, narrow_border, forms.depthwise)


def winograd(op: Conv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 on maps that are worth Winograd's transforms."""
    answer = three_by_three(op, t)
    if isinstance(answer, No):
        return answer
    (_, oh, ow, o), c = t[op.y].shape, t[op.x].shape[3]
    pays = op.stride == (1, 1) and winograd_tile(oh, ow, c, o) is not None
    return when(pays, "a map on which Winograd's tiles don't pay")


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
