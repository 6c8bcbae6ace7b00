"""ONNX networks → Relax, through TVM's importer with two cures.

1. Clip and Pad come as opaque kernels there, which nothing downstream can read; here they are Relax's own.
   Dropout, which does nothing at inference, is left out. auto_pad becomes widths in numbers before.
2. Results keep the name of their node, so that errors and reports can name a layer.

With trainable=True the float initialisers become named inputs of `main`, their values its attribute
`params`; every other initialiser (shapes, bounds) is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import onnx
import tvm
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from lepton_compilers.importers.explicit_padding import make_padding_explicit
from lepton_compilers.importers.limits import ONNX_LIMITS, listed
from lepton_compilers.importers.replaced import check_names, replacement
from lepton_compilers.importers.shape_arithmetic import fold_shape_arithmetic
from lepton_compilers.passes.graph import is_constant, is_var, number, value
from lepton_compilers.peak import checked_size
from lepton_compilers.quiet import abandon, quiet
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError, nearest

Array = npt.NDArray[Any]

SUPPORTED = (
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Dropout",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "QuantizeLinear",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Softmax",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
)
OLDEST_OPSET = 7
"""Before it, operands of Add and Mul were broadcast by attributes."""
SHAPE_ARITHMETIC = ("Cast", "Gather", "Shape", "Slice")
"""Accepted where they compute a Reshape's target from known shapes, as exporters write it."""


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
        node.name = node.name or node.output[0]
    _check_operators(graph, trainable)
    _replace(graph, weights)
    parameters = _parameters(graph) if trainable else ()
    fixed = _input_shapes(graph, shapes)
    if any(node.op_type == "Shape" for node in graph.node):
        model = fold_shape_arithmetic(model, fixed)
    model = make_padding_explicit(model, fixed)
    graph = model.graph
    importer = _Importer(parameters, fixed)
    try:
        with quiet():
            module = importer.from_onnx(graph, opset)
    except (LeptonError, MemoryError, UnicodeDecodeError):
        abandon(importer.bb)
        raise
    except tvm.error.OpError as error:
        abandon(importer.bb)
        raise UnsupportedOperatorError(
            "the ONNX model uses a form that can't be imported", *str(error).strip().splitlines()
        ) from error
    except Exception as error:
        # TVM's importer signals malformed graphs by whatever its own code trips over.
        abandon(importer.bb)
        raise BadInputError(
            f"the ONNX model can't be imported; the node that failed: {importer.current or 'none reached'}",
            f"{type(error).__name__}: {(str(error).strip() or 'no detail').splitlines()[-1]}",
        ) from error
    main = module["main"].with_attr("output_names", [output.name for output in graph.output])
    rest = {g: module[g] for g in module.get_global_vars() if g.name_hint != "main"}
    return tvm.IRModule({"main": main, **{g.name_hint: f for g, f in rest.items()}})


class _Importer(ONNXGraphImporter):  # type: ignore[misc]
    """TVM's importer with the cures above; `current` is the node being converted."""

    def __init__(self, parameters: tuple[str, ...], shapes: dict[str, list[int]]) -> None:
        super().__init__(shapes, "float32", keep_params_in_input=bool(parameters), sanitize=False)
        self._trainable = frozenset(parameters)
        self.current = ""

    def _parse_graph_initializers(self, graph: Any) -> None:
        for initializer in graph.initializer:
            array = numpy_helper.to_array(initializer)
            if initializer.name in self._trainable:
                var = self._new_var(initializer.name, shape=array.shape, dtype=array.dtype.name)
                self._nodes[initializer.name] = var
                # TVM takes over only arrays it may write to, and an initialiser's is a view of the file.
                self._params[initializer.name] = (var, tvm.runtime.tensor(array.copy()))
            else:
                self._nodes[initializer.name] = relax.const(array)

    def _convert_operator(self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int) -> Any:
        self.current = name = attrs["tvm_custom"]["name"]
        if op_name == "Clip":
            result = _clip(inputs, attrs)
        elif op_name == "Pad":
            result = _pad(name, inputs, attrs)
        elif op_name == "Gemm":
            result = _gemm(inputs, attrs)
        elif op_name == "HardSwish":
            result = _hard_swish(inputs[0])
        elif op_name == "Dropout":
            result = inputs[0]
        else:
            result = super()._convert_operator(op_name, inputs, attrs, opset)
        if isinstance(result, tvm.ir.Tuple):
            return relax.Tuple([self.bb.emit(field, name_hint=name) for field in result.fields])
        fresh = is_var(result) and not any(result is x or result == x for x in inputs)
        if isinstance(result, tvm.ir.Call) or fresh:
            return self.bb.emit(result, name_hint=name)
        return result


