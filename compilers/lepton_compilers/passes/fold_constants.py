"""Compute at compile time what only constants decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from lepton_compilers.passes.graph import (
    PERMUTE,
    RESHAPE,
    Expr,
    Var,
    integers,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite

Array = npt.NDArray[Any]


def fold_constants(module: Any) -> Any:
    """Fold arithmetic and moves of constants.

    First, because every later pass reads weights as constants. TVM's own FoldConstant is not used: it
    folds dequantize(constant) to float, which would lose the integers, and compiles each piece it folds.
    Moves of a dequantised constant stay; integerize reads through them (known.py).
    """
    return rewrite(module, _visit)


FOLDS: Mapping[str, Callable[[Expr, list[Array], Var], Array]] = {
    RESHAPE: lambda call, args, var: args[0].reshape(shape(var)),
    "relax.squeeze": lambda call, args, var: args[0].reshape(shape(var)),
    "relax.expand_dims": lambda call, args, var: args[0].reshape(shape(var)),
    PERMUTE: lambda call, args, var: args[0].transpose(permute_axes(call)),
    "relax.add": lambda call, args, var: args[0] + args[1],
    "relax.subtract": lambda call, args, var: args[0] - args[1],
    "relax.multiply": lambda call, args, var: args[0] * args[1],
    "relax.divide": lambda call, args, var: args[0] / args[1],
    "relax.astype": lambda call, args, var: args[0].astype(str(var.ty.dtype)),
}


def permute_axes(call: Expr) -> tuple[int, ...]:
    """Axes of a permute; TVM leaves them out where they are the reverse."""
    if call.attrs.axes is None:
        return tuple(reversed(range(len(shape(call.args[0])))))
    return integers(call.attrs.axes)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    name = operator(old) or ""
    if name not in FOLDS:
        return None
    arguments = [rewriter.mapped(a) for a in old.args]
    tensors = arguments[:1] if name == RESHAPE else arguments
    if all(is_constant(a) for a in tensors):
        return relax.const(np.ascontiguousarray(FOLDS[name](old, [value(a) for a in tensors], var)))
    return None
