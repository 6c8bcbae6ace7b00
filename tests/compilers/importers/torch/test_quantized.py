"""Networks that PyTorch quantised (PT2E) become int8 Programs with PyTorch's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

from lepton_compilers.front import program_from
from lepton_sdk.program import Program
from lepton_targets.errors import UnsupportedOperatorError
from support.torch_networks import Function, Residual, normal, run, settled

Q = torch.ops.quantized_decomposed


class Backbone(nn.Module):
    """Convolutions, depthwise ones, residuals, both pools, a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6())
        self.block = Residual(8)
        self.shrink = nn.MaxPool2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shrink(self.block(self.depthwise(self.stem(x))))
        return self.head(self.pool(x).flatten(1))


@pytest.fixture(scope="module")
def quantised() -> Any:
    """The exported program that PT2E makes of the backbone with the quantiser for XNNPACK."""
    network = settled(Backbone())
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(network, (torch.zeros(1, 3, 32, 32),)).module(), quantizer)
    for seed in range(8):
        prepared(torch.from_numpy(normal(1, 3, 32, 32, seed=seed)))
    return torch.export.export(convert_pt2e(prepared), (torch.zeros(1, 3, 32, 32),))


def kinds(program: Program) -> list[str]:
    return [type(op).__name__ for op in program.function().operations]


def test_every_layer_is_integer(quantised: Any) -> None:
    program = program_from(quantised)
    found = kinds(program)
    assert found.count("Quantize") == found.count("Dequantize") == 1
    assert {"Conv2d", "DepthwiseConv2d", "Add", "MaxPool2d", "Dense"} <= set(found)
    inside = [program.tensors[op.outputs[0]].dtype for op in program.function().operations[2:-1]]
    assert set(inside) == {"int8"}


def test_integers_are_pytorchs(quantised: Any) -> None:
    """PyTorch computes between dequantize and quantize in float: ties may round the other way."""
    program = program_from(quantised)
    step = program.tensors[program.function().operations[-1].inputs[0]].scale
    module = quantised.module()
    differing = 0
    for seed in range(20):
        x = normal(1, 3, 32, 32, seed=100 + seed)
        with torch.no_grad():
            wanted = module(torch.from_numpy(x)).numpy()
        steps = np.rint((run(program, x)[0] - wanted) / step)
        assert np.abs(steps).max() <= 1
        differing += int(np.count_nonzero(steps))
    assert differing <= 10  # of 100


def test_layers_keep_their_names(quantised: Any) -> None:
    names = [op.outputs[0] for op in program_from(quantised).function().operations]
    assert {"stem.2", "depthwise.1", "block.act", "block.conv2", "shrink", "head"} <= set(names)


def dequantised(q: torch.Tensor, scale: float, zero: int, kind: torch.dtype, low: int, high: int) -> Any:
    return Q.dequantize_per_tensor.default(q, scale, zero, low, high, kind)


def fake(x: torch.Tensor, scale: float, zero: int, kind: torch.dtype, low: int, high: int) -> Any:
    q = Q.quantize_per_tensor.default(x, scale, zero, low, high, kind)
    return dequantised(q, scale, zero, kind, low, high)


class Dense(nn.Module):
    """A dense layer between quantised activations of any type and bounds; int8 weights, int32 bias."""

    def __init__(self, kind: torch.dtype, low: int, high: int, zero: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.numbers = (zero, kind, low, high)
        scales = rng.uniform(0.005, 0.01, 6).astype(np.float32)
        weight, bias = rng.integers(-127, 128, (6, 10)), rng.integers(-3000, 3000, 6)
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.int8)))
        self.register_buffer("bias", torch.from_numpy(bias.astype(np.int32)))
        self.register_buffer("scales", torch.from_numpy(scales))
        self.register_buffer("zeros", torch.zeros(6, dtype=torch.int64))
        self.register_buffer("bias_scales", torch.from_numpy(np.float32(0.02) * scales))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        per_channel = Q.dequantize_per_channel.default
        weight = per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
        bias = per_channel(self.bias, self.bias_scales, self.zeros, 0, -(2**31), 2**31 - 1, torch.int32)
        y = nn.functional.linear(fake(x, 0.02, *self.numbers), weight, bias)
        return fake(torch.relu(y), 0.03, *self.numbers)


@pytest.mark.parametrize(
    ("kind", "low", "high", "zero"),
    [
        (torch.int8, -128, 127, -3),
        (torch.uint8, 0, 255, 125),
        (torch.uint8, 0, 127, 20),
        (torch.int8, -127, 127, 0),
    ],
    ids=["int8", "uint8", "uint8-in-seven-bits", "int8-narrow"],
)
def test_other_types_and_bounds_are_the_same_integers(
    kind: torch.dtype, low: int, high: int, zero: int
) -> None:
    network = Dense(kind, low, high, zero)
    program = program_from(torch.export.export(network, (torch.zeros(1, 10),)))
    assert [k for k in kinds(program) if k != "ClampTo"] == ["Quantize", "Dense", "Dequantize"]
    shift = 128 if kind == torch.uint8 else 0
    (dense,) = [op for op in program.function().operations if type(op).__name__ == "Dense"]
    assert program.tensors[dense.inputs[0]].zero_point == zero - shift
    bias = program.tensors[dense.inputs[2]]
    assert bias.value is not None
    np.testing.assert_array_equal(bias.value, network.bias.numpy())
    for seed in range(20):
        x = 3 * normal(1, 10, seed=seed)
        with torch.no_grad():
            wanted = network(torch.from_numpy(x)).numpy()
        steps = (run(program, x)[0] - wanted) / 0.03
        assert np.abs(steps).max() <= 1 + 1e-4
        assert np.count_nonzero(np.abs(steps) > 0.5) <= 1


def test_weights_quantised_in_the_graph_are_rounded_by_pytorch() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        weight = Q.quantize_per_tensor.default(self.weight, 0.01, 0, -127, 127, torch.int8)
        y = nn.functional.linear(
            fake(x, 0.02, 0, torch.int8, -128, 127), dequantised(weight, 0.01, 0, torch.int8, -127, 127)
        )
        return fake(y, 0.05, 0, torch.int8, -128, 127)

    weight = nn.Parameter(torch.from_numpy(normal(4, 10)))
    program = program_from(torch.export.export(Function(forward, weight=weight), (torch.zeros(1, 10),)))
    assert kinds(program) == ["Quantize", "Dense", "Dequantize"]
    held = program.tensors[program.function().operations[1].inputs[1]].value
    wanted = Q.quantize_per_tensor.default(weight, 0.01, 0, -127, 127, torch.int8)
    np.testing.assert_array_equal(held, wanted.numpy())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Function(lambda self, x: fake(x, 0.1, 0, torch.int16, -(2**15), 2**15 - 1)), "is int16"),
        (Function(lambda self, x: fake(x, 0.0, 0, torch.int8, -128, 127)), "a scale that is zero"),
    ],
    ids=["int16", "no-scale"],
)
def test_numbers_that_have_no_place_are_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        program_from(torch.export.export(network, (torch.zeros(1, 4),)))


def test_dynamic_quantisation_is_refused() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        scale, zero = Q.choose_qparams.tensor(x, -128, 127, 1e-5, torch.int8)
        q = Q.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)
        return Q.dequantize_per_tensor.tensor(q, scale, zero, -128, 127, torch.int8)

    with pytest.raises(UnsupportedOperatorError, match=r"choose_qparams"):
        program_from(torch.export.export(Function(forward), (torch.zeros(1, 4),)))
