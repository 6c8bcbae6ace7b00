"""Small trainable float networks, built layer by layer or drawn by Hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Function, Operation, Padding, Program, Tensor, Variable
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Relu,
    Reshape,
    Softmax,
    Transpose,
    window_shape,
)
from lepton_sdk.program.tensors import constant


class Network:
    """A chain of layers; `x` is the name of the last tensor. Feature maps are NHWC."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {"image": Tensor("image", shape, "float32")}
        self.operations: list[Operation] = []
        self.variables: list[Variable] = []
        self.x = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.x].shape

    def parameter(self, name: str, *shape: int, scale: float) -> str:
        value = self.random.normal(size=shape) * scale
        self.tensors[name] = constant(name, value.astype(np.float32))
        self.variables.append(Variable(name, True, name))
        return name

    def tensor(self, kind: str, shape: tuple[int, ...]) -> str:
        name = f"{kind}{len(self.operations)}"
        self.tensors[name] = Tensor(name, shape, "float32")
        return name

    def then(self, op: Operation) -> Network:
        self.operations.append(op)
        (self.x,) = op.outputs
        return self

    def conv(self, out: int, kernel: int = 3, stride: int = 1, pad: int = 1, dilation: int = 1) -> Network:
        n, h, w, c = self.shape
        padding, pair = Padding(pad, pad, pad, pad), (dilation, dilation)
        size = window_shape((h, w), (kernel, kernel), (stride, stride), padding, pair)
        y = self.tensor("conv", (n, *size, out))
        weight = self.parameter(
            f"{y}.weight", out, kernel, kernel, c, scale=(2 / (kernel * kernel * c)) ** 0.5
        )
        bias = self.parameter(f"{y}.bias", out, scale=0.1)
        return self.then(Conv2d(self.x, weight, bias, None, y, (stride, stride), padding, pair))

    def depthwise(self, each: int = 1, kernel: int = 3, stride: int = 1, pad: int = 1) -> Network:
        n, h, w, c = self.shape
        padding = Padding(pad, pad, pad, pad)
        size = window_shape((h, w), (kernel, kernel), (stride, stride), padding)
        y = self.tensor("depthwise", (n, *size, c * each))
        weight = self.parameter(f"{y}.weight", kernel, kernel, c * each, scale=0.5)
        bias = self.parameter(f"{y}.bias", c * each, scale=0.1)
        return self.then(DepthwiseConv2d(self.x, weight, bias, None, y, (stride, stride), padding))

    def dense(self, out: int) -> Network:
        rows, inner = self.shape
        y = self.tensor("dense", (rows, out))
        weight = self.parameter(f"{y}.weight", out, inner, scale=(2 / inner) ** 0.5)
        bias = self.parameter(f"{y}.bias", out, scale=0.1)
        return self.then(Dense(self.x, weight, bias, None, y))

    def relu(self, maximum: float | None = None) -> Network:
        return self.then(Relu(self.x, self.tensor("relu", self.shape), maximum))

    def clamp(self, low: float, high: float) -> Network:
        return self.then(ClampTo(self.x, self.tensor("clamp", self.shape), Clamp(low, high)))

    def max_pool(self, kernel: int = 2, stride: int = 2, pad: int = 0) -> Network:
        return self._pool(MaxPool2d, kernel, stride, pad)

    def average_pool(self, kernel: int = 2, stride: int = 2, pad: int = 0) -> Network:
        return self._pool(AveragePool2d, kernel, stride, pad)

    def _pool(
        self, kind: type[MaxPool2d] | type[AveragePool2d], kernel: int, stride: int, pad: int
    ) -> Network:
        n, h, w, c = self.shape
        padding = Padding(pad, pad, pad, pad)
        size = window_shape((h, w), (kernel, kernel), (stride, stride), padding)
        y = self.tensor("pool", (n, *size, c))
        return self.then(kind(self.x, y, (kernel, kernel), (stride, stride), padding))

    def add(self, other: str) -> Network:
        return self.then(Add(self.x, other, self.tensor("add", self.shape)))

    def pad(self, before: tuple[int, ...], after: tuple[int, ...]) -> Network:
        shape = tuple(b + n + a for b, n, a in zip(before, self.shape, after))
        return self.then(Pad(self.x, self.tensor("pad", shape), before, after))

    def transpose(self, *axes: int) -> Network:
        shape = tuple(self.shape[axis] for axis in axes)
        return self.then(Transpose(self.x, self.tensor("transpose", shape), axes))

    def flatten(self) -> Network:
        rows = self.shape[0]
        size = self.tensors[self.x].size // rows
        return self.then(Reshape(self.x, self.tensor("flat", (rows, size))))

    def softmax(self) -> Network:
        return self.then(Softmax(self.x, None, self.tensor("probabilities", self.shape)))

    def program(self) -> Program:
        infer = Function("infer", ("image",), (self.x,), tuple(self.operations))
        return Program({"infer": infer}, self.tensors, tuple(self.variables))


def everything_network(seed: int = 0) -> Network:
    """Every differentiable operation: strided and dilated convolutions, a residual block, both pools."""
    net = Network((1, 12, 10, 3), seed).pad((0, 1, 0, 0), (0, 0, 2, 0))
    net.conv(8, stride=2).relu(6.0)
    shortcut = net.x
    net.depthwise().relu().conv(8, kernel=1, pad=0).clamp(-1.5, 2.0).add(shortcut).relu()
    net.max_pool(3, 2, 1).depthwise(each=2).conv(6, dilation=2, pad=2).relu().average_pool(2, 1, 1)
    return net.transpose(0, 3, 1, 2).flatten().dense(9).relu().dense(5).softmax()


@st.composite
def small_networks(draw: st.DrawFn) -> Network:
    """One to four layers of any kind on a tiny map, then a dense layer and a softmax."""
    size = (draw(st.integers(3, 7)), draw(st.integers(3, 7)))
    net = Network((1, *size, draw(st.integers(1, 4))), draw(st.integers(0, 1000)))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(("conv", "depthwise", "relu", "relu6", "max", "average", "pad", "residual"))
        )
        stride = draw(st.integers(1, 2))
        small = min(net.shape[1:3]) < 3
        if kind == "conv":
            kernel = 1 if small else draw(st.sampled_from((1, 2, 3)))
            net.conv(draw(st.integers(1, 5)), kernel, stride, draw(st.integers(0, kernel - 1)))
        elif kind == "depthwise":
            net.depthwise(draw(st.integers(1, 2)), 1 if small else 3, stride, 0 if small else 1)
        elif kind == "relu":
            net.relu()
        elif kind == "relu6":
            net.relu(draw(st.sampled_from((0.5, 6.0))))
        elif kind in ("max", "average") and not small:
            pool = net.max_pool if kind == "max" else net.average_pool
            pool(draw(st.integers(2, 3)), stride, draw(st.integers(0, 1)))
        elif kind == "pad":
            net.pad((0, 1, 0, 0), (0, 0, 1, 0))
        elif kind == "residual":
            shortcut = net.x
            net.relu().conv(net.shape[3]).add(shortcut)
    return net.flatten().dense(draw(st.integers(2, 4))).softmax()
