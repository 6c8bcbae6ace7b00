"""Means and variances taken out; exponentials that sum to one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, shape

op = relax.op


def along(n: Node, x: Expr, axis: int, rank: int) -> Expr:
    """A vector, stretched over a map along one axis."""
    if len(shape(x)) == rank:
        return x
    return n.emit(op.reshape(x, [-1 if i == axis else 1 for i in range(rank)]))


def _batch(n: Node) -> Result:
    """Inference folds into the layer before; training_mode takes the batch's own statistics."""
    epsilon = float(n.attribute("epsilon", 1e-5))
    if not n.attribute("training_mode", 0) and n.kind() == "float32" and len(n.shape()) > 1:
        normal = n.emit(op.nn.batch_norm(*(n[i] for i in range(5)), axis=1, epsilon=epsilon))
        return relax.TupleGetItem(normal, 0)
    x, rank = n[0], len(n.shape())
    axes = [i for i in range(rank) if i != 1]
    mean, variance = n[3], n[4]
    if n.attribute("training_mode", 0):
        mean = n.emit(op.mean(x, axis=axes, keepdims=False))
        spread = n.emit(op.subtract(x, along(n, mean, 1, rank)))
        variance = n.emit(op.mean(n.emit(op.multiply(spread, spread)), axis=axes, keepdims=False))
    y = _scaled(n, x, along(n, mean, 1, rank), along(n, variance, 1, rank), epsilon)
    y = n.emit(op.multiply(y, along(n, n[1], 1, rank)))
    y = n.emit(op.add(y, along(n, n[2], 1, rank)))
    if len(n.wanted) == 1:
        return y
    momentum = float(n.attribute("momentum", 0.9))

    def running(old: Expr, new: Expr) -> Expr:
        kept = n.emit(op.multiply(old, n.scalar(momentum, n.kind())))
        return n.emit(op.add(kept, n.emit(op.multiply(new, n.scalar(1 - momentum, n.kind())))))

    return y, running(n[3], mean), running(n[4], variance)


def _scaled(n: Node, x: Expr, mean: Expr, variance: Expr, epsilon: float) -> Expr:
    spread = n.emit(op.sqrt(n.emit(op.add(variance, n.scalar(epsilon, n.kind())))))
    return n.emit(op.divide(n.emit(op.subtract(x, mean)), spread))


def _instance(n: Node) -> Result:
    rank = len(n.shape())
    axes = list(range(2, rank))
    return op.nn.instance_norm(
        n[0], n[1], n[2], channel_axis=1, axes=axes, epsilon=float(n.attribute("epsilon", 1e-5))
    )


def _moments(n: Node, x: Expr, axes: list[int], epsilon: float) -> tuple[Expr, Expr, Expr]:
    """x without mean, over its spread; the mean; one over the spread."""
    mean = n.emit(op.mean(x, axis=axes, keepdims=True))
    rest = n.emit(op.subtract(x, mean))
    variance = n.emit(op.mean(n.emit(op.multiply(rest, rest)), axis=axes, keepdims=True))
    inverse = n.emit(op.rsqrt(n.emit(op.add(variance, n.scalar(epsilon, n.kind())))))
    return n.emit(op.multiply(rest, inverse)), mean, inverse


def _layer(n: Node) -> Result:
    rank, axis = len(n.shape()), n.axis(-1)
    axes, epsilon = list(range(axis, rank)), float(n.attribute("epsilon", 1e-5))
    extents = list(n.shape()[axis:])
    plain = n.shape(1) == tuple(extents) and (not n.has(2) or n.shape(2) == tuple(extents))
    if len(n.wanted) == 1 and n.kind() == "float32" and plain:
        beta = n[2] if n.has(2) else constant(np.zeros(extents, np.float32))
        return op.nn.layer_norm(n[0], n[1], beta, axes=axes, epsilon=epsilon)
    y, mean, inverse = _moments(n, n[0], axes, epsilon)
    y = n.emit(op.multiply(y, n[1]))
    y = n.emit(op.add(y, n[2])) if n.has(2) else y
    return (y, mean, inverse)[: len(n.wanted)]


