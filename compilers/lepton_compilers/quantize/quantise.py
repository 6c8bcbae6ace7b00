"""The pass that puts quantize and dequantize around every layer that has an int8 form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.integerize.chain import Chain, read_chain
from lepton_compilers.integerize.lower_int8 import SOFTMAX_OUTPUT
from lepton_compilers.passes.graph import (
    AVERAGE_POOL,
    CLIP,
    CONV2D,
    MATMUL,
    MAX_POOL,
    PAD,
    PERMUTE,
    QUANTIZE,
    RELU,
    RESHAPE,
    SOFTMAX,
    Expr,
    Graph,
    Var,
    bindings,
    dtype,
    is_constant,
    is_var,
    operator,
    value,
)
from lepton_compilers.passes.record import Pass
from lepton_compilers.passes.rewrite import Rewriter
from lepton_compilers.quantize.calibrate import Progress, calibrate
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.observers import MinMax, quantised_weight, weight_scales
from lepton_sdk.program import Quantization

Array = npt.NDArray[Any]

WEIGHTED = (CONV2D, MATMUL)
SHARING = (MAX_POOL, AVERAGE_POOL, RESHAPE, PERMUTE, PAD, RELU, CLIP)
"""Layers whose result lies in their input's range: they keep its numbers, so that bytes can move."""


def quantise(
    config: QuantizationConfig,
    samples: Mapping[str, Array] | None,
    progress: Progress | None = None,
) -> Pass:
    """The pass for one configuration and its calibration samples.

    Last of the front half: ranges are observed on the layers as they will run, with normalisation folded
    and maps turned. The interface stays float32 (Quantize and Dequantize at its ends), a softmax's result
    gets scale 1/256 and zero point −128, biases are int32 at sx · sw. A module that is int8 already is
    left alone.
    """

    def quantise(module: Any) -> Any:
        if any(operator(b.value) == QUANTIZE for b in bindings(module["main"])):
            return module
        ranges = calibrate(module, samples, max_samples=config.max_samples, progress=progress)
        return _Quantiser(module, ranges, config).run()

    return quantise


