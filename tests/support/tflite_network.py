"""TFLite networks written out with the schema: named tensors, custom operators, subgraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from support.tflite_cut import packed

Array = npt.NDArray[Any]

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}


@dataclass(frozen=True, eq=False)
class Spec:
    """A tensor: shape and type, its quantisation, its value where it is a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: Any = np.int8
    scales: tuple[float, ...] = ()
    zero_point: int = 0
    axis: int = 0
    value: Array | None = None
    resource: bool = False
    variable: bool = False


def constant(
    name: str, value: Array, scales: Sequence[float] = (), axis: int = 0, zero_point: int = 0
) -> Spec:
    """A constant tensor."""
    return Spec(name, value.shape, value.dtype, tuple(scales), zero_point, axis, value)


def floats(name: str, shape: tuple[int, ...]) -> Spec:
    """A float32 tensor."""
    return Spec(name, shape, np.float32)


@dataclass(frozen=True)
class Node:
    """One operator; an input of None is an absent optional one. custom: the code of a custom operator."""

    builtin: int
    inputs: Sequence[Spec | None]
    outputs: Sequence[Spec]
    options: Any = None
    options_type: int = schema.BuiltinOptions.NONE
    version: int = 1
    custom: str = ""
    custom_options: bytes = b""
    intermediates: Sequence[Spec] = ()


@dataclass(frozen=True)
class Graph:
    """Operators in order, and which tensors go in and come out."""

    inputs: Sequence[Spec]
    outputs: Sequence[Spec]
    nodes: Sequence[Node]
    name: str = "main"


def options(kind: Any, **fields: Any) -> Any:
    """An operator's options; the names are the schema's."""
    made = kind()
    for name, value in fields.items():
        assert hasattr(made, name), f"{kind.__name__} has no {name}"
        setattr(made, name, value)
    return made


@dataclass
class _Writer:
    model: Any = field(default_factory=schema.ModelT)
    codes: dict[tuple[int, int, str], int] = field(default_factory=dict)

    def code(self, node: Node) -> int:
        key = (node.builtin, node.version, node.custom)
        if key not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = node.builtin, min(node.builtin, 127)
            code.version = node.version
            if node.custom:
                code.customCode = node.custom
            self.model.operatorCodes.append(code)
            self.codes[key] = len(self.model.operatorCodes) - 1
        return self.codes[key]

    def tensor(self, spec: Spec) -> Any:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = spec.name, np.array(spec.shape, np.int32)
        tensor.type = schema.TensorType.RESOURCE if spec.resource else TYPES[np.dtype(spec.dtype)]
        tensor.buffer, tensor.isVariable = 0, spec.variable
        tensor.hasRank = True
        if spec.value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(spec.value).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if spec.scales:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.array(spec.scales, np.float32)
            quantization.zeroPoint = np.full(len(spec.scales), spec.zero_point, np.int64)
            quantization.quantizedDimension = spec.axis
            tensor.quantization = quantization
        return tensor

    def subgraph(self, graph: Graph) -> Any:
        made = schema.SubGraphT()
        made.name, made.tensors, made.operators = graph.name, [], []
        places: dict[str, int] = {}

        def place(spec: Spec | None) -> int:
            if spec is None:
                return -1
            if spec.name not in places:
                made.tensors.append(self.tensor(spec))
                places[spec.name] = len(made.tensors) - 1
            return places[spec.name]

        made.inputs = np.array([place(spec) for spec in graph.inputs], np.int32)
        for node in graph.nodes:
            operator = schema.OperatorT()
            operator.opcodeIndex = self.code(node)
            operator.inputs = np.array([place(spec) for spec in node.inputs], np.int32)
            operator.outputs = np.array([place(spec) for spec in node.outputs], np.int32)
            operator.builtinOptions, operator.builtinOptionsType = node.options, node.options_type
            if node.intermediates:
                operator.intermediates = np.array([place(spec) for spec in node.intermediates], np.int32)
            if node.custom:
                operator.customOptions = np.frombuffer(node.custom_options, np.uint8)
            made.operators.append(operator)
        made.outputs = np.array([place(spec) for spec in graph.outputs], np.int32)
        return made


def network(*graphs: Graph) -> bytes:
    """The TFLite file of these subgraphs, the first of which is run."""
    writer = _Writer()
    writer.model.version, writer.model.description = 3, "written by a test"
    writer.model.operatorCodes, writer.model.buffers = [], [schema.BufferT()]
    writer.model.subgraphs = [writer.subgraph(graph) for graph in graphs]
    return packed(writer.model)
