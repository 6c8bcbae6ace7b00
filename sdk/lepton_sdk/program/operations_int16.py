"""Typed operations that exist for int16 only; every other int16 layer is the operation of its int8 form.

Their meaning stands in reference_int16.py, docs/arithmetic.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import Clamp, TensorId, Tensors


@dataclass(frozen=True, slots=True)
class Requantize(Operation):
    """The same reals in other numbers: int16 to int16 or int8, int8 to int16, by the tensors' scales."""

    x: TensorId
    y: TensorId
    clamp: Clamp | None = None

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class FixedPointSigmoid(Operation):
    """1 / (1 + e^−x) of int16, result at scale 2^−15; `table` int32 [256] (sigmoid_table)."""

    x: TensorId
    table: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


@dataclass(frozen=True, slots=True)
class FixedPointTanh(Operation):
    """tanh x of int16, result at scale 2^−15; `table` as of FixedPointSigmoid."""

    x: TensorId
    table: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        return (t[self.x].shape,)


INT16_OPERATIONS: tuple[type[Operation], ...] = (Requantize, FixedPointSigmoid, FixedPointTanh)
