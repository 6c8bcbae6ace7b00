"""Networks over one axis run on maps of one row: as PyTorch and ONNX compute, in int8, in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from onnx import helper
from torch import nn

from lepton_compilers.backends.cpu import lower
from lepton_compilers.differentiate import differentiate
from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Program
from lepton_sdk.program.float_kernel import FloatKernel
from lepton_sdk.program.operations import Conv2d, DepthwiseConv2d, GroupedConv2d, Reshape, Transpose
from lepton_sdk.program.reference import Reference
from support.executed import executed
from support.litert import LiteRT
from support.native import Native
from support.onnx_networks import evaluate, network
from support.onnx_networks import normal as weights
from support.tflite_network import Graph, Node, Spec, constant, floats, options
from support.tflite_network import network as tflite_network
from support.torch_networks import Function, difference, eager, exported, normal

SIGNAL = (2, 8, 21)


class Residual(nn.Module):
    """Convolutions with normalisation around a sum, pools, a dense head: a small 1-D ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm1d(16), nn.ReLU())
        self.pool = nn.MaxPool1d(3, 2, 1)
        self.body = nn.Sequential(
            nn.Conv1d(16, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 16, 3, padding=1)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(x))
        return self.head(torch.relu(x + self.body(x)).mean(2))


def settled(module: nn.Module) -> nn.Module:
    """The module with statistics and factors in its normalisations that are not all alike."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            part.weight.data.uniform_(0.5, 1.5)
    return module.eval()


def with_parts(function: Callable[..., Any], **parts: Any) -> nn.Module:
    return Function(function, **parts)


def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "taps, stride, dilation": nn.Sequential(
            nn.Conv1d(8, 12, 5, 2, 2), nn.ReLU(), nn.Conv1d(12, 17, 3, dilation=2), nn.Conv1d(17, 4, 1)
        ),
        "groups": nn.Sequential(
            nn.Conv1d(8, 16, 3, groups=4), nn.ReLU6(), nn.Conv1d(16, 16, 9, padding=4, groups=16)
        ),
        "normalised before the layer": nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 5, 3)),
        "transposed": nn.Sequential(nn.ConvTranspose1d(8, 6, 4, 2, 1), nn.ReLU(), nn.Conv1d(6, 3, 3)),
        "pools": nn.Sequential(
            nn.Conv1d(8, 8, 3), nn.MaxPool1d(2, ceil_mode=True), nn.AvgPool1d(3, 2, 1), nn.Conv1d(8, 2, 1)
        ),
        "means of equal windows": nn.Sequential(nn.Conv1d(8, 6, 2), nn.AdaptiveAvgPool1d(5)),
        "joined": with_parts(
            lambda self, x: self.last(torch.cat([self.a(x), x, self.b(x)], 1)),
            a=nn.Conv1d(8, 3, 1),
            b=nn.Conv1d(8, 5, 3, padding=1),
            last=nn.Conv1d(16, 4, 1),
        ),
        "causal, padded before": with_parts(
            lambda self, x: self.b(
                nn.functional.pad(torch.tanh(self.a(nn.functional.pad(x, (2, 0)))), (4, 0))
            ),
            a=nn.Conv1d(8, 8, 3),
            b=nn.Conv1d(8, 8, 3, dilation=2),
        ),
        "excited": with_parts(
            lambda self, x: self.a(x) * torch.sigmoid(self.b(self.a(x).mean(2, keepdim=True))),
            a=nn.Conv1d(8, 6, 3),
            b=nn.Conv1d(6, 6, 1),
        ),
        "upsampled": nn.Sequential(nn.Conv1d(8, 8, 3), nn.Upsample(scale_factor=2), nn.Conv1d(8, 2, 3)),
        "from and to lines": with_parts(
            lambda self, x: self.head(torch.relu(self.a(x.flip(1)).transpose(1, 2))),
            a=nn.Conv1d(8, 6, 3),
            head=nn.Linear(6, 5),
        ),
        "flattened": nn.Sequential(nn.Conv1d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 19, 3)),
        "the last place": with_parts(lambda self, x: self.a(x)[:, :, -1], a=nn.Conv1d(8, 6, 3)),
        "residual": settled(
            with_parts(
                lambda self, x: torch.relu(x + self.norm(self.a(x))),
                a=nn.Conv1d(8, 8, 3, padding=1),
                norm=nn.BatchNorm1d(8),
            )
        ),
    }


class Columns(nn.Module):
    """Sensors by time: a layer over both, then layers over time alone, on a map of one column."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(2, 8, (3, 5)), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, (3, 1), bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.last = nn.Sequential(nn.MaxPool2d((2, 1)), nn.Conv2d(16, 3, (4, 1), stride=(2, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.wide(x)
        return self.last(torch.cat([self.body(nn.functional.pad(x, (0, 0, 1, 1))), x], 1))


