"""What detectors and mobile networks do between convolutions: SiLU, channels split, joined and scaled."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.sequence import Unary
from lepton_targets import get_target
from support.executed import X86_64, executed
from support.native import Native

Array = npt.NDArray[Any]
SHAPE = (1, 3, 16, 24)


class Block(nn.Module):
    """Half of the channels go through a convolution; what there was is joined, scaled and enlarged."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU())
        self.inner = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.Hardswish())
        self.deep = nn.Sequential(nn.Conv2d(48, 48, (5, 7), padding=(2, 3), groups=48), nn.Hardswish())
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(48, 48, 1), nn.Hardsigmoid())
        self.last = nn.Sequential(nn.Conv2d(48, 20, 1), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] to [N, 20, H, W]."""
        left, right = self.first(x).chunk(2, 1)
        y = torch.cat([left, right, right + self.inner(right)], 1)
        y = self.deep(y)
        y = y * self.scale(y)
        larger: torch.Tensor = nn.functional.interpolate(self.last(y), scale_factor=2.0, mode="nearest")
        return larger


@functools.cache
def network() -> tuple[Program, Block]:
    torch.manual_seed(0)
    block = Block().eval()
    file = io.BytesIO()
    torch.export.save(torch.export.export(block, (torch.zeros(SHAPE),)), file)
    return program_from(file.getvalue()), block


@functools.cache
def samples() -> Array:
    return np.random.default_rng(0).normal(size=(8, *SHAPE[1:])).astype(np.float32)


def expected(x: Array) -> Array:
    with torch.no_grad():
        return np.asarray(network()[1](torch.from_numpy(x)).numpy())


def kinds(program: Program) -> list[str]:
    return [type(op).__name__ for op in program.function().operations]


def test_maps_are_turned_once_and_functions_have_one_name() -> None:
    program, _ = network()
    names = kinds(program)
    assert names.count("Transpose") == 2
    assert (names[0], names[-1]) == ("Transpose", "Transpose")
    functions = [op.function for op in program.function().operations if isinstance(op, Unary)]
    assert functions == ["silu", "hard_swish", "hard_swish", "gelu"]
    found = np.concatenate([Reference(program).run([x[None]])[0] for x in samples()])
    np.testing.assert_allclose(found, expected(samples()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", X86_64)
def test_code_computes_the_same(target: str) -> None:
    program, _ = network()
    code = Native(program, cpu.lower(program, executed(target)))
    for x in samples()[:3]:
        np.testing.assert_allclose(code.run([x[None]])[0], expected(x[None]), rtol=1e-4, atol=1e-5)


def test_channels_stay_in_blocks() -> None:
    calls = [call.kernel for call in cpu.plan(network()[0], get_target("x86-64-avx2")).calls]
    assert "slice_bytes" not in calls
    assert [kernel for kernel in calls if kernel in ("pack_f32", "unpack_f32")] == ["unpack_f32"]
    assert calls.count("stretched_mul_float") == 2, "by a number, and by a number a channel"


@functools.cache
def int8_program() -> Program:
    file = io.BytesIO()
    torch.export.save(torch.export.export(network()[1], (torch.zeros(SHAPE),)), file)
    calibration = {network()[0].function().inputs[0]: samples()}
    return program_from(file.getvalue(), quantization=QuantizationConfig(), calibration=calibration)


def test_int8_from_end_to_end() -> None:
    inner = kinds(int8_program())[1:-1]
    assert not {"Quantize", "Dequantize", "Unary", "FloatKernel"} & {*inner}
    found = np.concatenate([Reference(int8_program()).run([x[None]])[0] for x in samples()])
    assert np.linalg.norm(found - expected(samples())) < 0.08 * np.linalg.norm(expected(samples()))


@pytest.mark.parametrize("target", [*X86_64, "x86-64-avx512vbmi"])
def test_int8_code_gives_the_reference_s_bytes(target: str) -> None:
    code = Native(int8_program(), cpu.lower(int8_program(), executed(target)))
    for x in samples()[:3]:
        assert code.run([x[None]])[0].tobytes() == Reference(int8_program()).run([x[None]])[0].tobytes()


def gate(spelling: str) -> onnx.ModelProto:
    """x times a function of x, as exporters write it."""

    def number(name: str, value: float) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, np.float32), name)

    node = helper.make_node
    nodes = {
        "sigmoid": [node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])],
        "clip": [
            node("Add", ["x", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["c"]),
            node("Mul", ["x", "c"], ["m"]),
            node("Div", ["m", "six"], ["y"]),
        ],
        "erf": [
            node("Div", ["x", "root"], ["a"]),
            node("Erf", ["a"], ["e"]),
            node("Add", ["e", "one"], ["b"]),
            node("Mul", ["x", "b"], ["m"]),
            node("Mul", ["m", "half"], ["y"]),
        ],
        "almost": [
            node("Add", ["x", "two"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["c"]),
            node("Mul", ["x", "c"], ["m"]),
            node("Div", ["m", "six"], ["y"]),
        ],
    }[spelling]
    values = {"zero": 0, "half": 0.5, "one": 1, "root": 2**0.5, "two": 2, "three": 3, "six": 6}
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 64)) for n in "xy"]
    constants = [number(name, value) for name, value in values.items()]
    graph = helper.make_graph(nodes, "gate", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("spelling", "name"), [("sigmoid", "silu"), ("clip", "hard_swish"), ("erf", "gelu"), ("almost", None)]
)
def test_a_function_is_told_by_what_it_computes(spelling: str, name: str | None) -> None:
    model = gate(spelling)
    program = program_from(model.SerializeToString())
    functions = [op.function for op in program.function().operations if isinstance(op, Unary)]
    assert functions == ([name] if name else [])
    x = np.linspace(-9, 9, 64, dtype=np.float32)[None]
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(Reference(program).run([x])[0], wanted, rtol=1e-5, atol=1e-6)
