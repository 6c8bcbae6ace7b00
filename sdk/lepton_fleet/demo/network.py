"""The demo's network: two convolutions, two dense layers, 7,666 parameters, as an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

CLASSES = 10


def small_cnn(seed: int = 0) -> onnx.ModelProto:
    """image float32 [1, 1, 8, 8] → probabilities float32 [1, 10], weights drawn by He's rule.

    Conv 3×3×8, ReLU, Conv 3×3×16, ReLU, MaxPool 2×2, Dense 24, ReLU, Dense 10, Softmax.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    random = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:]))
        drawn: np.ndarray = (random.normal(size=shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)
        return drawn

    parameters = {
        "conv1.weight": weight(8, 1, 3, 3),
        "conv1.bias": np.zeros(8, np.float32),
        "conv2.weight": weight(16, 8, 3, 3),
        "conv2.bias": np.zeros(16, np.float32),
        "dense1.weight": weight(24, 16 * 4 * 4),
        "dense1.bias": np.zeros(24, np.float32),
        "dense2.weight": weight(CLASSES, 24),
        "dense2.bias": np.zeros(CLASSES, np.float32),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], name="conv1", **same),
        helper.make_node("Relu", ["conv1"], ["relu1"], name="relu1"),
        helper.make_node("Conv", ["relu1", "conv2.weight", "conv2.bias"], ["conv2"], name="conv2", **same),
        helper.make_node("Relu", ["conv2"], ["relu2"], name="relu2"),
        helper.make_node("MaxPool", ["relu2"], ["pool"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node(
            "Gemm", ["flat", "dense1.weight", "dense1.bias"], ["dense1"], name="dense1", transB=1
        ),
        helper.make_node("Relu", ["dense1"], ["relu3"], name="relu3"),
        helper.make_node(
            "Gemm", ["relu3", "dense2.weight", "dense2.bias"], ["dense2"], name="dense2", transB=1
        ),
        helper.make_node("Softmax", ["dense2"], ["probabilities"], name="probabilities", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="lepton")
    model.ir_version = 8
    checker.check_model(model)
    return model
