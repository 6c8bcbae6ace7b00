"""Small ONNX networks for the importer's tests, and ONNX's own reference evaluator as their oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]


def network(
    nodes: Sequence[Any],
    input_shape: Sequence[int | str],
    output_shape: Sequence[int | str],
    initializers: dict[str, Array],
    opset: int = 17,
) -> bytes:
    """A model from `x` to `y`, float32."""
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(model.SerializeToString())


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """float32 weights of a size that keeps activations near one."""
    fan_in = max(1, int(np.prod(shape[1:])))
    return (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)


def mobile_cnn(channels: int = 3, seed: int = 0) -> bytes:
    """conv, batch norm, relu6, depthwise, residual add, max, average and global pools, gemm, softmax."""
    rng = np.random.default_rng(seed)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="stem", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "g", "be", "mu", "va"], ["n1"], name="stem_norm"),
        node("Clip", ["n1", "zero", "six"], ["r1"], name="stem_relu6"),
        node("MaxPool", ["r1"], ["p1"], name="shrink", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["p1", "w2"], ["c2"], name="depthwise", group=8, pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c2", "g", "be", "mu", "va"], ["n2"], name="depthwise_norm"),
        node("Relu", ["n2"], ["r2"], name="depthwise_relu"),
        node("Conv", ["r2", "w3", "b3"], ["c3"], name="pointwise"),
        node("Add", ["c3", "p1"], ["a1"], name="residual"),
        node("Relu", ["a1"], ["r3"], name="residual_relu"),
        node("AveragePool", ["r3"], ["p2"], name="mean", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p2"], ["f1"], name="flatten"),
        node("Gemm", ["f1", "w4", "b4"], ["d1"], name="dense", transB=1),
        node("GlobalAveragePool", ["r3"], ["p3"], name="global"),
        node("Reshape", ["p3", "flat"], ["f2"], name="flatten_global"),
        node("MatMul", ["f2", "w5"], ["d2"], name="head"),
        node("Add", ["d1", "d2"], ["logits"], name="sum"),
        node("Softmax", ["logits"], ["y"], name="softmax", axis=-1),
    ]
    initializers = {
        "w1": normal(rng, 8, channels, 3, 3),
        "b1": normal(rng, 8),
        "g": rng.uniform(0.5, 1.5, 8).astype(np.float32),
        "be": normal(rng, 8) * 0.1,
        "mu": normal(rng, 8) * 0.1,
        "va": rng.uniform(0.5, 2, 8).astype(np.float32),
        "zero": np.float32(0).reshape(()),
        "six": np.float32(6).reshape(()),
        "w2": normal(rng, 8, 1, 3, 3),
        "w3": normal(rng, 8, 8, 1, 1),
        "b3": normal(rng, 8),
        "w4": normal(rng, 5, 8 * 4 * 4),
        "b4": normal(rng, 5),
        "flat": np.array([0, -1], np.int64),
        "w5": normal(rng, 8, 5),
    }
    initializers = {name: np.asarray(array) for name, array in initializers.items()}
    return network(nodes, ["N", channels, 16, 16], ["N", 5], initializers)


def plain_cnn(seed: int = 0) -> bytes:
    """conv, relu, max pool, depthwise with two outputs a channel, flatten, gemm: everything trains."""
    rng = np.random.default_rng(seed)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "stem.weight", "stem.bias"], ["c1"], name="stem", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="stem_relu"),
        node("MaxPool", ["r1"], ["p1"], name="shrink", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "dw.weight", "dw.bias"], ["c2"], name="dw", group=4, strides=[2, 2]),
        node("Relu", ["c2"], ["r2"], name="dw_relu"),
        node("Flatten", ["r2"], ["f"], name="flatten"),
        node("Gemm", ["f", "head.weight", "head.bias"], ["y"], name="head", transB=1),
    ]
    initializers = {
        "stem.weight": normal(rng, 4, 1, 3, 3),
        "stem.bias": normal(rng, 4),
        "dw.weight": normal(rng, 8, 1, 2, 2),
        "dw.bias": normal(rng, 8),
        "head.weight": normal(rng, 6, 8 * 2 * 2),
        "head.bias": normal(rng, 6),
    }
    return network(nodes, ["N", 1, 8, 8], ["N", 6], initializers)


def quantised_cnn() -> bytes:
    """conv, relu, max pool, flatten, gemm, each between QuantizeLinear and DequantizeLinear."""
    rng, node = np.random.default_rng(0), helper.make_node
    weight_scales = rng.uniform(0.01, 0.02, 4).astype(np.float32)

    def both(source: str, target: str, scale: str, zero: str) -> list[Any]:
        return [
            node("QuantizeLinear", [source, scale, zero], [f"{target}_int8"], name=f"{target}_quantize"),
            node("DequantizeLinear", [f"{target}_int8", scale, zero], [target], name=f"{target}_dequantize"),
        ]

    nodes = [
        *both("x", "xd", "sx", "zx"),
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], name="w_dequantize", axis=0),
        node("DequantizeLinear", ["b", "sb", "zb"], ["bd"], name="b_dequantize", axis=0),
        node("Conv", ["xd", "wd", "bd"], ["c"], name="conv", pads=[1] * 4),
        node("Relu", ["c"], ["r"], name="relu"),
        *both("r", "rd", "sy", "zy"),
        node("MaxPool", ["rd"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        *both("m", "md", "sy", "zy"),
        node("Flatten", ["md"], ["f"], name="flatten"),
        *both("f", "fd", "sy", "zy"),
        node("DequantizeLinear", ["w2", "sw2", "zero"], ["w2d"], name="w2_dequantize"),
        node("Gemm", ["fd", "w2d"], ["g"], name="gemm", transB=1),
        *both("g", "y", "sg", "zy"),
    ]
    initializers = {
        "sx": np.float32(0.02),
        "zx": np.int8(3),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "sw": weight_scales,
        "zw": np.zeros(4, np.int8),
        "b": rng.integers(-500, 500, 4).astype(np.int32),
        "sb": np.float32(0.02) * weight_scales,
        "zb": np.zeros(4, np.int32),
        "sy": np.float32(0.05),
        "zy": np.int8(-20),
        "w2": rng.integers(-127, 128, (5, 64)).astype(np.int8),
        "sw2": np.float32(0.01),
        "zero": np.int8(0),
        "sg": np.float32(0.5),
    }
    constants = {name: np.asarray(array) for name, array in initializers.items()}
    return network(nodes, [1, 3, 8, 8], [1, 5], constants, opset=19)


def evaluate(content: bytes, x: Array) -> Array:
    """What ONNX says the network computes."""
    return np.asarray(ReferenceEvaluator(onnx.load_model_from_string(content)).run(None, {"x": x})[0])
