"""The typed operations of training, float32: gradients, the loss, the optimiser's update.

Gradients carry the names of what they belong to: `dy` flows in, `dx` and `dweight` come out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import Padding, TensorId, Tensors


@dataclass(frozen=True, slots=True)
class Conv2dGradInput(Operation):
    """dx of Conv2d: dy [N, OH, OW, O] spread through weight OHWI to the shape of dx."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    weight: TensorId
    dx: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, _ = t[self.dx].shape
        return ((n, h, w, t[self.weight].shape[3]),)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * math.prod(t[self.weight].shape[1:])


@dataclass(frozen=True, slots=True)
class Conv2dGradWeight(Operation):
    """dweight OHWI of Conv2d from x and dy, summed over the batch."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dweight",)
    x: TensorId
    dy: TensorId
    dweight: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        _, kh, kw, _ = t[self.dweight].shape
        return ((t[self.dy].shape[3], kh, kw, t[self.x].shape[3]),)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * math.prod(t[self.dweight].shape[1:])


@dataclass(frozen=True, slots=True)
class DepthwiseConv2dGradInput(Operation):
    """dx of DepthwiseConv2d."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    weight: TensorId
    dx: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.dx].shape,)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * math.prod(t[self.weight].shape[:2])


@dataclass(frozen=True, slots=True)
class DepthwiseConv2dGradWeight(Operation):
    """dweight HWC of DepthwiseConv2d, summed over the batch."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dweight",)
    x: TensorId
    dy: TensorId
    dweight: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        kh, kw, _ = t[self.dweight].shape
        return ((kh, kw, t[self.dy].shape[3]),)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * math.prod(t[self.dweight].shape[:2])


@dataclass(frozen=True, slots=True)
class DenseGradInput(Operation):
    """dx [N, I] = dy [N, O] by weight [O, I]."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    weight: TensorId
    dx: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return ((t[self.dy].shape[0], t[self.weight].shape[1]),)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * t[self.weight].shape[1]


@dataclass(frozen=True, slots=True)
class DenseGradWeight(Operation):
    """dweight [O, I] = dy [N, O] transposed by x [N, I]."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dweight",)
    x: TensorId
    dy: TensorId
    dweight: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return ((t[self.dy].shape[1], t[self.x].shape[1]),)

    def macs(self, t: Tensors) -> int:
        return t[self.dy].size * t[self.x].shape[1]


@dataclass(frozen=True, slots=True)
class BiasGrad(Operation):
    """dbias [C]: dy summed over every axis but the last."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dbias",)
    dy: TensorId
    dbias: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.dy].shape[-1:],)


@dataclass(frozen=True, slots=True)
class ReluGrad(Operation):
    """dx = dy where minimum < y (and y < maximum), else 0. `y`: the output of ReLU or a clamp."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    y: TensorId
    dx: TensorId
    maximum: float | None = None
    minimum: float = 0.0

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.dy].shape,)


@dataclass(frozen=True, slots=True)
class MaxPool2dGrad(Operation):
    """dx of MaxPool2d: dy goes to the first largest value of each window of x, in row order."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    x: TensorId
    dx: TensorId
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class AveragePool2dGrad(Operation):
    """dx of AveragePool2d: dy divided by the number of places its window really covered."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    dx: TensorId
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.dx].shape,)


@dataclass(frozen=True, slots=True)
class PadGrad(Operation):
    """dx of Pad: what of dy lies inside the border, `before` elements from the start of each axis."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dx",)
    dy: TensorId
    dx: TensorId
    before: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        outer, inner = t[self.dy].shape, t[self.dx].shape
        fits = len(outer) == len(inner) == len(self.before) and all(
            b >= 0 and b + n <= whole for b, n, whole in zip(self.before, inner, outer)
        )
        if not fits:
            raise ValueError(f"{inner} at {self.before} does not lie inside {outer}")
        return (inner,)


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropy(Operation):
    """Mean cross-entropy of softmax(logits [N, C]) against labels int32 [N]; a negative label masks its row.

    So does a label of C or more, which no caller should send.

    loss float32 [1] is the mean over unmasked rows (0 where there are none); probabilities [N, C].
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ("loss", "probabilities")
    logits: TensorId
    labels: TensorId
    loss: TensorId
    probabilities: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if t[self.labels].shape != t[self.logits].shape[:1]:
            raise ValueError(f"labels {t[self.labels].shape} for logits {t[self.logits].shape}")
        return ((1,), t[self.logits].shape)


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropyGrad(Operation):
    """dlogits = (probabilities − one-hot(labels)) / unmasked rows; masked rows are zero."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("dlogits",)
    probabilities: TensorId
    labels: TensorId
    dlogits: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.probabilities].shape,)


@dataclass(frozen=True, slots=True)
class SgdMomentum(Operation):
    """velocity = momentum · velocity + gradient; parameter −= learning_rate · velocity.

    learning_rate and momentum are float32 [1].
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ()
    UPDATES: ClassVar[tuple[str, ...]] = ("parameter", "velocity")
    parameter: TensorId
    velocity: TensorId
    gradient: TensorId
    learning_rate: TensorId
    momentum: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if not t[self.parameter].shape == t[self.velocity].shape == t[self.gradient].shape:
            raise ValueError("parameter, velocity and gradient differ in shape")
        return ()


TRAINING_OPERATIONS: tuple[type[Operation], ...] = (
    Conv2dGradInput,
    Conv2dGradWeight,
    DepthwiseConv2dGradInput,
    DepthwiseConv2dGradWeight,
    DenseGradInput,
    DenseGradWeight,
    BiasGrad,
    ReluGrad,
    MaxPool2dGrad,
    AveragePool2dGrad,
    PadGrad,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SgdMomentum,
)
