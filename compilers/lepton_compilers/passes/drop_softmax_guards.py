"""PyTorch's attention guards its softmax against rows that are masked as a whole; most networks have none."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_compilers.passes.graph import (
    ADD,
    MATMUL,
    MULTIPLY,
    PERMUTE,
    RESHAPE,
    SOFTMAX,
    Expr,
    Graph,
    Var,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite

ANY = ("relax.logical_not", "relax.astype", "relax.max")
"""What stands between "this score is −inf" and "all of this row are"."""


def drop_softmax_guards(module: Any) -> Any:
    """where(all of x's row are −inf, 0, softmax(x)) becomes softmax(x) where no row can be.

    Scores come from a product of finite numbers; only a mask that is added could make them −inf, and a mask
    that the compiler knows shows whether it hides a whole row. A mask from an input keeps the guard. After
    fold_constants, which makes masks constants; before the passes that look for layers.
    """
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    graph = rewriter.graph
    if operator(old) != "relax.where":
        return None
    condition, otherwise, kept = old.args
    softmax = graph.definition(kept)
    if operator(softmax) != SOFTMAX or not is_constant(otherwise) or value(otherwise).any():
        return None
    scores = graph.resolve(softmax.args[0])
    last = int(softmax.attrs.axis) in (-1, len(shape(scores)) - 1)
    if not last or shape(kept) != shape(var) or not _asks_for_hidden_rows(graph, condition, scores):
        return None
    return None if _may_hide_a_row(graph, scores) else rewriter.mapped(kept)


def _asks_for_hidden_rows(graph: Graph, condition: Expr, scores: Var) -> bool:
    """Whether the condition is "not any score differs from −inf"."""
    definition = graph.definition(condition)
    negations = 0
    while operator(definition) in ANY:
        negations += operator(definition) == "relax.logical_not"
        definition = graph.definition(definition.args[0])
    if operator(definition) != "relax.equal" or negations != 2:
        return False
    x, bound = definition.args
    return graph.resolve(x) == scores and is_constant(bound) and bool((value(bound) == -np.inf).all())


def _may_hide_a_row(graph: Graph, scores: Expr) -> bool:
    """Whether all scores of a row can be −inf, as far as finite inputs go."""
    definition = graph.definition(scores)
    name = operator(definition)
    if name == MATMUL:
        return False
    if name == MULTIPLY and any(map(is_constant, definition.args)):
        (factor,) = [value(a) for a in definition.args if is_constant(a)]
        rest = next(a for a in definition.args if not is_constant(a))
        return not np.isfinite(factor).all() or _may_hide_a_row(graph, rest)
    if name == ADD and any(map(is_constant, definition.args)):
        mask = next(value(a) for a in definition.args if is_constant(a))
        rest = next(a for a in definition.args if not is_constant(a))
        hidden = np.broadcast_to(mask == -np.inf, shape(scores)).all(axis=-1).any()
        return bool(hidden) or _may_hide_a_row(graph, rest)
    if name in (RESHAPE, PERMUTE):
        return _may_hide_a_row(graph, definition.args[0])
    return True
