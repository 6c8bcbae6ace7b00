"""ONNX's auto_pad as widths in numbers, which is all that a Program and most of TVM know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from lepton_compilers.importers.shape_arithmetic import static_shape, with_input_shapes
from lepton_targets.errors import BadInputError

WINDOWED = ("AveragePool", "Conv", "MaxPool")
CHOSEN_BY_EXTENT = ("SAME_UPPER", "SAME_LOWER")
"""As many results as strides fit in the input; an odd width goes to the end or to the beginning."""


def make_padding_explicit(model: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """The model with `pads` in place of every auto_pad of a convolution or pool.

    shapes: of the inputs, by name. Raises BadInputError for an auto_pad that ONNX has not, and where the
    extents that decide the widths are not known.
    """
    chosen = [node for node in model.graph.node if node.op_type in WINDOWED and _auto_pad(node) != "NOTSET"]
    if not chosen:
        return model
    fixed = with_input_shapes(model, shapes)
    inferred = onnx.shape_inference.infer_shapes(fixed).graph
    extents = {v.name: static_shape(v) for v in (*inferred.input, *inferred.value_info)}
    extents |= {i.name: list(i.dims) for i in inferred.initializer}
    for node in fixed.graph.node:
        if node.op_type in WINDOWED and _auto_pad(node) != "NOTSET":
            _write_pads(node, extents)
    return fixed


def _write_pads(node: Any, extents: Mapping[str, list[int] | None]) -> None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    auto_pad = _auto_pad(node)
    shape = extents.get(node.input[0])
    kernel = attributes.get("kernel_shape")
    if kernel is None and len(node.input) > 1:
        kernel = (extents.get(node.input[1]) or [])[2:]
    if not shape or not kernel or len(shape) != len(kernel) + 2:
        raise BadInputError(
            f"layer '{node.name}' ({node.op_type}) has auto_pad {auto_pad}, and its input's extents or its"
            " window are not known",
            "export it with explicit pads, or fix the input shapes:  --shape NAME=1,3,224,224",
        )
    strides = attributes.get("strides") or [1] * len(kernel)
    dilations = attributes.get("dilations") or [1] * len(kernel)
    before, after = [0] * len(kernel), [0] * len(kernel)
    if auto_pad in CHOSEN_BY_EXTENT:
        for axis, (extent, size, stride, step) in enumerate(zip(shape[2:], kernel, strides, dilations)):
            if stride < 1:
                raise BadInputError(f"layer '{node.name}' ({node.op_type}) has the stride {stride}")
            wanted = (-(-extent // stride) - 1) * stride + (size - 1) * step + 1
            total = max(0, wanted - extent)
            before[axis] = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            after[axis] = total - before[axis]
    # These widths give the number of results that auto_pad defines, which ceil_mode would round once more.
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads", "ceil_mode")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", before + after)])


def _auto_pad(node: Any) -> str:
    given = next((bytes(a.s) for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    name = given.decode("utf-8", "replace") or "NOTSET"
    if name not in ("NOTSET", "VALID", *CHOSEN_BY_EXTENT):
        raise BadInputError(
            f"layer '{node.name}' ({node.op_type}) has auto_pad '{name}'",
            "ONNX knows NOTSET, VALID, SAME_UPPER and SAME_LOWER",
        )
    return name
