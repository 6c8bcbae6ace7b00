"""Recurrent networks and a transformer, trained here: int8 keeps their accuracy, every engine their bytes."""

from __future__ import annotations

import functools
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from lepton_compilers import compile
from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk import Session
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from support.native import Native
from support.sequence_networks import (
    FEATURES,
    STEPS,
    Recurrent,
    Transformer,
    digits,
    logits,
    recurrent_onnx,
    trained,
    transformer_onnx,
)

Array = npt.NDArray[Any]
CALIBRATION = 256
POINT = 0.01
# Each network is trained once a process.
pytestmark = pytest.mark.xdist_group("sequence_models")
NETWORKS = ("LSTM", "GRU", "RNN", "LSTM in both directions", "transformer")


@functools.cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "transformer":
        return trained(Transformer(), epochs=30, rate=3e-3)
    kind, both = name.split()[0], "both" in name
    return trained(Recurrent(kind, both=both), epochs=25, rate=1e-2)


@functools.cache
def onnx_file(name: str) -> bytes:
    held = network(name)
    return transformer_onnx(held) if isinstance(held, Transformer) else recurrent_onnx(held)  # type: ignore[arg-type]


@functools.cache
def int8_program(name: str) -> Program:
    calibration = {"x": digits().train_x[:CALIBRATION]}
    return program_from(onnx_file(name), quantization=QuantizationConfig(), calibration=calibration)


@functools.cache
def int8_scores(name: str) -> Array:
    return computed(int8_program(name), digits().test_x)


def accuracy(scores: Array) -> float:
    return float((scores.argmax(axis=-1).reshape(-1) == digits().test_y).mean())


def computed(program: Program, samples: Array) -> Array:
    reference = Reference(program)
    return np.concatenate([reference.run([sample[None]])[0] for sample in samples])


def kinds(program: Program) -> Counter[str]:
    return Counter(type(op).__name__ for op in program.function().operations)


@pytest.mark.parametrize("name", NETWORKS)
def test_float_program_computes_what_pytorch_computes(name: str) -> None:
    samples = digits().test_x[:20]
    found = computed(program_from(onnx_file(name)), samples)
    np.testing.assert_allclose(found, logits(network(name), samples), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_within_a_point_of_float(name: str) -> None:
    expected = accuracy(logits(network(name), digits().test_x))
    found = accuracy(int8_scores(name))
    print(f"{name}: float {expected:.4f}, int8 {found:.4f}")
    assert expected > 0.93
    assert found >= expected - POINT


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_holds_from_end_to_end(name: str) -> None:
    held = kinds(int8_program(name))
    assert (held["Quantize"], held["Dequantize"]) == (1, 1)
    assert "FloatKernel" not in held
    for tensor in int8_program(name).tensors.values():
        assert tensor.dtype != "float32" or tensor.constant or tensor.name in ("x", "y")


def test_layers_are_whole_operations() -> None:
    assert kinds(int8_program("LSTM"))["Lstm"] == 1
    assert kinds(int8_program("GRU"))["Gru"] == 1
    assert kinds(int8_program("LSTM in both directions"))["Lstm"] == 2
    held = kinds(int8_program("transformer"))
    # Scaling the scores and GELU are a table each; every layer normalisation is one operation.
    assert (held["MatMul"], held["LayerNorm"], held["Softmax"], held["Table"]) == (2, 3, 1, 2)


def _file(folder: Path, content: bytes) -> Path:
    (folder / "network.onnx").write_bytes(content)
    return folder / "network.onnx"


@pytest.mark.parametrize("name", ["LSTM", "transformer"])
def test_the_session_gives_the_reference_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "network.lep"
    calibration = {"x": digits().train_x[:CALIBRATION]}
    options = {"quantization": QuantizationConfig(), "calibration": calibration}
    compile(_file(tmp_path, onnx_file(name)), "host", output=path, **options)
    samples = digits().test_x[:50]
    native, reference = Session(path), Session(path, engine="reference")
    for sample in samples:
        for found, expected in zip(native.run(sample[None]).values(), reference.run(sample[None]).values()):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["GRU", "RNN", "LSTM in both directions"])
def test_compiled_code_gives_the_reference_bytes(name: str) -> None:
    program = int8_program(name)
    native, reference = Native(program, cpu.lower(program, get_target("host"))), Reference(program)
    for sample in digits().test_x[:50]:
        found, expected = (engine.run([sample[None]])[0] for engine in (native, reference))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_other_forms_of_recurrent_layers(kind: str) -> None:
    """Reverse, first states, the batch first, no bias, results of every kind: as ONNX defines them."""
    from onnx import TensorProto, helper, numpy_helper

    rng, units, gates = np.random.default_rng(3), 5, {"LSTM": 4, "GRU": 3}[kind]
    weights = {
        "W": rng.normal(size=(2, gates * units, FEATURES)),
        "R": rng.normal(size=(2, gates * units, units)) / 2,
        "B": rng.normal(size=(2, 2 * gates * units)),
        "h": rng.normal(size=(2, 1, units)),
        "c": rng.normal(size=(2, 1, units)),
    }
    for direction, given, reset in (
        ("reverse", "W R", 0),
        ("bidirectional", "W R B _ h c", 1),
        ("forward", "W R B", 0),
    ):
        count = 2 if direction == "bidirectional" else 1
        names = [n if n != "_" else "" for n in given.split()][: 6 if kind == "LSTM" else 5]
        results = ["y", "y_h", "y_c"][: 3 if kind == "LSTM" else 2]
        attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
        if kind == "GRU":
            attributes["linear_before_reset"] = reset
        node = helper.make_node(kind, ["x", *names], results, name="layer", **attributes)
        shapes = [[STEPS, count, 1, units], [count, 1, units], [count, 1, units]]
        graph = helper.make_graph(
            [node],
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, 1, FEATURES])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(results, shapes)],
            [
                numpy_helper.from_array(a[:count].astype(np.float32), n)
                for n, a in weights.items()
                if n in names
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        x = rng.normal(size=(STEPS, 1, FEATURES)).astype(np.float32)
        expected = ReferenceEvaluator(model).run(None, {"x": x})
        found = Reference(program_from(model.SerializeToString())).run([x])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "transformer"])
def test_pytorchs_own_export_keeps_its_accuracy(name: str) -> None:
    """PyTorch writes recurrent layers step by step; they are its matrix products and functions, in int8."""
    file = io.BytesIO()
    example = torch.tensor(digits().test_x[:1])
    torch.export.save(torch.export.export(network(name), (example,)), file)
    content, held = file.getvalue(), digits()
    program = program_from(content)
    found = computed(program, held.test_x[:10])
    np.testing.assert_allclose(found, logits(network(name), held.test_x[:10]), rtol=1e-4, atol=1e-4)
    (entry,) = program.function().inputs
    calibration = {entry: held.train_x[:CALIBRATION]}
    quantised = program_from(content, quantization=QuantizationConfig(), calibration=calibration)
    expected = accuracy(logits(network(name), held.test_x))
    assert accuracy(computed(quantised, held.test_x)) >= expected - POINT
    assert "FloatKernel" not in kinds(quantised)
