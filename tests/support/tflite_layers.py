"""TFLite networks of one int8 or int16 layer, written out with the schema: one form of the importer each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from support.tflite_cut import packed

Array = npt.NDArray[Any]

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}


@dataclass(frozen=True)
class Spec:
    """A tensor: shape and type, its quantisation, its value where it is a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: Any = np.int8
    scales: tuple[float, ...] = ()
    zero_point: int = 0
    axis: int = 0
    value: Array | None = None


def constant(name: str, value: Array, scales: Sequence[float] = (), axis: int = 0) -> Spec:
    """A constant tensor."""
    return Spec(name, value.shape, value.dtype, tuple(scales), 0, axis, value)


def layer(
    builtin: int, options: Any, options_type: int, inputs: Sequence[Spec], output: Spec, version: int = 1
) -> bytes:
    """The model whose only operator reads `inputs` (the first is the model's input) and writes `output`."""
    model = schema.ModelT()
    model.version = 3
    model.description = "one layer"
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
    model.operatorCodes = [code]
    empty = schema.BufferT()
    model.buffers = [empty]
    graph = schema.SubGraphT()
    graph.tensors = []
    for spec in (*inputs, output):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = spec.name, np.array(spec.shape, np.int32)
        tensor.type, tensor.buffer = TYPES[np.dtype(spec.dtype)], 0
        if spec.value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(spec.value).tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        if spec.scales:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.array(spec.scales, np.float32)
            quantization.zeroPoint = np.full(len(spec.scales), spec.zero_point, np.int64)
            quantization.quantizedDimension = spec.axis
            tensor.quantization = quantization
        graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = np.arange(len(inputs), dtype=np.int32)
    operator.outputs = np.array([len(inputs)], np.int32)
    operator.builtinOptions, operator.builtinOptionsType = options, options_type
    graph.operators = [operator]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([len(inputs)], np.int32)
    model.subgraphs = [graph]
    return packed(model)
