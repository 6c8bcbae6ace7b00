"""Networks whose training is measured, as PyTorch modules that end in class scores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as f


class DigitsCnn(nn.Module):
    """The demo's network: images [N, 1, 8, 8] → 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.dense1, self.dense2 = nn.Linear(16 * 4 * 4, 24), nn.Linear(24, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = f.max_pool2d(f.relu(self.conv2(f.relu(self.conv1(image)))), 2)
        return self.dense2(f.relu(self.dense1(x.flatten(1))))


class MnistCnn(nn.Module):
    """Two convolutions of 5 × 5, each pooled, two dense layers: images [N, 1, 28, 28] → 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.dense1, self.dense2 = nn.Linear(64 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = f.max_pool2d(f.relu(self.conv1(image)), 2)
        x = f.max_pool2d(f.relu(self.conv2(x)), 2)
        return self.dense2(f.relu(self.dense1(x.flatten(1))))


class _Block(nn.Module):
    def __init__(self, inner: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inner, out, 3, stride, 1), nn.Conv2d(out, out, 3, 1, 1)
        self.shortcut = nn.Conv2d(inner, out, 1, stride) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(f.relu(self.conv1(x)))
        return f.relu((x if self.shortcut is None else self.shortcut(x)) + y)


class ResNet8(nn.Module):
    """MLPerf Tiny's, normalisations folded into the convolutions: images [N, 3, 32, 32] → 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.block1, self.block2, self.block3 = _Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 64, 2)
        self.pool, self.head = nn.AvgPool2d(8), nn.Linear(64, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.block3(self.block2(self.block1(f.relu(self.stem(image)))))
        return self.head(self.pool(x).flatten(1))


class Autoencoder(nn.Module):
    """AD's shape, 640 · 128 · 8 · 128 · 640; the outputs are taken as class scores."""

    def __init__(self) -> None:
        super().__init__()
        widths = (640, 128, 8, 128, 640)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            features = f.relu(layer(features))
        return last(features)


class Lstm(nn.Module):
    """50 steps of 32 values, 64 units: sequences [N, 50, 32] → 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(sequence)
        return self.head(states[:, -1])


@dataclass(frozen=True)
class Trained:
    """make: the module. shape: of one example. classes: scores."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int


TRAINED: Mapping[str, Trained] = {
    "digits CNN": Trained(DigitsCnn, (1, 8, 8), 10),
    "MNIST CNN": Trained(MnistCnn, (1, 28, 28), 10),
    "ResNet-8": Trained(ResNet8, (3, 32, 32), 10),
    "autoencoder": Trained(Autoencoder, (640,), 640),
    "LSTM": Trained(Lstm, (50, 32), 10),
}
