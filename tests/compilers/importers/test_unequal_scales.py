"""Layers whose ends have other scales: what moves elements goes through a table, a mean rounds on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from onnx import helper

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from support.litert import LiteRT
from support.onnx_networks import evaluate, network
from support.tflite_layers import Spec, constant, layer

# Binary fractions: float32 holds every real of these numbers, so that the evaluator's rounding is exact.
GIVEN, WANTED = (np.float32(0.0625), np.int8(-20)), (np.float32(0.09375), np.int8(11))


def quantised(*nodes: Any, shape: tuple[int, ...], result: tuple[int, ...]) -> bytes:
    """x → int8 at GIVEN → nodes from `a` to `b` → int8 at WANTED → y, all in QDQ form."""
    node = helper.make_node
    around = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        node("DequantizeLinear", ["q", "s", "z"], ["a"], name="dequantize"),
        *nodes,
        node("QuantizeLinear", ["b", "t", "w"], ["r"], name="requantize"),
        node("DequantizeLinear", ["r", "t", "w"], ["y"], name="out"),
    ]
    held = {"s": np.asarray(GIVEN[0]), "z": np.asarray(GIVEN[1]), "t": np.asarray(WANTED[0])}
    held |= {"w": np.asarray(WANTED[1]), "widths": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64)}
    return network(around, shape, result, held, opset=19)


CASES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], list[str]]] = {
    "pad": (
        helper.make_node("Pad", ["a", "widths"], ["b"], name="pad"),
        (1, 2, 4, 5),
        (1, 2, 5, 8),
        ["Table", "Pad"],
    ),
    "transpose": (
        helper.make_node("Transpose", ["a"], ["b"], name="turn", perm=[0, 2, 3, 1]),
        (1, 2, 4, 5),
        (1, 4, 5, 2),
        ["Table", "Transpose"],
    ),
    "flatten": (
        helper.make_node("Flatten", ["a"], ["b"], name="flat"),
        (1, 2, 4, 5),
        (1, 40),
        ["Table", "Reshape"],
    ),
    "max pool": (
        helper.make_node("MaxPool", ["a"], ["b"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        (1, 2, 4, 6),
        (1, 2, 2, 3),
        ["MaxPool2d", "Table"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_moves_between_scales_stay_int8_and_round_once(case: str) -> None:
    node, shape, result, wanted = CASES[case]
    content = quantised(node, shape=shape, result=result)
    program = program_from(content)
    names = [type(op).__name__ for op in program.function().operations]
    assert set(wanted) <= set(names)
    floats = [op for op in program.function().operations if program.tensors[op.outputs[0]].dtype == "float32"]
    # The float input is turned to NHWC before it is quantised, the float output back.
    assert {type(op).__name__ for op in floats} <= {"Dequantize", "Transpose", "Reshape"}
    rng = np.random.default_rng(0)
    for _ in range(10):
        x = (rng.integers(-140, 140, shape) * GIVEN[0]).astype(np.float32)
        np.testing.assert_array_equal(Reference(program).run([x])[0], evaluate(content, x))


@pytest.mark.parametrize("seed", range(8))
def test_a_mean_between_scales_gives_the_bytes_of_litert_s_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, channels = (int(n) for n in rng.integers(1, 13, 3))
    scales = [float(np.float32(v)) for v in rng.uniform(0.01, 0.1, 2)]
    zeros = [int(v) for v in rng.integers(-128, 128, 2)]
    x = Spec("x", (1, rows, columns, channels), scales=(scales[0],), zero_point=zeros[0])
    y = Spec("y", (1, 1, 1, channels), scales=(scales[1],), zero_point=zeros[1])
    fields = s.ReducerOptionsT()
    fields.keepDims = True
    axes = constant("axes", np.array([1, 2], np.int32))
    content = layer(s.BuiltinOperator.MEAN, fields, s.BuiltinOptions.ReducerOptions, [x, axes], y, version=2)
    program, oracle = program_from(content), LiteRT(content)
    for _ in range(20):
        sample = rng.integers(-128, 128, x.shape).astype(np.int8)
        np.testing.assert_array_equal(Reference(program).run([sample])[0], oracle.run(sample))
