"""A flattened NCHW map that feeds a dense layer: reorder the layer's weights, not the map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.graph import (
    MATMUL,
    PERMUTE,
    RESHAPE,
    Expr,
    Var,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite


def absorb_flatten(module: Any) -> Any:
    """dense(reshape(permute(x))) becomes dense'(reshape(x)) with the rows of its weights permuted.

    After canonicalise, which brought permute and reshape next to each other; before quantisation, which
    then sees one move less. Trainable weights stay in their source's order, and the permute with them.
    """
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    graph = rewriter.graph
    if operator(old) != MATMUL or not is_constant(old.args[1]) or len(shape(old.args[1])) != 2:
        return None
    flat = graph.definition(old.args[0])
    if operator(flat) != RESHAPE:
        return None
    permute = graph.definition(flat.args[0])
    if operator(permute) != PERMUTE:
        return None
    axes, extents = permute_axes(permute), shape(permute.args[0])
    if axes[0] != 0 or shape(old.args[0]) != (extents[0], math.prod(extents[1:])):
        return None
    flat_name = str(old.args[0].name)
    # places[i] is where element i of the flattened NCHW map lies in the flattened NHWC one.
    inner = tuple(a - 1 for a in axes[1:])
    places = np.arange(int(np.prod(extents[1:]))).reshape(extents[1:]).transpose(inner).reshape(-1)
    weight = np.empty_like(value(old.args[1]))
    weight[places] = value(old.args[1])
    x = rewriter.emit(relax.op.reshape(rewriter.mapped(permute.args[0]), list(shape(old.args[0]))), flat_name)
    return tvm.ir.Call(old.op, [x, relax.const(weight)], old.attrs, old.ty_args)
