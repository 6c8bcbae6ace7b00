"""Layer normalisation that an exporter wrote out, as the one layer it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from lepton_compilers.passes.graph import (
    ADD,
    MULTIPLY,
    SUBTRACT,
    Expr,
    Graph,
    Var,
    dtype,
    integers,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite

MEAN = "relax.mean"
DIVIDE = "relax.divide"


def fold_layer_norm(module: Any) -> Any:
    """(x − mean) / sqrt(variance + ε) · γ + β is layer_norm, without the mean rms_norm.

    Before canonicalise, which makes means into pools. A variance is the mean of the squares of x − mean.
    """
    return rewrite(module, _visit)


@dataclass(frozen=True, slots=True)
class _Norm:
    x: Var
    axes: tuple[int, ...]
    epsilon: float
    centred: bool


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    graph = rewriter.graph
    if dtype(var) != "float32" or operator(old) not in (ADD, MULTIPLY, DIVIDE):
        return None
    beta, scaled = _split(graph, old, ADD)
    gamma, plain = _split(graph, scaled, MULTIPLY)
    norm = _norm(graph, plain)
    if norm is None or (operator(old) != ADD and _continues(graph, var)):
        return None
    extents = [shape(norm.x)[axis] for axis in norm.axes]
    if not all(_fits(part, extents) for part in (beta, gamma)):
        return None
    weight = np.ones(extents, np.float32) if gamma is None else _whole(gamma, extents)
    x, axes = rewriter.mapped(norm.x), list(norm.axes)
    if norm.centred:
        offset = np.zeros(extents, np.float32) if beta is None else _whole(beta, extents)
        return relax.op.nn.layer_norm(x, relax.const(weight), relax.const(offset), axes, norm.epsilon)
    if beta is not None:
        return None
    return relax.op.nn.rms_norm(x, relax.const(weight), axes, norm.epsilon)


def _continues(graph: Graph, var: Var) -> bool:
    """Whether the next layer belongs to the normalisation too: a γ or β, which folds it all at once."""
    readers = [b.value for b in graph.bindings if var in (getattr(b.value, "args", None) or ())]
    return len(readers) == 1 and any(
        constant is not None and inner is not None and inner.same_as(graph.definition(var))
        for constant, inner in (_split(graph, readers[0], name) for name in (ADD, MULTIPLY))
    )


def _split(graph: Graph, call: Expr, name: str) -> tuple[npt.NDArray[Any] | None, Expr]:
    """A constant operand of a sum or product, and what defines the other; None and the call where none is."""
    if operator(call) == name:
        for constant, other in (tuple(call.args), tuple(reversed(call.args))):
            if is_constant(constant) and not is_constant(other):
                return value(constant), graph.definition(other)
    return None, call


def _fits(array: npt.NDArray[Any] | None, extents: list[int]) -> bool:
    if array is None:
        return True
    leading = array.shape[: max(array.ndim - len(extents), 0)]
    try:
        inner = np.broadcast_shapes(array.shape[len(leading) :], tuple(extents))
    except ValueError:
        return False
    return set(leading) <= {1} and list(inner) == extents


def _whole(array: npt.NDArray[Any], extents: list[int]) -> npt.NDArray[np.float32]:
    inner = array.reshape(array.shape[max(array.ndim - len(extents), 0) :])
    return np.ascontiguousarray(np.broadcast_to(inner, extents).astype(np.float32))


def _norm(graph: Graph, call: Expr) -> _Norm | None:
    """c / sqrt(mean(c²) + ε), or c · rsqrt(…), in either order of the product."""
    name = operator(call)
    if name not in (DIVIDE, MULTIPLY):
        return None
    orders = [tuple(call.args)] if name == DIVIDE else [tuple(call.args), tuple(reversed(call.args))]
    root = "relax.sqrt" if name == DIVIDE else "relax.rsqrt"
    for top, bottom in orders:
        if graph.operator(bottom) == root:
            found = _variance(graph, graph.definition(bottom).args[0], top)
            if found is not None:
                return found
    return None


def _variance(graph: Graph, spread: Expr, top: Expr) -> _Norm | None:
    """spread is mean(top²) + ε over the last axes."""
    epsilon, mean = _split(graph, graph.definition(spread), ADD)
    if epsilon is None or epsilon.size != 1 or operator(mean) != MEAN:
        return None
    squares = graph.definition(mean.args[0])
    base = _squared(graph, squares)
    if base is None or not bool(mean.attrs.keepdims) or mean.attrs.axis is None:
        return None
    rank = len(shape(top))
    axes = tuple(sorted(axis % rank for axis in integers(mean.attrs.axis)))
    if axes != tuple(range(rank - len(axes), rank)):
        return None
    x, other = _uncentred(graph, top, axes), _uncentred(graph, base, axes)
    if x is not None and other is not None and x.same_as(other):
        return _Norm(x, axes, float(epsilon.reshape(())), True)
    same = graph.resolve(top).same_as(graph.resolve(base))
    return _Norm(graph.resolve(top), axes, float(epsilon.reshape(())), False) if same else None


def _squared(graph: Graph, call: Expr) -> Expr | None:
    name = operator(call)
    if name == "relax.square":
        return call.args[0]
    if name == MULTIPLY and graph.resolve(call.args[0]).same_as(graph.resolve(call.args[1])):
        return call.args[0]
    two = name == "relax.power" and is_constant(call.args[1]) and value(call.args[1]).size == 1
    return call.args[0] if two and float(value(call.args[1]).reshape(())) == 2.0 else None


def _uncentred(graph: Graph, expr: Expr, axes: tuple[int, ...]) -> Var | None:
    """x where the expression is x − mean(x) over those axes."""
    call = graph.definition(expr)
    if operator(call) != SUBTRACT or graph.operator(call.args[1]) != MEAN:
        return None
    mean, x = graph.definition(call.args[1]), graph.resolve(call.args[0])
    rank = len(shape(x))
    over = () if mean.attrs.axis is None else tuple(sorted(a % rank for a in integers(mean.attrs.axis)))
    whole = over == axes and bool(mean.attrs.keepdims) and graph.resolve(mean.args[0]).same_as(x)
    return x if whole else None
