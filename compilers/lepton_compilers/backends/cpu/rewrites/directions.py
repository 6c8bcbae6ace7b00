"""Recurrent layers in both directions as one operation of a plan: neither waits for the other.

The two must stand side by side in the function, as importers write them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.program import Function, Operation, TensorId, Tensors
from lepton_sdk.program.recurrent import Gru, Lstm

Recurrent = Lstm | Gru


@dataclass(frozen=True, slots=True)
class BothDirections(Operation):
    """Two layers of one kind that read the same x, in either order of time. Arithmetic: theirs, in turn."""

    OUTPUTS: ClassVar[tuple[str, ...]] = ()
    first: Recurrent
    second: Recurrent

    @property
    def outputs(self) -> tuple[TensorId, ...]:
        """Those of the first, then of the second."""
        return (*self.first.outputs, *self.second.outputs)

    @property
    def inputs(self) -> tuple[TensorId, ...]:
        """Those of both."""
        return tuple(dict.fromkeys((*self.first.inputs, *self.second.inputs)))

    def macs(self, t: Tensors) -> int:
        """Both sums."""
        return self.first.macs(t) + self.second.macs(t)


def both_directions(function: Function, t: Tensors, accepts: Callable[[Operation], bool]) -> Function:
    """The function with neighbouring directions of a layer joined where a row takes the two as one."""
    operations: list[Operation] = []
    for op in function.operations:
        before = operations[-1] if operations else None
        if isinstance(op, Lstm | Gru) and isinstance(before, Lstm | Gru) and _pair(before, op, t):
            both = BothDirections(before, op)
            if accepts(both):
                operations[-1] = both
                continue
        operations.append(op)
    return dataclasses.replace(function, operations=tuple(operations))


def _pair(first: Recurrent, second: Recurrent, t: Tensors) -> bool:
    alike = type(first) is type(second) and first.x == second.x and first.reverse != second.reverse
    return alike and t[first.y].shape == t[second.y].shape and not {*first.outputs} & {*second.inputs}
