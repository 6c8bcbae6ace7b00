"""Random small int8 programs for exact rewrites: layers with dead, saturated and huge-biased channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Clamp, Operation, Padding, Program, Quantization, Tensor, TensorId
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Reshape,
    Table,
    Transpose,
    window_shape,
)
from lepton_sdk.program.tensors import constant
from support.programs import program_of

Array = npt.NDArray[Any]


class Int8Network:
    """A program while it grows from an input map; every step makes the tensor that the next one reads."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng = rng
        self.tensors: dict[TensorId, Tensor] = {}
        self.operations: list[Operation] = []
        self.last = self.made(shape)

    def made(self, shape: tuple[int, ...], quantization: Quantization | None = None) -> TensorId:
        """A new int8 tensor; zero points at the ends of the range are common in real networks."""
        zero = int(self.rng.choice([-128, -128, 127, 0, int(self.rng.integers(-128, 128))]))
        scale = float(np.float32(self.rng.uniform(0.01, 0.1)))
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, shape, "int8", quantization or Quantization((scale,), zero))
        return name

    def constant(self, value: Array, quantization: Quantization | None = None) -> TensorId:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = constant(name, value, quantization)
        return name

    def same(self, shape: tuple[int, ...] | None = None) -> TensorId:
        """A new tensor with the last one's quantisation."""
        x = self.tensors[self.last]
        return self.made(x.shape if shape is None else shape, x.quantization)

    def clamp(self) -> Clamp | None:
        low = int(self.rng.integers(-128, 100))
        return None if self.rng.random() < 0.5 else Clamp(low, int(self.rng.integers(low, 128)))

    def products(self, shape: tuple[int, ...], axis: int) -> tuple[TensorId, TensorId | None, TensorId]:
        """Weight, bias, multiplier with zeros, and biases that leave some channels no choice."""
        rng, channels = self.rng, shape[axis]
        weight = rng.integers(-127, 128, shape).astype(np.int8)
        wiped: list[Any] = [slice(None)] * len(shape)
        wiped[axis] = rng.random(channels) < 0.4
        weight[tuple(wiped)] = 0
        if rng.random() < 0.4:
            weight[rng.random(shape) < 0.6] = 0
        bias = rng.integers(-20000, 20000, channels)
        huge = rng.random(channels) < 0.3
        bias[huge] = rng.choice([-(2**30), 2**30, 10**7, -(10**7)], int(huge.sum()))
        scales = Quantization(tuple(float(np.float32(s)) for s in rng.uniform(1e-3, 1e-2, channels)), 0, axis)
        multiplier = rng.uniform(1e-4, 5e-3, channels).astype(np.float32)
        held = self.constant(bias.astype(np.int32)) if rng.random() < 0.8 else None
        return self.constant(weight, scales), held, self.constant(multiplier)

    def add(self, op: Operation) -> None:
        self.operations.append(op)
        self.last = op.outputs[0]

    def step(self) -> None:
        """One more layer of any kind."""
        kinds = (
            self.conv, self.conv, self.depthwise, self.depthwise, self.residual, self.pool, self.pad,
            self.table, self.clamped, self.turned,
        )  # fmt: skip
        kinds[int(self.rng.integers(len(kinds)))]()

    def conv(self, fork: TensorId | None = None) -> None:
        n, h, w, channels = self.tensors[fork or self.last].shape
        k, out = int(self.rng.choice([1, 1, 3])), int(self.rng.integers(1, 7))
        padding = Padding(1, 1, 1, 1) if k == 3 else Padding()
        held = self.products((out, k, k, channels), 0)
        y = self.made((n, h, w, out))
        self.add(Conv2d(fork or self.last, *held, y, (1, 1), padding, (1, 1), self.clamp()))

    def depthwise(self) -> None:
        n, h, w, channels = self.tensors[self.last].shape
        times = int(self.rng.choice([1, 1, 1, 2]))
        padding = Padding(1, 1, 1, 1) if min(h, w) < 3 or self.rng.random() < 0.6 else Padding()
        size = window_shape((h, w), (3, 3), (1, 1), padding)
        held = self.products((3, 3, channels * times), 2)
        y = self.made((n, *size, channels * times))
        self.add(DepthwiseConv2d(self.last, *held, y, (1, 1), padding, (1, 1), self.clamp()))

    def residual(self) -> None:
        """A sum with an earlier tensor of the shape, or with itself by way of a convolution."""
        shape = self.tensors[self.last].shape
        defined = [name for op in self.operations for name in op.outputs]
        twins = [name for name in defined if self.tensors[name].shape == shape] or [self.last]
        other = twins[int(self.rng.integers(len(twins)))]
        self.add(Add(self.last, other, self.made(shape), self.clamp()))

    def pool(self) -> None:
        n, h, w, channels = self.tensors[self.last].shape
        kind = (MaxPool2d, AveragePool2d)[int(self.rng.integers(2))]
        around = Padding(0, 1, 0, 1) if self.rng.random() < 0.5 else Padding()
        if min(h, w) < 2:
            return
        shape = (n, *window_shape((h, w), (2, 2), (1, 1), around), channels)
        free = kind is AveragePool2d and self.rng.random() < 0.5
        y = self.made(shape) if free else self.same(shape)
        self.add(kind(self.last, y, (2, 2), (1, 1), around, self.clamp()))

    def pad(self) -> None:
        n, h, w, channels = self.tensors[self.last].shape
        zero = self.tensors[self.last].zero_point
        fill = zero if self.rng.random() < 0.7 else int(self.rng.integers(-128, 128))
        y = self.same((n, h + 1, w + 2, channels))
        self.add(Pad(self.last, y, (0, 0, 1, 0), (0, 1, 1, 0), fill))

    def table(self) -> None:
        values = self.rng.integers(-128, 128, 256) // int(self.rng.choice([1, 40]))
        if self.rng.random() < 0.3:
            values = np.arange(-128, 128)
        self.add(Table(self.last, self.constant(values.astype(np.int8)), self.same()))

    def clamped(self) -> None:
        self.add(ClampTo(self.last, self.same(), self.clamp() or Clamp(-128, 127)))

    def turned(self) -> None:
        n, h, w, channels = self.tensors[self.last].shape
        if self.rng.random() < 0.5:
            self.add(Transpose(self.last, self.same((n, w, h, channels)), (0, 2, 1, 3)))
            if self.rng.random() < 0.5:
                self.add(Transpose(self.last, self.same((n, h, w, channels)), (0, 2, 1, 3)))
        else:
            self.add(Reshape(self.last, self.same((n, h * w, 1, channels))))
            self.add(Reshape(self.last, self.same((n, h, w, channels))))

    def head(self) -> None:
        """A dense layer over the flattened map."""
        size = self.tensors[self.last].size
        self.add(Reshape(self.last, self.same((1, size))))
        for out in (5, 3):
            held = self.products((out, self.tensors[self.last].shape[1]), 0)
            self.add(Dense(self.last, *held, self.made((1, out)), self.clamp()))


def int8_program(seed: int, steps: int) -> tuple[Program, Array]:
    """A program of about that many layers, with one input or more results, and an input for it."""
    rng = np.random.default_rng(seed)
    net = Int8Network(rng, (1, int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(1, 5))))
    net.conv()
    for _ in range(steps):
        net.step()
    if rng.random() < 0.5:
        net.head()
    elif rng.random() < 0.7:
        net.conv()
    source = net.tensors["t0"].shape
    return program_of(list(net.tensors.values()), net.operations), rng.integers(
        -128, 128, (8, *source)
    ).astype(np.int8)
