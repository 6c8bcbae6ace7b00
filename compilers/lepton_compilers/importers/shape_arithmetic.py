"""What ONNX exporters compute from shapes (Shape, Gather, Concat, then Reshape) is known at compile time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]

FOLDED = ("Add", "Cast", "Concat", "Div", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze")
"""Operators that are computed here where all their inputs are known integers."""


def fold_shape_arithmetic(model: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """The model with its input shapes fixed and all arithmetic on shapes replaced by initialisers.

    Each round infers shapes and folds what they decide; a folded Reshape target lets the next round see
    further. TVM's importer mixes shapes and tensors here and fails on Concat.
    """
    fixed = with_input_shapes(model, shapes)
    while _fold_round(fixed):
        continue
    return fixed


def with_input_shapes(model: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """A copy of the model whose inputs have these shapes, for shape inference."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for item in fixed.graph.input:
        if item.name in shapes:
            kind = item.type.tensor_type.elem_type
            item.CopyFrom(helper.make_tensor_value_info(item.name, kind, list(shapes[item.name])))
    # What the file says of its outputs was said of open shapes.
    for item in (*fixed.graph.output, *fixed.graph.value_info):
        item.type.tensor_type.ClearField("shape")
    return fixed


def _fold_round(model: Any) -> bool:
    """Fold what is known now; whether anything was."""
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    extents = {v.name: static_shape(v) for v in (*inferred.input, *inferred.value_info)}
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer if _is_integer(i.data_type)}
    for node in graph.node:
        held = node.attribute[0] if node.op_type == "Constant" else None
        if held is not None and held.name == "value" and _is_integer(held.t.data_type):
            known[node.output[0]] = numpy_helper.to_array(held.t)
    kept = []
    for node in graph.node:
        answer = _answer(node, known, extents, model.opset_import)
        if answer is None:
            kept.append(node)
            continue
        known[node.output[0]] = answer
        graph.initializer.append(numpy_helper.from_array(answer, node.output[0]))
    folded = len(kept) < len(graph.node)
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _answer(
    node: Any, known: Mapping[str, Array], extents: Mapping[str, list[int] | None], opsets: Any
) -> Array | None:
    if node.op_type == "Shape":
        shape = extents.get(node.input[0])
        attributes = {a.name: a.i for a in node.attribute}
        start, end = attributes.get("start", 0), attributes.get("end")
        return None if shape is None else np.array(shape[start:end], np.int64)
    if node.op_type not in FOLDED or not all(name in known for name in node.input if name):
        return None
    inputs = {name: known[name] for name in node.input if name}
    graph = helper.make_graph(
        [node],
        "shape_arithmetic",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [onnx.ValueInfoProto(name=node.output[0])],
    )
    single = helper.make_model(graph, opset_imports=opsets)
    result = np.asarray(ReferenceEvaluator(single).run(None, inputs)[0])
    return result if result.dtype.kind in "iu" else None


def static_shape(item: Any) -> list[int] | None:
    """Extents of a graph's input or value; None where one is open."""
    if not item.type.tensor_type.HasField("shape"):
        return None
    dims = item.type.tensor_type.shape.dim
    return [int(d.dim_value) for d in dims] if all(d.HasField("dim_value") for d in dims) else None


def _is_integer(data_type: int) -> bool:
    return data_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
