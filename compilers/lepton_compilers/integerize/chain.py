"""One layer as Relax spells it: core, then bias, activation, quantize and clip, each a binding of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_compilers.integerize.known import Array, Known, checked_scales, known
from lepton_compilers.passes.graph import (
    ADD,
    AVERAGE_POOL,
    CLIP,
    CONV2D,
    CONV2D_TRANSPOSE,
    MATMUL,
    MAX_POOL,
    MULTIPLY,
    QUANTIZE,
    RELU,
    SUBTRACT,
    Expr,
    Graph,
    Var,
    dtype,
    is_constant,
    number,
    operator,
    shape,
    value,
)
from lepton_sdk.program.tensors import Quantization

INTEGERS = ("int8", "int16")
"""Types of quantised activations."""
ACTIVATIONS = (RELU, CLIP)
PRODUCTS = (CONV2D, CONV2D_TRANSPOSE, MATMUL)
CLAMPED = (*PRODUCTS, ADD, SUBTRACT, MULTIPLY, AVERAGE_POOL, MAX_POOL)
"""Cores whose operation holds a clamp."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A layer that ends in `result`; its middle values have no other reader.

    low, high: real bounds of the activation. quantization: of the result, None where it is float.
    integer_low, integer_high: bounds that an importer wrote in the result's own integers.
    inside: the float variables that only this layer reads, from the core's outwards.
    """

    result: Var
    core: Expr
    bias: Known | None = None
    low: float = -math.inf
    high: float = math.inf
    quantization: Quantization | None = None
    integer_low: int = -128
    integer_high: int = 127
    inside: tuple[Var, ...] = ()

    @property
    def operator(self) -> str:
        """Operator of the core; "" where it is no operator call."""
        return operator(self.core) or ""

    @property
    def bounded(self) -> bool:
        """Whether the activation bounds anything."""
        return not (math.isinf(self.low) and math.isinf(self.high))


def full_range(kind: str) -> tuple[int, int]:
    """Least and greatest number of an activation's integer type; int8's for a float one."""
    limits = np.iinfo(kind if kind in INTEGERS else "int8")
    return int(limits.min), int(limits.max)


def tensor_quantization(call: Expr) -> Quantization | None:
    """Scale and zero point of a quantize or dequantize of a whole tensor; None where it is per channel."""
    if not all(is_constant(a) and value(a).size == 1 for a in call.args[1:3]):
        return None
    scale = checked_scales(str(getattr(call.args[0], "name", "")), value(call.args[1]))
    return Quantization((float(scale.reshape(())),), int(value(call.args[2]).reshape(())))


def read_chain(
    graph: Graph, parameters: Mapping[str, Array], result: Var, keep_activations: bool
) -> Chain | None:
    """The layer that ends in `result`, read backwards as far as it goes; None for inputs.

    keep_activations: leave relu and clip as layers of their own, as training needs them.
    """
    quantization, at = None, graph.resolve(result)
    definition = graph.definition(at)
    if definition is None:
        return None
    low, high = full_range(dtype(at))
    if dtype(at) in INTEGERS and operator(definition) in (CLIP, QUANTIZE):
        inner = definition
        if operator(definition) == CLIP and graph.uses(definition.args[0]) == 1:
            low, high = int(number(definition.args[1])), int(number(definition.args[2]))
            inner = graph.definition(definition.args[0])
        if operator(inner) != QUANTIZE:
            # A clip of integers that come from elsewhere is a layer itself.
            return Chain(result, definition)
        quantization = tensor_quantization(inner)
        source = graph.resolve(inner.args[0])
        if quantization is None or graph.uses(source) != 1 or graph.definition(source) is None:
            return Chain(result, inner, quantization=quantization, integer_low=low, integer_high=high)
        at = source
        definition = graph.definition(at)
    core, bias, bounds, inside = _float_part(graph, parameters, at, definition, keep_activations)
    return Chain(result, core, bias, *bounds, quantization, low, high, inside)


def _float_part(
    graph: Graph, parameters: Mapping[str, Array], at: Var, definition: Expr, keep_activations: bool
) -> tuple[Expr, Known | None, tuple[float, float], tuple[Var, ...]]:
    low, high = -math.inf, math.inf
    inside: tuple[Var, ...] = ()
    outermost = definition
    if not keep_activations:
        while operator(definition) in ACTIVATIONS and graph.uses(definition.args[0]) == 1:
            inner_low, inner_high = activation_bounds(definition)
            low, high = min(max(inner_low, low), high), max(min(inner_high, high), low)
            inside += (graph.resolve(definition.args[0]),)
            definition = graph.definition(definition.args[0])
    if operator(definition) not in CLAMPED:
        return outermost, None, (-math.inf, math.inf), ()
    if operator(definition) == ADD:
        for layer, offset in (definition.args, reversed(definition.args)):
            if graph.operator(layer) in PRODUCTS and graph.uses(graph.resolve(layer)) == 1:
                bias = known(graph, parameters, offset)
                if bias is not None and _is_bias(bias, shape(layer)):
                    inside += (graph.resolve(layer),)
                    return graph.definition(layer), bias.moved(np.ravel), (low, high), inside
    return definition, None, (low, high), inside


def activation_bounds(activation: Expr) -> tuple[float, float]:
    """Real bounds of a relu or clip."""
    if operator(activation) == RELU:
        return 0.0, math.inf
    return number(activation.args[1]), number(activation.args[2])


def _is_bias(bias: Known, layer: tuple[int, ...]) -> bool:
    """Whether an offset is one number a channel, channels last."""
    return bias.values.size == layer[-1] and (bias.values.ndim == 0 or bias.values.shape[-1] == layer[-1])