def _gemm(inputs: Any, attrs: dict[str, Any]) -> Any:
    """alpha·A·B + beta·C with the factors at B and C, which are constants as a rule and take them up."""
    a, b = inputs[0], inputs[1]
    c = inputs[2] if len(inputs) > 2 else None
    a = relax.op.permute_dims(a, [1, 0]) if attrs.get("transA", 0) else a
    b = relax.op.permute_dims(b, [1, 0]) if attrs.get("transB", 0) else b
    result = relax.op.matmul(a, _scaled(b, attrs.get("alpha", 1.0)))
    return result if c is None else relax.op.add(result, _scaled(c, attrs.get("beta", 1.0)))


def _scaled(x: Any, factor: float) -> Any:
    return x if factor == 1.0 else relax.op.multiply(x, relax.const(factor, "float32"))


def _clip(inputs: Any, attrs: dict[str, Any]) -> Any:
    """Bounds from inputs (opset 11 and later) or attributes; NaN bounds are no bounds, as ONNX says."""
    low, high = attrs.get("min", -math.inf), attrs.get("max", math.inf)
    given = [inputs[i] if i < len(inputs) else None for i in (1, 2)]
    if given[0] is not None:
        low = number(given[0])
    if given[1] is not None:
        high = number(given[1])
    low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
    return relax.op.clip(inputs[0], low, high)


def _hard_swish(x: Any) -> Any:
    """x · clip(x / 6 + 1/2, 0, 1), as ONNX defines it; TVM's divides, for which there is no operation."""
    sixth, half = relax.const(1 / 6, x.ty.dtype), relax.const(0.5, x.ty.dtype)
    return relax.op.multiply(x, relax.op.clip(relax.op.add(relax.op.multiply(x, sixth), half), 0, 1))


def _pad(name: str, inputs: Any, attrs: dict[str, Any]) -> Any:
    mode = attrs.get("mode", b"constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    given = [inputs[i] if i < len(inputs) else None for i in range(4)]
    fill = number(given[2]) if given[2] is not None else float(attrs.get("value", 0.0))
    if mode != "constant" or given[3] is not None:
        raise UnsupportedOperatorError(
            f"layer '{name}' (Pad) has mode '{mode}'" + (" and axes" if given[3] is not None else ""),
            "supported: mode 'constant' without axes",
        )
    if given[1] is not None and not is_constant(given[1]):
        raise UnsupportedOperatorError(f"layer '{name}' (Pad) computes its widths; constants are supported")
    widths = value(given[1]).tolist() if given[1] is not None else list(attrs["pads"])
    rank = len(widths) // 2
    interleaved = [int(w) for pair in zip(widths[:rank], widths[rank:]) for w in pair]
    return relax.op.nn.pad(inputs[0], interleaved, "constant", fill)


def _parsed(content: bytes) -> Any:
    found = f"{len(content)} bytes that begin {content[:8].hex(' ')}"
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise BadInputError(
            f"this is no model, or a truncated one: {found}", "accepted: a TFLite file or an ONNX file"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise BadInputError(
            f"this is no model: {found} hold no ONNX graph", "accepted: a TFLite file or an ONNX file"
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


def _check_operators(graph: Any, trainable: bool) -> None:
    accepted = (*SUPPORTED, *SHAPE_ARITHMETIC)
    unsupported = [f"layer '{n.name}' ({n.op_type})" for n in graph.node if n.op_type not in accepted]
    if unsupported:
        plural = "s" if len(unsupported) > 1 else ""
        raise UnsupportedOperatorError(
            f"the ONNX model has {len(unsupported)} unsupported operator{plural}",
            *unsupported,
            f"supported: {listed(SUPPORTED, ONNX_LIMITS)}",
        )
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


def _input_shapes(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    """A static shape for every input: as asked, else as the file says with an open batch of 1."""
    initial = {i.name for i in graph.initializer}
    inputs = {i.name: i for i in graph.input if i.name not in initial}
    for name in shapes:
        if name not in inputs:
            raise BadInputError(
                f"the model has no input '{name}'{nearest(name, inputs)}", f"inputs: {', '.join(inputs)}"
            )
    fixed: dict[str, list[int]] = {}
    for name, item in inputs.items():
        tensor = item.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            kinds = {number: kind for kind, number in onnx.TensorProto.DataType.items()}
            kind = kinds.get(tensor.elem_type, f"of type {tensor.elem_type}")
            raise BadInputError(f"input '{name}' is {kind}; ONNX models with FLOAT inputs are supported")
        extents = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
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
        checked_size(f"input '{name}'", extents, "float32")
        fixed[name] = extents
    return fixed
