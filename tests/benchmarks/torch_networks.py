"""Networks of other kinds, as PyTorch writes them to ONNX: gates, attention, recurrence, sound, detection.

Shapes as published where a network has a name: MobileNetV3-small (Howard and others, 2019), a detector of
YOLOv8's blocks (C2f, SiLU) at 256 × 256, U-Net (Ronneberger and others, 2015) of 16 to 64 channels at
128 × 128, an encoder of Transformer layers (Vaswani and others, 2017), two LSTM layers, and three
one-dimensional convolutions before a GRU, as keyword spotters have them. Weights are random.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.networks import INPUT


def convolution(
    inner: int,
    out: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    gate: type[nn.Module] | None = None,
) -> nn.Sequential:
    """A convolution, normalised, and what follows."""
    layers: list[nn.Module] = [nn.Conv2d(inner, out, kernel, stride, kernel // 2, groups=groups, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(out), *([gate()] if gate else []))


class Scaled(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, channels // 4)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            *(nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), nn.Hardsigmoid()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A factor a channel, decided by the map's means."""
        return x * self.scale(x)


class Inverted(nn.Module):
    """MobileNetV3's block: wider, depthwise, scaled, narrow again."""

    def __init__(
        self, inner: int, wide: int, out: int, kernel: int, stride: int, scaled: int, gate: type[nn.Module]
    ) -> None:
        super().__init__()
        self.adds = stride == 1 and inner == out
        self.layers = nn.Sequential(
            *([convolution(inner, wide, 1, gate=gate)] if wide != inner else []),
            convolution(wide, wide, kernel, stride, wide, gate),
            *([Scaled(wide)] if scaled else []),
            convolution(wide, out, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With the input where the shape is kept."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.adds else y


R, H = nn.ReLU, nn.Hardswish
SMALL = (
    *((16, 16, 16, 3, 2, 1, R), (16, 72, 24, 3, 2, 0, R), (24, 88, 24, 3, 1, 0, R), (24, 96, 40, 5, 2, 1, H)),
    *(
        (40, 240, 40, 5, 1, 1, H),
        (40, 240, 40, 5, 1, 1, H),
        (40, 120, 48, 5, 1, 1, H),
        (48, 144, 48, 5, 1, 1, H),
    ),
    *((48, 288, 96, 5, 2, 1, H), (96, 576, 96, 5, 1, 1, H), (96, 576, 96, 5, 1, 1, H)),
)


def mobilenetv3_small() -> nn.Module:
    """For 1,000 classes."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(576, 1024), H(), nn.Linear(1024, 1000))
    blocks = (Inverted(*row) for row in SMALL)
    return nn.Sequential(convolution(3, 16, 3, 2, gate=H), *blocks, convolution(96, 576, 1, gate=H), *head)


class Split(nn.Module):
    """YOLOv8's C2f: half of the channels go on and on, all that there was is joined."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.first = convolution(channels, channels, 1, gate=nn.SiLU)
        pair = (convolution(half, half, gate=nn.SiLU) for _ in range(2 * depth))
        self.inner = nn.ModuleList(nn.Sequential(a, b) for a, b in zip(pair, pair))
        self.last = convolution(half * (2 + depth), channels, 1, gate=nn.SiLU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        parts = list(self.first(x).chunk(2, 1))
        for block in self.inner:
            parts.append(parts[-1] + block(parts[-1]))
        joined: torch.Tensor = self.last(torch.cat(parts, 1))
        return joined


class Detector(nn.Module):
    """Three scales, the coarsest enlarged and joined to the middle one; 84 numbers a place."""

    def __init__(self) -> None:
        super().__init__()

        def scale(inner: int, out: int, depth: int) -> nn.Sequential:
            return nn.Sequential(convolution(inner, out, 3, 2, gate=nn.SiLU), Split(out, depth))

        self.fine = nn.Sequential(convolution(3, 16, 3, 2, gate=nn.SiLU), scale(16, 32, 1))
        self.middle, self.coarse = scale(32, 64, 2), scale(64, 128, 2)
        self.larger = nn.Upsample(scale_factor=2)
        self.head = nn.Sequential(convolution(192, 64, 1, gate=nn.SiLU), Split(64, 1), nn.Conv2d(64, 84, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 256, 256] to [N, 84, 32, 32]."""
        middle = self.middle(self.fine(x))
        y: torch.Tensor = self.head(torch.cat([self.larger(self.coarse(middle)), middle], 1))
        return y


class UNet(nn.Module):
    """Down twice, up twice, two classes a pixel."""

    def __init__(self) -> None:
        super().__init__()

        def double(inner: int, out: int) -> nn.Sequential:
            return nn.Sequential(convolution(inner, out, gate=R), convolution(out, out, gate=R))

        self.down = nn.ModuleList([double(3, 16), double(16, 32), double(32, 64)])
        self.larger = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)])
        self.up = nn.ModuleList([double(64, 32), double(32, 16)])
        self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 128, 128] to [N, 2, 128, 128]."""
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        y = self.larger[0](self.down[2](self.pool(second)))
        y = self.larger[1](self.up[0](torch.cat([y, second], 1)))
        classes: torch.Tensor = self.last(self.up[1](torch.cat([y, first], 1)))
        return classes


class Encoder(nn.Module):
    """Four Transformer layers of 4 heads, the mean of 64 places, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.last = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 64, 128] to [N, 10]."""
        y: torch.Tensor = self.last(self.layers(x).mean(1))
        return y


class Recurrent(nn.Module):
    """Two LSTM layers of 128 cells, the last state's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = nn.LSTM(40, 128, 2, batch_first=True), nn.Linear(128, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 50, 40] to [N, 12]."""
        y: torch.Tensor = self.last(self.layers(x)[0][:, -1])
        return y


class Sound(nn.Module):
    """Three convolutions along time, a GRU, twelve words."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = (nn.Conv1d(40, 64, 5, 1, 2), nn.Conv1d(64, 64, 3, 2, 1), nn.Conv1d(64, 128, 3, 2, 1))
        self.convolutions = nn.Sequential(*(layer for conv in convolutions for layer in (conv, nn.ReLU())))
        self.layer, self.last = nn.GRU(128, 64, batch_first=True), nn.Linear(64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 40, 98] to [N, 12]."""
        y: torch.Tensor = self.last(self.layer(self.convolutions(x).transpose(1, 2))[0][:, -1])
        return y


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MobileNetV3": (mobilenetv3_small, (1, 3, 224, 224)),
    "YOLO": (Detector, (1, 3, 256, 256)),
    "U-Net": (UNet, (1, 3, 128, 128)),
    "Transformer": (Encoder, (1, 64, 128)),
    "LSTM": (Recurrent, (1, 50, 40)),
    "Conv1d-GRU": (Sound, (1, 40, 98)),
}
"""By name: what makes the network, and its input's shape."""


def write_networks(folder: Path, names: Sequence[str] = tuple(NETWORKS)) -> dict[str, Path]:
    """The networks of these names as `folder`/NAME.onnx."""
    paths = {}
    for name in names:
        make, shape = NETWORKS[name]
        torch.manual_seed(0)
        written = io.BytesIO()
        torch.onnx.export(
            make().eval(),
            (torch.zeros(shape),),
            written,
            dynamo=False,
            opset_version=17,
            input_names=[INPUT],
            output_names=["output"],
        )
        paths[name] = folder / f"{name}.onnx"
        paths[name].write_bytes(written.getvalue())
    return paths
