"""Operators that need an order along an axis: sorting, the place of an extreme, running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.movement import picked
from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, shape
from lepton_targets.errors import BadInputError

op = relax.op


def _top_k(n: Node) -> Result:
    axis = n.axis(-1)
    count = int(n.known(1, "k").reshape(-1)[0]) if n.has(1) else int(n.attribute("k", 1))
    if not 0 < count <= n.shape()[axis]:
        raise BadInputError(f"layer '{n.name}' (TopK) takes {count} of {n.shape()[axis]}")
    return op.topk(
        n[0], k=count, axis=axis, ret_type="both", largest=bool(n.attribute("largest", 1)), dtype="int64"
    )


def _place(function: Callable[..., Expr]) -> Converter:
    def rule(n: Node) -> Result:
        axis, keep = n.axis(), bool(n.attribute("keepdims", 1))
        x, extent = n[0], n.shape()[axis]
        if not n.attribute("select_last_index", 0):
            return function(x, axis=axis, keepdims=keep)
        turned = picked(n, x, axis, np.arange(extent)[::-1])
        found = n.emit(function(turned, axis=axis, keepdims=keep))
        return op.subtract(constant(np.int64(extent - 1)), found)

    return rule


def _hardmax(n: Node) -> Result:
    if n.opset < 13:
        flat = n.emit(op.reshape(n[0], _flattened(n)))
        return op.reshape(n.emit(hardmax(n, flat, 1)), n.shape())
    return hardmax(n, n[0], n.axis(-1))


def _flattened(n: Node) -> list[int]:
    axis = n.axis(1)
    return [int(np.prod(n.shape()[:axis])), int(np.prod(n.shape()[axis:]))]


def hardmax(n: Node, x: Expr, axis: int) -> Expr:
    """One at the first largest along an axis."""
    first = n.emit(op.argmax(x, axis=axis, keepdims=True))
    extents = shape(x)
    places = np.arange(extents[axis], dtype=np.int64).reshape(
        [-1 if i == axis else 1 for i in range(len(extents))]
    )
    return op.astype(n.emit(op.equal(constant(places), first)), n.kind())


def _running(function: Callable[..., Expr]) -> Converter:
    def rule(n: Node) -> Result:
        rank = len(n.shape())
        axis = int(n.known(1, "axis").reshape(-1)[0])
        if not -rank <= axis < rank:
            raise n.refused(f"has axis {axis} on {rank} axes")
        axis %= rank
        back = bool(n.attribute("reverse", 0))
        order = np.arange(n.shape()[axis])[::-1]
        x = picked(n, n[0], axis, order) if back else n[0]
        y = n.emit(function(x, axis=axis, dtype=n.kind(), exclusive=bool(n.attribute("exclusive", 0))))
        return picked(n, y, axis, order) if back else y

    return rule


RULES: Mapping[str, Converter] = {
    "ArgMax": _place(op.argmax),
    "ArgMin": _place(op.argmin),
    "CumProd": _running(op.cumprod),
    "CumSum": _running(op.cumsum),
    "Hardmax": _hardmax,
    "TopK": _top_k,
}
