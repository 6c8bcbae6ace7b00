"""Functions over tensors, checked once when they are made, immutable afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_sdk.program.operations import Operation
from lepton_sdk.program.tensors import DTYPES, Tensor, TensorId
from lepton_targets.errors import BadInputError, nearest

ARITHMETIC = 1
"""Number of the arithmetic that docs/arithmetic.md defines; a change of any bit is a new number."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A tensor that lives between calls. Its first value stands in the tensor.

    source_name: the parameter's name in the source model, None for optimiser state.
    source_axes, source_shape: numpy.transpose(value, source_axes).reshape(source_shape) is the source model's
    array; either is None where it changes nothing.
    """

    tensor: TensorId
    trainable: bool = False
    source_name: str | None = None
    source_axes: tuple[int, ...] | None = None
    source_shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A straight list of operations from inputs to outputs."""

    name: str
    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What a back end sees and an engine runs.

    functions by name (`infer`, and where asked `train`, `evaluate`); tensors by name, shared by all
    functions; variables in the order that federated updates use.

    Raises BadInputError when an operation reads what nothing defined, defines a tensor twice, or
    states a shape that its inputs contradict.
    """

    functions: Mapping[str, Function]
    tensors: Mapping[TensorId, Tensor]
    variables: tuple[Variable, ...] = ()

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            _check_tensor(name, tensor)
        known = {variable.tensor for variable in self.variables}
        if len(known) != len(self.variables):
            raise BadInputError("a program lists a variable twice")
        for variable in self.variables:
            if variable.tensor not in self.tensors or self.tensors[variable.tensor].value is None:
                raise BadInputError(f"variable '{variable.tensor}' has no first value")
        for name, function in self.functions.items():
            if name != function.name:
                raise BadInputError(f"function '{function.name}' is listed as '{name}'")
            self._check(function, known)

    def function(self, name: str = "infer") -> Function:
        """The function of that name; BadInputError lists the known ones otherwise."""
        if name not in self.functions:
            raise BadInputError(
                f"the program has no function '{name}'{nearest(name, self.functions)}",
                f"it has: {', '.join(self.functions)}",
            )
        return self.functions[name]

    @property
    def variable_ids(self) -> frozenset[TensorId]:
        """Names of all variables."""
        return frozenset(variable.tensor for variable in self.variables)

    def constants(self, function: str = "infer") -> tuple[Tensor, ...]:
        """Constant tensors that a function reads, variables left out, in order of first use."""
        variables = self.variable_ids
        names = dict.fromkeys(name for op in self.function(function).operations for name in op.inputs)
        return tuple(
            self.tensors[name]
            for name in names
            if name not in variables and self.tensors[name].value is not None
        )

    def macs(self, function: str = "infer") -> int:
        """Multiply-accumulates of one call."""
        return sum(op.macs(self.tensors) for op in self.function(function).operations)

    def _check(self, function: Function, variables: set[TensorId]) -> None:
        where = f"function '{function.name}'"
        for name in (*function.inputs, *function.outputs):
            if name not in self.tensors:
                raise BadInputError(f"{where} names tensor '{name}', which the program does not have")
        defined = set(function.inputs)
        for index, op in enumerate(function.operations):
            step = f"{where}, step {index} ({type(op).__name__})"
            for name in (*op.inputs, *op.outputs):
                if name not in self.tensors:
                    raise BadInputError(f"{step} names tensor '{name}', which the program does not have")
            for name in op.inputs:
                if name not in defined and self.tensors[name].value is None:
                    raise BadInputError(f"{step} reads '{name}' before anything defines it")
            for name in op.updates:
                if name not in variables:
                    raise BadInputError(f"{step} updates '{name}', which is no variable")
            for name in op.outputs:
                if name in defined or self.tensors[name].value is not None:
                    raise BadInputError(f"{step} defines '{name}' a second time")
                defined.add(name)
            try:
                expected = op.shapes(self.tensors)
            except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
                raise BadInputError(f"{step}: {error}") from error
            for name, shape in zip(op.outputs, expected, strict=True):
                if self.tensors[name].shape != tuple(shape):
                    raise BadInputError(
                        f"{step}: '{name}' has shape {self.tensors[name].shape}, expected {shape}"
                    )
        for name in function.outputs:
            if name not in defined and self.tensors[name].value is None:
                raise BadInputError(f"{where} returns '{name}', which nothing defines")


def _check_tensor(name: TensorId, tensor: Tensor) -> None:
    if tensor.name != name:
        raise BadInputError(f"tensor '{tensor.name}' is listed as '{name}'")
    if tensor.dtype not in DTYPES:
        raise BadInputError(f"tensor '{name}' has dtype '{tensor.dtype}'; accepted: {', '.join(DTYPES)}")
    if any(extent < 1 for extent in tensor.shape):
        raise BadInputError(f"tensor '{name}' has shape {tensor.shape}; every extent must be at least 1")
    if tensor.value is not None and (
        tensor.value.shape != tensor.shape or tensor.value.dtype.name != tensor.dtype
    ):
        raise BadInputError(
            f"tensor '{name}' is {tensor.dtype} {tensor.shape}, "
            f"its value {tensor.value.dtype} {tensor.value.shape}"
        )
    if (q := tensor.quantization) is not None:
        channels = 1 if q.axis is None else tensor.shape[q.axis] if 0 <= q.axis < len(tensor.shape) else -1
        if len(q.scales) != channels:
            raise BadInputError(f"tensor '{name}' has {len(q.scales)} scales for {channels} channels")
        for scale in q.scales:
            if not (math.isfinite(scale) and scale > 0 and float(np.float32(scale)) == scale):
                raise BadInputError(f"tensor '{name}' has scale {scale!r}; a positive float32 is needed")
