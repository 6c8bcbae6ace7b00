"""Operations that exist only in a plan: what one kernel does better at once than two in turn.

`fuse` rewrites a function before it is planned; a fused operation stands where the last of its parts stood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from lepton_sdk.program import Function, Operation, TensorId, Tensors
from lepton_sdk.program.operations import Add, Conv2d


@dataclass(frozen=True, slots=True)
class ConvAdd(Operation):
    """A convolution whose result only an addition of equal shapes reads: the sum is never stored.

    residual: the addition's other operand. Arithmetic: that of the two operations in turn.
    """

    conv: Conv2d
    add: Add

    @property
    def residual(self) -> TensorId:
        """What is added to the convolution's result."""
        return self.add.b if self.add.a == self.conv.y else self.add.a

    @property
    def y(self) -> TensorId:
        """The sum."""
        return self.add.y

    @property
    def inputs(self) -> tuple[TensorId, ...]:
        """The convolution's, then the residual."""
        return (*self.conv.inputs, self.residual)

    def macs(self, t: Tensors) -> int:
        """The convolution's."""
        return self.conv.macs(t)


def convolution(op: Conv2d | ConvAdd) -> Conv2d:
    """The convolution itself."""
    return op.conv if isinstance(op, ConvAdd) else op


def fuse(function: Function, t: Tensors, accepts: Callable[[Operation], bool]) -> Function:
    """The function with residual additions joined to a convolution where a row takes the two as one.

    The convolution produced last is preferred: it waits the shortest. Functions that change variables stay.
    """
    if any(op.updates for op in function.operations):
        return function
    uses: dict[TensorId, int] = dict.fromkeys(function.outputs, 1)
    for op in function.operations:
        for name in op.inputs:
            uses[name] = uses.get(name, 0) + 1
    steps = {op.y: step for step, op in enumerate(function.operations) if isinstance(op, Conv2d)}
    operations: list[Operation | None] = list(function.operations)
    for step, op in enumerate(function.operations):
        if not isinstance(op, Add) or t[op.a].shape != t[op.b].shape:
            continue
        producers = sorted((steps[n] for n in (op.a, op.b) if n in steps and uses[n] == 1), reverse=True)
        for producer in producers:
            conv = operations[producer]
            if isinstance(conv, Conv2d) and accepts(fused := ConvAdd(conv, op)):
                operations[producer], operations[step] = None, fused
                break
    return dataclasses.replace(function, operations=tuple(op for op in operations if op is not None))
