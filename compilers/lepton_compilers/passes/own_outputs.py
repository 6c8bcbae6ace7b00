"""Outputs that are an input or a constant, once all is folded, get a layer of their own: a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_compilers.passes.graph import Expr, Var, dtype, is_constant, shape
from lepton_compilers.passes.own_operators import own_call
from lepton_compilers.passes.rewrite import Rewriter


def own_outputs(module: Any) -> Any:
    """The module with a copy before every result that nothing computes, or that is a result twice.

    Last of the tidy passes, because they leave such results behind.
    """

    def results(rewriter: Rewriter, old: Sequence[Var]) -> list[Expr]:
        inputs = list(rewriter.new.values())[: len(rewriter.graph.parameters)]
        found: list[Expr] = []
        for var in old:
            expr = rewriter.mapped(var)
            if is_constant(expr) or any(expr.same_as(other) for other in (*inputs, *found)):
                expr = rewriter.emit(own_call("copy", [expr], [(shape(expr), dtype(expr))]), str(var.name))
            found.append(expr)
        return found

    return Rewriter(module).run(lambda rewriter, var, old: None, results=results)
