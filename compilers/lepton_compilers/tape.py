"""A function being written down: operations appended to a forward pass, and the tensors they make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_sdk.program import Clamp, Operation, Tensor, TensorId
from lepton_sdk.program.training import ReluGrad

_LOWEST = float(np.finfo(np.float32).min)


class Tape:
    """Operations and tensors of a function while it is made. `wanted`: tensors whose gradients are needed."""

    def __init__(self, tensors: Mapping[TensorId, Tensor], operations: tuple[Operation, ...]) -> None:
        self.tensors = dict(tensors)
        self.operations = list(operations)
        self.wanted: set[TensorId] = set()

    def new(self, name: TensorId, shape: tuple[int, ...], dtype: str = "float32") -> TensorId:
        """A new tensor; a name that is taken gets a number."""
        unique, count = name, 1
        while unique in self.tensors:
            count += 1
            unique = f"{name}.{count}"
        self.tensors[unique] = Tensor(unique, shape, dtype)
        return unique

    def gradient(self, name: TensorId) -> TensorId:
        """A new tensor for a gradient of `name`."""
        return self.new(f"{name}.gradient", self.tensors[name].shape)

    def emit(self, op: Operation) -> TensorId:
        """Append an operation; its first output."""
        self.operations.append(op)
        return op.outputs[0]

    def before_clamp(self, clamp: Clamp | None, y: TensorId, dy: TensorId) -> TensorId:
        """The gradient in front of an operation's own clamp: zero where a bound holds."""
        if clamp is None:
            return dy
        maximum = clamp.high if np.isfinite(clamp.high) else None
        return self.emit(ReluGrad(dy, y, self.gradient(y), maximum, max(float(clamp.low), _LOWEST)))