class _Quantiser:
    """One walk that emits each layer between dequantize and quantize. `held`: int8 forms by old variable."""

    def __init__(self, module: Any, ranges: Mapping[str, MinMax], config: QuantizationConfig) -> None:
        self.rewriter = Rewriter(module)
        self.graph: Graph = self.rewriter.graph
        self.ranges = ranges
        self.config = config
        self.held: dict[Var, tuple[Var, Quantization]] = {}
        self.ends: dict[Var, Chain] = {}
        self._find_layers()

    def run(self) -> Any:
        """The quantised module."""
        return self.rewriter.run(lambda rewriter, var, old: self._visit(var), results=self._results)

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
            self.ends[at] = chain
            inside.update(chain.inside)

    def _visit(self, var: Var) -> Expr:
        chain = self.ends.get(var)
        if chain is None:
            # Inside a layer: its end emits everything; nothing may read this form.
            return self.rewriter.mapped(self.graph.definition(var))
        name = str(var.name)
        quantization = self._quantization(var, chain)
        operands = [self._operand(a) for a in chain.core.args]
        core = self._core(chain, operands, name)
        if chain.bounded:
            low, high = chain.low, chain.high
            bounded = relax.op.nn.relu(core) if (low, high) == (0, np.inf) else relax.op.clip(core, low, high)
            core = self.rewriter.emit(bounded, f"{name}/bounded")
        scale, zero = _numbers(quantization)
        quantised = relax.op.quantize(core, scale, zero, axis=0, out_dtype="int8")
        self.held[var] = (self.rewriter.emit(quantised, name), quantization)
        return self._dequantised(var)

    def _core(self, chain: Chain, operands: list[Expr], name: str) -> Expr:
        """The layer on dequantised operands, its weights and bias dequantised from integers."""
        call = chain.core
        source = self.graph.resolve(call.args[0])
        bias = None if chain.bias is None else chain.bias.real
        if chain.operator not in WEIGHTED or not is_constant(call.args[1]) or source not in self.held:
            layer = self.rewriter.emit(
                tvm.ir.Call(call.op, operands, call.attrs, call.ty_args), f"{name}/layer"
            )
            return layer if bias is None else relax.op.add(layer, relax.const(bias.astype(np.float32)))
        # Output channels are the last axis of HWIO and of a matrix, and of depthwise HWOI once I = 1 is off.
        weight = value(call.args[1])
        flat = weight[..., 0] if _is_depthwise(call) else weight
        rows = np.moveaxis(flat, -1, 0)
        x_scale = self.held[source][1].scale
        scales = weight_scales(rows, bias, x_scale, self.config.per_channel)
        numbers = np.moveaxis(quantised_weight(rows, scales), 0, -1)
        held = self._dequantised_constant(numbers, scales, f"{name}/weight")
        if _is_depthwise(call):
            held = self.rewriter.emit(relax.op.reshape(held, list(weight.shape)), f"{name}/weight")
        layer = tvm.ir.Call(call.op, [operands[0], held], call.attrs, call.ty_args)
        layer = self.rewriter.emit(layer, f"{name}/layer")
        if bias is None:
            return layer
        accumulator = np.float32(x_scale) * scales
        steps = np.rint(bias / accumulator.astype(np.float64)).astype(np.int32)
        offset = self._dequantised_constant(steps, accumulator, f"{name}/bias")
        return self.rewriter.emit(relax.op.add(layer, offset), f"{name}/sum")

    def _dequantised_constant(self, numbers: Array, scales: Array, name: str) -> Expr:
        """Integers that stand for reals, one scale a channel along the last axis."""
        constant, zero = relax.const(np.ascontiguousarray(numbers)), relax.const(0, "int32")
        axis = numbers.ndim - 1
        return self.rewriter.emit(relax.op.dequantize(constant, relax.const(scales), zero, axis=axis), name)

    def _quantization(self, var: Var, chain: Chain) -> Quantization:
        if chain.operator == SOFTMAX:
            return SOFTMAX_OUTPUT
        if chain.operator in SHARING:
            source = self.graph.resolve(chain.core.args[0])
            if source in self.held:
                return self.held[source][1]
            if source in self.graph.parameters:
                self._operand(source)
                return self.held[source][1]
        return self.ranges[str(var.name)].quantization()

    def _operand(self, expr: Expr) -> Expr:
        """A float operand, dequantised from int8 where it is a tensor of the network; a tuple of such."""
        if isinstance(expr, tvm.ir.Tuple):
            return relax.Tuple([self._operand(field) for field in expr.fields])
        expr = self.graph.resolve(expr)
        if expr in self.graph.parameters and expr not in self.held:
            quantization = self.ranges[str(expr.name)].quantization()
            scale, zero = _numbers(quantization)
            data = self.rewriter.mapped(expr)
            quantised = relax.op.quantize(data, scale, zero, axis=0, out_dtype="int8")
            self.held[expr] = (self.rewriter.emit(quantised, f"{expr.name}/int8"), quantization)
        return self._dequantised(expr) if expr in self.held else self.rewriter.mapped(expr)

    def _dequantised(self, var: Var) -> Expr:
        held, quantization = self.held[var]
        scale, zero = _numbers(quantization)
        return self.rewriter.emit(relax.op.dequantize(held, scale, zero, axis=0), f"{var.name}/float")

    def _results(self, rewriter: Rewriter, results: tuple[Var, ...]) -> list[Expr]:
        return [self._dequantised(var) if var in self.held else rewriter.mapped(var) for var in results]


def _numbers(quantization: Quantization) -> tuple[Expr, Expr]:
    return relax.const(quantization.scale, "float32"), relax.const(quantization.zero_point, "int32")


def _is_depthwise(call: Expr) -> bool:
    return operator(call) == CONV2D and str(call.attrs.kernel_layout) == "HWOI"
