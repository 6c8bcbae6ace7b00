"""The typed operations that sequence models and transformers add to those of feature maps.

As in operations.py an operation is int8 or float32 by its tensors' types. Recurrent layers: recurrent.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lepton_sdk.program.operations import Operation, Shape, broadcast
from lepton_sdk.program.tensors import Clamp, TensorId, Tensors

UNARY_FUNCTIONS = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "elu", "erf", "exp",
    "floor", "gelu", "gelu_tanh", "hard_swish", "leaky_relu", "log", "negative", "reciprocal", "round",
    "rsqrt", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "sqrt", "square", "tan",
    "tanh", "trunc",
)  # fmt: skip
"""What Unary computes; leaky_relu's slope and elu's alpha are its parameter, softplus' beta as well."""
LAYER_NORM_LIMIT = 1 << 16
"""Elements over which an int8 LayerNorm may run: its sums stay exact in 32 and 48 bits."""


@dataclass(frozen=True, slots=True)
class MatMul(Operation):
    """a [..., M, K] by b [..., K, N], both of the network; leading axes stretched as numpy does.

    transpose_b: b is [..., N, K]. int8: docs/arithmetic.md, MatMul.
    """

    a: TensorId
    b: TensorId
    y: TensorId
    transpose_b: bool = False
    clamp: Clamp | None = None

    def inner(self, t: Tensors) -> int:
        """Products in each sum."""
        return t[self.a].shape[-1]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        a, b = t[self.a].shape, t[self.b].shape
        if len(a) < 2 or len(b) < 2:
            raise ValueError(f"{a} by {b}; both need at least two axes")
        inner, columns = (b[-1], b[-2]) if self.transpose_b else (b[-2], b[-1])
        if a[-1] != inner:
            raise ValueError(f"{a} by {b}: {a[-1]} columns meet {inner} rows")
        return ((*broadcast(a[:-2], b[:-2]), a[-2], columns),)

    def macs(self, t: Tensors) -> int:
        return t[self.y].size * self.inner(t)


@dataclass(frozen=True, slots=True)
class LayerNorm(Operation):
    """(x − mean) / sqrt(variance + epsilon) · gain + offset over the last axes, those of `gain`.

    gain, offset: float32 constants of the shape of those axes. int8: both are divided by the result's scale
    (docs/arithmetic.md, LayerNorm). Not centred: x / sqrt(mean of squares + epsilon) · gain + offset, the
    root mean square normalisation.
    """

    x: TensorId
    gain: TensorId
    offset: TensorId | None
    y: TensorId
    epsilon: float
    centred: bool = True

    def normalised(self, t: Tensors) -> int:
        """Elements that one mean is taken over."""
        return t[self.gain].size

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        x, gain = t[self.x].shape, t[self.gain].shape
        if not gain or x[-len(gain) :] != gain:
            raise ValueError(f"a gain {gain} for the last axes of {x}")
        if self.offset is not None and t[self.offset].shape != gain:
            raise ValueError(f"an offset {t[self.offset].shape} beside a gain {gain}")
        if not self.epsilon >= 0 or not math.isfinite(self.epsilon):
            raise ValueError(f"epsilon is {self.epsilon}; it is added to a variance")
        return (x,)


@dataclass(frozen=True, slots=True)
class Unary(Operation):
    """float32: one of UNARY_FUNCTIONS on every element. int8 tensors go through a Table instead."""

    x: TensorId
    y: TensorId
    function: str
    parameter: float = 1.0

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if self.function not in UNARY_FUNCTIONS:
            raise ValueError(f"function '{self.function}'; known: {', '.join(UNARY_FUNCTIONS)}")
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class Slice(Operation):
    """y[i] = x[begin + i · step] along every axis, as many as y has; a negative step walks backwards."""

    x: TensorId
    y: TensorId
    begin: tuple[int, ...]
    step: tuple[int, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        x, y = t[self.x].shape, t[self.y].shape
        if not len(x) == len(y) == len(self.begin) == len(self.step):
            raise ValueError(f"begin {self.begin}, step {self.step} for {x} → {y}")
        for n, count, begin, step in zip(x, y, self.begin, self.step):
            if step == 0 or not 0 <= begin < n or not 0 <= begin + (count - 1) * step < n:
                raise ValueError(f"{count} from {begin} by {step} do not lie inside an extent of {n}")
        return (y,)


@dataclass(frozen=True, slots=True)
class Gather(Operation):
    """y = numpy.take(x, indices, axis): rows of a table. x may be a constant, indices are int32 or int64.

    An index below zero counts from the end; one beyond either end takes the row there.
    """

    x: TensorId
    indices: TensorId
    y: TensorId
    axis: int

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        x = t[self.x].shape
        if not 0 <= self.axis < len(x):
            raise ValueError(f"axis {self.axis} of a rank-{len(x)} tensor")
        if t[self.indices].dtype not in ("int32", "int64"):
            raise ValueError(f"indices of type {t[self.indices].dtype}; int32 and int64 are accepted")
        return ((*x[: self.axis], *t[self.indices].shape, *x[self.axis + 1 :]),)


SEQUENCE_OPERATIONS: tuple[type[Operation], ...] = (MatMul, LayerNorm, Unary, Slice, Gather)
