"""The walk that writes each layer between dequantize and quantize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.integerize.chain import Chain, read_chain
from lepton_compilers.integerize.lower_int8 import SOFTMAX_OUTPUT, integers_of
from lepton_compilers.integerize.lower_int16 import CURVES, INT16, UNIT_OUTPUT
from lepton_compilers.integerize.lower_sequence import STRIDED_SLICE, TAKE
from lepton_compilers.integerize.pointwise import Pointwise, read_pointwise
from lepton_compilers.integerize.recurrent import arguments
from lepton_compilers.integerize.rules import INT8_OPERATORS
from lepton_compilers.passes.graph import (
    ADD,
    AVERAGE_POOL,
    CLIP,
    CONV2D,
    CONV2D_TRANSPOSE,
    MATMUL,
    MAX_POOL,
    MULTIPLY,
    PAD,
    PERMUTE,
    RELU,
    RESHAPE,
    RESIZE,
    SOFTMAX,
    SUBTRACT,
    Expr,
    Graph,
    Var,
    dtype,
    is_constant,
    is_var,
    operands,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.observers import Observer, extremes
from lepton_compilers.quantize.recurrent import int8_call, quantisable
from lepton_compilers.quantize.scales import (
    BIAS_LIMIT,
    WIDE_BIAS_LIMIT,
    activation_quantization,
    array_quantization,
    quantised_weight,
    symmetric_quantization,
    weight_scales,
)
from lepton_sdk.program import Quantization

Array = npt.NDArray[Any]

WEIGHTED = (CONV2D, CONV2D_TRANSPOSE, MATMUL)
SHARING = (
    MAX_POOL,
    RESHAPE,
    PERMUTE,
    PAD,
    RELU,
    CLIP,
    STRIDED_SLICE,
    TAKE,
    RESIZE,
    "relax.max",
    "relax.min",
)
"""Layers whose result lies in their input's range: they keep its numbers, so that bytes can move."""
SHARING_INT16 = (*SHARING, AVERAGE_POOL)
"""int16 has steps to spare for a mean in its input's numbers."""
UNIT_RESULTS = (SOFTMAX, *CURVES)
TWO_OPERANDS = (ADD, SUBTRACT, MULTIPLY)
"""Layers that may take an array of constants, which then gets numbers of its own."""


