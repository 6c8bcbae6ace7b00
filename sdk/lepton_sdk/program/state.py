"""State that a streaming model keeps between calls: read as any tensor, overwritten at the end of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import TensorId, Tensors


@dataclass(frozen=True, slots=True)
class Assign(Operation):
    """The variable holds x from now on; operations before this one read what it held before.

    Shape, type and quantisation of both are one.
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ()
    UPDATES: ClassVar[tuple[str, ...]] = ("variable",)
    x: TensorId
    variable: TensorId

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        x, variable = t[self.x], t[self.variable]
        if (x.shape, x.dtype, x.quantization) != (variable.shape, variable.dtype, variable.quantization):
            raise ValueError(
                f"'{x.name}' ({x.dtype} {x.shape}, {x.quantization}) is no value for '{variable.name}'"
                f" ({variable.dtype} {variable.shape}, {variable.quantization})"
            )
        return ()