def test_maps_of_one_column_are_rows() -> None:
    torch.manual_seed(0)
    module, shape = settled(Columns()), (2, 2, 30, 5)
    assert difference(module, shape) < 1e-5
    program = program_from(exported(module, shape))
    operations = program.function().operations
    maps = [program.tensors[op.y].shape for op in operations if isinstance(op, Conv2d)]
    assert [extents[1:3] for extents in maps] == [(28, 1), (1, 28), (1, 6)]
    # To NHWC and back.
    assert sum(isinstance(op, Transpose) for op in operations) == 2


@pytest.mark.parametrize("name", layers())
def test_layers_compute_what_pytorch_computes(name: str) -> None:
    assert difference(layers()[name], SIGNAL) < 2e-5


@pytest.mark.parametrize("name", layers())
def test_layers_have_typed_operations(name: str) -> None:
    program = program_from(exported(layers()[name], SIGNAL))
    kernels = [op.operator for op in program.function().operations if isinstance(op, FloatKernel)]
    assert [k for k in kernels if "flip" not in k] == []


def test_maps_are_turned_at_the_ends_alone() -> None:
    torch.manual_seed(0)
    module = settled(nn.Sequential(Residual().stem, nn.Conv1d(16, 16, 3), nn.SiLU(), nn.Conv1d(16, 4, 1)))
    operations = program_from(exported(module, (1, 3, 50))).function().operations
    moves = [type(op) for op in operations if isinstance(op, Reshape | Transpose)]
    assert moves == [Reshape, Transpose, Transpose, Reshape]
    assert isinstance(operations[2], Conv2d)


def test_lines_of_channels_are_not_turned_at_all() -> None:
    torch.manual_seed(0)
    module = with_parts(
        lambda self, x: self.a(x.transpose(1, 2)).transpose(1, 2), a=nn.Conv1d(8, 6, 3, padding=1)
    )
    assert difference(module, (2, 21, 8)) < 1e-5
    operations = program_from(exported(module, (2, 21, 8))).function().operations
    assert not any(isinstance(op, Transpose) for op in operations)


ONNX_LAYERS: dict[str, tuple[list[Any], tuple[int, ...], dict[str, Any]]] = {
    "convolution of the same length": (
        [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2])],
        (1, 6, 10),
        {"w": (6, 4, 4)},
    ),
    "transposed": (
        [helper.make_node("ConvTranspose", ["x", "v"], ["y"], strides=[2], pads=[1, 0], output_padding=[1])],
        (1, 3, 41),
        {"v": (4, 3, 3)},
    ),
    "mean of windows that are not filled": (
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3], strides=[2], ceil_mode=1)],
        (1, 4, 10),
        {},
    ),
    "mean that counts zeros": (
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[4], pads=[2, 1], count_include_pad=1)],
        (1, 4, 20),
        {},
    ),
    "largest of dilated windows": (
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3], dilations=[2], pads=[1, 1])],
        (1, 4, 18),
        {},
    ),
    "powers of windows": (
        [helper.make_node("LpPool", ["x"], ["y"], kernel_shape=[2], strides=[2], p=2)],
        (1, 4, 10),
        {},
    ),
    "means of all": ([helper.make_node("GlobalAveragePool", ["x"], ["y"])], (1, 4, 1), {}),
}


