"""What int8 rows of vector instruction sets ask of an operation: the forms that their tiles are made for."""

from __future__ import annotations

from collections.abc import Callable

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.blocked import forms
from lepton_compilers.backends.cpu.portable.layers import add_constants, int8_products, typed
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    MaxPool2d,
    Table,
)

few_channels = forms.of(int8_products, forms.few_channels)
pointwise = forms.of(int8_products, forms.pointwise)
three_by_three = forms.of(int8_products, forms.three_by_three)
depthwise = forms.of(int8_products, forms.depthwise)
depthwise3x3 = forms.of(int8_products, forms.three_by_three, forms.depthwise)


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
