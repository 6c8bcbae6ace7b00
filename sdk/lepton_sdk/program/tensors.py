"""What operations read and write: named, shaped, typed, and for integers quantised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TensorId = str
"""A tensor's name, unique in its program."""

DTYPES = (
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "bool",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale · (integer − zero_point).

    scales: one, or one a channel along `axis`; each exactly representable in float32.
    """

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    @property
    def scale(self) -> float:
        """The only scale of a tensor quantised as a whole."""
        if len(self.scales) != 1:
            raise ValueError(f"{len(self.scales)} scales where one is expected")
        return self.scales[0]


@dataclass(frozen=True, slots=True)
class Clamp:
    """Inclusive bounds of an output, in the output's own numbers (integers for int8)."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Padding:
    """Rows and columns added around a feature map; they hold the real value zero."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def same(
        cls,
        size: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> Padding:
        """TensorFlow's SAME: output = ceil(size / stride), the odd row or column goes below and right."""
        total = [
            max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(size, kernel, stride, dilation)
        ]
        return cls(total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of a program. `value` is set for constants and gives variables their first value."""

    name: TensorId
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    value: np.ndarray | None = None

    @property
    def constant(self) -> bool:
        """Whether the compiler knows the value (also true of a variable's first value)."""
        return self.value is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> np.float32:
        """float32 scale of a tensor quantised as a whole."""
        if self.quantization is None:
            raise ValueError(f"tensor '{self.name}' is not quantised")
        return np.float32(self.quantization.scale)

    @property
    def zero_point(self) -> int:
        """Integer that stands for real zero; 0 where the tensor is not quantised."""
        return self.quantization.zero_point if self.quantization else 0


Tensors = Mapping[TensorId, Tensor]


def constant(name: TensorId, value: np.ndarray, quantization: Quantization | None = None) -> Tensor:
    """A constant tensor that owns a read-only copy of `value` in C order."""
    owned = np.array(value, order="C", copy=True)
    owned.setflags(write=False)
    return Tensor(name, owned.shape, owned.dtype.name, quantization, owned)
