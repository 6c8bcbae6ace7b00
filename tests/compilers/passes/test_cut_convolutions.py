"""What is cut off behind a convolution is not computed; gates are layers of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Padding, Program
from lepton_sdk.program.operations import Conv2d, DepthwiseConv2d
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.sequence import Slice
from support.torch_networks import Function, difference, eager, exported

SIGNAL = (2, 8, 20)


def module(function: Callable[..., torch.Tensor], **convolutions: nn.Module) -> nn.Module:
    return Function(function, **convolutions)


def operations(program: Program, kind: type) -> list[Conv2d | DepthwiseConv2d]:
    return [op for op in program.function().operations if isinstance(op, kind)]


def causal(dilation: int, groups: int = 1) -> nn.Module:
    torch.manual_seed(0)
    width = 2 * dilation
    return module(
        lambda self, x: torch.relu(self.a(x)[:, :, :-width]),
        a=nn.Conv1d(8, 8, 3, padding=width, dilation=dilation, groups=groups),
    )


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("dilation", [1, 4])
def test_a_causal_layer_has_padding_before_alone(dilation: int, groups: int) -> None:
    layer = causal(dilation, groups)
    assert difference(layer, SIGNAL) < 1e-5
    program = program_from(exported(layer, SIGNAL))
    (conv,) = operations(program, Conv2d if groups == 1 else DepthwiseConv2d)
    assert conv.padding == Padding(0, 0, 2 * dilation, 0)
    assert conv.clamp is not None
    assert operations(program, Slice) == []


def test_gates_are_layers_of_their_own() -> None:
    torch.manual_seed(0)
    layer = module(lambda self, x: nn.functional.glu(self.a(x), 1), a=nn.Conv1d(8, 12, 3, padding=1))
    assert difference(layer, SIGNAL) < 1e-5
    program = program_from(exported(layer, SIGNAL))
    channels = [program.tensors[conv.y].shape[3] for conv in operations(program, Conv2d)]
    assert channels == [6, 6]
    assert operations(program, Slice) == []


@pytest.mark.parametrize(
    "cut",
    [
        # The rest is a result too.
        lambda y: torch.cat([y, torch.nn.functional.pad(y[:, :, :-2], (0, 2))], 1),
        # Parts that overlap would be computed twice.
        lambda y: torch.cat([y[:, :, :-1], y[:, :, 1:]], 1),
        # Every other place is no map with less padding.
        lambda y: y[:, :, ::2],
        # More than the padding goes: the window's places inside the map are not computed, but cut off.
        lambda y: y[:, :, 5:],
    ],
)
def test_other_slices_stay(cut: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    layer = module(lambda self, x: cut(self.a(x)), a=nn.Conv1d(8, 6, 3, padding=2))
    assert difference(layer, SIGNAL) < 1e-5
    assert operations(program_from(exported(layer, SIGNAL)), Slice) != []


def test_a_strided_layer_is_cut_where_its_windows_end() -> None:
    torch.manual_seed(0)
    layer = module(lambda self, x: self.a(x)[:, :, 1:-1], a=nn.Conv1d(8, 6, 5, 2, 4))
    assert difference(layer, SIGNAL) < 1e-5
    (conv,) = operations(program_from(exported(layer, SIGNAL)), Conv2d)
    assert conv.padding == Padding(0, 0, 2, 1)


def test_a_causal_layer_in_int8_holds_no_slice() -> None:
    layer = causal(2)
    samples = np.random.default_rng(0).normal(size=(32, 8, 20)).astype(np.float32)
    content = exported(layer, (1, 8, 20))
    program = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    assert operations(program, Slice) == []
    found = np.concatenate([Reference(program).run([x[None]])[0] for x in samples])
    wanted = eager(layer, samples)[0]
    assert np.abs(found - wanted).max() < 0.04 * np.abs(wanted).max()
