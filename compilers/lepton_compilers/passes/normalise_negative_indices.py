"""Indices that count from the end, counted from the front."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.graph import Expr, Var, is_constant, operator, shape, value
from lepton_compilers.passes.rewrite import Rewriter, rewrite

TAKE = "relax.take"


def normalise_negative_indices(module: Any) -> Any:
    """take(x, −1) becomes take(x, extent − 1), for constant indices.

    First in the list: PyTorch's `y[:, -1]` comes as a take in the mode that does no checking, and whatever
    computes it then, TVM or a pass that moves axes, would read before the tensor's first element.
    """
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    if operator(old) != TAKE or not is_constant(old.args[1]):
        return None
    indices, axis = value(old.args[1]), old.attrs.axis
    if indices.dtype.kind != "i" or not (indices < 0).any():
        return None
    extents = shape(old.args[0])
    extent = int(np.prod(extents)) if axis is None else extents[int(axis)]
    counted = relax.const(np.where(indices < 0, indices + extent, indices), str(indices.dtype))
    return tvm.ir.Call(old.op, [rewriter.mapped(old.args[0]), counted], old.attrs, old.ty_args)
