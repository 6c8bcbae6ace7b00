"""The search for layers that int8 can't hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from onnx import helper

from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.pipeline import front_half, run_passes
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.sensitivity import search
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, UsageError
from support.onnx_networks import network, normal, plain_cnn

X = np.random.default_rng(2).normal(size=(48, 1, 8, 8)).astype(np.float32)
SPOILT = QuantizationConfig(
    observer="moving-average", per_channel=False, equalise=False, bias_correction=False
)
OFFSET = 500.0


def small_signal_on_a_large_offset(seed: int = 0) -> bytes:
    """Four dense layers; the second's results are some 500 ± 2, and the third takes the 500 off again.

    int8 must hold zero and 500 at once: its step is as large as all that the layer says.
    """
    rng = np.random.default_rng(seed)
    node = helper.make_node
    sizes = {"first": (16, 12), "offset": (12, 12), "back": (12, 12), "head": (12, 4)}
    nodes, held, x = [], {}, "x"
    for name, (i, o) in sizes.items():
        held[f"{name}.w"] = normal(rng, o, i)
        held[f"{name}.b"] = normal(rng, o) * np.float32(0.1)
        y = "y" if name == "head" else f"{name}.y"
        nodes.append(node("Gemm", [x, f"{name}.w", f"{name}.b"], [y], name=name, transB=1))
        x = y
        if name != "head":
            nodes.append(node("Relu", [x], [f"{name}.r"], name=f"{name}_relu"))
            x = f"{name}.r"
    held["offset.b"] = held["offset.b"] + np.float32(OFFSET)
    held["back.b"] = held["back.b"] - held["back.w"].sum(axis=1) * np.float32(OFFSET)
    return network(nodes, [1, 16], [1, 4], held)


def labelled(content: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    """The samples with the classes that the float network gives them."""
    reference = Reference(program_from(content))
    return {"x": x, "labels": np.array([reference.run([v[None]])[0].argmax() for v in x])}


def tidy(content: bytes) -> object:
    return run_passes(import_model(content), front_half(None, None))


def test_the_one_layer_that_needs_int16_is_found_and_int16_suffices() -> None:
    content = small_signal_on_a_large_offset()
    x = np.random.default_rng(1).normal(size=(160, 16)).astype(np.float32)
    samples, config = labelled(content, x), QuantizationConfig()
    found = search(tidy(content), config, samples, 0.02)
    print(found.show())
    assert found.float_accuracy == 1.0
    assert found.integer_accuracy < 0.9
    assert found.int16_layers == ("offset_relu",)
    assert found.float_layers == ()
    assert found.accuracy >= 0.98
    rows = {row.layer: row for row in found.layers}
    assert found.layers[0].layer == "offset_relu"
    others = [row.int16_sqnr_db for name, row in rows.items() if name != "offset_relu"]
    assert rows["offset_relu"].int16_sqnr_db > max(others) + 10
    # The network that the search promised is the one that the compiler makes.
    chosen = dataclasses.replace(config, int16_layers=found.int16_layers)
    program = program_from(content, quantization=chosen, calibration=samples)
    reference = Reference(program)
    classes = np.array([reference.run([v[None]])[0].argmax() for v in x])
    assert (classes == samples["labels"]).mean() == found.accuracy
    kinds = [
        (type(op).__name__, program.tensors[op.outputs[0]].dtype) for op in program.function().operations
    ]
    assert kinds == [
        ("Quantize", "int8"),
        ("Dense", "int8"),
        ("Requantize", "int16"),
        ("Dense", "int16"),
        ("Dense", "int16"),
        ("Requantize", "int8"),
        ("Dense", "int8"),
        ("Dequantize", "float32"),
    ]


def test_the_search_reaches_the_accuracy_asked_for_and_says_how() -> None:
    content = plain_cnn()
    samples = labelled(content, X)
    found = search(tidy(content), SPOILT, samples, 0.0)
    assert found.float_accuracy == found.accuracy == 1.0
    assert found.integer_accuracy < 1.0
    # One scale for all of a layer's weights: no activation is to blame, so int16 can't mend it.
    assert found.float_layers
    gains = [row.int16_sqnr_db for row in found.layers]
    assert gains == sorted(gains, reverse=True)
    assert found.layers[0].layer in found.show()
    assert found.trials <= 7 * len(found.layers) + 1
    steps: list[str] = []
    loose = search(tidy(content), SPOILT, samples, 0.9, steps.append)
    assert steps == ["sensitivity: calibrate", "sensitivity: trial 1, with 0 layers not in int8"]
    assert (loose.int16_layers, loose.float_layers, loose.trials) == ((), (), 1)
    assert loose.show().endswith("; 1 trial")


def test_a_network_of_int16_is_searched_for_float_alone() -> None:
    content = plain_cnn()
    wide = dataclasses.replace(SPOILT, activations="int16")
    found = search(tidy(content), wide, labelled(content, X), 0.0)
    assert found.accuracy == 1.0
    assert found.int16_layers == ()
    assert all(row.int16_sqnr_db is None for row in found.layers)


def test_labels_are_needed_and_a_float_source() -> None:
    with pytest.raises(BadInputError, match="labels"):
        search(tidy(plain_cnn()), SPOILT, {"x": X}, 0.01)
    quantised = run_passes(import_model(plain_cnn()), front_half(QuantizationConfig(), {"x": X}))
    with pytest.raises(UsageError, match="quantised already"):
        search(quantised, SPOILT, labelled(plain_cnn(), X), 0.01)
