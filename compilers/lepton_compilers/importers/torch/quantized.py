"""PyTorch's quantize and dequantize (`torch.ops.quantized_decomposed`, written by PT2E) → Relax's, in int8.

uint8 numbers and zero points are taken 128 lower, which changes no real value. Bounds narrower than the
type's become a clip of the integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from tvm import relax

from lepton_compilers.importers.torch.layers import Node, Rule, TorchLayers
from lepton_compilers.passes.graph import Expr

SHIFT: Mapping[torch.dtype, tuple[int, str]] = {
    torch.int8: (0, "int8"),
    torch.uint8: (128, "int8"),
    torch.int32: (0, "int32"),
}
"""What is taken off the numbers of a type, and the type that holds them then."""


class Numbers(NamedTuple):
    """What integers stand for, and the bounds they keep, in the numbers that they are held in."""

    scales: Expr
    zero_points: Expr
    axis: int
    low: int
    high: int
    held: str


def quantize(layers: TorchLayers, node: Node) -> Expr:
    """quantize_per_tensor or quantize_per_channel of what flows; constants are PyTorch's to round."""
    n = _numbers(layers, node)
    if n.held != "int8":
        raise layers.refused(node, "gives int32; int8 and uint8 are supported")
    x = layers.env[node.args[0]]
    quantised = relax.op.quantize(x, n.scales, n.zero_points, axis=n.axis, out_dtype="int8")
    if (n.low, n.high) == (-128, 127):
        return quantised
    return relax.op.clip(layers.emit(quantised), n.low, n.high)


def dequantize(layers: TorchLayers, node: Node) -> Expr:
    """dequantize_per_tensor or dequantize_per_channel."""
    n = _numbers(layers, node)
    source = node.args[0]
    x = layers.env[source]
    if source in layers.values:
        known = layers.values[source]
        shift, held = SHIFT[known.dtype]
        x = relax.const((known.numpy().astype(np.int64) - shift).astype(held))
    return relax.op.dequantize(x, n.scales, n.zero_points, axis=n.axis, out_dtype="float32")


def _numbers(layers: TorchLayers, node: Node) -> Numbers:
    per_channel = "per_channel" in node.target.__name__
    if per_channel:
        scales, zeros, axis, low, high, kind = node.args[1:7]
    else:
        scales, zeros, low, high, kind = node.args[1:6]
        axis = -1
    if kind not in SHIFT:
        name = str(kind).removeprefix("torch.")
        raise layers.refused(node, f"is {name}; int8, uint8 and, for biases, int32 are supported")
    shift, held = SHIFT[kind]
    scale_array = _array(layers, node, scales).astype(np.float32)
    zero_array = _array(layers, node, zeros).astype(np.int64) - shift
    if not per_channel:
        scale_array, zero_array = scale_array.reshape(()), zero_array.reshape(())
    if not (np.isfinite(scale_array).all() and (scale_array > 0).all()):
        raise layers.refused(node, "has a scale that is zero, negative or no number")
    zero_points = relax.const(zero_array.astype(held))
    bounds = int(low) - shift, int(high) - shift
    return Numbers(relax.const(scale_array), zero_points, int(axis), *bounds, held)


def _array(layers: TorchLayers, node: Node, given: Any) -> Any:
    if not isinstance(given, torch.fx.Node):
        return np.asarray(given)
    if given not in layers.values:
        raise layers.refused(node, "computes its scales from its input; fixed scales are supported")
    return layers.values[given].numpy()


RULES: Mapping[str, Rule] = {
    "quantize_per_tensor.default": quantize,
    "quantize_per_tensor.tensor": quantize,
    "quantize_per_channel.default": quantize,
    "dequantize_per_tensor.default": dequantize,
    "dequantize_per_tensor.tensor": dequantize,
    "dequantize_per_channel.default": dequantize,
}