@pytest.mark.parametrize("name", ONNX_LAYERS)
def test_layers_compute_what_onnx_says(name: str) -> None:
    nodes, result, shapes = ONNX_LAYERS[name]
    rng = np.random.default_rng(0)
    content = network(nodes, (1, 4, 20), result, {k: weights(rng, *s) for k, s in shapes.items()})
    x = rng.normal(size=(1, 4, 20)).astype(np.float32)
    found = Reference(program_from(content)).run([x])[0]
    assert found.shape == result
    np.testing.assert_allclose(found, evaluate(content, x), atol=1e-5)


def int8_residual() -> tuple[nn.Module, Program, np.ndarray]:
    torch.manual_seed(0)
    module = settled(Residual())
    samples = np.random.default_rng(0).normal(size=(64, 3, 60)).astype(np.float32)
    content = exported(module, (1, 3, 60))
    program = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    return module, program, samples


def test_int8_network_holds_no_float_between_its_ends_and_stays_near_float() -> None:
    module, program, samples = int8_residual()
    operations = program.function().operations
    inner = [name for op in operations[:-1] for name in op.outputs]
    assert {program.tensors[name].dtype for name in inner} == {"int8"}
    assert not any(isinstance(op, FloatKernel) for op in operations)
    found = np.concatenate([Reference(program).run([x[None]])[0] for x in samples])
    wanted = eager(module, samples)[0]
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-avx2", "x86-64-avx512vnni"])
def test_compiled_int8_network_is_reference_bytes(cpu: str) -> None:
    _, program, samples = int8_residual()
    native = Native(program, lower(program, executed(cpu)))
    reference = Reference(program)
    for x in samples[:8]:
        np.testing.assert_array_equal(native.run([x[None]])[0], reference.run([x[None]])[0])


def test_quantised_onnx_layers_stay_integer() -> None:
    rng, node = np.random.default_rng(0), helper.make_node

    def both(source: str, target: str, scale: str, zero: str) -> list[Any]:
        return [
            node("QuantizeLinear", [source, scale, zero], [f"{target}_int8"]),
            node("DequantizeLinear", [f"{target}_int8", scale, zero], [target]),
        ]

    nodes = [
        *both("x", "xd", "sx", "zx"),
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "sb", "zb"], ["bd"], axis=0),
        node("Conv", ["xd", "wd", "bd"], ["c"], pads=[2, 2]),
        node("Relu", ["c"], ["r"]),
        *both("r", "rd", "sy", "zy"),
        node("MaxPool", ["rd"], ["m"], kernel_shape=[2], strides=[2]),
        *both("m", "md", "sy", "zy"),
        node("DequantizeLinear", ["v", "sv", "zv"], ["vd"], axis=0),
        node("Conv", ["md", "vd"], ["d"], pads=[1, 1]),
        *both("d", "dd", "sy", "zy"),
        node("Add", ["dd", "md"], ["e"]),
        *both("e", "y", "sy", "zy"),
    ]
    scales = rng.uniform(0.01, 0.02, 8).astype(np.float32)
    held = {
        "sx": np.float32(0.02), "zx": np.int8(3), "sy": np.float32(0.05), "zy": np.int8(-20),
        "w": rng.integers(-127, 128, (8, 3, 5)).astype(np.int8), "sw": scales, "zw": np.zeros(8, np.int8),
        "b": rng.integers(-500, 500, 8).astype(np.int32), "sb": np.float32(0.02) * scales,
        "zb": np.zeros(8, np.int32),
        "v": rng.integers(-127, 128, (8, 8, 3)).astype(np.int8), "sv": scales, "zv": np.zeros(8, np.int8),
    }  # fmt: skip
    content = network(nodes, (1, 3, 16), (1, 8, 8), {k: np.asarray(v) for k, v in held.items()}, opset=19)
    program = program_from(content)
    kinds = [type(op).__name__ for op in program.function().operations]
    assert kinds.count("Conv2d") == 2
    assert "FloatKernel" not in kinds
    assert kinds.count("Quantize") == kinds.count("Dequantize") == 1
    x = rng.normal(size=(1, 3, 16)).astype(np.float32)
    found = Reference(program).run([x])[0]
    # Sums of int8 are exact here and rounded in float32 there: a tie may fall the other way.
    assert np.abs(found - evaluate(content, x)).max() <= 0.05 + 1e-6


