"""Results that TVM's importers leave unnamed get the name of the source layer they belong to."""

from __future__ import annotations

import re
from typing import Any

from tvm import relax

from lepton_compilers.passes.graph import Expr, Var, bindings, described, is_var
from lepton_compilers.passes.rewrite import Rewriter, rewrite

UNNAMED = re.compile(r"(lv|gv)\d*")


def name_layers(module: Any) -> Any:
    """The module with every unnamed result called `<layer>/<operator>`, for errors and reports.

    An importer binds a layer's last result under the layer's name, right after those it is made from: the
    next name is the layer's, and where that only stands for another result, that one's. Results after the
    last name keep theirs; they only gather the outputs.
    """
    layers: dict[Var, str] = {}
    last: set[Var] = set()
    layer = ""
    for binding in reversed(bindings(module["main"])):
        name = str(binding.var.name)
        if UNNAMED.fullmatch(name) is None:
            layer = name
            if is_var(binding.value):
                last.add(binding.value)
        elif layer:
            layers[binding.var] = layer

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        if var not in layers:
            return None
        if var in last:
            return rewriter.emit(rewriter.mapped(old), layers[var])
        part = "result" if isinstance(old, relax.TupleGetItem) else described(old)
        part = part.removeprefix("kernel ").strip("'")
        return rewriter.emit(rewriter.mapped(old), f"{layers[var]}/{part}")

    return rewrite(module, visit) if layers else module
