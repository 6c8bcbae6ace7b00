"""One form for what the importers write in several."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.graph import (
    AVERAGE_POOL,
    CLIP,
    DEQUANTIZE,
    PERMUTE,
    QUANTIZE,
    RESHAPE,
    Expr,
    Var,
    integers,
    is_var,
    number,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite
from lepton_compilers.passes.sequence_forms import SEQUENCE_FORMS, part_of_split
from lepton_compilers.passes.to_nhwc import permuted


def canonicalise(module: Any) -> Any:
    """Means and maxima over axes as pools, every change of shape as reshape, no move that moves nothing.

    After to_nhwc, because a global pool's window is rows × columns of NHWC, and because that pass leaves
    pairs of permutes behind; before quantisation, which would otherwise give each form its own numbers.
    """
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    if isinstance(old, relax.TupleGetItem):
        return part_of_split(rewriter, var, old)
    rule = RULES.get(operator(old) or "")
    return rule(rewriter, var, old) if rule else None


def _reshape(rewriter: Rewriter, var: Var, old: Expr) -> Expr:
    """reshape(reshape(x)) is one reshape; one to the same shape is nothing."""
    x = old.args[0]
    while rewriter.graph.operator(x) in RESHAPES:
        x = rewriter.graph.definition(x).args[0]
    if shape(x) == shape(var):
        return rewriter.mapped(x)
    return relax.op.reshape(rewriter.mapped(x), list(shape(var)))


def _permute(rewriter: Rewriter, var: Var, old: Expr) -> Expr:
    """permute(permute(x)) is one permute, or nothing."""
    x, axes = old.args[0], permute_axes(old)
    while rewriter.graph.operator(x) == PERMUTE:
        inner = rewriter.graph.definition(x)
        axes = tuple(permute_axes(inner)[axis] for axis in axes)
        x = inner.args[0]
    if axes == tuple(range(len(axes))):
        return rewriter.mapped(x)
    return permuted(rewriter.mapped(x), axes)


def _clip(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """clip to ±infinity is nothing; clip below at zero alone is relu."""
    low, high = number(old.args[1]), number(old.args[2])
    if np.isneginf(low) and np.isposinf(high):
        return rewriter.mapped(old.args[0])
    if low == 0 and np.isposinf(high) and str(var.ty.dtype) == "float32":
        return relax.op.nn.relu(rewriter.mapped(old.args[0]))
    return None


def _pooled(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """A mean or maximum over adjacent axes behind the first, as a pool over the whole of them."""
    x, extents = rewriter.mapped(old.args[0]), shape(old.args[0])
    given = range(len(extents)) if old.attrs.axis is None else integers(old.attrs.axis)
    axes = sorted({a % len(extents) for a in given} - ({0} if extents[:1] == (1,) else set()))
    if not axes or axes[0] == 0 or axes != list(range(axes[0], axes[-1] + 1)):
        return None
    whole_map = axes == [1, 2] and len(extents) == 4
    if rewriter.graph.operator(old.args[0]) == DEQUANTIZE and not (
        whole_map and operator(old) == "relax.max"
    ):
        # An int8 mean over axes rounds in its own way (docs/arithmetic.md, Reduce); a maximum moves bytes.
        return None
    pool = relax.op.nn.avg_pool2d if operator(old) == "relax.mean" else relax.op.nn.max_pool2d
    if whole_map:
        size = extents[1:3]
    else:
        batch, kept = extents[0], math.prod(extents[1 : axes[0]])
        pooled, inner = math.prod(extents[a] for a in axes), math.prod(extents[axes[-1] + 1 :])
        if kept > 1:
            # Turning the map for a pool costs more than a reduction, which walks any axes.
            return None
        x = rewriter.emit(relax.op.reshape(x, [batch, pooled, 1, inner]), f"{var.name}/map")
        size = (pooled, 1)
    y = pool(x, pool_size=size, strides=size, layout="NHWC")
    if shape(var) == (extents[0], 1, 1, extents[-1]) and axes == [1, 2]:
        return y
    return relax.op.reshape(rewriter.emit(y, f"{var.name}/pool"), list(shape(var)))


def _average_pool(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """A mean that counts padded zeros is a pad, then a mean without padding."""
    a = old.attrs
    top, left, bottom, right = integers(a.padding)
    if not bool(a.count_include_pad) or not any((top, left, bottom, right)) or bool(a.ceil_mode):
        return None
    widths = [0, 0, top, bottom, left, right, 0, 0]
    padded = rewriter.emit(relax.op.nn.pad(rewriter.mapped(old.args[0]), widths), f"{var.name}/pad")
    size, stride = integers(a.pool_size), integers(a.strides)
    return relax.op.nn.avg_pool2d(padded, pool_size=size, strides=stride, layout="NHWC")


def _quantize(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    """quantize(reshape(x)) is reshape(quantize(x)): the layer that computed x meets its quantize."""
    x = rewriter.mapped(old.args[0])
    inner: Expr = rewriter.builder.lookup_binding(x) if is_var(x) else None
    if operator(inner) != RESHAPE or value(old.args[1]).size != 1:
        return None
    quantised = tvm.ir.Call(old.op, [inner.args[0], *old.args[1:]], old.attrs, old.ty_args)
    return relax.op.reshape(rewriter.emit(quantised, f"{var.name}/quantised"), list(shape(var)))


RESHAPES = (RESHAPE, "relax.squeeze", "relax.expand_dims", "relax.nn.batch_flatten")
RULES: Mapping[str, Callable[[Rewriter, Var, Expr], Expr | None]] = {
    **dict.fromkeys(RESHAPES, _reshape),
    PERMUTE: _permute,
    QUANTIZE: _quantize,
    CLIP: _clip,
    AVERAGE_POOL: _average_pool,
    "relax.mean": _pooled,
    "relax.max": _pooled,
    **SEQUENCE_FORMS,
}
