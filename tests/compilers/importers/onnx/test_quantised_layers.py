"""ONNX models in integers: uint8 activations, QLinear layers, ONNX Runtime's own forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_compilers.front import program_from
from lepton_sdk.program import Program
from lepton_sdk.program.operations import Add, Conv2d, Dense
from lepton_sdk.program.reference import Reference

Array = npt.NDArray[Any]


def model(
    nodes: list[Any], shape: list[int], out: list[int], constants: dict[str, Array], kind: int, out_kind: int
) -> bytes:
    """A model of `x` to `y` with these constants; com.microsoft may be used."""
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", out_kind, out)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def numbers(unsigned: bool) -> dict[str, Array]:
    """Scales and zero points of a layer, its int8 weights and int32 bias."""
    rng = np.random.default_rng(3)
    kind = np.uint8 if unsigned else np.int8
    return {
        "xs": np.array(0.02, np.float32),
        "xz": np.array(120 if unsigned else -8, kind),
        "ws": np.linspace(0.005, 0.02, 6, dtype=np.float32),
        "wz": np.zeros(6, np.int8),
        "w": rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8),
        "b": rng.integers(-2000, 2000, 6).astype(np.int32),
        "bs": np.linspace(0.005, 0.02, 6, dtype=np.float32) * np.float32(0.02),
        "bz": np.zeros(6, np.int32),
        "ys": np.array(0.1, np.float32),
        "yz": np.array(10 if unsigned else -100, kind),
    }


def int8_convolutions(program: Program) -> list[Conv2d]:
    """Convolutions that compute in integers."""
    found = [op for op in program.function().operations if isinstance(op, Conv2d)]
    return [op for op in found if op.multiplier is not None]


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_qdq_layer_is_one_int8_convolution(unsigned: bool) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "ys", "yz"], ["y"]),
    ]
    content = model(
        nodes, [1, 4, 8, 8], [1, 6, 8, 8], numbers(unsigned), TensorProto.FLOAT, TensorProto.FLOAT
    )
    program = program_from(content)
    assert len(int8_convolutions(program)) == 1
    x = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    (found,) = Reference(program).run([x])
    (expected,) = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    # The evaluator sums in float32: a sum near a half may fall to the other side.
    assert np.abs(found - expected).max() <= 0.1001
    assert (found == expected).mean() > 0.99


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_qlinear_convolution_keeps_its_interface_and_its_integers(unsigned: bool) -> None:
    kind = TensorProto.UINT8 if unsigned else TensorProto.INT8
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1])
    content = model([node], [1, 4, 8, 8], [1, 6, 8, 8], numbers(unsigned), kind, kind)
    program = program_from(content)
    assert len(int8_convolutions(program)) == 1
    dtype = np.uint8 if unsigned else np.int8
    x = (
        np.random.default_rng(0)
        .integers(*((0, 256) if unsigned else (-128, 128)), (1, 4, 8, 8))
        .astype(dtype)
    )
    (found,) = Reference(program).run([x])
    (expected,) = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    assert found.dtype == expected.dtype == dtype
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert (found == expected).mean() > 0.99


def test_weights_with_a_zero_point_are_computed_in_float() -> None:
    held = numbers(unsigned=False) | {"wz": np.full(6, 3, np.int8)}
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1])
    content = model([node], [1, 4, 8, 8], [1, 6, 8, 8], held, TensorProto.INT8, TensorProto.INT8)
    program = program_from(content)
    assert int8_convolutions(program) == []
    x = np.random.default_rng(0).integers(-128, 128, (1, 4, 8, 8)).astype(np.int8)
    (expected,) = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    assert np.abs(Reference(program).run([x])[0].astype(int) - expected).max() <= 1


def test_onnx_runtimes_additions_and_gemms_are_int8_operations() -> None:
    rng = np.random.default_rng(5)
    held = {
        "s": np.array(0.05, np.float32),
        "z": np.array(4, np.int8),
        "t": np.array(0.08, np.float32),
        "w": rng.integers(-127, 128, (16, 16)).astype(np.int8),
        "ws": np.array(0.01, np.float32),
        "wz": np.array(0, np.int8),
        "b": rng.integers(-500, 500, 16).astype(np.int32),
    }
    gemm = ["x", "s", "z", "w", "ws", "wz", "b", "t", "z"]
    addition = ["g", "t", "z", "x", "s", "z", "t", "z"]
    nodes = [
        helper.make_node("QGemm", gemm, ["g"], domain="com.microsoft", transB=1),
        helper.make_node("QLinearAdd", addition, ["y"], domain="com.microsoft"),
    ]
    content = model(nodes, [1, 16], [1, 16], held, TensorProto.INT8, TensorProto.INT8)
    program = program_from(content)
    operations = program.function().operations
    assert [type(op) for op in operations] == [Dense, Add]
    assert {program.tensors[n].dtype for op in operations for n in op.outputs} == {"int8"}
    x = rng.integers(-128, 128, (1, 16)).astype(np.int8)
    sums = (x.astype(np.float64) - 4) @ held["w"].T.astype(np.float64) + held["b"]
    g = np.clip(np.rint(sums * 0.05 * 0.01 / 0.08) + 4, -128, 127)
    expected = np.clip(np.rint(((g - 4) * 0.08 + (x.astype(np.float64) - 4) * 0.05) / 0.08) + 4, -128, 127)
    assert np.abs(Reference(program).run([x])[0] - expected).max() <= 1
