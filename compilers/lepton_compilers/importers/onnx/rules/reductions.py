"""Sums, products, extremes and norms over axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, dtype, shape

op = relax.op


def _reduction(reduce: Callable[[Node, Expr, list[int], bool], Expr]) -> Converter:
    def rule(n: Node) -> Result:
        rank = len(n.shape())
        axes = n.numbers(1, "axes") or []
        if any(not -rank <= a < rank for a in axes):
            raise n.refused(f"reduces axes {axes} of {rank}")
        keep = bool(n.attribute("keepdims", 1))
        if not axes and n.attribute("noop_with_empty_axes", 0):
            return reduce(n, n[0], [], keep)
        return reduce(n, n[0], sorted({a % rank for a in axes}) or list(range(rank)), keep)

    return rule


def _over(function: Callable[..., Expr]) -> Callable[[Node, Expr, list[int], bool], Expr]:
    def reduce(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
        if not axes:
            return x
        return function(x, axis=axes, keepdims=keep)

    return reduce


def _extreme(function: Callable[..., Expr]) -> Callable[[Node, Expr, list[int], bool], Expr]:
    def reduce(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
        if dtype(x) != "bool":
            return _over(function)(n, x, axes, keep)
        found = n.emit(_over(function)(n, n.emit(op.astype(x, "int8")), axes, keep))
        return op.not_equal(found, n.scalar(0, "int8"))

    return reduce


def _mean(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    kind = dtype(x)
    if kind.startswith("float") or not axes:
        return _over(op.mean)(n, x, axes, keep)
    total = n.emit(op.sum(x, axis=axes, keepdims=keep))
    return op.divide(total, n.scalar(math.prod(shape(x)[a] for a in axes), kind))


def _square_sum(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    return _over(op.sum)(n, n.emit(op.multiply(x, x)), axes, keep)


def _l1(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    return _over(op.sum)(n, n.emit(op.abs(x)), axes, keep)


def _l2(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    return _in_float(n, n.emit(_square_sum(n, x, axes, keep)), op.sqrt)


def _log_sum(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    return _in_float(n, n.emit(_over(op.sum)(n, x, axes, keep)), op.log)


def _in_float(n: Node, x: Expr, function: Callable[[Expr], Expr]) -> Expr:
    kind = dtype(x)
    if kind.startswith("float"):
        return function(x)
    return op.astype(n.emit(function(n.emit(op.astype(x, "float64")))), kind)


def _log_sum_exp(n: Node, x: Expr, axes: list[int], keep: bool) -> Expr:
    """The largest is taken out before exp and put back after log; an infinite one is not."""
    if not axes:
        return x
    kind = dtype(x)
    if not kind.startswith("float"):
        x = n.emit(op.astype(x, "float64"))
    peak = n.emit(op.max(x, axis=axes, keepdims=True))
    peak = n.emit(op.where(n.emit(op.isfinite(peak)), peak, n.scalar(0, dtype(x))))
    total = n.emit(op.sum(n.emit(op.exp(n.emit(op.subtract(x, peak)))), axis=axes, keepdims=True))
    y = n.emit(op.add(n.emit(op.log(total)), peak))
    y = y if kind == dtype(x) else n.emit(op.astype(y, kind))
    if keep:
        return y
    return op.reshape(y, [e for i, e in enumerate(shape(y)) if i not in axes])


RULES: Mapping[str, Converter] = {
    "ReduceL1": _reduction(_l1),
    "ReduceL2": _reduction(_l2),
    "ReduceLogSum": _reduction(_log_sum),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "ReduceMax": _reduction(_extreme(op.max)),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(_extreme(op.min)),
    "ReduceProd": _reduction(_over(op.prod)),
    "ReduceSum": _reduction(_over(op.sum)),
    "ReduceSumSquare": _reduction(_square_sum),
}
