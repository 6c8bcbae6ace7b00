"""PyTorch's arithmetic → Relax, where TVM's converters say something else than PyTorch.

TVM drops `alpha` of sums and the bound of clamp_max, and divides where a factor does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from lepton_compilers.importers.torch.layers import Node, Rule, TorchLayers
from lepton_compilers.passes.graph import Expr

CHECKS = (
    *("_assert_async.msg", "_assert_async.default", "_assert_scalar.default"),
    *("_assert_tensor_metadata.default", "sym_constrain_range_for_size.default"),
)
"""Operators that compute nothing."""


def _added(op: Callable[[Expr, Expr], Expr]) -> Rule:
    """A sum or difference, whose second operand `alpha` multiplies."""

    def rule(layers: TorchLayers, node: Node) -> Expr:
        a, b = layers.retrieve_args(node)[:2]
        return _of_two(layers, op, a, _times(layers, b, node.kwargs.get("alpha", 1)))

    return rule


def _quotient(layers: TorchLayers, node: Node) -> Expr:
    """A division by a number is a multiplication, for which there is an operation."""
    a, b = layers.retrieve_args(node)[:2]
    if isinstance(b, int | float) and b != 0:
        return _of_two(layers, relax.op.multiply, a, 1 / b)
    return _of_two(layers, relax.op.divide, a, b)


def _of_two(layers: TorchLayers, op: Callable[[Expr, Expr], Expr], a: Any, b: Any) -> Expr:
    """Integers beside floats become floats, as PyTorch promotes them."""
    kinds = [str(x.ty.dtype) for x in (a, b) if hasattr(x, "ty")]
    kind = "float32" if "float32" in kinds or isinstance(b, float) else kinds[0]
    operands = []
    for x in (a, b):
        if not hasattr(x, "ty"):
            operands.append(relax.const(x, kind))
        else:
            operands.append(x if str(x.ty.dtype) == kind else layers.emit(relax.op.astype(x, kind)))
    return op(*operands)


def _times(layers: TorchLayers, x: Any, factor: float) -> Any:
    if factor == 1:
        return x
    if not hasattr(x, "ty"):
        return x * factor
    return layers.emit(_of_two(layers, relax.op.multiply, x, factor))


def _clamp_above(layers: TorchLayers, node: Node) -> Expr:
    return relax.op.clip(layers.env[node.args[0]], -math.inf, float(node.args[1]))


def _relu6(layers: TorchLayers, node: Node) -> Expr:
    return relax.op.clip(layers.env[node.args[0]], 0, 6)


def _hard_sigmoid(layers: TorchLayers, node: Node) -> Expr:
    return _sigmoid_of_lines(layers.env[node.args[0]])


def _hard_swish(layers: TorchLayers, node: Node) -> Expr:
    x = layers.env[node.args[0]]
    return relax.op.multiply(x, _sigmoid_of_lines(x))


def _sigmoid_of_lines(x: Expr) -> Expr:
    """clip(x / 6 + 1/2, 0, 1); TVM divides, for which there is no operation."""
    sixth, half = relax.const(1 / 6, x.ty.dtype), relax.const(0.5, x.ty.dtype)
    return relax.op.clip(relax.op.add(relax.op.multiply(x, sixth), half), 0, 1)


def _layer_normalised(layers: TorchLayers, node: Node) -> Expr:
    x, extents, scale, shift, epsilon, _ = layers.arguments(node, None, None, 1e-5, None)
    scale = relax.const(np.ones(extents, np.float32)) if scale is None else scale
    shift = relax.const(np.zeros(extents, np.float32)) if shift is None else shift
    axes = list(range(-len(extents), 0))
    return relax.op.nn.layer_norm(x, scale, shift, axes=axes, epsilon=float(epsilon))


def _extreme(reduce: Callable[..., Expr]) -> Rule:
    def rule(layers: TorchLayers, node: Node) -> Expr:
        x, axes, keep = layers.arguments(node, None, False)
        return reduce(x, list(axes) if axes else None, keepdims=bool(keep))

    return rule


def _extreme_and_place(reduce: Callable[..., Expr], find: Callable[..., Expr]) -> Rule:
    def rule(layers: TorchLayers, node: Node) -> tuple[Expr, Expr]:
        x, axis, keep = layers.arguments(node, False)
        return layers.emit(reduce(x, axis, keepdims=bool(keep))), layers.emit(find(x, axis, bool(keep)))

    return rule


def _stacked(layers: TorchLayers, node: Node) -> Expr:
    """Parts with an axis of one more, joined along it."""
    parts, axis = layers.arguments(node, 0)
    return relax.op.concat([layers.emit(relax.op.expand_dims(part, axis)) for part in parts], axis)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("add.Tensor", "add.Scalar"), _added(relax.op.add)),
    **dict.fromkeys(("sub.Tensor", "sub.Scalar"), _added(relax.op.subtract)),
    **dict.fromkeys(("div.Tensor", "div.Scalar"), _quotient),
    "clamp_max.default": _clamp_above,
    "relu6.default": _relu6,
    "hardsigmoid.default": _hard_sigmoid,
    "hardswish.default": _hard_swish,
    "layer_norm.default": _layer_normalised,
    "amax.default": _extreme(relax.op.max),
    "amin.default": _extreme(relax.op.min),
    "max.dim": _extreme_and_place(relax.op.max, relax.op.argmax),
    "min.dim": _extreme_and_place(relax.op.min, relax.op.argmin),
    "stack.default": _stacked,
    "_unsafe_view.default": lambda layers, node: layers._reshape(node),
    **dict.fromkeys(CHECKS, lambda layers, node: ()),
}
