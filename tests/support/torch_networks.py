"""Small PyTorch networks for the importer's tests, and PyTorch itself as their oracle."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lepton_compilers.front import program_from
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference

Array = npt.NDArray[Any]


def exported(module: nn.Module, *shapes: Sequence[int], **options: Any) -> bytes:
    """The .pt2 file of a module for float inputs of these shapes."""
    inputs = tuple(torch.zeros(tuple(shape)) for shape in shapes)
    written = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), inputs, **options), written)
    return written.getvalue()


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def eager(module: nn.Module, *inputs: Array) -> list[Array]:
    """What PyTorch computes: the results in the order that the module gives them."""
    with torch.no_grad():
        found = module.eval()(*map(torch.from_numpy, inputs))
    results = list(found.values()) if isinstance(found, dict) else found
    return [r.numpy() for r in (results if isinstance(results, tuple | list) else (results,))]


def run(program: Program, *inputs: Array) -> list[Array]:
    return Reference(program).run(list(inputs))


def difference(module: nn.Module, *shapes: Sequence[int], **options: Any) -> float:
    """Largest difference between the Program of a module and PyTorch on random inputs."""
    inputs = [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    found = run(program_from(exported(module, *shapes), **options), *inputs)
    wanted = eager(module, *inputs)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    return max(float(np.abs(f.astype(np.float64) - w).max()) for f, w in zip(found, wanted))


class Function(nn.Module):
    """A module of a function of its inputs, and of the modules and parameters that it is given."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module, its normalisations as training leaves them: no statistics of 0 and 1."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 2)
                nn.init.normal_(layer.bias)
    return module.eval()


class Residual(nn.Module):
    """Two convolutions with normalisation beside a shortcut, with an in-place activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return torch.relu(y + x)


class MobileCnn(nn.Module):
    """Normalised and depthwise convolutions, residuals, several activations and pools, two results."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True)
        )
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.swish = nn.Hardswish()
        self.layer1 = nn.Sequential(Residual(8), Residual(8))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.layer1(self.swish(self.depthwise(self.stem(image))))
        both = torch.cat([self.pool(x).flatten(1), x.mean((2, 3)) * 2], 1)
        logits = self.head(both)
        return {"logits": logits, "probabilities": logits.softmax(-1)}


class PlainCnn(nn.Module):
    """conv, relu, max pool, depthwise with two outputs a channel, flatten, linear: everything trains."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.dw = nn.Conv2d(4, 8, 2, 2, groups=4)
        self.head = nn.Linear(32, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.stem(x)), 2)
        return self.head(torch.relu(self.dw(x)).flatten(1))
