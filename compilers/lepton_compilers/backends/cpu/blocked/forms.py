"""Shapes of convolutions that kernels on blocked maps have forms for, whatever their numbers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lepton_compilers.backends.answers import Answer, No, when
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import Conv2d, DepthwiseConv2d, GroupedConv2d

FEW_CHANNELS = 4
"""Up to here a kernel row of neighbouring pixels fills a loop better than blocks of 16 channels."""

Form = Callable[[Any, Tensors], Answer]


def of(products: Form, *forms: Form) -> Form:
    """Operations of all these shapes that `products` accepts; the first No is the answer."""

    def accepts(op: Any, t: Tensors) -> Answer:
        for form in forms:
            answer = form(op, t)
            if isinstance(answer, No):
                return answer
        return products(op, t)

    return accepts


def few_channels(op: Conv2d, t: Tensors) -> Answer:
    """Few channels, whose neighbours along a row are taken together."""
    few = t[op.x].shape[3] <= FEW_CHANNELS and op.dilation[1] == 1
    return when(few, f"more than {FEW_CHANNELS} input channels")


def pointwise(op: Conv2d | GroupedConv2d, t: Tensors) -> Answer:
    """1 × 1 at stride 1 without padding."""
    plain = t[op.weight].shape[1:3] == op.stride == (1, 1) and not op.padding
    return when(plain, "a kernel other than 1 × 1 at stride 1")


def three_by_three(op: Conv2d | DepthwiseConv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 or 2, no dilation."""
    shape = t[op.weight].shape
    kernel = shape[1:3] if isinstance(op, Conv2d) else shape[:2]
    fits = kernel == (3, 3) and op.stride in ((1, 1), (2, 2)) and op.dilation == (1, 1)
    return when(fits, "a kernel other than 3 × 3 at stride 1 or 2")


def depthwise(op: DepthwiseConv2d, t: Tensors) -> Answer:
    """One output channel an input channel."""
    return when(t[op.x].shape[3] == t[op.y].shape[3], "several output channels an input channel")
