"""Bytes without a sign, which only interfaces have: cameras give them, and models' first layer turns them."""

from __future__ import annotations

from dataclasses import dataclass

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import TensorId, Tensors


@dataclass(frozen=True, slots=True)
class ByteTable(Operation):
    """y = table[x − the least value of x's type]: uint8 to int8 or back; `table` [256] is of y's type."""

    x: TensorId
    table: TensorId
    y: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        if t[self.table].shape != (256,) or t[self.table].dtype != t[self.y].dtype:
            raise ValueError(f"a table {t[self.table].dtype} {t[self.table].shape} for {t[self.y].dtype}")
        return (t[self.x].shape,)