class Quantiser:
    """One walk that emits each layer between dequantize and quantize.

    kinds: the integers that each layer computes in, by its variable. held: integer forms by old variable and
    kind. real: results that layers computed in float. rounding: by layer, its core and what rounding added to
    its weights. errors: by layer, what to take off its bias, [channels].
    """

    def __init__(
        self,
        module: Any,
        ranges: Mapping[str, Observer],
        config: QuantizationConfig,
        errors: Mapping[str, Array],
    ) -> None:
        self.rewriter = Rewriter(module)
        self.graph: Graph = self.rewriter.graph
        self.ranges = ranges
        self.config = config
        self.errors = errors
        self.held: dict[tuple[Var, str], tuple[Var, Quantization]] = {}
        self.real: set[Var] = set(self.graph.parameters)
        self.rounding: dict[str, tuple[Expr, Array]] = {}
        self.ends: dict[Var, Chain] = {}
        self.functions: dict[Var, Pointwise] = {}
        self._find_layers()
        self.kinds = self._choose_kinds()

    def run(self) -> Any:
        """The quantised module."""
        return self.rewriter.run(lambda rewriter, var, old: self._visit(var), results=self._results)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(str(b.var.name) for b in self.graph.bindings if b.var in self.ends)

    def _find_layers(self) -> None:
        """The outermost variable of every layer; the variables inside a layer get no numbers of their own."""
        inside: set[Var] = set()
        for binding in reversed(self.graph.bindings):
            at = binding.var
            if at in inside or is_var(binding.value) or dtype(at) != "float32":
                continue
            chain = read_chain(self.graph, {}, at, keep_activations=False)
            if chain is None:
                continue
            function = read_pointwise(self.graph, at)
            if function is not None and not function.plain:
                chain = Chain(at, self.graph.definition(at), inside=function.inside)
                self.functions[at] = function
            self.ends[at] = chain
            inside.update(chain.inside)

    def _choose_kinds(self) -> dict[Var, str]:
        """int16 for layers whose result is asked for so, or that read such a result; else int8.

        What only moves numbers follows its source, and its readers where all are int16.
        """
        if self.config.activations == "int16":
            return dict.fromkeys(self.ends, "int16")
        kinds: dict[Var, str] = {}
        readers: dict[Var, list[Var]] = {}
        wide: set[Var] = set()
        order = [b.var for b in self.graph.bindings if b.var in self.ends]
        for var in order:
            chain = self.ends[var]
            sources = [self.graph.resolve(source) for source in operands(chain.core)]
            for source in sources:
                readers.setdefault(source, []).append(var)
            reads_wide = not wide.isdisjoint(sources)
            named = str(var.name) in self.config.int16_layers
            if named or (reads_wide and chain.operator in SHARING_INT16):
                wide.add(var)
            kinds[var] = "int16" if reads_wide or named else "int8"
        for var in reversed(order):
            read_by = {kinds[reader] for reader in readers.get(var, ())}
            if self.ends[var].operator in SHARING and read_by == {"int16"}:
                kinds[var] = "int16"
        return kinds

    def _visit(self, var: Var) -> Expr:
        chain = self.ends.get(var)
        if chain is None:
            # Inside a layer: its end emits everything; nothing may read this form.
            return self.rewriter.mapped(self.graph.definition(var))
        name, kind = str(var.name), self.kinds[var]
        layer = quantisable(self.graph, chain.core)
        if layer is not None and kind == "int8" and name not in self.config.float_layers:
            return self._recurrent(var, layer, name)
        if not isinstance(chain.core, tvm.ir.Call):
            self.real.add(var)
            return self.rewriter.mapped(self.graph.definition(var))
        stays_float = name in self.config.float_layers or not self._has_form(var, chain, kind)
        function = self.functions.get(var)
        if function is not None and (len(function.calls) > 1 or kind == "int8"):
            return self._function(function, name, None if stays_float else kind)
        if stays_float:
            self.real.add(var)
            return self._bounded(
                chain, self._float_core(chain, [self._real(a) for a in chain.core.args], name), name
            )
        quantization = self._quantization(var, chain, kind)
        arguments = [self._operand(a, kind) for a in chain.core.args]
        if chain.operator in TWO_OPERANDS and kind == "int8":
            arguments = [
                self._constant_operand(a, shape(arguments[1 - i]), f"{name}/operand{i}")
                for i, a in enumerate(arguments)
            ]
        core = self._bounded(chain, self._core(chain, arguments, name, kind), name)
        self._hold(var, kind, core, quantization, name)
        return self._dequantised(var, kind)

    def _hold(self, var: Var, kind: str, data: Expr, quantization: Quantization, name: str) -> None:
        """Quantise `data`, which stands for the old `var`."""
        scale, zero = _numbers(quantization)
        quantised = relax.op.quantize(data, scale, zero, axis=0, out_dtype=kind)
        self.held[var, kind] = (self.rewriter.emit(quantised, name), quantization)

    def _has_form(self, var: Var, chain: Chain, kind: str) -> bool:
        """Whether integerize can make integers of the layer; one that it can't is best left float whole."""
        if kind == "int16":
            return chain.operator in INT16 and (var not in self.functions or chain.operator in CURVES)
        if chain.operator == MATMUL:
            second = chain.core.args[1]
            return len(shape(second)) == 2 if is_constant(second) else not is_constant(chain.core.args[0])
        return var in self.functions or chain.operator in INT8_OPERATORS

    def _function(self, function: Pointwise, name: str, kind: str | None) -> Expr:
        """Every call of a row of functions between one dequantize and one quantize; None: all in float."""
        source, result = function.source, function.result
        held = {source: self._operand(source, kind) if kind else self._real(source)}
        for var, call in function.calls:
            operands = [held[self.graph.resolve(a)] if is_var(a) else a for a in call.args]
            core = tvm.ir.Call(call.op, operands, call.attrs, call.ty_args)
            held[var] = self.rewriter.emit(core, f"{name}/function")
        if kind is None:
            self.real.add(result)
            return held[result]
        self._hold(result, kind, held[result], self._observed(result, kind), name)
        return self._dequantised(result, kind)

    def _recurrent(self, var: Var, call: Expr, name: str) -> Expr:
        """A whole recurrent layer, its hidden states in the numbers of what calibration saw of them."""
        x = self._operand(arguments(call)[0], "int8")
        x_scale = self.held[self.graph.resolve(arguments(call)[0]), "int8"][1].scale
        core = self.graph.definition(var)
        layer = core.tuple_value if isinstance(core, relax.TupleGetItem) else var
        seen = self.ranges.get(f"{layer.name}/cells")
        cells = max(abs(end) for end in seen.range()) if seen is not None else 0.0
        emitted = self.rewriter.emit(
            int8_call(self.rewriter.emit, call, x, x_scale, cells, name), f"{name}/layer"
        )
        self._hold(var, "int8", emitted, self._observed(var, "int8"), name)
        return self._dequantised(var, "int8")

    def _constant_operand(self, operand: Expr, other: tuple[int, ...], name: str) -> Expr:
        """An array of constants as int8 over its own range; one number for all elements stays that number.

        other: extents of the tensor beside it.
        """
        if not is_constant(operand) or value(operand).size == 1:
            return operand
        array = value(operand)
        if (array == array.flat[0]).all() and np.broadcast_shapes(array.shape, other) == other:
            return relax.const(array.flat[0], "float32")
        quantization = array_quantization(array)
        scale, zero = _numbers(quantization)
        numbers = relax.const(integers_of(array.astype(np.float64), quantization))
        return self.rewriter.emit(relax.op.dequantize(numbers, scale, zero, axis=0), name)

    def _bounded(self, chain: Chain, core: Expr, name: str) -> Expr:
        if not chain.bounded:
            return core
        core, low, high = self.rewriter.emit(core, f"{name}/sum"), chain.low, chain.high
        bounded = relax.op.nn.relu(core) if (low, high) == (0, np.inf) else relax.op.clip(core, low, high)
        return self.rewriter.emit(bounded, f"{name}/bounded")

    def _float_core(self, chain: Chain, operands: list[Expr], name: str) -> Expr:
        """The layer as it was, on other operands."""
        call = chain.core
        layer = self.rewriter.emit(tvm.ir.Call(call.op, operands, call.attrs, call.ty_args), f"{name}/layer")
        if chain.bias is None:
            return layer
        return relax.op.add(layer, relax.const(chain.bias.real.astype(np.float32)))

    def _core(self, chain: Chain, arguments: list[Expr], name: str, kind: str) -> Expr:
        """The layer on dequantised operands, its weights and bias dequantised from integers.

        An int16 layer's bias stays float here: integerize makes it int64, which Relax can't dequantise.
        """
        call = chain.core
        source = self.graph.resolve(call.args[0])
        bias = None if chain.bias is None else chain.bias.real
        weighted = chain.operator in WEIGHTED and is_constant(call.args[1])
        if not weighted or (source, kind) not in self.held:
            return self._float_core(chain, arguments, name)
        # Output channels are the last axis of HWIO and of a matrix, and of depthwise HWOI once I = 1 is off;
        # the second of a transposed convolution's IOHW.
        weight, axis = value(call.args[1]), 1 if chain.operator == CONV2D_TRANSPOSE else -1
        flat = weight[..., 0] if _is_depthwise(call) else weight
        rows = np.moveaxis(flat, axis, 0)
        x_scale = self.held[source, kind][1].scale
        limit = WIDE_BIAS_LIMIT if kind == "int16" else BIAS_LIMIT
        scales = weight_scales(rows, bias, x_scale, self.config.per_channel, limit)
        integers = quantised_weight(rows, scales)
        spread = scales.astype(np.float64).reshape(-1, *([1] * (rows.ndim - 1)))
        added = np.moveaxis(integers * spread - rows, 0, axis).astype(np.float32)
        self.rounding[name] = call, added.reshape(weight.shape)
        if name in self.errors:
            bias = (0.0 if bias is None else bias) - self.errors[name]
        numbers = np.moveaxis(integers, 0, axis)
        held = self._dequantised_constant(numbers, scales, f"{name}/weight", axis)
        if _is_depthwise(call):
            held = self.rewriter.emit(relax.op.reshape(held, list(weight.shape)), f"{name}/weight")
        layer = tvm.ir.Call(call.op, [arguments[0], held], call.attrs, call.ty_args)
        layer = self.rewriter.emit(layer, f"{name}/layer")
        if bias is None:
            return layer
        if kind == "int16":
            return relax.op.add(layer, relax.const(bias.astype(np.float32)))
        accumulator = np.float32(x_scale) * scales
        steps = np.rint(bias / accumulator.astype(np.float64)).astype(np.int32)
        offset = self._dequantised_constant(steps, accumulator, f"{name}/bias")
        return self.rewriter.emit(relax.op.add(layer, offset), f"{name}/sum")

    def _dequantised_constant(self, numbers: Array, scales: Array, name: str, axis: int = -1) -> Expr:
        """Integers that stand for reals, one scale a channel along the axis."""
        constant, zero = relax.const(np.ascontiguousarray(numbers)), relax.const(0, "int32")
        at = axis % numbers.ndim
        return self.rewriter.emit(relax.op.dequantize(constant, relax.const(scales), zero, axis=at), name)

    def _quantization(self, var: Var, chain: Chain, kind: str) -> Quantization:
        if kind == "int16" and chain.operator in UNIT_RESULTS:
            return UNIT_OUTPUT
        if chain.operator == SOFTMAX:
            return SOFTMAX_OUTPUT
        if chain.operator == TAKE and is_constant(chain.core.args[0]):
            return array_quantization(value(chain.core.args[0]))
        if chain.operator in (SHARING if kind == "int8" else SHARING_INT16):
            source = self.graph.resolve(chain.core.args[0])
            if source in self.real or self._native(source) is not None:
                self._operand(source, kind)
                return self.held[source, kind][1]
        return self._observed(var, kind)

    def _observed(self, var: Var, kind: str) -> Quantization:
        """Numbers for what calibration saw of a variable."""
        observer = self.ranges[str(var.name)]
        if kind == "int16":
            return symmetric_quantization(*extremes(observer))
        return activation_quantization(*observer.range())

    def _native(self, var: Var) -> str | None:
        """The kind that a layer's result was computed in; None for what is not held in integers."""
        kind = self.kinds.get(var, "int8")
        return kind if (var, kind) in self.held else None

    def _operand(self, expr: Expr, kind: str) -> Expr:
        """A float operand, dequantised from `kind` where it is a tensor of the network; a tuple of such."""
        if isinstance(expr, tvm.ir.Tuple):
            return relax.Tuple([self._operand(field, kind) for field in expr.fields])
        expr = self.graph.resolve(expr)
        if (expr, kind) not in self.held:
            native = self._native(expr)
            if expr not in self.real and native is None:
                return self.rewriter.mapped(expr)
            data = (
                self.rewriter.mapped(expr) if expr in self.real else self._dequantised(expr, native or kind)
            )
            self._hold(expr, kind, data, self._observed(expr, kind), f"{expr.name}/{kind}")
        return self._dequantised(expr, kind)

    def _real(self, expr: Expr) -> Expr:
        """An operand for a layer that stays float: never by way of integers if computed in float."""
        if isinstance(expr, tvm.ir.Tuple):
            return relax.Tuple([self._real(field) for field in expr.fields])
        expr = self.graph.resolve(expr)
        native = None if expr in self.real else self._native(expr)
        return self.rewriter.mapped(expr) if native is None else self._dequantised(expr, native)

    def _dequantised(self, var: Var, kind: str) -> Expr:
        held, quantization = self.held[var, kind]
        scale, zero = _numbers(quantization)
        return self.rewriter.emit(relax.op.dequantize(held, scale, zero, axis=0), f"{var.name}/float")

    def _results(self, rewriter: Rewriter, results: tuple[Var, ...]) -> list[Expr]:
        return [self._real(var) for var in results]


def _numbers(quantization: Quantization) -> tuple[Expr, Expr]:
    return relax.const(quantization.scale, "float32"), relax.const(quantization.zero_point, "int32")


def _is_depthwise(call: Expr) -> bool:
    return operator(call) == CONV2D and str(call.attrs.kernel_layout) == "HWOI"
