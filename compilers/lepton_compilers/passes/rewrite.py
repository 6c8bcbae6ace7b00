"""How a pass changes a module: walk the bindings in order, let the pass answer each, build anew.

The result is one dataflow block of calls. Only what the results need is kept, so a pass may leave dead
bindings behind. Attributes of the function (`num_input`, `output_names`, `params`) travel along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

from lepton_compilers.passes.graph import Expr, Graph, Var, is_constant, is_var, operands
from lepton_compilers.quiet import abandon

Visitor = Callable[["Rewriter", Var, Expr], "Expr | None"]
"""(rewriter, old variable, its old definition) → the new expression, or None for "as it was"."""


class Rewriter:
    """One walk over a module's `main`. `new` maps the old variables met so far to new expressions."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.graph = Graph(module["main"])
        self.builder = relax.BlockBuilder()
        self.new: dict[Var, Expr] = {}
        self._taken: set[str] = set()

    def mapped(self, expr: Expr) -> Expr:
        """An old expression in terms of the new function."""
        if is_var(expr):
            return self.new[self.graph.resolve(expr)]
        if isinstance(expr, tvm.ir.Tuple):
            return relax.Tuple([self.mapped(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.mapped(expr.tuple_value), expr.index)
        if isinstance(expr, tvm.ir.Call):
            return tvm.ir.Call(expr.op, [self.mapped(a) for a in expr.args], expr.attrs, expr.ty_args)
        return expr

    def emit(self, expr: Expr, name: str = "") -> Expr:
        """Bind a new expression; constants and variables need no binding."""
        if is_var(expr) or is_constant(expr):
            return expr
        # What is measured of a layer, and what is asked of it, is kept by its name.
        count, unique = 1, name
        while unique in self._taken:
            count += 1
            unique = f"{name}:{count}"
        if name:
            self._taken.add(unique)
        return bind(self.builder, expr, unique)

    def run(self, visit: Visitor, parameters: Sequence[Var] | None = None, results: Any = None) -> Any:
        """The rewritten module.

        parameters: new ones where their types change (one for each old one).
        results: (rewriter, old result variables) → new results; by default the same ones.
        """
        old = self.graph.parameters
        new = tuple(parameters) if parameters else tuple(relax.Var(p.name, p.ty) for p in old)
        self.new.update(zip(old, new))
        attributes = {str(k): v for k, v in dict(self.graph.function.attrs or {}).items()}
        functions = {g: self.module[g] for g in self.module.get_global_vars() if g.name_hint != "main"}
        for g, function in functions.items():
            self.builder.add_func(function, g.name_hint)
        try:
            self._build(visit, new, attributes, results)
        except BaseException:
            abandon(self.builder)
            raise
        return relax.transform.DeadCodeElimination()(self.builder.finalize())

    def _build(self, visit: Visitor, new: tuple[Var, ...], attributes: dict[str, Any], results: Any) -> None:
        needed = _needed(self.graph)
        with self.builder.function("main", list(new), attrs=attributes):
            with self.builder.dataflow():
                for binding in self.graph.bindings:
                    if binding.var not in needed or is_var(binding.value):
                        continue
                    answer = visit(self, binding.var, binding.value)
                    if answer is None:
                        answer = self.mapped(binding.value)
                    self.new[binding.var] = self.emit(answer, binding.var.name)
                outputs = (
                    results(self, self.graph.results)
                    if results
                    else [self.mapped(var) for var in self.graph.results]
                )
                output = outputs[0] if len(outputs) == 1 else relax.Tuple(list(outputs))
                output = self.builder.emit_output(output)
            self.builder.emit_func_output(output)


def bind(builder: Any, expr: Expr, name: str) -> Var:
    """Bind an expression in a dataflow block under its name; TVM's own emit replaces dots and adds digits."""
    if not name:
        return builder.emit(expr, name_hint=name)
    value = builder.normalize(expr)
    var = relax.DataflowVar(name, value.ty)
    builder.emit_normalized(relax.VarBinding(var, value))
    return var


def rewrite(module: Any, visit: Visitor) -> Any:
    """The module with every binding that `visit` answers replaced."""
    return Rewriter(module).run(visit)


def _needed(graph: Graph) -> set[Var]:
    needed = set(graph.results)
    for binding in reversed(graph.bindings):
        if binding.var in needed:
            needed.update(operands(binding.value))
    return needed
