"""Nodes whose inputs are all known are computed at import, by ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from lepton_compilers.importers.onnx.values import Array, Value
from lepton_compilers.peak import checked_size

LEFT_ALONE = frozenset(
    (
        "Bernoulli", "Dropout", "If", "ImageDecoder", "Loop", "Multinomial", "RandomNormal",
        "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Scan", "SequenceMap",
    )
)  # fmt: skip
"""What draws at random or repeats; a bound on its work is not known."""
SMALL = 4096
"""Elements up to which operands are folded without asking for the result's shape first."""
_GROWING = frozenset(
    (
        "AffineGrid", "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape", "ConvTranspose", "DFT",
        "Einsum", "Expand", "EyeLike", "HammingWindow", "HannWindow", "MaxUnpool",
        "OneHot", "Pad", "Range", "Resize", "STFT", "Tile", "Upsample",
    )
)  # fmt: skip
"""Operators whose result may be larger than anything they read."""


def folded(node: Any, inputs: Sequence[Value | None], opset: int) -> list[Array] | None:
    """The node's results; None where it can't be computed here. Raises BadInputError beyond memory."""
    arrays = {name: v.array for name, v in zip(node.input, inputs) if v is not None and v.array is not None}
    if node.op_type in LEFT_ALONE or node.domain not in ("", "ai.onnx") or _quantised(node, inputs):
        return None
    if node.op_type == "MelWeightMatrix":
        bins, length = (
            int(v.array.reshape(-1)[0]) for v in inputs[:2] if v is not None and v.array is not None
        )
        checked_size(f"layer '{node.name}'", [max(bins, 0), abs(length) // 2 + 1], "float64")
    large = node.op_type in _GROWING or sum(a.size for a in arrays.values()) > SMALL
    if large and not _bounded(node, inputs, opset):
        return None
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
    ]
    names = [name for name in node.output if name]
    graph = helper.make_graph([node], "known", infos, [onnx.ValueInfoProto(name=n) for n in names])
    try:
        with np.errstate(all="ignore"):
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
            results = ReferenceEvaluator(model).run(None, arrays)
    except MemoryError:
        raise
    except Exception:
        # The evaluator signals what it does not do by whatever its own code trips over.
        return None
    if not all(isinstance(r, np.ndarray | np.generic) for r in results):
        return None
    return [np.asarray(r) for r in results]


def _quantised(node: Any, inputs: Sequence[Value | None]) -> bool:
    """Whether this is a dequantised constant: integerize wants its integers."""
    return node.op_type == "DequantizeLinear" and inputs[0] is not None and inputs[0].kind != "int64"


def _bounded(node: Any, inputs: Sequence[Value | None], opset: int) -> bool:
    """Whether the results' shapes are known and fit memory."""
    shapes = result_types(node, inputs, opset)
    if shapes is None:
        return False
    for name, (extents, kind) in shapes.items():
        if extents is None:
            return False
        checked_size(f"layer '{node.name}', result '{name}'", extents, kind if kind != "object" else "int64")
    return True


def result_types(
    node: Any, inputs: Sequence[Value | None], opset: int
) -> dict[str, tuple[list[int] | None, str]] | None:
    """Extents (None where open) and type of every result, by ONNX's inference; None where it fails."""
    types, data = {}, {}
    for name, value in zip(node.input, inputs):
        if value is None:
            continue
        element = helper.np_dtype_to_tensor_dtype(onnx_dtype(value.kind))
        types[name] = helper.make_tensor_type_proto(element, value.shape)
        if value.array is not None and value.array.size <= SMALL and value.kind != "object":
            data[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(value.array), name)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[helper.make_opsetid("", opset)]
        )
    except Exception:
        # Inference refuses what it can't type by errors of several kinds.
        return None
    results: dict[str, tuple[list[int] | None, str]] = {}
    for name, kind in found.items():
        tensor = kind.tensor_type
        dims = tensor.shape.dim if tensor.HasField("shape") else None
        known = dims is not None and all(d.HasField("dim_value") for d in dims)
        element = tensor.elem_type
        results[name] = (
            [int(d.dim_value) for d in dims] if known and dims is not None else None,
            helper.tensor_dtype_to_np_dtype(element).name if element else "",
        )
    return results


def onnx_dtype(kind: str) -> Any:
    """numpy's type of that name, ml_dtypes' where numpy has none."""
    try:
        return np.dtype(kind)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, kind))
