"""Networks larger than MLPerf Tiny's, as ONNX files: their weights are random, speed does not depend on them.

Shapes as published: ResNet-50 (He and others, 2015, with strides on the 3 × 3), MobileNetV2 (Sandler and
others, 2018), ShuffleNet 1× with 3 groups (Zhang and others, 2017), DenseNet-121 (Huang and others, 2016).
Normalisations are folded into convolutions where one precedes, as exporters do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

INPUT = "input"
SIDE = 224
"""Rows and columns of the input."""


class Network:
    """Nodes and weights of one network; every method adds a layer and gives the name of its result."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        """One operator."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, *shape: int, spread: float) -> str:
        """A random constant."""
        return self.constant(self._random.normal(scale=spread, size=shape).astype(np.float32))

    def constant(self, value: np.ndarray) -> str:
        """A constant."""
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(
        self, x: str, inner: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, top: float = 0
    ) -> str:
        """A convolution with bias; top: 0 for no rectifier, inf for ReLU, 6 for ReLU6."""
        fan_in = inner // groups * kernel**2
        weight = self.weight(out, inner // groups, kernel, kernel, spread=math.sqrt(1.7 / fan_in))
        y = self.node(
            "Conv",
            *(x, weight, self.weight(out, spread=0.1)),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return self.rectified(y, top)

    def rectified(self, x: str, top: float) -> str:
        """ReLU, ReLU6 or nothing."""
        if top == 0:
            return x
        if math.isinf(top):
            return self.node("Relu", x)
        return self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(top)))

    def normalised(self, x: str, channels: int) -> str:
        """Batch normalisation and ReLU."""
        scale = self.constant(self._random.uniform(0.5, 1.5, channels).astype(np.float32))
        shift, mean = self.weight(channels, spread=0.1), self.weight(channels, spread=0.1)
        variance = self.constant(self._random.uniform(0.5, 1.5, channels).astype(np.float32))
        return self.node("Relu", self.node("BatchNormalization", x, scale, shift, mean, variance))

    def pool(self, x: str, kind: str, kernel: int, stride: int, pad: int = 0) -> str:
        """MaxPool or AveragePool."""
        window = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [pad] * 4}
        return self.node(kind, x, **window)

    def classified(self, x: str, channels: int, classes: int = 1000) -> str:
        """Means of maps by a dense layer."""
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        weight = self.weight(classes, channels, spread=math.sqrt(1 / channels))
        return self.node("Gemm", flat, weight, self.weight(classes, spread=0.1), transB=1)

    def model(self, output: str, classes: int = 1000, side: int = SIDE) -> onnx.ModelProto:
        """The finished file."""
        float32 = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, float32, [1, 3, side, side])],
            [helper.make_tensor_value_info(output, float32, [1, classes])],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet50() -> onnx.ModelProto:
    """4.1 G multiply-accumulates."""
    n, relu = Network(), math.inf
    x = n.pool(n.conv(INPUT, 3, 64, 7, 2, top=relu), "MaxPool", 3, 2, 1)
    inner = 64
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for layer in range(depth):
            stride, out = (2 if stage and not layer else 1), width * 4
            y = n.conv(n.conv(x, inner, width, top=relu), width, width, 3, stride, top=relu)
            y = n.conv(y, width, out)
            x = n.node("Relu", n.node("Add", y, x if layer else n.conv(x, inner, out, 1, stride)))
            inner = out
    return n.model(n.classified(x, inner))


def mobilenet_v2() -> onnx.ModelProto:
    """0.30 G multiply-accumulates."""
    n = Network()
    x, inner = n.conv(INPUT, 3, 32, 3, 2, top=6), 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
    stages += ((6, 320, 1, 1),)
    for widen, out, depth, first in stages:
        for layer in range(depth):
            stride, wide = (1 if layer else first), inner * widen
            y = x if widen == 1 else n.conv(x, inner, wide, top=6)
            y = n.conv(n.conv(y, wide, wide, 3, stride, groups=wide, top=6), wide, out)
            x = n.node("Add", x, y) if stride == 1 and inner == out else y
            inner = out
    return n.model(n.classified(n.conv(x, inner, 1280, top=6), 1280))


def shufflenet() -> onnx.ModelProto:
    """0.14 G multiply-accumulates, 3 groups."""
    n, relu, groups = Network(), math.inf, 3
    x = n.pool(n.conv(INPUT, 3, 24, 3, 2, top=relu), "MaxPool", 3, 2, 1)
    inner, side = 24, 56
    for stage, (out, depth) in enumerate(((240, 4), (480, 8), (960, 4))):
        for layer in range(depth):
            stride = 1 if layer else 2
            width, made = out // 4, out - (0 if layer else inner)
            y = n.conv(x, inner, width, groups=groups if stage or layer else 1, top=relu)
            apart = n.constant(np.array([1, groups, width // groups, side, side], np.int64))
            whole = n.constant(np.array([1, width, side, side], np.int64))
            y = n.node("Transpose", n.node("Reshape", y, apart), perm=[0, 2, 1, 3, 4])
            y = n.conv(n.node("Reshape", y, whole), width, width, 3, stride, groups=width)
            y = n.conv(y, width, made, groups=groups)
            if layer:
                x = n.node("Relu", n.node("Add", x, y))
            else:
                side //= 2
                x = n.node("Relu", n.node("Concat", n.pool(x, "AveragePool", 3, 2, 1), y, axis=1))
            inner = out
    return n.model(n.classified(x, inner))


def densenet121() -> onnx.ModelProto:
    """2.8 G multiply-accumulates; every layer reads all before it in its block."""
    n, relu, growth = Network(), math.inf, 32
    x = n.pool(n.conv(INPUT, 3, 64, 7, 2, top=relu), "MaxPool", 3, 2, 1)
    inner = 64
    for depth in (6, 12, 24, 16):
        for _ in range(depth):
            y = n.conv(n.normalised(x, inner), inner, 4 * growth, top=relu)
            x = n.node("Concat", x, n.conv(y, 4 * growth, growth, 3), axis=1)
            inner += growth
        x = n.normalised(x, inner)
        if depth != 16:
            x = n.pool(n.conv(x, inner, inner // 2), "AveragePool", 2, 2)
            inner //= 2
    return n.model(n.classified(x, inner))


LARGE_NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "ResNet-50": resnet50,
    "MobileNetV2": mobilenet_v2,
    "ShuffleNet": shufflenet,
    "DenseNet-121": densenet121,
}


def write_networks(folder: Path, names: Sequence[str] = tuple(LARGE_NETWORKS)) -> dict[str, Path]:
    """The networks of these names as `folder`/NAME.onnx."""
    paths = {}
    for name in names:
        model = LARGE_NETWORKS[name]()
        onnx.checker.check_model(model)
        paths[name] = folder / f"{name}.onnx"
        onnx.save(model, paths[name])
    return paths


def quantised(path: Path, samples: np.ndarray) -> Path:
    """The network as ONNX Runtime's own tool makes it int8: QDQ, a scale a channel, signed on both sides."""
    from onnxruntime import quantization

    class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._rest, None)
            return None if sample is None else {INPUT: sample[None]}

    result = path.with_suffix(".int8.onnx")
    quantization.quantize_static(
        str(path),
        str(result),
        Samples(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return result
