"""Variables of TFLite: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE → state of the function.

Each resource becomes a parameter of `main`; what an operator reads is its value at that point, what is
assigned last is the value after the call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from tvm import relax

from lepton_compilers.importers.tflite.layer import Layer
from lepton_compilers.passes.graph import Expr, Var, shape

Array = npt.NDArray[Any]
STATE_OPERATORS = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")


@dataclass
class States:
    """Resources met so far by key: their parameter, first value, and value at this point of the walk."""

    handles: dict[int, str] = field(default_factory=dict)
    given: dict[str, Array] = field(default_factory=dict)
    first: dict[str, tuple[Var, Array]] = field(default_factory=dict)
    now: dict[str, Expr] = field(default_factory=dict)

    def variables(self) -> dict[Var, Array]:
        """Parameters and their first values."""
        return dict(self.first.values())

    def convert(self, layer: Layer, operator: str) -> tuple[Expr, ...]:
        """The operator's results; state changes on the way."""
        if operator == "VAR_HANDLE":
            self.handles[int(layer.op.Outputs(0))] = _key(layer)
        elif operator == "CALL_ONCE":
            self._initialise(layer)
        elif operator == "READ_VARIABLE":
            return (self._read(layer),)
        else:
            key = self._handle(layer)
            value = layer.raw(1)
            self._declare(key, shape(value), layer.dtype(1), _zero(layer.inputs[1]))
            self.now[key] = value
        return ()

    def at(self, key: str, extents: tuple[int, ...], dtype: str) -> Expr:
        """The value at this point of a state that starts at zero."""
        self._declare(key, extents, dtype, 0)
        return self.now[key]

    def _read(self, layer: Layer) -> Expr:
        key = self._handle(layer)
        self._declare(key, layer.result_shape(), layer.result_dtype(), _zero(layer.outputs[0]))
        return self.now[key]

    def _declare(self, key: str, extents: tuple[int, ...], dtype: str, zero: int) -> None:
        """The resource's parameter, of the first shape met; what nothing initialises holds real zeros."""
        if key in self.first:
            return
        value = self.given.get(key)
        if value is None:
            value = np.full(extents, zero, dtype)
        var = relax.Var(key, relax.TensorType(value.shape, value.dtype.name))
        self.first[key] = (var, value)
        self.now[key] = var

    def _handle(self, layer: Layer) -> str:
        index = int(layer.op.Inputs(0))
        if index not in self.handles:
            raise layer.refuse("its resource is no VAR_HANDLE of this subgraph")
        return self.handles[index]

    def _initialise(self, layer: Layer) -> None:
        """First values from the subgraph that runs once: constants assigned to handles."""
        model = layer.converter.model
        options = layer.options(tflite.CallOnceOptions)
        graph = model.Subgraphs(int(options.InitSubgraphIndex()))
        handles: dict[int, str] = {}
        for position in range(graph.OperatorsLength()):
            op = graph.Operators(position)
            inner = Layer(_View(layer.converter, graph), op, layer.name)
            name = layer.converter.get_op_code_str(op)
            if name == "VAR_HANDLE":
                handles[int(op.Outputs(0))] = _key(inner)
            elif name == "ASSIGN_VARIABLE":
                value = _constant(model, graph, int(op.Inputs(1)))
                if value is None:
                    raise layer.refuse("an initial value that is computed; constants are supported")
                self.given[handles[int(op.Inputs(0))]] = value
            else:
                raise layer.refuse(f"{name} among what runs once; variables' first values are supported")


class _View:
    """A converter's eyes on another subgraph."""

    def __init__(self, converter: Any, subgraph: Any) -> None:
        self._converter = converter
        self.subgraph = subgraph

    def get_input_tensors(self, op: Any) -> list[Any]:
        return []

    def get_output_tensors(self, op: Any) -> list[Any]:
        return []

    def get_op_code_str(self, op: Any) -> str:
        return str(self._converter.get_op_code_str(op))


def _key(layer: Layer) -> str:
    options = layer.options(tflite.VarHandleOptions)
    names = [part.decode("utf-8") for part in (options.Container(), options.SharedName()) if part]
    return "/".join(names) or layer.name


def _zero(tensor: Any) -> int:
    return 0 if tensor.qnn_params is None else int(tensor.qnn_params["zero_point"].value.numpy())


def _constant(model: Any, graph: Any, index: int) -> Array | None:
    tensor = graph.Tensors(index)
    buffer = model.Buffers(tensor.Buffer())
    if buffer is None or not buffer.DataLength():
        return None
    kinds = {v: k.lower() for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}
    extents = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    return np.frombuffer(buffer.DataAsNumpy().tobytes(), kinds[tensor.Type()]).reshape(extents)
