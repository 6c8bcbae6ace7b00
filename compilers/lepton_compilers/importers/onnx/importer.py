"""ONNX networks → Relax: the file is checked here, walked in walk.py, converted in rules/.

Results keep the name of their node, so that errors and reports can name a layer. With trainable=True the
float initialisers of layers become named inputs of `main`, their values its attribute `params`; every other
initialiser (shapes, bounds) is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import onnx
import tvm
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper
from tvm import relax

from lepton_compilers.importers.limits import ONNX_LIMITS, listed
from lepton_compilers.importers.onnx.rules import CONVERTERS
from lepton_compilers.importers.onnx.scope import OUT_OF_SCOPE
from lepton_compilers.importers.onnx.values import HALVES, Scope, Value, known_value
from lepton_compilers.importers.onnx.walk import Walk, graph_input, output_expression
from lepton_compilers.importers.replaced import check_names, replacement
from lepton_compilers.peak import checked_size
from lepton_compilers.quiet import abandon, quiet
from lepton_sdk.program.tensors import DTYPES
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError, nearest

Array = npt.NDArray[Any]

EXPANDED = (
    "AffineGrid", "Attention", "BlackmanWindow", "CausalConvWithState", "CenterCropPad", "Constant",
    "ConstantOfShape", "DynamicQuantizeLinear", "FlexAttention", "HammingWindow", "HannWindow",
    "LinearAttention", "MelWeightMatrix", "Range", "RotaryEmbedding", "Shape", "Size", "SwiGLU",
)  # fmt: skip
"""Operators without a rule of their own: constants, or expanded by the body that ONNX defines them by."""
SUPPORTED = tuple(sorted({*CONVERTERS, *EXPANDED} - {*OUT_OF_SCOPE}))
OLDEST_OPSET = 7
"""Before it, operands of Add and Mul were broadcast by attributes."""


def import_onnx(
    content: bytes, *, shapes: Mapping[str, tuple[int, ...]], trainable: bool, weights: Mapping[str, Array]
) -> Any:
    """The Relax module of an ONNX file. Raises BadInputError and UnsupportedOperatorError."""
    try:
        return _imported(_parsed(content), shapes, trainable, weights)
    except UnicodeDecodeError as error:
        # Protobuf reads a name only when it is asked for.
        raise BadInputError(f"the ONNX model is damaged: a name in it is no text ({error.reason})") from error


def _imported(
    model: Any, shapes: Mapping[str, tuple[int, ...]], trainable: bool, weights: Mapping[str, Array]
) -> Any:
    graph, opset = model.graph, _opset(model)
    for node in graph.node:
        node.name = node.name or next((name for name in node.output if name), node.op_type)
    _check_trainable(graph, trainable)
    _replace(graph, weights)
    parameters = _parameters(graph) if trainable else ()
    inputs = _inputs(graph, shapes)
    builder = relax.BlockBuilder()
    walk = Walk(builder, model, opset)
    try:
        with quiet():
            return _built(graph, walk, inputs, parameters)
    except (LeptonError, MemoryError, UnicodeDecodeError):
        abandon(builder)
        raise
    except Exception as error:
        # TVM and ONNX signal malformed graphs by whatever their own code trips over.
        abandon(builder)
        raise BadInputError(
            f"the ONNX model can't be imported; the node that failed: {walk.current or 'none reached'}",
            f"{type(error).__name__}: {(str(error).strip() or 'no detail').splitlines()[-1]}",
        ) from error


def _built(
    graph: Any, walk: Walk, inputs: dict[str, tuple[list[int], str]], parameters: tuple[str, ...]
) -> Any:
    """The module: inputs as variables, then every node, then the outputs in their source's types."""
    scope: Scope = {}
    held: dict[str, Any] = {}
    for initializer in graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name in parameters:
            var = relax.Var(initializer.name, relax.TensorType(list(array.shape), array.dtype.name))
            scope[initializer.name] = Value(array.dtype.name, expr=var)
            # TVM takes over only arrays it may write to, and an initialiser's is a view of the file.
            held[initializer.name] = (var, tvm.runtime.tensor(array.copy()))
        else:
            scope[initializer.name] = known_value(array)
    variables = {
        name: relax.Var(name, relax.TensorType(extents, "float32" if kind == "bfloat16" else kind))
        for name, (extents, kind) in inputs.items()
    }
    everything = [*variables.values(), *(var for var, _ in held.values())]
    attributes: dict[str, Any] = {"num_input": len(variables)}
    if held:
        attributes["params"] = [array for _, array in held.values()]
    builder = walk.builder
    with builder.function("main", everything):
        with builder.dataflow():
            for name, (_, kind) in inputs.items():
                scope[name] = graph_input(builder, variables[name], kind)
            walk.nodes(graph.node, scope, walk.opset)
            if walk.unsupported:
                _refuse(walk.unsupported)
            outputs: list[Any] = []
            for output in graph.output:
                if output.name not in scope:
                    raise BadInputError(f"nothing makes the output '{output.name}'")
                value = scope[output.name]
                outputs.append(output_expression(builder, output.name, value, everything, outputs))
            result = builder.emit_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
        builder.emit_func_output(result)
    attributes["output_names"] = [output.name for output in graph.output]
    module = builder.finalize()
    module["main"] = module["main"].with_attrs(attributes)
    return module


