"""The typed operations of recurrent layers: a whole sequence in one operation.

x [T, N, I] is time-major, y [T, N, H] holds the hidden state after every step, at its own place in time
also where `reverse` walks from the last step to the first. A layer in both directions is two of them and a
Concat.

float32: weights and biases float32. int8: x, weights and y are int8, y's quantisation that of the hidden
state; then `bias` is float32 in steps of the gates' fixed point, `multiplier` and `recurrent_multiplier`
(float32, one a row) turn sums into such steps, `sigmoid` and `tanh` are tables (docs/arithmetic.md, Lstm and
Gru). First states there: h of an Lstm int8 as y, its c int16 as c; h of a Gru int16 in steps of 1/32768.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import TensorId, Tensors


def _checked(
    op: Lstm | Gru, t: Tensors, gates: int, states: tuple[TensorId | None, ...]
) -> tuple[int, int, int]:
    """(T, N, H). Raises ValueError where weights, biases or first states do not fit each other."""
    steps, batch, inputs = t[op.x].shape
    rows, hidden = t[op.recurrent].shape
    if rows != gates * hidden or t[op.weight].shape != (rows, inputs) or t[op.bias].shape != (rows,):
        raise ValueError(
            f"weight {t[op.weight].shape}, recurrent {t[op.recurrent].shape}, bias {t[op.bias].shape} "
            f"for {gates} gates and {inputs} inputs"
        )
    for factors in (op.multiplier, op.recurrent_multiplier):
        if factors is not None and t[factors].shape != (rows,):
            raise ValueError(f"multiplier {t[factors].shape} for {rows} rows")
    for state in states:
        if state is not None and t[state].shape != (batch, hidden):
            raise ValueError(f"a first state {t[state].shape}; expected {(batch, hidden)}")
    return steps, batch, hidden


@dataclass(frozen=True, slots=True)
class Lstm(Operation):
    """i, f, o = σ(W x + R h + b), g = tanh(W x + R h + b); c ← f · c + i · g; h ← o · tanh(c).

    weight [4H, I], recurrent [4H, H], bias [4H] by gate in the order i, f, g, o. c [N, H]: the cell after the
    last step; int16 at a scale of 2^−n, n in 0 … 12, in the int8 form. First states are zero where absent.
    Source: Hochreiter, Schmidhuber (1997) with the forget gate of Gers, Schmidhuber, Cummins (2000).
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ("y", "c")
    x: TensorId
    weight: TensorId
    recurrent: TensorId
    bias: TensorId
    initial_h: TensorId | None
    initial_c: TensorId | None
    multiplier: TensorId | None
    recurrent_multiplier: TensorId | None
    sigmoid: TensorId | None
    tanh: TensorId | None
    y: TensorId
    c: TensorId
    reverse: bool = False

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        steps, batch, hidden = _checked(self, t, 4, (self.initial_h, self.initial_c))
        return (steps, batch, hidden), (batch, hidden)

    def macs(self, t: Tensors) -> int:
        steps, batch, _ = t[self.x].shape
        return steps * batch * (t[self.weight].size + t[self.recurrent].size)


@dataclass(frozen=True, slots=True)
class Gru(Operation):
    """r, z = σ(W x + R h + b); n = tanh(W x + b + r · (R h + recurrent_bias)); h ← (1 − z) · n + z · h.

    weight [3H, I], recurrent [3H, H], bias [3H] by gate in the order r, z, n; recurrent_bias [H] is n's.
    Without recurrent_bias the reset comes before the product: n = tanh(W x + b + R (r · h)), the form of
    Cho et al. (2014); with it, that of PyTorch and of ONNX's linear_before_reset.
    """

    x: TensorId
    weight: TensorId
    recurrent: TensorId
    bias: TensorId
    recurrent_bias: TensorId | None
    initial_h: TensorId | None
    multiplier: TensorId | None
    recurrent_multiplier: TensorId | None
    sigmoid: TensorId | None
    tanh: TensorId | None
    y: TensorId
    reverse: bool = False

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        steps, batch, hidden = _checked(self, t, 3, (self.initial_h,))
        if self.recurrent_bias is not None and t[self.recurrent_bias].shape != (hidden,):
            raise ValueError(f"a recurrent bias {t[self.recurrent_bias].shape} for {hidden} units")
        return ((steps, batch, hidden),)

    def macs(self, t: Tensors) -> int:
        steps, batch, _ = t[self.x].shape
        return steps * batch * (t[self.weight].size + t[self.recurrent].size)


def integer_constants(op: Lstm | Gru) -> tuple[TensorId, TensorId, TensorId, TensorId]:
    """multiplier, recurrent multiplier, sigmoid, tanh: what the int8 form has. ValueError without them."""
    if op.multiplier is None or op.recurrent_multiplier is None or op.sigmoid is None or op.tanh is None:
        raise ValueError(f"{type(op).__name__} '{op.y}' is int8 and lacks multipliers or tables")
    return op.multiplier, op.recurrent_multiplier, op.sigmoid, op.tanh


RECURRENT_OPERATIONS: tuple[type[Operation], ...] = (Lstm, Gru)
