"""Windows that no operation slides: each place of the window is cut out of the padded map by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.windows import (
    MOST_PLACES,
    Window,
    counts,
    cut_to_fit,
    rounds_up,
    window,
)
from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, dtype, shape
from lepton_targets.errors import BadInputError

op = relax.op


def _cuts(n: Node, x: Expr, w: Window, count: Sequence[int], fill: float) -> list[Expr]:
    """[N, C, count…] for every place of the window, in C order; what is padded holds `fill`."""
    if math.prod(w.kernel) > MOST_PLACES:
        raise n.refused(f"has a window of {math.prod(w.kernel)} places", f"up to {MOST_PLACES}")
    axes = len(w.kernel)
    widths = [0, 0, 0, 0]
    for i in range(axes):
        need = (count[i] - 1) * w.stride[i] + w.reach[i]
        widths += [w.before[i], max(need - w.before[i] - shape(x)[2 + i], 0)]
    n.sized([e + sum(widths[2 * i : 2 * i + 2]) for i, e in enumerate(shape(x))], dtype(x))
    if any(widths):
        pairs = list(zip(widths[::2], widths[1::2]))
        kind = dtype(x)
        if kind == "float32":
            x = n.emit(op.nn.pad(x, widths, "constant", fill))
        else:
            for axis, pair in enumerate(pairs):
                sides = [[*shape(x)[:axis], width, *shape(x)[axis + 1 :]] for width in pair]
                parts = [constant(np.full(e, fill, kind)) if e[axis] else None for e in sides]
                if any(pair):
                    x = n.emit(op.concat([p for p in (parts[0], x, parts[1]) if p is not None], axis))
    found = []
    for at in itertools.product(*(range(k) for k in w.kernel)):
        begin = [a * d for a, d in zip(at, w.dilation)]
        end = [b + (c - 1) * s + 1 for b, c, s in zip(begin, count, w.stride)]
        found.append(n.emit(op.strided_slice(x, list(range(2, 2 + axes)), begin, end, list(w.stride))))
    return found


def _sum(n: Node, parts: Sequence[Expr]) -> Expr:
    total = parts[0]
    for part in parts[1:]:
        total = n.emit(op.add(total, part))
    return total


def gathered_average(n: Node, w: Window, ceil: bool, counted: bool) -> Result:
    """Mean over windows; padding counts where `counted`, what lies beyond it never."""
    size = n.shape()[2:]
    count = counts(w, size, ceil)
    total = _sum(n, _cuts(n, n[0], w, count, 0.0))
    inside = np.zeros([(c - 1) * s + r for c, s, r in zip(count, w.stride, w.reach)])
    lower = [0] * len(size) if counted else list(w.before)
    upper = [b + e + (a if counted else 0) for b, e, a in zip(w.before, size, w.after)]
    inside[tuple(slice(lo, up) for lo, up in zip(lower, upper))] = 1
    number = np.zeros(count)
    for at in itertools.product(*(range(k) for k in w.kernel)):
        cut = tuple(
            slice(a * d, a * d + (c - 1) * s + 1, s) for a, d, c, s in zip(at, w.dilation, count, w.stride)
        )
        number += inside[cut]
    return op.multiply(total, constant((1 / np.maximum(number, 1))[None, None].astype(n.kind())))


def max_pool_with_places(n: Node) -> Result:
    """The largest of each window, and where in the whole tensor it stands."""
    size = n.shape()[2:]
    w = window(n, [int(k) for k in n.attribute("kernel_shape", [])], size)
    ceil = rounds_up(n)
    w = cut_to_fit(w, size) if ceil else w
    count = counts(w, size, ceil)
    order = np.arange(math.prod(size)).reshape(size)
    if n.attribute("storage_order", 0):
        order = np.arange(math.prod(size)).reshape(size[::-1]).T
    first = np.arange(math.prod(n.shape()[:2])).reshape([*n.shape()[:2], *[1] * len(size)]) * math.prod(size)
    lowest = -np.inf if n.kind().startswith("float") else np.iinfo(n.kind()).min
    values = _cuts(n, n[0], w, count, lowest)
    places = np.pad(
        order,
        [
            (b, max((c - 1) * s + r - b - e, 0))
            for b, c, s, r, e in zip(w.before, count, w.stride, w.reach, size)
        ],
    )
    best, where = values[0], None
    for value, at in zip(values, itertools.product(*(range(k) for k in w.kernel))):
        cut = tuple(
            slice(a * d, a * d + (c - 1) * s + 1, s) for a, d, c, s in zip(at, w.dilation, count, w.stride)
        )
        here = constant((places[cut][None, None] + first).astype(np.int64))
        if where is None:
            where = here
            continue
        better = n.emit(op.greater(value, best))
        best = n.emit(op.where(better, value, best))
        where = n.emit(op.where(better, here, where))
    if where is not None and not isinstance(where, relax.Var):
        where = n.emit(op.reshape(where, shape(where)))
    return best, where


def _max_unpool(n: Node) -> Result:
    """Each value at its place among zeros."""
    axes = len(n.shape()) - 2
    kernel = [int(k) for k in n.attribute("kernel_shape", [])]
    stride = [int(s) for s in n.attribute("strides", [1] * axes)]
    pads = [int(p) for p in n.attribute("pads", [0] * (2 * axes))]
    size = [
        (e - 1) * s + k - pads[i] - pads[axes + i]
        for i, (e, s, k) in enumerate(zip(n.shape()[2:], stride, kernel))
    ]
    extents = [*n.shape()[:2], *size]
    if n.has(2):
        extents = [int(e) for e in n.known(2, "output shape").reshape(-1)]
    n.sized(extents, n.kind())
    total = math.prod(extents)
    index = n.emit(op.reshape(n[1], [math.prod(n.shape(1))]))
    if extents[2:] != size and n.has(2):
        # Places are counted in the map that the pads and strides call for.
        full = n.sized([*n.shape()[:2], *(max(e, 1) for e in size)], "int64")
        flat = np.arange(math.prod(full))
        moved = np.ravel_multi_index(np.unravel_index(flat, full), extents, mode="clip")
        index = n.emit(op.take(constant(moved.astype(np.int64)), index, axis=0, mode="clip"))
    index = n.emit(
        op.minimum(n.emit(op.maximum(index, constant(np.int64(0)))), constant(np.int64(total - 1)))
    )
    zeros = constant(np.zeros(total, n.kind()))
    values = n.emit(op.reshape(n[0], [math.prod(n.shape())]))
    flat_map = n.emit(op.scatter_elements(zeros, index, values, axis=0, reduction="update"))
    return op.reshape(flat_map, extents)


def _lp_pool(n: Node) -> Result:
    size, p = n.shape()[2:], int(n.attribute("p", 2))
    w = window(n, [int(k) for k in n.attribute("kernel_shape", [])], size)
    ceil = rounds_up(n)
    powers = [_power(n, cut, p) for cut in _cuts(n, n[0], w, counts(w, size, ceil), 0.0)]
    return _root(n, _sum(n, powers), p)


def _global_lp_pool(n: Node) -> Result:
    p = int(n.attribute("p", 2))
    total = n.emit(op.sum(_power(n, n[0], p), axis=list(range(2, len(n.shape()))), keepdims=True))
    return _root(n, total, p)


def _power(n: Node, x: Expr, p: int) -> Expr:
    magnitude = n.emit(op.abs(x))
    if p == 1:
        return magnitude
    if p == 2:
        return n.emit(op.multiply(x, x))
    return n.emit(op.power(magnitude, n.scalar(p, n.kind())))


def _root(n: Node, x: Expr, p: int) -> Expr:
    if p == 1:
        return x
    return n.emit(op.sqrt(x) if p == 2 else op.power(x, n.scalar(1 / p, n.kind())))


def _column_to_image(n: Node) -> Result:
    """Sums the columns of windows back into the image, by the constant place of every element."""
    image = [int(e) for e in n.known(1, "image shape").reshape(-1)]
    block = [int(e) for e in n.known(2, "block shape").reshape(-1)]
    w = window(n, block, image)
    count = counts(w, image, False)
    batch, rows, columns = n.shape()
    channels = rows // math.prod(block)
    if channels * math.prod(block) != rows or math.prod(count) != columns:
        raise BadInputError(f"layer '{n.name}' (Col2Im) folds {n.shape()} to {image} by {block}")
    padded = [e + b + a for e, b, a in zip(image, w.before, w.after)]
    n.sized([batch, channels, *padded], n.kind())
    places = np.zeros((math.prod(block), math.prod(count)), np.int64)
    for row, at in enumerate(itertools.product(*(range(k) for k in block))):
        grid = np.meshgrid(
            *(a * d + s * np.arange(c) for a, d, s, c in zip(at, w.dilation, w.stride, count)), indexing="ij"
        )
        places[row] = np.ravel_multi_index(tuple(grid), padded).reshape(-1)
    maps = batch * channels
    values = n.emit(op.reshape(n[0], [maps, math.prod(block) * columns]))
    index = constant(np.broadcast_to(places.reshape(1, -1), (maps, places.size)).copy())
    zeros = constant(np.zeros((maps, math.prod(padded)), n.kind()))
    summed = n.emit(op.scatter_elements(zeros, index, values, axis=1, reduction="add"))
    y = n.emit(op.reshape(summed, [batch, channels, *padded]))
    for axis, (before, extent) in enumerate(zip(w.before, image)):
        if shape(y)[2 + axis] != extent:
            y = n.emit(op.strided_slice(y, [2 + axis], [before], [before + extent]))
    return y


RULES: Mapping[str, Converter] = {
    "Col2Im": _column_to_image,
    "GlobalLpPool": _global_lp_pool,
    "LpPool": _lp_pool,
    "MaxUnpool": _max_unpool,
}
