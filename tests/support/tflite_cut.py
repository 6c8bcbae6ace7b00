"""TFLite files taken apart and repacked: cut before the softmax, weights widened to float."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def unpacked(content: bytes) -> Any:
    """The mutable object form of a TFLite file."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def packed(model: Any) -> bytes:
    """The TFLite file of an object form."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def opcode(model: Any, operator: Any) -> int:
    """The built-in operator that an operator is."""
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def without_last(content: bytes, count: int) -> bytes:
    """The network without its last `count` operators; what the first of them read comes out."""
    model = unpacked(content)
    graph = model.subgraphs[0]
    graph.outputs = np.array([graph.operators[-count].inputs[0]], np.int32)
    graph.operators = graph.operators[:-count]
    # Signatures name the output tensor that is gone.
    model.signatureDefs = None
    return packed(model)


def before_softmax(content: bytes) -> bytes:
    """The network that ends in its logits."""
    model = unpacked(content)
    if opcode(model, model.subgraphs[0].operators[-1]) != schema.BuiltinOperator.SOFTMAX:
        raise ValueError("the network does not end in a softmax")
    return without_last(content, 1)


def widened_weights(content: bytes) -> bytes:
    """A dynamic-range network with its int8 weights as float32: what its numbers mean, without LiteRT's
    quantisation of activations at run time."""
    model = unpacked(content)
    for tensor in model.subgraphs[0].tensors:
        held = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.INT8 or held is None or len(held) == 0:
            continue
        scales = np.asarray(tensor.quantization.scale, np.float32)
        values = np.frombuffer(np.asarray(held, np.uint8).tobytes(), np.int8).reshape(tensor.shape)
        extents = [1] * values.ndim
        if scales.size > 1:
            extents[tensor.quantization.quantizedDimension] = scales.size
        real = (values.astype(np.float32) * scales.reshape(extents)).astype(np.float32)
        model.buffers[tensor.buffer].data = np.frombuffer(real.tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    return packed(model)


def with_operator(content: bytes, index: int, builtin: int) -> bytes:
    """The file with one operator's code replaced: a model that asks for what nobody can import."""
    model = unpacked(content)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    model.operatorCodes.append(code)
    model.subgraphs[0].operators[index].opcodeIndex = len(model.operatorCodes) - 1
    return packed(model)
