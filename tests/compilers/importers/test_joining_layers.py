"""Layers that join two branches of a network, through both importers, in float and in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from onnx import helper

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk import Session
from lepton_sdk.program.reference import Reference
from support.command_line import lepton
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


TWO_OPERANDS = {
    "Add": (OPS.ADD, s.AddOptionsT, OPTIONS.AddOptions),
    "Sub": (OPS.SUB, s.SubOptionsT, OPTIONS.SubOptions),
    "Mul": (OPS.MUL, s.MulOptionsT, OPTIONS.MulOptions),
}


@pytest.mark.parametrize("kind", TWO_OPERANDS)
@pytest.mark.parametrize("shape", [X.shape, (1, 1, 1, 6), (6,), (1, 5, 1, 6), (1, 5, 4, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("activation", [s.ActivationFunctionType.NONE, s.ActivationFunctionType.RELU])
def test_tflite_arithmetic_gives_litert_s_bytes(kind: str, shape: tuple[int, ...], activation: int) -> None:
    rng = np.random.default_rng(4)
    value = rng.integers(-128, 128, shape).astype(np.int8)
    other = Spec("other", shape, scales=(0.031,), zero_point=9, value=value)
    y = Spec("y", X.shape, scales=(0.06,), zero_point=-20)
    builtin, made, number = TWO_OPERANDS[kind]
    content = layer(
        builtin, options(made, fusedActivationFunction=activation), number, [X, other], y, version=2
    )
    program, oracle = program_from(content), LiteRT(content)
    assert [type(op).__name__ for op in program.function().operations] == [kind]
    for _ in range(20):
        x = rng.integers(-128, 128, X.shape).astype(np.int8)
        np.testing.assert_array_equal(Reference(program).run([x])[0], oracle.run(x))


@pytest.mark.parametrize("kind", TWO_OPERANDS)
def test_two_branches_meet_in_one_operation(kind: str) -> None:
    content = branches(
        helper.make_node(kind, ["a", "b"], ["joined_raw"], name="join"),
        helper.make_node("Relu", ["joined_raw"], ["joined"], name="relu"),
    )
    names = check_float(content)
    assert names.count(kind) == 1
    assert "Relu" not in names
    names = check_int8(content)
    assert names.count(kind) == 1
    assert "Dequantize" not in names[1:-2]


def squeeze_excite() -> bytes:
    """conv; a gate: global mean, two 1 × 1 convolutions, a clip of 0.2·x + 0.5; their product; conv."""
    rng, node = np.random.default_rng(5), helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="stem", pads=[1] * 4),
        node("GlobalAveragePool", ["a"], ["m"], name="squeeze"),
        node("Conv", ["m", "w2", "b2"], ["s1"], name="reduce"),
        node("Relu", ["s1"], ["s2"], name="reduce_relu"),
        node("Conv", ["s2", "w3", "b3"], ["s3"], name="expand"),
        node("Mul", ["s3", "slope"], ["s4"], name="gate_slope"),
        node("Add", ["s4", "half"], ["s5"], name="gate_offset"),
        node("Clip", ["s5", "zero", "one"], ["gate"], name="gate"),
        node("Mul", ["a", "gate"], ["e"], name="excite"),
        node("Sub", ["e", "mean"], ["c"], name="centre"),
        node("Conv", ["c", "w4"], ["y"], name="last"),
    ]
    scalars = {"slope": 0.2, "half": 0.5, "zero": 0.0, "one": 1.0}
    weights = {
        "w1": normal(rng, 8, 3, 3, 3),
        "w2": 3 * normal(rng, 4, 8, 1, 1),
        "b2": normal(rng, 4),
        "w3": 3 * normal(rng, 8, 4, 1, 1),
        "b3": normal(rng, 8),
        "w4": normal(rng, 5, 8, 1, 1),
        "mean": normal(rng, 8, 1, 1) * 0.1,
        **{name: np.array(number, np.float32) for name, number in scalars.items()},
    }
    return network(nodes, [1, 3, 8, 8], [1, 5, 8, 8], weights)


def test_squeeze_and_excite() -> None:
    names = check_float(squeeze_excite())
    assert names.count("Mul") == 2
    assert names.count("Transpose") == 2
    names = check_int8(squeeze_excite())
    # One number for all elements is a table; the gate is stretched over the map in int8.
    assert "Table" in names
    assert names.count("Mul") == 1


@pytest.mark.parametrize(
    ("kind", "layers"), [("HardSigmoid", {"Mul": 2, "Add": 1}), ("HardSwish", {"Unary": 1, "Mul": 1})]
)
def test_hard_sigmoid_is_a_clamped_sum_and_hard_swish_one_function(kind: str, layers: dict[str, int]) -> None:
    content = branches(
        helper.make_node(kind, ["a"], ["gate"], name="gate"),
        helper.make_node("Mul", ["gate", "b"], ["joined"], name="gated"),
    )
    names = check_float(content)
    found = {name: names.count(name) for name in ("Mul", "Add", "ClampTo", "Unary")}
    assert {name: n for name, n in found.items() if n} == layers
    names = check_int8(content)
    # The gate is one table, however many layers it is.
    assert (names.count("Mul"), names.count("Table")) == (1, 1)
    assert "Dequantize" not in names[1:-2]


@pytest.mark.parametrize("quantised", [False, True])
def test_a_bundle_of_such_a_network_runs_natively(quantised: bool, tmp_path: Path) -> None:
    """U-Net's skip and a gate: what the device computes is what the reference computes."""
    content = branches(
        helper.make_node("Concat", ["a", "b"], ["both"], name="join", axis=1),
        helper.make_node("MaxPool", ["both"], ["gate"], name="gate", kernel_shape=[6, 6]),
        helper.make_node("Mul", ["both", "gate"], ["joined"], name="scaled"),
    )
    model, samples, out = tmp_path / "model.onnx", tmp_path / "samples.npz", tmp_path / "model.lep"
    model.write_bytes(content)
    rows = np.random.default_rng(6).normal(size=(16, 3, 6, 6)).astype(np.float32)
    np.savez(samples, x=rows)
    more = ("--quantize", "int8", "--calibration", samples) if quantised else ()
    lepton("compile", model, *more, "--target", "host", "-o", out)
    native, reference = Session(out), Session(out, engine="reference")
    native.self_test()
    for row in rows[:4]:
        (ours,), (defined,) = native.run(row[None]).values(), reference.run(row[None]).values()
        np.testing.assert_allclose(ours, defined, atol=0 if quantised else 1e-5)