def test_weights_train_in_their_source_s_shape() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv1d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 4, 3), nn.Flatten(),
        nn.Linear(32, 5),
    )  # fmt: skip
    program = program_from(exported(module, (1, 3, 20)), trainable=True)
    assert [v.source_shape for v in program.variables if v.source_name == "0.weight"] == [(6, 3, 5)]
    step = differentiate(program, batch=4)
    x, labels = normal(4, 3, 20), np.array([0, 3, 1, 4], np.int32)
    (loss, _) = Reference(step).run([x, labels], "evaluate")
    wanted = nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(labels).long())
    np.testing.assert_allclose(loss, [wanted.item()], rtol=1e-5)


def keras_block(column: bool) -> bytes:
    """Conv1D twice around a sum, as Keras writes them in TFLite: expand_dims, conv2d, reshape; then a pool.

    column: whether the pool's axis of one place stands behind the length, as MaxPooling1D has it.
    """
    rng = np.random.default_rng(0)
    conv = options(
        schema.Conv2DOptionsT, padding=0, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1
    )
    size = options(
        schema.Pool2DOptionsT,
        padding=1, filterHeight=2 if column else 1, filterWidth=1 if column else 2,
        strideH=2 if column else 1, strideW=1 if column else 2,
    )  # fmt: skip
    lines, row, op, kind = (1, 24, 8), (1, 1, 24, 8), schema.BuiltinOperator, schema.BuiltinOptions
    x = floats("x", lines)
    nodes: list[Node] = []

    def moved(source: Spec, name: str, shape: tuple[int, ...]) -> Spec:
        target = floats(name, shape)
        wanted = constant(f"{name}/shape", np.array(shape, np.int32))
        nodes.append(
            Node(op.RESHAPE, [source, wanted], [target], schema.ReshapeOptionsT(), kind.ReshapeOptions)
        )
        return target

    def convolved(source: Spec, name: str) -> Spec:
        weight = constant(f"{name}/weight", (rng.normal(size=(8, 1, 3, 8)) / 5).astype(np.float32))
        bias = constant(f"{name}/bias", rng.normal(size=8).astype(np.float32))
        inner = moved(source, f"{name}/in", row)
        nodes.append(
            Node(op.CONV_2D, [inner, weight, bias], [floats(f"{name}/map", row)], conv, kind.Conv2DOptions)
        )
        return moved(floats(f"{name}/map", row), name, lines)

    first = convolved(x, "first")
    total = floats("sum", lines)
    nodes.append(
        Node(op.ADD, [convolved(first, "second"), first], [total], schema.AddOptionsT(), kind.AddOptions)
    )
    inner = moved(total, "pool/in", (1, 24, 1, 8) if column else row)
    pooled = floats("pool", (1, 12, 1, 8) if column else (1, 1, 12, 8))
    nodes.append(Node(op.MAX_POOL_2D, [inner], [pooled], size, kind.Pool2DOptions))
    y = moved(pooled, "y", (1, 12, 8))
    return tflite_network(Graph([x], [y], nodes))


@pytest.mark.parametrize("column", [False, True])
def test_reshapes_that_keras_writes_are_gone_between_layers(column: bool) -> None:
    content = keras_block(column)
    program = program_from(content)
    x = normal(1, 24, 8)
    np.testing.assert_allclose(Reference(program).run([x])[0], LiteRT(content).run(x), atol=1e-5)
    kinds = [type(op).__name__ for op in program.function().operations]
    assert kinds == ["Reshape", "Conv2d", "Conv2d", "Add", "MaxPool2d", "Reshape"]


def test_products_of_channels_keep_their_kinds() -> None:
    module = layers()["groups"]
    operations = program_from(exported(module, SIGNAL)).function().operations
    assert [type(op) for op in operations if hasattr(op, "weight")] == [GroupedConv2d, DepthwiseConv2d]
