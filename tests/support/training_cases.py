"""Hypothesis strategies for programs of one training operation, with inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Operation, Padding, Tensor
from lepton_sdk.program.operations import window_shape
from lepton_sdk.program.training import (
    AveragePool2dGrad,
    BiasGrad,
    Conv2dGradInput,
    Conv2dGradWeight,
    DenseGradInput,
    DenseGradWeight,
    DepthwiseConv2dGradInput,
    DepthwiseConv2dGradWeight,
    MaxPool2dGrad,
    PadGrad,
    ReluGrad,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from support.programs import Case, program_of

CHANNELS = st.sampled_from((1, 2, 3, 8, 15, 16, 17, 33))


def case(op: Operation, shapes: Mapping[str, tuple[int, ...]], seed: int) -> Case:
    """The operation on normal noise; `labels` reach from −1 to the number of classes − 1."""
    random = np.random.default_rng(seed)
    tensors = [Tensor(n, s, "int32" if n == "labels" else "float32") for n, s in shapes.items()]
    program = program_of(tensors, [op])
    inputs = []
    for name in program.function().inputs:
        noise = random.normal(size=shapes[name])
        if name == "labels":
            inputs.append(random.integers(-1, classes(shapes), shapes[name]).astype(np.int32))
        elif name == "probabilities":
            inputs.append((np.abs(noise) / np.abs(noise).sum(axis=1, keepdims=True)).astype(np.float32))
        elif name == "logits":
            inputs.append((noise * random.choice((0.1, 3.0, 40.0))).astype(np.float32))
        else:
            # Few distinct values: ties for the maximum, values that lie on a bound.
            inputs.append((np.rint(noise * 4) / 4 if name in ("x", "y") else noise).astype(np.float32))
    return Case(program, tuple(inputs))


def classes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return next(shapes[n][1] for n in ("logits", "probabilities") if n in shapes)


@st.composite
def sliding(draw: st.DrawFn, kind: type[Operation]) -> Case:
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    padding = Padding(*(draw(st.integers(0, 3)) for _ in range(4)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    size = (
        draw(st.integers(max(1, reach[0] - padding.top - padding.bottom), 9)),
        draw(st.integers(max(1, reach[1] - padding.left - padding.right), 18)),
    )
    n, c = draw(st.integers(1, 3)), draw(CHANNELS)
    depthwise = kind in (DepthwiseConv2dGradInput, DepthwiseConv2dGradWeight)
    out = c * draw(st.integers(1, 2)) if depthwise else draw(CHANNELS)
    weight = (*kernel, out) if depthwise else (out, *kernel, c)
    x = (n, *size, c)
    dy = (n, *window_shape(size, kernel, stride, padding, dilation), out)
    seed = draw(st.integers(0, 10**6))
    window = (stride, padding, dilation)
    if kind in (Conv2dGradInput, DepthwiseConv2dGradInput):
        return case(kind("dy", "w", "dx", *window), {"dy": dy, "w": weight, "dx": x}, seed)
    return case(kind("x", "dy", "dw", *window), {"x": x, "dy": dy, "dw": weight}, seed)


@st.composite
def pooling(draw: st.DrawFn, kind: type[Operation]) -> Case:
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    # A window that lies wholly outside the map has no mean and no maximum.
    padding = Padding(*(draw(st.integers(0, kernel[i // 2] - 1)) for i in range(4)))
    size = (draw(st.integers(kernel[0], 7)), draw(st.integers(kernel[1], 7)))
    n, c = draw(st.integers(1, 3)), draw(CHANNELS)
    x, dy = (n, *size, c), (n, *window_shape(size, kernel, stride, padding), c)
    seed = draw(st.integers(0, 10**6))
    if kind is MaxPool2dGrad:
        op = MaxPool2dGrad("dy", "x", "dx", kernel, stride, padding)
        return case(op, {"dy": dy, "x": x, "dx": x}, seed)
    return case(AveragePool2dGrad("dy", "dx", kernel, stride, padding), {"dy": dy, "dx": x}, seed)


@st.composite
def dense(draw: st.DrawFn, kind: type[Operation]) -> Case:
    rows, inner, out = draw(st.integers(1, 40)), draw(st.integers(1, 70)), draw(st.integers(1, 40))
    shapes = {"x": (rows, inner), "dy": (rows, out), "w": (out, inner)}
    seed = draw(st.integers(0, 10**6))
    if kind is DenseGradInput:
        op: Operation = DenseGradInput("dy", "w", "dx")
        return case(op, {"dy": shapes["dy"], "w": shapes["w"], "dx": shapes["x"]}, seed)
    return case(
        DenseGradWeight("x", "dy", "dw"), {"x": shapes["x"], "dy": shapes["dy"], "dw": shapes["w"]}, seed
    )


@st.composite
def elements(draw: st.DrawFn, kind: type[Operation]) -> Case:
    shape = (*draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)), draw(CHANNELS))
    seed = draw(st.integers(0, 10**6))
    if kind is BiasGrad:
        return case(BiasGrad("dy", "db"), {"dy": shape, "db": shape[-1:]}, seed)
    if kind is ReluGrad:
        low = draw(st.sampled_from((0.0, -1.0, 0.25)))
        high = draw(st.sampled_from((None, 0.5, 6.0)))
        return case(ReluGrad("dy", "y", "dx", high, low), {"dy": shape, "y": shape, "dx": shape}, seed)
    before = tuple(draw(st.integers(0, 2)) for _ in shape)
    outer = tuple(b + n + draw(st.integers(0, 2)) for b, n in zip(before, shape))
    return case(PadGrad("dy", "dx", before), {"dy": outer, "dx": shape}, seed)


@st.composite
def losses(draw: st.DrawFn, kind: type[Operation]) -> Case:
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 40)))
    seed = draw(st.integers(0, 10**6))
    if kind is SoftmaxCrossEntropy:
        op: Operation = SoftmaxCrossEntropy("logits", "labels", "loss", "p")
        return case(op, {"logits": shape, "labels": shape[:1], "loss": (1,), "p": shape}, seed)
    op = SoftmaxCrossEntropyGrad("probabilities", "labels", "dlogits")
    return case(op, {"probabilities": shape, "labels": shape[:1], "dlogits": shape}, seed)


CASES: Mapping[type[Operation], st.SearchStrategy[Case]] = {
    Conv2dGradInput: sliding(Conv2dGradInput),
    Conv2dGradWeight: sliding(Conv2dGradWeight),
    DepthwiseConv2dGradInput: sliding(DepthwiseConv2dGradInput),
    DepthwiseConv2dGradWeight: sliding(DepthwiseConv2dGradWeight),
    DenseGradInput: dense(DenseGradInput),
    DenseGradWeight: dense(DenseGradWeight),
    BiasGrad: elements(BiasGrad),
    ReluGrad: elements(ReluGrad),
    MaxPool2dGrad: pooling(MaxPool2dGrad),
    AveragePool2dGrad: pooling(AveragePool2dGrad),
    PadGrad: elements(PadGrad),
    SoftmaxCrossEntropy: losses(SoftmaxCrossEntropy),
    SoftmaxCrossEntropyGrad: losses(SoftmaxCrossEntropyGrad),
}
