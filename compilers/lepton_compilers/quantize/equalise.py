"""Cross-layer equalisation: channels between two neighbouring layers brought to like magnitudes.

Channel c of the first layer's result is divided by s[c], and the weights that read it are multiplied by it.
Between them stands nothing, ReLU or a pool, all of which let a positive factor through. s is a power of two,
so the float network computes the same bits (short of underflow); what changes is how well one scale fits all
channels of a tensor. Source: Nagel et al., "Data-free quantization through weight equalization and bias
correction" (2019), section 4.1; measured ranges of activations stand in for those of weights, because weights
have a scale each channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.integerize.chain import Chain, read_chain
from lepton_compilers.passes.graph import (
    AVERAGE_POOL,
    CONV2D,
    MATMUL,
    MAX_POOL,
    Expr,
    Graph,
    Var,
    dtype,
    is_constant,
    is_var,
    operator,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter
from lepton_compilers.quantize.calibrate import Progress, calibrate

Array = npt.NDArray[Any]

WEIGHTED = (CONV2D, MATMUL)
LARGEST_FACTOR = 2.0**8
"""Beyond this a channel is all but silent, and lifting it further serves nobody."""


class ChannelMagnitude:
    """Largest magnitude of every channel, the last axis."""

    def __init__(self) -> None:
        self.magnitudes: Array = np.zeros(1)

    def observe(self, values: Array) -> None:
        """Values [..., channels]."""
        rows = np.abs(values.reshape(-1, values.shape[-1] if values.ndim else 1)).max(axis=0)
        self.magnitudes = np.maximum(self.magnitudes, rows)

    def range(self) -> tuple[float, float]:
        """The largest of all, on both sides of zero."""
        return -float(self.magnitudes.max()), float(self.magnitudes.max())


def equalise(
    module: Any,
    samples: Mapping[str, Array] | None,
    *,
    per_channel: bool = True,
    max_samples: int | None = None,
    progress: Progress | None = None,
) -> Any:
    """The module with every pair of layers that allows it evened out."""
    graph = Graph(module["main"])
    pairs = list(_pairs(graph))
    if not pairs:
        return module
    seen = calibrate(module, samples, observer=ChannelMagnitude, max_samples=max_samples, progress=progress)
    divided: dict[Var, Array] = {}
    multiplied: dict[Var, Array] = {}
    for result, first, second_var, second in pairs:
        observed = seen[str(result.name)]
        if not isinstance(observed, ChannelMagnitude):
            continue
        weights = np.abs(value(second.args[1]))
        produced = observed.magnitudes
        if not per_channel:
            rows = np.abs(value(first.core.args[1]))
            produced = rows.reshape(-1, len(produced)).max(axis=0)
        read = _read_magnitudes(second, weights)
        divided[result] = multiplied[second_var] = _factors(produced, read)
    return _scaled(module, graph, divided, multiplied)


def _factors(produced: Array, read: Array | None) -> Array:
    """Powers of two [channels]: √(produced / read), or produced alone where `read` is None.

    Relative to the largest, so that the tensor keeps its range; 1 for silent channels.
    """
    live = produced > 0
    wanted = produced.astype(np.float64) / produced.max(initial=1e-30)
    if read is not None:
        live = live & (read > 0)
        wanted = np.sqrt(wanted * read.max(initial=1e-30) / np.maximum(read, 1e-30))
    wanted = np.where(live, wanted, 1.0)
    powers = 2.0 ** np.rint(np.log2(np.clip(wanted, 1 / LARGEST_FACTOR, LARGEST_FACTOR)))
    factors: Array = powers.astype(np.float32)
    return factors


def _pairs(graph: Graph) -> list[tuple[Var, Chain, Var, Expr]]:
    """(result of a layer, the layer, variable of the only layer that reads it, its call)."""
    found = []
    layers: dict[Var, Chain] = {}
    inside: set[Var] = set()
    for binding in reversed(graph.bindings):
        if binding.var in inside or is_var(binding.value) or dtype(binding.var) != "float32":
            continue
        chain = read_chain(graph, {}, binding.var, keep_activations=False)
        if chain is not None and chain.operator in WEIGHTED and _has_weights(chain.core):
            layers[binding.var] = chain
        inside.update(chain.inside if chain else ())
    for chain in layers.values():
        source = graph.resolve(chain.core.args[0])
        while graph.operator(source) in (MAX_POOL, AVERAGE_POOL) and graph.uses(source) == 1:
            source = graph.resolve(graph.definition(source).args[0])
        first = layers.get(source)
        if first is None or graph.uses(source) != 1 or source in graph.results:
            continue
        homogeneous = (first.low, first.high) in ((-np.inf, np.inf), (0.0, np.inf))
        grouped = chain.operator == CONV2D and int(chain.core.attrs.groups) > 1
        if grouped and not _is_depthwise(chain.core):
            continue
        if homogeneous and (first.bias is None or first.bias.parameter is None):
            second = next(b.var for b in graph.bindings if b.value.same_as(chain.core))
            found.append((source, first, second, chain.core))
    return found


def _has_weights(call: Expr) -> bool:
    """Whether a layer has constant weights, one matrix where it is a product."""
    weight = call.args[1]
    return is_constant(weight) and (operator(call) != MATMUL or value(weight).ndim == 2)


def _is_depthwise(call: Expr) -> bool:
    return operator(call) == CONV2D and str(call.attrs.kernel_layout) == "HWOI"


def _input_axis(call: Expr) -> int:
    """The axis of the weights that counts input channels: HWIO, HWOI (depthwise: O is I) or [I, O]."""
    return 2 if operator(call) == CONV2D else 0


def _read_magnitudes(call: Expr, weights: Array) -> Array | None:
    """Largest weight that reads each channel; None for depthwise, whose weights have a scale each channel."""
    if _is_depthwise(call):
        return None
    magnitudes: Array = (
        np.moveaxis(weights, _input_axis(call), 0).reshape(weights.shape[_input_axis(call)], -1).max(axis=1)
    )
    return magnitudes


def _scaled(module: Any, graph: Graph, divided: Mapping[Var, Array], multiplied: Mapping[Var, Array]) -> Any:
    """The module with weights and biases changed."""
    cores: dict[Var, Array] = {}
    biases: dict[Var, Array] = {}
    by_value = {b.var: b.value for b in graph.bindings}
    for result, factors in divided.items():
        at = result
        while operator(by_value[at]) not in WEIGHTED:
            if operator(by_value[at]) == "relax.add":
                biases[at] = factors
                layered = [a for a in by_value[at].args if graph.operator(a) in WEIGHTED]
                at = graph.resolve(layered[0])
            else:
                at = graph.resolve(by_value[at].args[0])
        cores[at] = factors

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        if var in biases:
            operands = [
                rewriter.mapped(a) if not is_constant(a) else relax.const(value(a) / biases[var])
                for a in old.args
            ]
            return tvm.ir.Call(old.op, operands, old.attrs, old.ty_args)
        if var not in cores and var not in multiplied:
            return None
        weights = value(old.args[1])
        if var in multiplied:
            axis = _input_axis(old)
            extents = [1] * weights.ndim
            extents[axis] = -1
            # A depthwise layer may make several channels of one; they lie side by side.
            factors = np.repeat(multiplied[var], weights.shape[axis] // len(multiplied[var]))
            weights = weights * factors.reshape(extents)
        if var in cores:
            extents = [1] * weights.ndim
            extents[2 if _is_depthwise(old) else weights.ndim - 1] = -1
            weights = weights / cores[var].reshape(extents)
        return tvm.ir.Call(
            old.op, [rewriter.mapped(old.args[0]), relax.const(weights)], old.attrs, old.ty_args
        )

    return Rewriter(module).run(visit)
