"""Batch normalisation at inference is a factor and an offset a channel: they belong to the layer before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.passes.graph import (
    ADD,
    CONV2D,
    MATMUL,
    Expr,
    Var,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite

BATCH_NORM = "relax.nn.batch_norm"
Array = npt.NDArray[Any]


def fold_batch_norm(module: Any) -> Any:
    """Multiply the factor into the convolution's or dense layer's weights, the offset into its bias.

    After fold_constants, which made the bias a constant; before to_nhwc, while weights are still OIHW, and
    before quantisation, which must see the weights as they will be. A normalisation that follows nothing
    it could join becomes a depthwise 1×1 convolution. TVM's FoldBatchnormToConv2D knows no bias, no dense.
    """
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    graph = rewriter.graph
    if not isinstance(old, relax.TupleGetItem) or int(old.index) != 0:
        return None
    norm = graph.definition(old.tuple_value)
    if operator(norm) != BATCH_NORM or not all(is_constant(a) for a in norm.args[1:]):
        return None
    gamma, beta, mean, variance = (value(a).astype(np.float64) for a in norm.args[1:])
    factor = (gamma if norm.attrs.scale else 1.0) / np.sqrt(variance + float(norm.attrs.epsilon))
    shift = beta if norm.attrs.center else np.zeros_like(beta)
    rank = len(shape(norm.args[0]))
    layer, bias = _layer_before(rewriter, norm.args[0])
    if layer is None:
        if rank != 4:
            return None
        weight = factor.reshape(-1, 1, 1, 1)
        data, groups = rewriter.mapped(norm.args[0]), factor.size
        call = relax.op.nn.conv2d(
            data, relax.const(weight.astype(np.float32)), groups=groups, data_layout="NCHW"
        )
        return _biased(rewriter, call, shift - mean * factor, var, rank)
    weight = value(layer.args[1]).astype(np.float64)
    weight = weight * (factor.reshape(-1, 1, 1, 1) if operator(layer) == CONV2D else factor)
    arguments = [rewriter.mapped(layer.args[0]), relax.const(weight.astype(np.float32))]
    call = tvm.ir.Call(layer.op, arguments, layer.attrs, layer.ty_args)
    return _biased(rewriter, call, (bias - mean) * factor + shift, var, rank)


def _layer_before(rewriter: Rewriter, data: Expr) -> tuple[Expr | None, Array]:
    """The convolution or dense layer that only this normalisation reads, and its bias (0 where none)."""
    graph, bias = rewriter.graph, np.zeros(1)
    if graph.operator(data) == ADD and graph.uses(data) == 1:
        a, b = graph.definition(data).args
        b = rewriter.mapped(b)
        if not is_constant(b) or value(b).size != shape(data)[1]:
            return None, bias
        data, bias = a, value(b).astype(np.float64).reshape(-1)
    layer = graph.definition(data)
    joins = operator(layer) == MATMUL or (
        operator(layer) == CONV2D
        and (str(layer.attrs.data_layout), str(layer.attrs.kernel_layout)) == ("NCHW", "OIHW")
    )
    if not joins or graph.uses(data) != 1 or not is_constant(layer.args[1]):
        return None, bias
    return layer, bias


def _biased(rewriter: Rewriter, call: Expr, bias: Array, var: Var, rank: int) -> Expr:
    layer = rewriter.emit(call, f"{var.name}/scaled")
    extents = [1, -1, 1, 1] if rank == 4 else [1, -1]
    return relax.op.add(layer, relax.const(bias.astype(np.float32).reshape(extents)))
