"""Gathers and scatters. Indices that the model's input decides are held inside the tensor first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.movement import picked
from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, dtype, shape

op = relax.op


def inside(n: Node, place: int, extents: np.ndarray) -> Expr:
    """An input of indices, counted from the front and cut to what is there.

    extents: along the indexed axes, an array that stretches over the indices.
    """
    known = n.value(place).array
    if known is not None:
        held = np.where(known < 0, known + extents, known)
        return constant(np.clip(held, 0, extents - 1).astype(np.int64))
    index = n[place]
    index = index if dtype(index) == "int64" else n.emit(op.astype(index, "int64"))
    limit = constant(np.asarray(extents, np.int64))
    last = constant(np.asarray(extents, np.int64) - 1)
    zero = constant(np.int64(0))
    wrapped = n.emit(op.where(n.emit(op.less(index, zero)), n.emit(op.add(index, limit)), index))
    return n.emit(op.minimum(n.emit(op.maximum(wrapped, zero)), last))


def _gather(n: Node) -> Result:
    axis = n.axis()
    extent = n.shape()[axis]
    n.sized([*n.shape()[:axis], *n.shape(1), *n.shape()[axis + 1 :]], n.kind())
    return op.take(n[0], inside(n, 1, np.array(extent)), axis=axis, mode="clip")


def _gather_elements(n: Node) -> Result:
    axis = n.axis()
    return op.gather_elements(n[0], inside(n, 1, np.array(n.shape()[axis])), axis=axis)


def _gather_nd(n: Node) -> Result:
    batch = int(n.attribute("batch_dims", 0))
    count = n.shape(1)[-1]
    extents = np.array(n.shape()[batch : batch + count])
    return op.gather_nd(n[0], inside(n, 1, extents), batch_dims=batch)


_REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _scatter_elements(n: Node) -> Result:
    axis = n.axis()
    index = inside(n, 1, np.array(n.shape()[axis]))
    reduction = _REDUCTIONS[str(n.attribute("reduction", "none"))]
    return op.scatter_elements(n[0], index, n[2], axis=axis, reduction=reduction)


def _scatter_nd(n: Node) -> Result:
    count = n.shape(1)[-1]
    index = inside(n, 1, np.array(n.shape()[:count]))
    return op.scatter_nd(n[0], index, n[2], reduction=_REDUCTIONS[str(n.attribute("reduction", "none"))])


def _one_hot(n: Node) -> Result:
    """Indices beyond the depth light nothing; negative ones count from its end."""
    depth = int(n.known(1, "depth").reshape(-1)[0])
    rank = len(n.shape())
    axis = n.axis(-1, rank + 1)
    n.sized([*n.shape(), depth], n.kind(2))
    index = n[0] if n.kind() == "int64" else n.emit(op.astype(n[0], "int64"))
    low = n.emit(op.less(index, constant(np.int64(0))))
    index = n.emit(op.where(low, n.emit(op.add(index, constant(np.int64(depth)))), index))
    extents = list(n.shape())
    extents.insert(axis, 1)
    index = n.emit(op.reshape(index, extents))
    places = np.arange(depth, dtype=np.int64).reshape([depth if i == axis else 1 for i in range(rank + 1)])
    lit = n.emit(op.equal(index, constant(places)))
    off = n.emit(op.strided_slice(n[2], [0], [0], [1]))
    on = n.emit(op.strided_slice(n[2], [0], [1], [2]))
    return op.where(lit, on, off)


def _compress(n: Node) -> Result:
    condition = n.value(1).array
    if condition is None:
        return NotImplemented
    kept = np.flatnonzero(condition)
    x = n[0]
    if "axis" not in n.attributes:
        x = n.emit(op.reshape(x, [int(np.prod(n.shape()))]))
    axis = n.axis() if "axis" in n.attributes else 0
    kept = kept[kept < shape(x)[axis]]
    return picked(n, x, axis, kept) if kept.size else NotImplemented


def _tensor_scatter(n: Node) -> Result:
    """Rows of updates into a cache, from write_indices on; `circular` goes round."""
    axis = n.axis(-2)
    extents, count = n.shape(), n.shape(1)[axis]
    limit = extents[axis]
    steps = np.arange(count, dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(len(extents))])
    index: Expr = constant(steps)
    if n.has(2):
        first = n.emit(op.reshape(n[2], [extents[0], *[1] * (len(extents) - 1)]))
        index = n.emit(op.add(index, first))
    if n.attribute("mode", "linear") == "circular":
        index = n.emit(op.floor_mod(index, constant(np.int64(limit))))
    index = n.emit(
        op.minimum(n.emit(op.maximum(index, constant(np.int64(0)))), constant(np.int64(limit - 1)))
    )
    index = n.emit(op.broadcast_to(index, n.shape(1)))
    return op.scatter_elements(n[0], index, n[1], axis=axis, reduction="update")


RULES: Mapping[str, Converter] = {
    "Compress": _compress,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
}
