"""Layers that join two branches of a network, through both importers, in float and in int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from onnx import helper

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program.reference import Reference
from support.litert import LiteRT
from support.onnx_networks import evaluate, network, normal
from support.tflite_layers import Spec, layer

OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions
X = Spec("x", (1, 5, 4, 6), scales=(0.05,), zero_point=-7)


def options(kind: Any, **fields: Any) -> Any:
    made = kind()
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def branches(*joining: Any) -> bytes:
    """Two convolutions `a` and `b` of one input, [1, 4, 6, 6] each; `joining` nodes make `y` of them."""
    rng, node = np.random.default_rng(0), helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        node("Conv", ["x", "w2"], ["b"], name="second", pads=[1] * 4),
        *joining,
        node("Conv", ["joined", "w3"], ["y"], name="last"),
    ]
    wide = 8 if any(n.op_type == "Concat" for n in joining) else 4
    weights = {
        "w1": normal(rng, 4, 3, 3, 3),
        "w2": 4 * normal(rng, 4, 3, 3, 3),
        "w3": normal(rng, 5, wide, 1, 1),
    }
    return network(nodes, [1, 3, 6, 6], [1, 5, 6, 6], weights)


def check_float(content: bytes) -> list[str]:
    """Names of the operations, once ONNX's numbers were met."""
    program = program_from(content)
    x = np.random.default_rng(1).normal(size=program.tensors["x"].shape).astype(np.float32)
    np.testing.assert_allclose(Reference(program).run([x])[0], evaluate(content, x), atol=1e-5)
    return [type(op).__name__ for op in program.function().operations]


def check_int8(content: bytes, least_sqnr_db: float = 25.0) -> list[str]:
    """Names of the operations of the int8 program, once its results were near ONNX's."""
    rng = np.random.default_rng(2)
    shape = program_from(content).tensors["x"].shape
    samples = rng.normal(size=(32, *shape[1:])).astype(np.float32)
    program = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    signal = noise = 0.0
    for sample in samples[:8]:
        expected = evaluate(content, sample[None])
        signal += float((expected**2).sum())
        noise += float(((Reference(program).run([sample[None]])[0] - expected) ** 2).sum())
    assert 10 * np.log10(signal / noise) > least_sqnr_db
    return [type(op).__name__ for op in program.function().operations]


def test_concatenated_channels() -> None:
    content = branches(helper.make_node("Concat", ["a", "b"], ["joined"], name="join", axis=1))
    names = check_float(content)
    # The channels of NHWC are joined where they lie: no move but those at the ends.
    assert names.count("Concat") == 1
    assert names.count("Transpose") == 2
    names = check_int8(content)
    assert names.count("Concat") == 1
    assert "Dequantize" not in names[1:-2]


def test_a_part_in_other_numbers_goes_through_a_table() -> None:
    content = branches(helper.make_node("Concat", ["a", "b"], ["joined"], name="join", axis=-3))
    assert "Table" in check_int8(content)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_tflite_concatenation_moves_bytes(axis: int) -> None:
    rng = np.random.default_rng(3)
    part = list(X.shape)
    part[axis] = 3
    other = Spec(
        "part", tuple(part), scales=X.scales, zero_point=X.zero_point,
        value=rng.integers(-128, 128, part).astype(np.int8),
    )  # fmt: skip
    whole = list(X.shape)
    whole[axis] += 3
    y = Spec("y", tuple(whole), scales=X.scales, zero_point=X.zero_point)
    fields = options(s.ConcatenationOptionsT, axis=axis)
    content = layer(OPS.CONCATENATION, fields, OPTIONS.ConcatenationOptions, [X, other], y, version=2)
    program, oracle = program_from(content), LiteRT(content)
    assert [type(op).__name__ for op in program.function().operations] == ["Concat"]
    x = rng.integers(-128, 128, X.shape).astype(np.int8)
    np.testing.assert_array_equal(Reference(program).run([x])[0], oracle.run(x))
