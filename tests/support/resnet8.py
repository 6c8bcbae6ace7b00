"""ResNet-8 of MLPerf Tiny in three formats with the same weights, those of its float TFLite file.

In the file batch normalisations are folded already, maps are NHWC, and convolutions of stride 2 pad below and
right alone ("SAME"). The PyTorch module and the ONNX graph here say the same in their own terms: NCHW, and a
pad of its own before such a convolution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import tflite
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as f

Array = npt.NDArray[Any]


class Layer(NamedTuple):
    """Weights OIHW of a convolution or OI of the dense layer, float32; bias; stride."""

    weight: Array
    bias: Array
    stride: int


LAYERS = (
    *("stem", "block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2", "block2.shortcut"),
    *("block3.conv1", "block3.conv2", "block3.shortcut", "head"),
)
"""In the order of the file's operators."""


def read_layers(content: bytes) -> dict[str, Layer]:
    """The layers of the TFLite file, read from its tables without any importer."""
    model = tflite.Model.GetRootAsModel(bytearray(content), 0)
    graph = model.Subgraphs(0)

    def constant(index: int) -> Array:
        tensor = graph.Tensors(index)
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), np.float32).reshape(tensor.ShapeAsNumpy())

    found = []
    for index in range(graph.OperatorsLength()):
        op = graph.Operators(index)
        kind = model.OperatorCodes(op.OpcodeIndex()).BuiltinCode()
        if kind == tflite.BuiltinOperator.CONV_2D:
            options = tflite.Conv2DOptions()
            options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
            weight = constant(op.Inputs(1)).transpose(0, 3, 1, 2)
            found.append(Layer(np.ascontiguousarray(weight), constant(op.Inputs(2)), options.StrideH()))
        elif kind == tflite.BuiltinOperator.FULLY_CONNECTED:
            found.append(Layer(constant(op.Inputs(1)), constant(op.Inputs(2)), 1))
    return dict(zip(LAYERS, found, strict=True))


class _Convolution(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        out, inner, size, _ = layer.weight.shape
        same = layer.stride == 1 and size > 1
        self.pads_after = layer.stride > 1 and size > 1
        self.conv = nn.Conv2d(inner, out, size, layer.stride, size // 2 if same else 0)
        _fill(self.conv, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(f.pad(x, (0, 1, 0, 1)) if self.pads_after else x)


class _Block(nn.Module):
    def __init__(self, layers: dict[str, Layer], name: str) -> None:
        super().__init__()
        self.conv1 = _Convolution(layers[f"{name}.conv1"])
        self.conv2 = _Convolution(layers[f"{name}.conv2"])
        shortcut = layers.get(f"{name}.shortcut")
        self.shortcut = _Convolution(shortcut) if shortcut else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(f.relu(self.conv1(x)))
        return f.relu((self.shortcut(x) if self.shortcut is not None else x) + y)


class ResNet8(nn.Module):
    """The network in PyTorch: images [N, 3, 32, 32] → probabilities [N, 10]."""

    def __init__(self, layers: dict[str, Layer]) -> None:
        super().__init__()
        self.stem = _Convolution(layers["stem"])
        self.block1, self.block2, self.block3 = (_Block(layers, f"block{n}") for n in (1, 2, 3))
        self.pool = nn.AvgPool2d(8)
        self.head = nn.Linear(64, 10)
        _fill(self.head, layers["head"])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.block3(self.block2(self.block1(f.relu(self.stem(image)))))
        return self.head(self.pool(x).flatten(1)).softmax(-1)


def _fill(module: nn.Conv2d | nn.Linear, layer: Layer) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(layer.weight))
        assert module.bias is not None
        module.bias.copy_(torch.tensor(layer.bias))


def onnx_model(layers: dict[str, Layer]) -> bytes:
    """The network in ONNX, opset 17: images [1, 3, 32, 32] → probabilities [1, 10]."""
    node = helper.make_node
    nodes: list[Any] = []

    def conv(name: str, x: str) -> str:
        weight, _, stride = layers[name]
        size = weight.shape[2]
        auto = size > 1 and stride > 1
        pads = {"auto_pad": "SAME_UPPER"} if auto else {"pads": [size // 2] * 4}
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        path = name.replace(".", "/")
        nodes.append(node("Conv", inputs, [path], name=path, strides=[stride] * 2, **pads))
        return path

    def relu(x: str) -> str:
        nodes.append(node("Relu", [x], [f"{x}/relu"], name=f"{x}/relu"))
        return f"{x}/relu"

    x = relu(conv("stem", "image"))
    for block in ("block1", "block2", "block3"):
        y = conv(f"{block}.conv2", relu(conv(f"{block}.conv1", x)))
        shortcut = conv(f"{block}.shortcut", x) if f"{block}.shortcut" in layers else x
        nodes.append(node("Add", [shortcut, y], [block], name=block))
        x = relu(block)
    nodes += [
        node("AveragePool", [x], ["pool"], name="pool", kernel_shape=[8, 8], strides=[8, 8]),
        node("Flatten", ["pool"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "head.weight", "head.bias"], ["head"], name="head", transB=1),
        node("Softmax", ["head"], ["output"], name="softmax", axis=-1),
    ]
    constants = [
        numpy_helper.from_array(array, f"{name}.{part}")
        for name, layer in layers.items()
        for part, array in (("weight", layer.weight), ("bias", layer.bias))
    ]
    graph = helper.make_graph(
        nodes,
        "resnet8",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 10])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
