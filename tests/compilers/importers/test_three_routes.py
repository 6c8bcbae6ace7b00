"""One network through TFLite, ONNX and PyTorch: the same Program, up to names and the layout of its input.

ResNet-8 of MLPerf Tiny (tests/support/resnet8.py). Differences, all of which the comparison names:

- Names of tensors, which are those of each source's layers.
- A Transpose at the front of ONNX's and PyTorch's Programs: their images are NCHW.

Nothing else differs: operations, their order and attributes (also the lopsided padding of stride 2, a Pad in
PyTorch, an auto_pad in ONNX), shapes, weights and biases to the last bit, multiply-accumulates.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk import Session
from lepton_sdk.program import Operation, Program
from lepton_sdk.program.operations import Quantize, Transpose
from lepton_sdk.program.reference import Reference
from support.evaluation_data import mlperf_tiny
from support.resnet8 import LAYERS, ResNet8, onnx_model, read_layers
from support.structured_inputs import structured_images
from support.torch_networks import eager, exported

ROUTES = ("onnx", "torch")


@pytest.fixture(scope="module")
def sources() -> dict[str, bytes]:
    content = mlperf_tiny("pretrainedResnet").read_bytes()
    layers = read_layers(content)
    return {
        "tflite": content,
        "onnx": onnx_model(layers),
        "torch": exported(ResNet8(layers), (1, 3, 32, 32)),
    }


@pytest.fixture(scope="module")
def programs(sources: dict[str, bytes]) -> dict[str, Program]:
    return {route: program_from(content) for route, content in sources.items()}


@pytest.fixture(scope="module")
def images() -> Any:
    """NHWC, 0 … 255 as the network was trained."""
    return (structured_images(40, (32, 32, 3)) * 255).astype(np.float32)


def without_turn(program: Program) -> tuple[tuple[Operation, ...], dict[str, str]]:
    """The operations but the one that turns the input from NCHW to NHWC; its result and what it is made of.

    The turn reads the input itself, or the input made integers.
    """
    (image,) = program.function().inputs
    for step, op in enumerate(program.function().operations[:2]):
        if isinstance(op, Transpose):
            assert op.axes == (0, 2, 3, 1)
            assert step == 0 or isinstance(program.function().operations[0], Quantize)
            rest = tuple(other for other in program.function().operations if other is not op)
            return rest, {op.y: op.x}
    assert program.tensors[image].shape == (1, 32, 32, 3)
    return program.function().operations, {}


def differences(one: Program, other: Program) -> list[str]:
    """What differs between two Programs beyond names and the layout of the input, an entry each."""
    (ours, _), (theirs, turned) = without_turn(one), without_turn(other)
    if [type(op) for op in ours] != [type(op) for op in theirs]:
        return [f"operations: {[type(o).__name__ for o in ours]}, {[type(o).__name__ for o in theirs]}"]
    nchw = {*other.function().inputs, *turned.values()} if turned else set()
    same: dict[str, str] = {}
    found = []
    for step, (a, b) in enumerate(zip(ours, theirs)):
        for x, y in zip((*a.inputs, *a.outputs), (*b.inputs, *b.outputs), strict=True):
            y = turned.get(y, y)
            if same.setdefault(x, y) != y:
                found.append(f"{step}: {x} is {same[x]} and {y}")
            p, q = one.tensors[x], other.tensors[y]
            shape = tuple(q.shape[axis] for axis in (0, 2, 3, 1)) if y in nchw else q.shape
            if (p.shape, p.dtype, p.quantization) != (shape, q.dtype, q.quantization):
                found.append(f"{step}: {x} {p.shape} {p.quantization}, {y} {shape} {q.quantization}")
            if (p.value is None) != (q.value is None) or not np.array_equal(p.value, q.value):
                found.append(f"{step}: the values of {x} and {y}")
        for field in dataclasses.fields(a):
            left, right = getattr(a, field.name), getattr(b, field.name)
            if left != right and left not in same:
                found.append(f"{step}: {field.name} is {left}, {right}")
        if a.macs(one.tensors) != b.macs(other.tensors):
            found.append(f"{step}: multiply-accumulates")
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_the_programs_are_one(programs: dict[str, Program], route: str) -> None:
    assert differences(programs["tflite"], programs[route]) == []
    kinds = [type(op).__name__ for op in programs["tflite"].function().operations]
    assert kinds.count("Conv2d") == 9
    assert programs["tflite"].macs() == programs[route].macs() == 12_501_632


def test_the_comparison_tells_differences(sources: dict[str, bytes], programs: dict[str, Program]) -> None:
    layers = read_layers(sources["tflite"])
    bias = layers["block2.conv1"].bias.copy()
    bias[3] += 1e-6
    layers["block2.conv1"] = layers["block2.conv1"]._replace(bias=bias)
    other = program_from(exported(ResNet8(layers), (1, 3, 32, 32)))
    (found,) = differences(programs["tflite"], other)
    assert "the values of" in found
    assert "bias" in found


@pytest.mark.parametrize("route", ROUTES)
def test_results_are_the_same_bytes(programs: dict[str, Program], images: Any, route: str) -> None:
    ours, theirs = Reference(programs["tflite"]), Reference(programs[route])
    for image in images[:12]:
        a = ours.run([image[None]])[0]
        np.testing.assert_array_equal(theirs.run([image.transpose(2, 0, 1)[None].copy()])[0], a)


def test_results_are_pytorchs_and_litert_s(
    sources: dict[str, bytes], programs: dict[str, Program], images: Any
) -> None:
    network = ResNet8(read_layers(sources["tflite"]))
    litert = Session(mlperf_tiny("pretrainedResnet"), engine="litert")
    reference = Reference(programs["torch"])
    for image in images[:12]:
        turned = image.transpose(2, 0, 1)[None].copy()
        found = reference.run([turned])[0]
        np.testing.assert_allclose(found, eager(network, turned)[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found, next(iter(litert.run(image[None]).values())), rtol=0, atol=1e-5)


def test_each_route_names_layers_its_own_way(programs: dict[str, Program]) -> None:
    names = {
        route: {op.outputs[0] for op in program.function().operations} for route, program in programs.items()
    }
    assert "model/activation_2/Relu" in names["tflite"]
    assert {"block1/relu", "block2/conv2", "block2/shortcut"} <= names["onnx"]
    assert {"block2.conv2.conv", "block2.shortcut.conv", "pool"} <= names["torch"]


def test_quantised_they_are_one_too(sources: dict[str, bytes], images: Any) -> None:
    samples = {"tflite": images, "onnx": images.transpose(0, 3, 1, 2), "torch": images.transpose(0, 3, 1, 2)}
    names = {"tflite": "input_1", "onnx": "image", "torch": "image"}
    made = {
        route: program_from(
            content,
            quantization=QuantizationConfig(),
            calibration={names[route]: np.ascontiguousarray(samples[route][:8])},
        )
        for route, content in sources.items()
    }
    for route in ROUTES:
        assert differences(made["tflite"], made[route]) == []


def test_trained_weights_go_from_one_route_to_another(sources: dict[str, bytes]) -> None:
    """A state_dict of PyTorch, spelt as the ONNX file spells it, replaces the file's own weights."""
    layers = read_layers(sources["tflite"])
    trained = {name: layer._replace(weight=layer.weight * np.float32(0.9)) for name, layer in layers.items()}
    by_module = {
        **{f"{n}.conv.{part}": getattr(trained[n], part) for n in LAYERS[:-1] for part in ("weight", "bias")},
        **{f"head.{part}": getattr(trained["head"], part) for part in ("weight", "bias")},
    }
    by_file = {f"{n}.{part}": getattr(trained[n], part) for n in LAYERS for part in ("weight", "bias")}
    onnx = program_from(sources["onnx"], weights=by_file)
    assert differences(onnx, program_from(sources["torch"], weights=by_module)) == []
