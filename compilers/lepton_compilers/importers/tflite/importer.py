"""TFLite → Relax, through TVM's importer with cures and converters of our own.

elementwise.py, moves.py, vision.py hold those converters, layer.py what they see;
tables.py LiteRT's int8 functions, constants.py what is computed at once, states.py
variables. What TVM converts as it should stays its own (TVM_CONVERTS), with these cures:

1. int8 AVERAGE_POOL_2D is averaged as truncating integers there; here it is dequantize → pool → quantize,
   which integerize gives the rounding of the arithmetic.
2. Dynamic-range models (int8 weights in a float graph) are refused there; here their weights are
   dequantised on the way in.
3. int64 biases, which int16 layers have, can't be dequantised there (int16.py), and buffers outside
   of the flatbuffer are not found (buffers.py).
4. Results of operators keep the name of their tensor, so that errors and reports can name a layer.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
import tvm
from tvm import relax
from tvm.relax.frontend.tflite.tflite_frontend import ExprTable, OperatorConverter, get_pad_value

from lepton_compilers.importers.limits import TFLITE_LIMITS, listed
from lepton_compilers.importers.replaced import check_names, replacement
from lepton_compilers.importers.tflite.buffers import WithOutsideBuffers
from lepton_compilers.importers.tflite.constants import FOLDED_ONLY, folded, rank_of, shape_of
from lepton_compilers.importers.tflite.elementwise import ELEMENTWISE
from lepton_compilers.importers.tflite.int16 import check_int16, dequantised_int64
from lepton_compilers.importers.tflite.layer import Layer
from lepton_compilers.importers.tflite.moves import MOVES
from lepton_compilers.importers.tflite.recurrent import sequence_lstm
from lepton_compilers.importers.tflite.refused import REFUSED
from lepton_compilers.importers.tflite.stated import check_shape, check_zero_points
from lepton_compilers.importers.tflite.states import STATE_OPERATORS, States
from lepton_compilers.importers.tflite.vision import CUSTOM, VISION, Converter
from lepton_compilers.passes.graph import is_constant
from lepton_compilers.quiet import abandon, quiet
from lepton_sdk.program.tensors import DTYPES
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError, nearest

Array = npt.NDArray[Any]

TVM_CONVERTS = (
    "ADD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU6",
    "SQUEEZE",
    "SUB",
    "TANH",
    "TRANSPOSE",
)
"""Operators that TVM's own converters import as they should."""
CONVERTERS: Mapping[str, Converter] = {**ELEMENTWISE, **MOVES, **VISION, "RANK": rank_of, "SHAPE": shape_of}
RECURRENT = ("UNIDIRECTIONAL_SEQUENCE_LSTM",)
SUPPORTED = tuple(
    sorted(
        {"AVERAGE_POOL_2D", *TVM_CONVERTS, *CONVERTERS, *CUSTOM, *STATE_OPERATORS, *FOLDED_ONLY, *RECURRENT}
    )
)
BYTES = ("CAST", "DEQUANTIZE", "QUANTIZE", "RESHAPE")
"""Operators that take uint8."""
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
BUILTINS: Mapping[int, str] = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
"""Names by number."""
DAMAGED = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    KeyError,
    ArithmeticError,
    MemoryError,
    tvm.error.InternalError,
)


def import_tflite(
    content: bytes, *, shapes: Mapping[str, tuple[int, ...]], trainable: bool, weights: Mapping[str, Array]
) -> Any:
    """The Relax module of a TFLite file. Raises BadInputError, UnsupportedOperatorError, UsageError."""
    # A private copy: replaced weights are written into its buffers.
    owned = bytearray(content)
    try:
        model = WithOutsideBuffers(owned)
        subgraph = model.Subgraphs(0)
        _replace(model, subgraph, weights)
        _check_shapes(subgraph, shapes)
        main = _imported(model, subgraph, trainable)
        outputs = [_tensor_name(subgraph, int(i)) for i in subgraph.OutputsAsNumpy()]
    except LeptonError:
        raise
    except (tvm.error.OpError, NotImplementedError) as error:
        raise UnsupportedOperatorError(
            "the TFLite model uses a form that can't be imported", *str(error).strip().splitlines()
        ) from error
    except DAMAGED as error:
        raise BadInputError(
            f"the TFLite model is truncated or damaged ({len(content)} bytes)",
            f"found: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}",
        ) from error
    return tvm.IRModule({"main": main.with_attr("output_names", outputs)})


def _imported(model: Any, subgraph: Any, trainable: bool) -> Any:
    """`main`: inputs, trainable parameters and states to outputs and the states' next values."""
    builder = relax.BlockBuilder()
    table = ExprTable()
    inputs = [_input(subgraph, int(index)) for index in subgraph.InputsAsNumpy()]
    for var in inputs:
        table.set_expr(str(var.name), var)
    with quiet():
        try:
            with builder.function("main"):
                with builder.dataflow():
                    converter = _Converter(model, subgraph, table, builder, trainable=trainable)
                    converter.check_unsupported_ops()
                    converter.convert_op_to_relax()
                    wrappers = converter.get_tensors(subgraph.OutputsAsNumpy())
                    results = [converter.get_tensor_expr(tensor) for tensor in wrappers]
                    results += [converter.states.now[key] for key in converter.states.first]
                    output = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
                held = {**converter.parameters, **converter.states.variables()}
                builder.emit_func_output(output, [*inputs, *held])
            main = builder.get()["main"].with_attr("num_input", len(inputs))
        except BaseException:
            abandon(builder)
            raise
    if held:
        main = main.with_attr("params", [tvm.runtime.tensor(array) for array in held.values()])
    if converter.states.first:
        names = [str(var.name) for var in converter.states.variables()]
        main = main.with_attr("states", names)
    return main


