"""The typed operations of inference. Each is data; its meaning stands in reference.py, docs/arithmetic.md.

Feature maps are NHWC, convolution weights OHWI, depthwise weights HWC, dense weights OI. An operation is
int8 or float32 by its tensors' types; `multiplier` (float32, one a channel) belongs to int8 forms only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lepton_sdk.program.tensors import Clamp, Padding, TensorId, Tensors

Shape = tuple[int, ...]
Self = TypeVar("Self", bound="Operation")


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a function. OUTPUTS names the fields it defines, UPDATES those variables it overwrites."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ("y",)
    UPDATES: ClassVar[tuple[str, ...]] = ()

    @property
    def outputs(self) -> tuple[TensorId, ...]:
        """Tensors this operation defines, in the order of OUTPUTS."""
        return tuple(name for field in self.OUTPUTS for name in _names(getattr(self, field)))

    @property
    def inputs(self) -> tuple[TensorId, ...]:
        """Tensors this operation reads, in field order; absent optional ones are left out."""
        fields = (name for name in tensor_fields(type(self)) if name not in self.OUTPUTS)
        return tuple(name for field in fields for name in _names(getattr(self, field)))

    @property
    def updates(self) -> tuple[TensorId, ...]:
        """Variables this operation reads and overwrites."""
        return tuple(getattr(self, name) for name in self.UPDATES)

    def renamed(self: Self, names: Mapping[TensorId, TensorId]) -> Self:
        """The same operation on other tensors; names that are not in the mapping stay."""
        fields: dict[str, TensorId | tuple[TensorId, ...]] = {}
        for field in tensor_fields(type(self)):
            value = getattr(self, field)
            if isinstance(value, tuple):
                fields[field] = tuple(names.get(name, name) for name in value)
            elif value is not None:
                fields[field] = names.get(value, value)
        return dataclasses.replace(self, **fields)

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        """Shapes of the outputs that the inputs' shapes call for; the program's check compares them."""
        raise TypeError(f"{type(self).__name__} states no output shapes")

    def macs(self, t: Tensors) -> int:
        """Multiply-accumulates of one execution."""
        return 0

    def bytes_moved(self, t: Tensors) -> int:
        """Bytes read and written when every tensor is touched once."""
        return sum(t[name].nbytes for name in (*self.inputs, *self.outputs, *self.updates))


def tensor_fields(kind: type[Operation]) -> tuple[str, ...]:
    """Names of the fields that hold a tensor's name, or several, in declaration order."""
    kinds = {f.name: str(f.type).removesuffix(" | None") for f in dataclasses.fields(kind)}
    return tuple(name for name, held in kinds.items() if held in ("TensorId", "tuple[TensorId, ...]"))


