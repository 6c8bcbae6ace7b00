"""A program to run with its inputs: made of operations, several put together into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from lepton_sdk.program import Function, Operation, Program, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class Case:
    """A program whose function `infer` is one operation, and one set of inputs.

    It prints as its operations: what its tables hold would fill pages.
    """

    program: Program
    inputs: tuple[Array, ...]

    def __repr__(self) -> str:
        return f"Case({self.program.function().operations})"


def program_of(tensors: Sequence[Tensor], operations: Sequence[Operation], name: str = "infer") -> Program:
    """The program whose inputs are what nothing defines and whose outputs are what nothing reads."""
    defined = {n for op in operations for n in op.outputs}
    read = dict.fromkeys(n for op in operations for n in op.inputs)
    by_name = {tensor.name: tensor for tensor in tensors}
    inputs = tuple(n for n in read if n not in defined and by_name[n].value is None)
    outputs = tuple(n for op in operations for n in op.outputs if n not in read)
    return Program({name: Function(name, inputs, outputs, tuple(operations))}, by_name)


def together(cases: Sequence[Case]) -> Program:
    """One program with the function `case0`, `case1`, … of each case: a single compilation for all."""
    functions, tensors = {}, {}
    for index, case in enumerate(cases):
        names = {name: f"{index}/{name}" for name in case.program.tensors}
        for name, t in case.program.tensors.items():
            tensors[names[name]] = Tensor(names[name], t.shape, t.dtype, t.quantization, t.value)
        body = case.program.function()
        functions[f"case{index}"] = Function(
            f"case{index}",
            tuple(names[n] for n in body.inputs),
            tuple(names[n] for n in body.outputs),
            tuple(op.renamed(names) for op in body.operations),
        )
    return Program(functions, tensors)