def _input(subgraph: Any, index: int) -> Any:
    tensor = subgraph.Tensors(index)
    kind = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
    extents = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    name = _tensor_name(subgraph, index)
    dtype = kind[tensor.Type()].lower()
    if dtype not in DTYPES:
        raise UnsupportedOperatorError(
            f"input '{name}' has the type {dtype}", f"supported: {', '.join(DTYPES)}"
        )
    return relax.Var(name, relax.TensorType(extents, dtype))


class _Converter(OperatorConverter):  # type: ignore[misc]
    """TVM's operator converter with the cures above."""

    def __init__(self, *arguments: Any, trainable: bool = False) -> None:
        super().__init__(*arguments)
        self._trainable = trainable
        self.parameters: dict[Any, Array] = {}
        self.states = States()
        self.convert_map["AVERAGE_POOL_2D"] = self._average_pool

    def get_op_code_str(self, op: Any) -> str:
        """The operator's name; a custom one's own name."""
        code = self.model.OperatorCodes(op.OpcodeIndex())
        builtin = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if builtin == tflite.BuiltinOperator.CUSTOM:
            return str((code.CustomCode() or b"custom").decode("utf-8"))
        return BUILTINS.get(builtin, f"operator {builtin}")

    def check_unsupported_ops(self) -> None:
        """Every unsupported operator at once, each with its layer; then the weights of dynamic range."""
        operators = [self.subgraph.Operators(i) for i in range(self.subgraph.OperatorsLength())]
        unsupported = [
            f"layer '{self._layer(op)}' ({name})" + (f": {REFUSED[name]}" if name in REFUSED else "")
            for op in operators
            if (name := self.get_op_code_str(op)) not in SUPPORTED
        ]
        if unsupported:
            raise UnsupportedOperatorError(
                f"the TFLite model has {len(unsupported)} unsupported operator"
                + ("s" if len(unsupported) > 1 else ""),
                *unsupported,
                f"supported: {listed(SUPPORTED, TFLITE_LIMITS)}",
            )
        for op in operators:
            code, inputs = self.get_op_code_str(op), self.get_input_tensors(op)
            if code not in BYTES and any(t.qnn_params and _is_uint8(t) for t in inputs[:1]):
                raise UnsupportedOperatorError(
                    f"layer '{self._layer(op)}' ({code}) computes in uint8, TensorFlow 1's quantisation",
                    "uint8 is supported at the model's ends; convert the model anew as int8",
                )
            check_zero_points(self._layer(op), [*inputs, *self.get_output_tensors(op)])
            for output in self.get_output_tensors(op)[:1]:
                check_int16(code, self._layer(op), op, inputs, output)
            if code in WEIGHTED:
                self._dequantise_dynamic_range(op)
                if self._trainable:
                    self._make_parameters(op)

    def convert_op_to_relax(self) -> None:
        """As TVM's, but each result is bound under its tensor's name at once."""
        for index in range(self.subgraph.OperatorsLength()):
            op = self.subgraph.Operators(index)
            for place, result in enumerate(self._converted(op)):
                name = _tensor_name(self.subgraph, int(op.Outputs(place)))
                # A fused tensor lists the names of all it was fused from; the first is the outermost.
                bound = result if is_constant(result) else self.bb.emit(result, name_hint=name.split(";")[0])
                check_shape(name, self.subgraph.Tensors(int(op.Outputs(place))), bound)
                self.exp_tab.set_expr(name, bound, force_override=True)

    def _converted(self, op: Any) -> tuple[Any, ...]:
        """The operator's results; none for one that only changes state."""
        name = self.get_op_code_str(op)
        layer = Layer(self, op, self._layer(op))
        if name in STATE_OPERATORS:
            return self.states.convert(layer, name)
        if name in RECURRENT:
            return sequence_lstm(layer, self.states)
        known = folded(layer, name)
        if known is not None:
            return (known,)
        convert = CONVERTERS.get(name) or CUSTOM.get(name)
        if convert is None and name in FOLDED_ONLY:
            raise layer.refuse("it depends on the input's values; constants are supported")
        result = self.convert_map[name](op=op) if convert is None else convert(layer)
        return result if isinstance(result, tuple) else (result,)

    def tensor_name(self, index: int) -> str:
        """A tensor's name."""
        return _tensor_name(self.subgraph, index)

    def _layer(self, op: Any) -> str:
        if op.OutputsLength() == 0:
            return _tensor_name(self.subgraph, int(op.Inputs(0))) if op.InputsLength() else "call once"
        return _tensor_name(self.subgraph, int(op.Outputs(0)))

    def dequantize(self, expr: Any, tensor: Any) -> Any:
        """As TVM's, and of int64 biases too."""
        if tensor.tensor.Type() != tflite.TensorType.INT64:
            return super().dequantize(expr, tensor)
        values = self.get_tensor_value(tensor).reshape(-1)
        name = _tensor_name(self.subgraph, tensor.tensor_idx)
        return dequantised_int64(values, tensor.qnn_params["scale"], tensor.qnn_params["axis"], name)

    def has_same_qnn_params(self, lhs: Any, rhs: Any) -> bool:
        """Whether scales agree to a part in 100,000; TVM's fixed tolerance is as large as int16 scales."""
        a, b = (t.qnn_params["scale"].value.numpy() for t in (lhs, rhs))
        zeros = [t.qnn_params["zero_point"].value.numpy() for t in (lhs, rhs)]
        return bool(np.allclose(a, b, rtol=1e-5, atol=0) and np.array_equal(*zeros))

    def _dequantise_dynamic_range(self, op: Any) -> None:
        x, weight = self.get_input_tensors(op)[:2]
        if x.qnn_params is not None or weight.qnn_params is None:
            return
        scale = weight.tensor.Quantization().ScaleAsNumpy().astype(np.float32)
        values = self.get_tensor_value(weight).astype(np.float32)
        if scale.size > 1:
            extents = [1] * values.ndim
            extents[int(weight.qnn_params["axis"])] = -1
            scale = scale.reshape(extents)
        name = _tensor_name(self.subgraph, weight.tensor_idx)
        self.exp_tab.set_expr(name, relax.const((values * scale).astype(np.float32)))

    def _make_parameters(self, op: Any) -> None:
        """Float weights and biases become variables under their tensors' names."""
        for tensor in self.get_input_tensors(op)[1:]:
            name = _tensor_name(self.subgraph, tensor.tensor_idx)
            constant = tensor.buffer is not None and tensor.buffer.DataLength() > 0
            if (
                constant
                and tensor.tensor.Type() == tflite.TensorType.FLOAT32
                and not self.exp_tab.has_expr(name)
            ):
                array = np.array(self.get_tensor_value(tensor), np.float32)
                var = relax.Var(name, relax.TensorType(array.shape, "float32"))
                self.parameters[var] = array
                self.exp_tab.set_expr(name, var)

    def _average_pool(self, op: Any) -> Any:
        x, y = self.get_input_tensors(op)[0], self.get_output_tensors(op)[0]
        if x.qnn_params is None:
            return self.convert_pool2d(op, "average")
        options = tflite.Pool2DOptions()
        options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        kernel = (options.FilterHeight(), options.FilterWidth())
        stride = (options.StrideH(), options.StrideW())
        padding = [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            size = [int(n) for n in x.tensor.ShapeAsNumpy()[1:3]]
            (top, bottom), (left, right) = (get_pad_value(*size_) for size_ in zip(size, kernel, stride))
            padding = [top, left, bottom, right]
        mean = relax.op.nn.avg_pool2d(
            self.dequantize(self.get_expr(x.tensor_idx), x),
            pool_size=kernel,
            strides=stride,
            padding=padding,
            count_include_pad=False,
            layout="NHWC",
        )
        mean = self.convert_fused_activation_function(mean, options.FusedActivationFunction())
        return self.quantize(mean, y)


def _is_uint8(tensor: Any) -> bool:
    return bool(tensor.tensor.Type() == tflite.TensorType.UINT8)


def _tensor_name(subgraph: Any, index: int) -> str:
    return str(subgraph.Tensors(index).Name().decode("utf-8"))


def _replace(model: Any, subgraph: Any, weights: Mapping[str, Array]) -> None:
    """Write trained weights over the float constants of the same name."""
    places: dict[str, tuple[tuple[int, ...], Any]] = {}
    for index in range(subgraph.TensorsLength()):
        tensor = subgraph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if tensor.Type() == tflite.TensorType.FLOAT32 and buffer is not None and buffer.DataLength():
            shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
            places[_tensor_name(subgraph, index)] = (shape, buffer)
    check_names(weights, {name: shape for name, (shape, _) in places.items()})
    for name, array in weights.items():
        shape, buffer = places[name]
        buffer.DataAsNumpy()[:] = np.frombuffer(replacement(name, array, shape).tobytes(), np.uint8)


def _check_shapes(subgraph: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    fixed = {
        _tensor_name(subgraph, int(i)): tuple(int(n) for n in subgraph.Tensors(int(i)).ShapeAsNumpy())
        for i in subgraph.InputsAsNumpy()
    }
    for name, shape in shapes.items():
        if name not in fixed:
            raise BadInputError(
                f"the model has no input '{name}'{nearest(name, fixed)}", f"inputs: {', '.join(fixed)}"
            )
        if tuple(shape) != fixed[name]:
            raise BadInputError(
                f"input '{name}' has the shape {fixed[name]} in the TFLite file, {tuple(shape)} was asked",
                "a TFLite file fixes its shapes; convert it anew for others",
            )