def _names(value: TensorId | tuple[TensorId, ...] | None) -> tuple[TensorId, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape to which numpy stretches both. Raises ValueError where extents differ and none is 1."""
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        raise ValueError(f"shapes {a} and {b} can't be stretched to one")
    return tuple(max(m, n) for m, n in pairs)


def window_shape(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """Rows and columns of the output of a window that slides over `size`. Raises ValueError for no window."""
    if min(*kernel, *stride, *dilation) < 1:
        raise ValueError(f"a window of {kernel}, stride {stride}, dilation {dilation}; each is at least 1")
    height = (size[0] + padding.top + padding.bottom - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    width = (size[1] + padding.left + padding.right - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
    return height, width


@dataclass(frozen=True, slots=True)
class Conv2d(Operation):
    """2-D convolution, NHWC, weights OHWI.

    int8:    q = requantise(Σ (x − zx)·w + bias, multiplier)   (docs/arithmetic.md, Requantise)
    float32: y = Σ x·w + bias
    """

    x: TensorId
    weight: TensorId
    bias: TensorId | None
    multiplier: TensorId | None
    y: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        out, kh, kw, inner = t[self.weight].shape
        if inner != channels:
            raise ValueError(f"weight has {inner} input channels, the input {channels}")
        return ((n, *window_shape((h, w), (kh, kw), self.stride, self.padding, self.dilation), out),)

    def macs(self, t: Tensors) -> int:
        return t[self.y].size * math.prod(t[self.weight].shape[1:])


@dataclass(frozen=True, slots=True)
class DepthwiseConv2d(Operation):
    """Each input channel by its own kernels, NHWC; weights HWC with C = input channels · depth multiplier.

    Output channel c reads input channel c // depth multiplier. Arithmetic as Conv2d.
    """

    x: TensorId
    weight: TensorId
    bias: TensorId | None
    multiplier: TensorId | None
    y: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        kh, kw, out = t[self.weight].shape
        if out % channels:
            raise ValueError(f"weight has {out} channels, no multiple of the input's {channels}")
        return ((n, *window_shape((h, w), (kh, kw), self.stride, self.padding, self.dilation), out),)

    def macs(self, t: Tensors) -> int:
        return t[self.y].size * math.prod(t[self.weight].shape[:2])


@dataclass(frozen=True, slots=True)
class GroupedConv2d(Operation):
    """Conv2d in groups: the output channels of group g read only the input channels of group g.

    Weights OHWI, I the input channels of one group: there are input channels / I groups.
    Arithmetic as Conv2d.
    """

    x: TensorId
    weight: TensorId
    bias: TensorId | None
    multiplier: TensorId | None
    y: TensorId
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    clamp: Clamp | None = None

    def groups(self, t: Tensors) -> int:
        """Number of groups, from the weights."""
        return t[self.x].shape[3] // t[self.weight].shape[3]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        out, kh, kw, inner = t[self.weight].shape
        if channels % inner or out % (channels // inner):
            raise ValueError(f"weight {t[self.weight].shape} splits {channels} input channels into no groups")
        return ((n, *window_shape((h, w), (kh, kw), self.stride, self.padding, self.dilation), out),)

    def macs(self, t: Tensors) -> int:
        return t[self.y].size * math.prod(t[self.weight].shape[1:])


@dataclass(frozen=True, slots=True)
class Dense(Operation):
    """x [N, I] by weight [O, I], plus bias [O]. Arithmetic as Conv2d."""

    x: TensorId
    weight: TensorId
    bias: TensorId | None
    multiplier: TensorId | None
    y: TensorId
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        rows, inner = t[self.x].shape
        out, expected = t[self.weight].shape
        if inner != expected:
            raise ValueError(f"weight has {expected} inputs, the input {inner}")
        return ((rows, out),)

    def macs(self, t: Tensors) -> int:
        return t[self.y].size * t[self.weight].shape[1]


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """a + b, extents of one stretched as numpy does (docs/arithmetic.md, Add and Sub)."""

    a: TensorId
    b: TensorId
    y: TensorId
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (broadcast(t[self.a].shape, t[self.b].shape),)


@dataclass(frozen=True, slots=True)
class Sub(Operation):
    """a − b, as Add."""

    a: TensorId
    b: TensorId
    y: TensorId
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (broadcast(t[self.a].shape, t[self.b].shape),)


@dataclass(frozen=True, slots=True)
class Mul(Operation):
    """a · b, extents of one stretched as numpy does (docs/arithmetic.md, Mul)."""

    a: TensorId
    b: TensorId
    y: TensorId
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (broadcast(t[self.a].shape, t[self.b].shape),)


@dataclass(frozen=True, slots=True)
class AveragePool2d(Operation):
    """Mean over a window, NHWC; padded places count neither in the sum nor in the number."""

    x: TensorId
    y: TensorId
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        return ((n, *window_shape((h, w), self.kernel, self.stride, self.padding), channels),)


@dataclass(frozen=True, slots=True)
class MaxPool2d(Operation):
    """Largest value of a window, NHWC; padded places never win. Input and output share their quantisation."""

    x: TensorId
    y: TensorId
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        n, h, w, channels = t[self.x].shape
        return ((n, *window_shape((h, w), self.kernel, self.stride, self.padding), channels),)


@dataclass(frozen=True, slots=True)
class Softmax(Operation):
    """Softmax over the last axis. int8: `table` holds 256 float32 values (docs/arithmetic.md, Softmax)."""

    x: TensorId
    table: TensorId | None
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class Table(Operation):
    """int8 unary function: y = table[x + 128], `table` int8 [256] made by the compiler in float64."""

    x: TensorId
    table: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class Relu(Operation):
    """float32: max(x, 0), and at most `maximum` where it is given (ReLU6 has 6.0)."""

    x: TensorId
    y: TensorId
    maximum: float | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class ClampTo(Operation):
    """Clamp that no neighbour could absorb; input and output share their quantisation."""

    x: TensorId
    y: TensorId
    clamp: Clamp

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class Reshape(Operation):
    """The same bytes under another shape (the output tensor's)."""

    x: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if t[self.x].size != t[self.y].size:
            raise ValueError(f"{t[self.x].shape} can't become {t[self.y].shape}")
        return (t[self.y].shape,)


@dataclass(frozen=True, slots=True)
class Transpose(Operation):
    """y = numpy.transpose(x, axes)."""

    x: TensorId
    y: TensorId
    axes: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        shape = t[self.x].shape
        if sorted(self.axes) != list(range(len(shape))):
            raise ValueError(f"axes {self.axes} are no permutation of a rank-{len(shape)} tensor's")
        return (tuple(shape[axis] for axis in self.axes),)


@dataclass(frozen=True, slots=True)
class Pad(Operation):
    """Constant border: before/after per axis, filled with `value` in the tensor's own numbers."""

    x: TensorId
    y: TensorId
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        shape = t[self.x].shape
        if not len(shape) == len(self.before) == len(self.after):
            raise ValueError(f"padding {self.before}, {self.after} for a rank-{len(shape)} tensor")
        return (tuple(b + n + a for n, b, a in zip(shape, self.before, self.after)),)


@dataclass(frozen=True, slots=True)
class Concat(Operation):
    """y = numpy.concatenate(xs, axis). Inputs and output share their type and quantisation."""

    xs: tuple[TensorId, ...]
    y: TensorId
    axis: int

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        first, *others = (t[x].shape for x in self.xs)
        if not 0 <= self.axis < len(first):
            raise ValueError(f"axis {self.axis} of a rank-{len(first)} tensor")
        for shape in others:
            if len(shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(first, shape)) if i != self.axis
            ):
                raise ValueError(f"{first} and {shape} can't be joined along axis {self.axis}")
        extent = sum(t[x].shape[self.axis] for x in self.xs)
        return ((*first[: self.axis], extent, *first[self.axis + 1 :]),)


@dataclass(frozen=True, slots=True)
class Quantize(Operation):
    """float32 to int8: clamp(rne(x · float32(1 / scale)) + zero_point)."""

    x: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class Dequantize(Operation):
    """int8 to float32: float32(x − zero_point) · scale."""

    x: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


INFERENCE_OPERATIONS: tuple[type[Operation], ...] = (
    Conv2d,
    DepthwiseConv2d,
    GroupedConv2d,
    Dense,
    Add,
    Sub,
    Mul,
    AveragePool2d,
    MaxPool2d,
    Softmax,
    Table,
    Relu,
    ClampTo,
    Reshape,
    Transpose,
    Pad,
    Concat,
    Quantize,
    Dequantize,
)