def _refuse(unsupported: list[str]) -> None:
    """Raises UnsupportedOperatorError with all that nothing converts."""
    lines = [line for text in unsupported for line in text.splitlines()]
    plural = "s" if len(unsupported) > 1 else ""
    raise UnsupportedOperatorError(
        f"the ONNX model has {len(unsupported)} unsupported operator{plural}",
        *lines,
        f"supported: {listed(SUPPORTED, ONNX_LIMITS)}",
    )


def _parsed(content: bytes) -> Any:
    found = f"{len(content)} bytes that begin {content[:8].hex(' ')}"
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise BadInputError(
            f"this is no model, or a truncated one: {found}",
            "accepted: a TFLite file, an ONNX file, or a .pt2 file of torch.export.save",
        ) from error
    if not model.graph.node or not model.graph.output:
        raise BadInputError(
            f"this is no model: {found} hold no ONNX graph",
            "accepted: a TFLite file, an ONNX file, or a .pt2 file of torch.export.save",
        )
    for initializer in model.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            raise BadInputError(
                f"parameter '{initializer.name}' lies in another file",
                "save the model as one file:  onnx.save(model, path, save_as_external_data=False)",
            )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise BadInputError("the ONNX model is malformed", *str(error).strip().splitlines()[:3]) from error
    return model


def _opset(model: Any) -> int:
    """The opset, between the first one whose operators mean what they mean today and the newest known."""
    found = next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= found <= newest:
        raise BadInputError(
            f"the ONNX model is written in opset {found}",
            f"supported: opsets {OLDEST_OPSET} to {newest}",
            "convert it:  onnx.version_converter.convert_version(model, 17)",
        )
    return found


def _check_trainable(graph: Any, trainable: bool) -> None:
    normed = [f"layer '{n.name}'" for n in graph.node if n.op_type == "BatchNormalization"]
    if trainable and normed:
        raise UnsupportedOperatorError(
            "batch normalisation can't be trained on the device",
            *normed,
            "fold it into the convolutions when exporting, then train those",
        )


def _float_initializers(graph: Any) -> dict[str, Any]:
    return {i.name: i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT and len(i.dims) > 0}


def _parameters(graph: Any) -> tuple[str, ...]:
    """Float initialisers of the layers that have parameters, in the file's order."""
    read = {
        name for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul", "Add") for name in n.input if name
    }
    return tuple(name for name in _float_initializers(graph) if name in read)


def _replace(graph: Any, weights: Mapping[str, Array]) -> None:
    known = _float_initializers(graph)
    check_names(weights, {name: tuple(i.dims) for name, i in known.items()})
    for name, array in weights.items():
        fresh = replacement(name, array, tuple(known[name].dims))
        known[name].CopyFrom(numpy_helper.from_array(fresh, name))


def _inputs(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[list[int], str]]:
    """A static shape and an element type for every input.

    Extents are as asked, else as the file says with an open batch of 1.
    """
    initial = {i.name for i in graph.initializer}
    inputs = {i.name: i for i in graph.input if i.name not in initial}
    for name in shapes:
        if name not in inputs:
            raise BadInputError(
                f"the model has no input '{name}'{nearest(name, inputs)}", f"inputs: {', '.join(inputs)}"
            )
    fixed: dict[str, tuple[list[int], str]] = {}
    for name, item in inputs.items():
        kind = _element_kind(name, item)
        tensor = item.type.tensor_type
        extents = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
        if not tensor.HasField("shape") and name in shapes:
            extents = [0] * len(shapes[name])
        elif not tensor.HasField("shape"):
            raise BadInputError(f"input '{name}' leaves its whole shape open", f"fix it:  --shape {name}=N,N")
        if name in shapes:
            asked = [int(n) for n in shapes[name]]
            fits = len(asked) == len(extents) and all(n in (m, 0) or m == 0 for n, m in zip(asked, extents))
            if not fits or min(asked, default=1) < 1:
                shown = ", ".join(str(n) if n else "?" for n in extents)
                raise BadInputError(f"input '{name}' is [{shown}] in the file, {asked} was asked")
            extents = asked
        elif extents and extents[0] == 0:
            extents[0] = 1
        if 0 in extents:
            raise BadInputError(
                f"input '{name}' leaves extent {extents.index(0)} of its shape open",
                f"fix it:  --shape {name}={','.join(str(n) if n else 'N' for n in extents)}",
            )
        if min(extents, default=1) < 1:
            raise BadInputError(f"input '{name}' has the shape {extents}; the model is damaged")
        checked_size(f"input '{name}'", extents, kind if kind not in HALVES else "float32")
        fixed[name] = (extents, kind)
    return fixed


def _element_kind(name: str, item: Any) -> str:
    """numpy's name of an input's type. Raises UnsupportedOperatorError for what no target computes."""
    if item.type.WhichOneof("value") != "tensor_type":
        found = item.type.WhichOneof("value") or "of no type"
        raise UnsupportedOperatorError(
            f"input '{name}' is {found.replace('_type', '')}; tensors are supported"
        )
    element = item.type.tensor_type.elem_type
    try:
        kind = str(helper.tensor_dtype_to_np_dtype(element).name)
    except KeyError:
        kind = f"of type {element}"
    if kind not in (*DTYPES, *HALVES):
        names = {number: text for text, number in onnx.TensorProto.DataType.items()}
        raise UnsupportedOperatorError(
            f"input '{name}' is {names.get(element, kind)}, an element type that no target computes",
            f"supported: {', '.join(sorted({*DTYPES, *HALVES}))}",
        )
    return kind
