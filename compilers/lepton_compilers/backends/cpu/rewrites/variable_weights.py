"""Convolutions whose weights are variables, and the bounds behind them: operations of a plan alone.

Weights that change from call to call are transformed or packed by the call itself, so other kernels pay than
where the compiler does it once; and a rectifier behind one whose result nothing else reads joins it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass

from lepton_sdk.program import Clamp, Function, Operation, TensorId, Tensors
from lepton_sdk.program.operations import ClampTo, Conv2d, Relu


@dataclass(frozen=True, slots=True)
class VariableConv2d(Operation):
    """A convolution by weights that are a variable, then `bounds` where there are any.

    bounds: only behind a convolution without a clamp. Arithmetic: that of the two operations in turn.
    """

    conv: Conv2d
    bounds: ClampTo | Relu | None = None

    @property
    def y(self) -> TensorId:
        """The bounded result."""
        return self.conv.y if self.bounds is None else self.bounds.y

    @property
    def clamp(self) -> Clamp | None:
        """The bounds of the result."""
        if self.bounds is None:
            return self.conv.clamp
        if isinstance(self.bounds, ClampTo):
            return self.bounds.clamp
        return Clamp(0.0, float("inf") if self.bounds.maximum is None else self.bounds.maximum)

    @property
    def inputs(self) -> tuple[TensorId, ...]:
        """The convolution's."""
        return self.conv.inputs

    def macs(self, t: Tensors) -> int:
        """The convolution's."""
        return self.conv.macs(t)


def with_variable_weights(
    function: Function, variables: Container[TensorId], accepts: Callable[[Operation], bool]
) -> Function:
    """The function with VariableConv2d in place of convolutions by `variables` that a row takes as such."""
    uses = Counter(function.outputs)
    for op in function.operations:
        uses.update(op.inputs)
    bounds = {op.x: op for op in function.operations if isinstance(op, ClampTo | Relu) and uses[op.x] == 1}
    operations: list[Operation] = []
    joined: set[Operation] = set()
    for op in function.operations:
        if op in joined:
            continue
        if isinstance(op, Conv2d) and op.weight in variables:
            behind = bounds.get(op.y) if op.clamp is None else None
            variable = VariableConv2d(op, behind)
            if accepts(variable):
                joined |= {behind} if behind is not None else set()
                operations.append(variable)
                continue
        operations.append(op)
    return dataclasses.replace(function, operations=tuple(operations))
