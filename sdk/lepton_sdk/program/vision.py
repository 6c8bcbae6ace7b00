"""The typed operations that vision heads add: transposed convolution, resizing, reductions over axes.

As in operations.py: data only, int8 or float32 by the tensors' types; reference_vision.py gives them meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lepton_sdk.program.operations import Operation, Shape, broadcast
from lepton_sdk.program.tensors import Clamp, Padding, TensorId, Tensors


@dataclass(frozen=True, slots=True)
class ConvTranspose2d(Operation):
    """Transposed 2-D convolution, NHWC, weights OHWI: each input pixel adds its kernels to the output.

    padding is cut off the output; a negative bottom or right adds rows or columns that hold the bias alone.
    Arithmetic as Conv2d.
    """

    x: TensorId
    weight: TensorId
    bias: TensorId | None
    multiplier: TensorId | None
    y: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        out, kh, kw, inner = t[self.weight].shape
        if inner != channels:
            raise ValueError(f"weight has {inner} input channels, the input {channels}")
        height = (h - 1) * self.stride[0] + kh - self.padding.top - self.padding.bottom
        width = (w - 1) * self.stride[1] + kw - self.padding.left - self.padding.right
        return ((n, height, width, out),)

    def macs(self, t: Tensors) -> int:
        return t[self.x].size * math.prod(t[self.weight].shape[:3])


@dataclass(frozen=True, slots=True)
class ResizeNearest(Operation):
    """y[n, i, j, c] = x[n, rows[i], columns[j], c]; rows and columns are constant int32.

    The compiler resolves every source format's coordinates into the two lists.
    """

    x: TensorId
    rows: TensorId
    columns: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, _, _, channels = t[self.x].shape
        return ((n, t[self.rows].size, t[self.columns].size, channels),)


@dataclass(frozen=True, slots=True)
class ResizeBilinear(Operation):
    """Between the two rows and two columns that enclose each output pixel (docs/arithmetic.md, Resize).

    rows [OH, 2], columns [OW, 2]: constant int32, first and second neighbour. row_weights [OH],
    column_weights [OW]: how much of the second, float32 in 0 … 1, for int8 int32 in 0 … 2048.
    Input and output share their quantisation.
    """

    x: TensorId
    rows: TensorId
    columns: TensorId
    row_weights: TensorId
    column_weights: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, _, _, channels = t[self.x].shape
        height, width = t[self.row_weights].size, t[self.column_weights].size
        if (t[self.rows].shape, t[self.columns].shape) != ((height, 2), (width, 2)):
            raise ValueError("each row and each column of a resize has two neighbours and one weight")
        return ((n, height, width, channels),)


def _without(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with `axes` gone. Raises ValueError where they are none of its axes, or not in order."""
    if not axes or list(axes) != sorted({*axes}) or not 0 <= axes[0] <= axes[-1] < len(shape):
        raise ValueError(f"axes {axes} of a rank-{len(shape)} tensor; each once, in rising order")
    return tuple(n for axis, n in enumerate(shape) if axis not in axes)


@dataclass(frozen=True, slots=True)
class ReduceMean(Operation):
    """Mean over `axes`, which are gone from y (docs/arithmetic.md, Reduce)."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, self.axes),)


@dataclass(frozen=True, slots=True)
class ReduceSum(Operation):
    """Sum over `axes`, which are gone from y (docs/arithmetic.md, Reduce)."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, self.axes),)


@dataclass(frozen=True, slots=True)
class ReduceMax(Operation):
    """Largest over `axes`, which are gone from y; one quantisation on both ends."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, self.axes),)


@dataclass(frozen=True, slots=True)
class ReduceMin(Operation):
    """Smallest over `axes`, which are gone from y; one quantisation on both ends."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, self.axes),)


@dataclass(frozen=True, slots=True)
class ReduceProd(Operation):
    """Product over `axes`, which are gone from y; float32."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, self.axes),)


@dataclass(frozen=True, slots=True)
class ArgMax(Operation):
    """Index along `axis` of the first largest element; y is int32 or int64 and has the axis no more."""

    x: TensorId
    y: TensorId
    axis: int

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, (self.axis,)),)


@dataclass(frozen=True, slots=True)
class ArgMin(Operation):
    """Index along `axis` of the first smallest element, as ArgMax."""

    x: TensorId
    y: TensorId
    axis: int

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (_without(t[self.x].shape, (self.axis,)),)


@dataclass(frozen=True, slots=True)
class MirrorPad(Operation):
    """Border of mirrored elements, `before` and `after` per axis.

    edge 0: the outermost element is the mirror (numpy's reflect); edge 1: it is repeated (symmetric).
    """

    x: TensorId
    y: TensorId
    before: tuple[int, ...]
    after: tuple[int, ...]
    edge: int = 0

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        shape = t[self.x].shape
        if not len(shape) == len(self.before) == len(self.after) or self.edge not in (0, 1):
            raise ValueError(
                f"padding {self.before}, {self.after}, {self.edge} for a rank-{len(shape)} tensor"
            )
        for n, before, after in zip(shape, self.before, self.after):
            if not 0 <= min(before, after) <= max(before, after) <= n - 1 + self.edge:
                raise ValueError(f"an axis of {n} elements can't be mirrored {before} before, {after} after")
        return (tuple(b + n + a for n, b, a in zip(shape, self.before, self.after)),)


@dataclass(frozen=True, slots=True)
class Maximum(Operation):
    """The larger of a and b, extents of one stretched as numpy does; int8 shares one quantisation."""

    a: TensorId
    b: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (broadcast(t[self.a].shape, t[self.b].shape),)


@dataclass(frozen=True, slots=True)
class Minimum(Operation):
    """The smaller of a and b, as Maximum."""

    a: TensorId
    b: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (broadcast(t[self.a].shape, t[self.b].shape),)


@dataclass(frozen=True, slots=True)
class Prelu(Operation):
    """a where a ≥ 0, else a · b: b holds the slopes, stretched as numpy does (docs/arithmetic.md, Prelu)."""

    a: TensorId
    b: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if broadcast(t[self.a].shape, t[self.b].shape) != t[self.a].shape:
            raise ValueError(f"slopes {t[self.b].shape} for {t[self.a].shape}")
        return (t[self.a].shape,)


VISION_OPERATIONS: tuple[type[Operation], ...] = (
    ConvTranspose2d,
    ResizeNearest,
    ResizeBilinear,
    ReduceMean,
    ReduceSum,
    ReduceMax,
    ReduceMin,
    ReduceProd,
    ArgMax,
    ArgMin,
    MirrorPad,
    Maximum,
    Minimum,
    Prelu,
)
