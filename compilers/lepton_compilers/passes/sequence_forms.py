"""One form for what importers write of sequence models: slices, softmax over the last axis, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from lepton_compilers.passes.graph import (
    SOFTMAX,
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
from lepton_compilers.passes.rewrite import Rewriter

ATTENTION = "relax.nn.attention"
DIVIDE = "relax.divide"
SPLIT = "relax.split"
STACK = "relax.stack"
TAKE = "relax.take"


def split_range(graph: Graph, part: relax.TupleGetItem) -> tuple[Expr, int, int, int] | None:
    """(x, axis, first, last) of the part of a split of x; None where it is another tuple's."""
    split = graph.definition(part.tuple_value)
    if operator(split) != SPLIT:
        return None
    x, axis = split.args[0], int(split.attrs.axis)
    extent, axis, places = shape(x)[axis], axis % len(shape(x)), split.attrs.indices_or_sections
    if hasattr(places, "__len__"):
        ends = [0, *integers(places), extent]
    else:
        step = math.ceil(extent / int(places))
        ends = [min(i * step, extent) for i in range(int(places) + 1)]
    return x, axis, ends[part.index], ends[part.index + 1]


def part_of_split(rewriter: Rewriter, var: Var, old: relax.TupleGetItem) -> Expr | None:
    """A part of a split is a slice: it needs no result of several tensors."""
    found = split_range(rewriter.graph, old)
    if found is None:
        return None
    x, axis, first, last = found
    if is_constant(x):
        return relax.const(np.ascontiguousarray(np.take(value(x), range(first, last), axis)))
    return relax.op.strided_slice(rewriter.mapped(x), [axis], [first], [last])


def _take(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """Evenly spaced constant places are a slice; TVM reads out of bounds at negative ones, so none stay."""
    x, indices = old.args[0], old.args[1]
    if not is_constant(indices) or is_constant(x):
        return None
    axis = 0 if old.attrs.axis is None else int(old.attrs.axis) % len(shape(x))
    extent, places = shape(x)[axis], value(indices).astype(np.int64)
    places = np.clip(np.where(places < 0, places + extent, places), 0, extent - 1)
    flat = places.reshape(-1)
    steps = np.unique(np.diff(flat)) if flat.size > 1 else np.array([1])
    if steps.size != 1 or steps[0] == 0:
        return relax.op.take(rewriter.mapped(x), relax.const(places), axis=axis, mode="clip")
    first, step = int(flat[0]), int(steps[0])
    last = int(flat[-1]) + (1 if step > 0 else -1)
    # Behind the first element, counted from the end.
    last = -extent - 1 if last < 0 else last
    part = relax.op.strided_slice(rewriter.mapped(x), [axis], [first], [last], [step])
    return relax.op.reshape(rewriter.emit(part, f"{var.name}/part"), list(shape(var)))


def _softmax(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """Over another axis than the last: the axis goes there and comes back."""
    rank = len(shape(var))
    axis = int(old.attrs.axis) % rank
    if axis == rank - 1:
        return None
    axes = [*range(axis), *range(axis + 1, rank), axis]
    back = [axes.index(a) for a in range(rank)]
    turned = rewriter.emit(relax.op.permute_dims(rewriter.mapped(old.args[0]), axes), f"{var.name}/turned")
    y = rewriter.emit(relax.op.nn.softmax(turned, axis=-1), f"{var.name}/softmax")
    return relax.op.permute_dims(y, back)


def _divide(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """x / constant is x · (1 / constant)."""
    divisor = rewriter.mapped(old.args[1])
    if dtype(var) != "float32" or not is_constant(divisor) or (value(divisor) == 0).any():
        return None
    factor = (1 / value(divisor).astype(np.float64)).astype(np.float32)
    return relax.op.multiply(rewriter.mapped(old.args[0]), relax.const(factor))


def _stack(rewriter: Rewriter, var: Var, old: Expr) -> Expr:
    """Parts with an axis of one, joined along it."""
    axis = int(old.attrs.axis) % len(shape(var))
    parts = []
    for i, part in enumerate(old.args[0].fields):
        extents = [*shape(part)[:axis], 1, *shape(part)[axis:]]
        parts.append(rewriter.emit(relax.op.reshape(rewriter.mapped(part), extents), f"{var.name}/part{i}"))
    return relax.op.concat(parts, axis)


def _attention(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """softmax(q kᵀ · scale + bias) v over [batch, sequence, heads, width]; None where a mask is causal."""
    if old.attrs.causal_mask is not None or getattr(old.attrs, "window_size", None) is not None:
        return None
    name = str(var.name)

    def emit(expr: Expr, part: str) -> Expr:
        return rewriter.emit(expr, f"{name}/{part}")

    q, k, v = (rewriter.mapped(a) for a in old.args[:3])
    scale = 1 / math.sqrt(shape(q)[-1]) if old.attrs.scale is None else float(old.attrs.scale.value)
    q = emit(relax.op.permute_dims(q, [0, 2, 1, 3]), "query")
    k = emit(relax.op.permute_dims(k, [0, 2, 3, 1]), "key")
    v = emit(relax.op.permute_dims(v, [0, 2, 1, 3]), "value")
    scores = emit(relax.op.matmul(q, k), "scores")
    scores = emit(relax.op.multiply(scores, relax.const(scale, "float32")), "scaled")
    if len(old.args) > 3:
        scores = emit(relax.op.add(scores, rewriter.mapped(old.args[3])), "masked")
    weights = emit(relax.op.nn.softmax(scores, axis=-1), "weights")
    y = emit(relax.op.matmul(weights, v), "heads")
    return relax.op.permute_dims(y, [0, 2, 1, 3])


SEQUENCE_FORMS: Mapping[str, Callable[[Rewriter, Var, Expr], Expr | None]] = {
    TAKE: _take,
    SOFTMAX: _softmax,
    DIVIDE: _divide,
    STACK: _stack,
    ATTENTION: _attention,
}
