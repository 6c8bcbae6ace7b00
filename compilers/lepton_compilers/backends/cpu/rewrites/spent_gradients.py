"""Gradients of weights that only an update reads: an operation of a plan alone, that never stores them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lepton_sdk.program import Function, Operation, TensorId, Tensors
from lepton_sdk.program.training import DenseGradWeight, SgdMomentum


@dataclass(frozen=True, slots=True)
class DenseUpdate(Operation):
    """The gradient of a dense layer's weights, and the update by it. Arithmetic: that of the two in turn."""

    gradient: DenseGradWeight
    update: SgdMomentum

    @property
    def inputs(self) -> tuple[TensorId, ...]:
        """The gradient's, then what the update reads beside it."""
        others = (name for name in self.update.inputs if name != self.gradient.dweight)
        return (*self.gradient.inputs, *others)

    @property
    def outputs(self) -> tuple[TensorId, ...]:
        """None: the gradient is not kept."""
        return ()

    @property
    def updates(self) -> tuple[TensorId, ...]:
        """The parameter and its velocity."""
        return self.update.updates

    def macs(self, t: Tensors) -> int:
        """The gradient's."""
        return self.gradient.macs(t)


def spent(function: Function, accepts: Callable[[Operation], bool]) -> Function:
    """The function with DenseUpdate where an update stood whose gradient nothing else reads."""
    uses = Counter(function.outputs)
    for op in function.operations:
        uses.update(op.inputs)
    made = {op.dweight: op for op in function.operations if isinstance(op, DenseGradWeight)}
    joined: dict[Operation, DenseUpdate] = {}
    for op in function.operations:
        gradient = made.get(op.gradient) if isinstance(op, SgdMomentum) else None
        if isinstance(op, SgdMomentum) and gradient is not None and uses[op.gradient] == 1:
            both = DenseUpdate(gradient, op)
            if accepts(both):
                joined[op] = both
    gone = {both.gradient for both in joined.values()}
    operations = tuple(joined.get(op, op) for op in function.operations if op not in gone)
    return dataclasses.replace(function, operations=operations)