def _group(n: Node) -> Result:
    groups, epsilon = int(n.attribute("num_groups", 1)), float(n.attribute("epsilon", 1e-5))
    batch, channels, *rest = n.shape()
    if groups < 1 or channels % groups:
        raise n.refused(f"splits {channels} channels into {groups} groups")
    x = n.emit(op.reshape(n[0], [batch, groups, (channels // groups) * math.prod(rest)]))
    y = _moments(n, x, [2], epsilon)[0]
    y = n.emit(op.reshape(y, n.shape()))
    factors = [n[1], n[2]]
    if n.opset < 21 and n.shape(1) == (groups,):
        factors = [n.emit(op.repeat(f, channels // groups, 0)) for f in factors]
    rank = len(n.shape())
    return op.add(n.emit(op.multiply(y, along(n, factors[0], 1, rank))), along(n, factors[1], 1, rank))


def _root_mean_square(n: Node) -> Result:
    rank, axis = len(n.shape()), n.axis(-1)
    axes = list(range(axis, rank))
    mean = n.emit(op.mean(n.emit(op.multiply(n[0], n[0])), axis=axes, keepdims=True))
    inverse = n.emit(op.rsqrt(n.emit(op.add(mean, n.scalar(float(n.attribute("epsilon", 1e-5)), n.kind())))))
    return op.multiply(n.emit(op.multiply(n[0], inverse)), n[1])


def _lp(n: Node) -> Result:
    """Rows of zeros stay zero."""
    axis, kind = n.axis(-1), n.kind()
    if int(n.attribute("p", 2)) == 1:
        norm = n.emit(op.sum(n.emit(op.abs(n[0])), axis=[axis], keepdims=True))
    else:
        norm = n.emit(op.sqrt(n.emit(op.sum(n.emit(op.multiply(n[0], n[0])), axis=[axis], keepdims=True))))
    empty = n.emit(op.equal(norm, n.scalar(0, kind)))
    safe = n.emit(op.where(empty, n.scalar(1, kind), norm))
    return op.divide(n[0], safe)


def _local_response(n: Node) -> Result:
    """The squares of `size` neighbouring channels, summed by slices of the padded map."""
    size, kind = int(n.attribute("size", 1)), n.kind()
    channels = n.shape()[1]
    if not 1 <= size <= 64:
        raise n.refused(f"sums {size} channels", "1 to 64")
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    square = n.emit(op.multiply(n[0], n[0]))
    widths = [0, 0, before, after, *[0, 0] * (len(n.shape()) - 2)]
    padded = n.emit(op.nn.pad(square, widths, "constant", 0.0))
    total = n.emit(op.strided_slice(padded, [1], [0], [channels]))
    for i in range(1, size):
        total = n.emit(op.add(total, n.emit(op.strided_slice(padded, [1], [i], [i + channels]))))
    scale = n.scalar(float(n.attribute("alpha", 1e-4)) / size, kind)
    inner = n.emit(op.add(n.emit(op.multiply(total, scale)), n.scalar(float(n.attribute("bias", 1.0)), kind)))
    return op.divide(n[0], n.emit(op.power(inner, n.scalar(float(n.attribute("beta", 0.75)), kind))))


def _mean_variance(n: Node) -> Result:
    axes = [int(a) % len(n.shape()) for a in n.attribute("axes", [0, 2, 3])]
    mean = n.emit(op.mean(n[0], axis=axes, keepdims=True))
    rest = n.emit(op.subtract(n[0], mean))
    variance = n.emit(op.mean(n.emit(op.multiply(rest, rest)), axis=axes, keepdims=True))
    spread = n.emit(op.add(n.emit(op.sqrt(variance)), n.scalar(1e-9, n.kind())))
    return op.divide(rest, spread)


def _soft(function: Callable[..., Expr]) -> Converter:
    def rule(n: Node) -> Result:
        if n.opset >= 13:
            return function(n[0], axis=n.axis(-1))
        axis = n.axis(1)
        if axis == len(n.shape()) - 1:
            return function(n[0], axis=axis)
        flat = [math.prod(n.shape()[:axis]), math.prod(n.shape()[axis:])]
        y = n.emit(function(n.emit(op.reshape(n[0], flat)), axis=1))
        return op.reshape(y, n.shape())

    return rule


RULES: Mapping[str, Converter] = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LayerNormalization": _layer,
    "LogSoftmax": _soft(op.nn.log_softmax),
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
    "Softmax": _soft(op.nn.softmax),
}
