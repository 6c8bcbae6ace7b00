"""A Program while it is being written: names, tensors, variables, and the function it is written from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lepton_compilers.integerize.chain import INTEGERS, tensor_quantization
from lepton_compilers.integerize.known import Array, Known, known
from lepton_compilers.passes.graph import DEQUANTIZE, Expr, Graph, Var, dtype, is_constant, operator, shape
from lepton_sdk.program import Function, Operation, Program, Quantization, Tensor, TensorId, Variable
from lepton_sdk.program.operations import ClampTo, Concat, MaxPool2d, Pad, Reshape, Transpose
from lepton_sdk.program.sequence import Gather, Slice
from lepton_sdk.program.state import Assign
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import MirrorPad
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

MOVES = (Reshape, Transpose, Pad, Concat, MaxPool2d, ClampTo, MirrorPad, Assign, Slice, Gather)
"""Operations whose output has its input's quantisation."""


class Draft:
    """Everything a lowering rule may ask of the Relax function and write to the Program."""

    def __init__(
        self, graph: Graph, inputs: int, parameters: Mapping[str, Array], output_names: Sequence[str]
    ) -> None:
        self.graph = graph
        self.inputs = graph.parameters[:inputs]
        # What follows the outputs are the next values of states.
        self.results = graph.results[: len(output_names)]
        self.states: list[Var] = []
        self.parameters = parameters
        self.tensors: dict[TensorId, Tensor] = {}
        self._names: dict[Var, TensorId] = {}
        self._taken: set[TensorId] = set()
        self._variables: dict[str, Variable] = {}
        for var in self.inputs:
            self._name(var, str(var.name))
        for var, name in zip(self.results, output_names, strict=True):
            if is_constant(var) or is_constant(graph.definition(var)):
                raise UnsupportedOperatorError(
                    f"output '{name}' is a constant: it does not depend on the input"
                )
            if var not in self._names:
                self._name(var, name)
            elif var in self.inputs:
                raise UnsupportedOperatorError(
                    f"output '{name}' is the input '{self._names[var]}' unchanged: there is no layer to run",
                    "export the model without this output, or with the layers that were meant to compute it",
                )

    def add_state(self, var: Var, value: Array) -> None:
        """A variable that lives between calls, with its first value; refused where it is an output."""
        if var in self.results:
            raise UnsupportedOperatorError(
                f"output '{self._names[var]}' is the state '{var.name}' as it was before the call",
                "export the model with the state's new value as its output, or without this output",
            )
        name = self._name(var, str(var.name))
        self.tensors[name] = constant(name, value)
        self.states.append(var)

    @property
    def trainable(self) -> bool:
        """Whether parameters stay variables."""
        return bool(self.parameters)

    def _fresh(self, wanted: str) -> TensorId:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}:{count}"
        self._taken.add(name)
        return name

    def _name(self, var: Var, wanted: str) -> TensorId:
        self._names[var] = name = self._fresh(wanted)
        return name

    def layer(self, var: Var) -> str:
        """The name by which messages call what ends in `var`."""
        return self._names.get(self.graph.resolve(var), str(var.name))

    def tensor(self, var: Var, quantization: Quantization | None = None) -> TensorId:
        """The tensor a variable is, made on first use; its quantisation may become known later."""
        var = self.graph.resolve(var)
        name = self._names.get(var) or self._name(var, str(var.name))
        if name not in self.tensors:
            self.tensors[name] = Tensor(name, shape(var), dtype(var), quantization)
        elif quantization is not None:
            self._quantise(name, quantization)
        return name

    def _quantise(self, name: TensorId, quantization: Quantization) -> None:
        held = self.tensors[name].quantization
        if held is not None and held != quantization:
            raise BadInputError(f"tensor '{name}' is read with two quantisations: {held}, {quantization}")
        self.tensors[name] = dataclasses.replace(self.tensors[name], quantization=quantization)

    def constant(self, name: str, value: Array, quantization: Quantization | None = None) -> TensorId:
        """A constant tensor under a fresh name."""
        name = self._fresh(name)
        self.tensors[name] = constant(name, value, quantization)
        return name

    def scratch(
        self, name: str, extents: tuple[int, ...], kind: str, quantization: Quantization | None = None
    ) -> TensorId:
        """A tensor between two operations of one layer."""
        name = self._fresh(name)
        self.tensors[name] = Tensor(name, extents, kind, quantization)
        return name

    def known(self, expr: Expr) -> Known | None:
        """What the compiler knows of an expression."""
        return known(self.graph, self.parameters, expr)

    def float_constant(self, name: str, what: Known, infinite: bool = False) -> TensorId:
        """A float constant, or the variable of a trainable parameter.

        BadInputError for NaN, and for infinity unless `infinite`: masks hold it, weights do not.
        """
        if np.isnan(what.values).any() or not (infinite or np.isfinite(what.values).all()):
            raise BadInputError(f"'{what.parameter or name}' holds NaN or infinity; the model is damaged")
        if what.parameter is None:
            real = what.values if what.scales is None else what.real
            return self.constant(name, real.astype(np.float32, copy=False))
        axes = what.source_axes
        if what.parameter in self._variables:
            variable = self._variables[what.parameter]
            if variable.source_axes != axes or self.tensors[variable.tensor].shape != what.values.shape:
                raise UnsupportedOperatorError(
                    f"parameter '{what.parameter}' is shared by layers that hold it in different orders"
                )
            return variable.tensor
        tensor = self.constant(what.parameter, what.values.astype(np.float32))
        turned = what.values.shape if axes is None else tuple(what.values.shape[axis] for axis in axes)
        shape = None if what.source_shape == turned else what.source_shape
        self._variables[what.parameter] = Variable(tensor, True, what.parameter, axes, shape)
        return tensor

    def dequantised(self, expr: Expr, *kinds: str) -> tuple[Var, Quantization] | None:
        """The tensor and quantisation behind `dequantize(x)`, x int8 or of `kinds`; None for all else."""
        return self.dequantised_call(self.graph.definition(expr), *kinds)

    def dequantised_call(self, definition: Expr, *kinds: str) -> tuple[Var, Quantization] | None:
        """The same of the call itself."""
        if operator(definition) != DEQUANTIZE:
            return None
        source = self.graph.resolve(definition.args[0])
        quantization = tensor_quantization(definition)
        if (
            quantization is None
            or dtype(source) not in (kinds or ("int8",))
            or self.known(source) is not None
        ):
            return None
        return source, quantization

    def program(self, operations: Sequence[Operation]) -> Program:
        """The Program, its tensors in order of first use."""
        self._spread_quantisation(operations)
        inputs = tuple(self.tensor(var) for var in self.inputs)
        outputs = tuple(self.tensor(var) for var in self.results)
        order = dict.fromkeys(inputs)
        for op in operations:
            order.update(dict.fromkeys((*op.inputs, *op.outputs)))
        tensors = {name: self.tensors[name] for name in order}
        variables = tuple(self._variables[name] for name in self.parameters if name in self._variables)
        variables += tuple(Variable(name) for var in self.states if (name := self.tensor(var)) in tensors)
        return Program({"infer": Function("infer", inputs, outputs, tuple(operations))}, tensors, variables)

    def _spread_quantisation(self, operations: Sequence[Operation]) -> None:
        """What only moves bytes has one quantisation on both ends, whichever end states it."""
        for op in (*operations, *reversed(operations)):
            if isinstance(op, MOVES):
                ends = (*op.inputs, *op.outputs)
                stated = next((q for n in ends if (q := self.tensors[n].quantization) is not None), None)
                if stated is not None and self.tensors[ends[0]].dtype in INTEGERS:
                    for name in (n for n in ends if self.tensors[n].dtype in INTEGERS):
                        self._quantise(name, stated)
