"""Operators that move, cut, repeat and surround: no number changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, dtype, shape
from lepton_targets.errors import BadInputError

op = relax.op


def reshaped(n: Node, x: Expr, extents: Sequence[int]) -> Expr:
    """x with other extents of the same product. Raises BadInputError where it differs."""
    extents = [int(e) for e in extents]
    if math.prod(extents) != math.prod(shape(x)) or any(e < 0 for e in extents):
        raise BadInputError(
            f"layer '{n.name}' ({n.operator}) can't give {shape(x)} the shape {tuple(extents)}"
        )
    return x if tuple(extents) == shape(x) else op.reshape(x, extents)


def _reshape(n: Node) -> Result:
    target = n.numbers(1, "shape")
    if target is None:
        raise n.refused("has no target shape")
    given = n.shape()
    if not n.attribute("allowzero", 0):
        if any(e == 0 and i >= len(given) for i, e in enumerate(target)):
            raise n.refused(f"keeps an extent that {given} does not have")
        target = [given[i] if e == 0 else e for i, e in enumerate(target)]
    if target.count(-1) == 1:
        rest = math.prod(e for e in target if e != -1)
        target = [math.prod(given) // max(rest, 1) if e == -1 else e for e in target]
    return reshaped(n, n[0], target)


def _flatten(n: Node) -> Result:
    given = n.shape()
    axis = int(n.attribute("axis", 1))
    axis = axis + len(given) if axis < 0 else axis
    return reshaped(n, n[0], [math.prod(given[:axis]), math.prod(given[axis:])])


def _axes(n: Node, rank: int, place: int = 1) -> list[int] | None:
    axes = n.numbers(place, "axes")
    if axes is not None and any(not -rank <= a < rank for a in axes):
        raise n.refused(f"names axes {axes} of {rank}")
    return None if axes is None else [a % rank for a in axes]


def _squeeze(n: Node) -> Result:
    given = n.shape()
    axes = _axes(n, len(given))
    dropped = [i for i, e in enumerate(given) if e == 1] if axes is None else axes
    return reshaped(n, n[0], [e for i, e in enumerate(given) if i not in dropped])


def _unsqueeze(n: Node) -> Result:
    given = list(n.shape())
    count = len(n.numbers(1, "axes") or [])
    axes = _axes(n, len(given) + count) or []
    for axis in sorted(axes):
        given.insert(axis, 1)
    return reshaped(n, n[0], given)


def _transpose(n: Node) -> Result:
    axes = n.attribute("perm", None)
    axes = list(range(len(n.shape())))[::-1] if axes is None else [int(a) for a in axes]
    if sorted(axes) != list(range(len(n.shape()))):
        raise n.refused(f"permutes axes {axes} of {len(n.shape())}")
    return op.permute_dims(n[0], axes) if axes else reshaped(n, n[0], [])


def _concat(n: Node) -> Result:
    axis = n.axis(name="axis")
    parts = [n.tensor(v) for v in n.inputs if v is not None and v.shape[axis] > 0]
    if len(parts) == 1:
        return reshaped(n, parts[0], shape(parts[0]))
    return op.concat(parts, axis)


def _split(n: Node) -> Result:
    axis, count = n.axis(), len(n.wanted)
    extent = n.shape()[axis]
    sizes = n.numbers(1, "split")
    if sizes is None:
        each = -(-extent // int(n.attribute("num_outputs", count)))
        sizes = [max(min(each, extent - each * i), 0) for i in range(count)]
    if sum(sizes) != extent or len(sizes) != count or min(sizes) < 0:
        raise BadInputError(f"layer '{n.name}' (Split) cuts {extent} into {sizes}")
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(
        sliced(n, n[0], axis, a, b) if b > a else _nothing(n, axis) for a, b in itertools.pairwise(starts)
    )


def _nothing(n: Node, axis: int) -> Any:
    extents = list(n.shape())
    extents[axis] = 0
    return np.zeros(extents, n.kind())


def sliced(n: Node, x: Expr, axis: int, start: int, end: int, step: int = 1) -> Expr:
    """x[start:end:step] along an axis, 0 ≤ start < end ≤ extent, step > 0."""
    if (start, end, step) == (0, shape(x)[axis], 1):
        return x
    return n.emit(op.strided_slice(x, [axis], [start], [end], [step]))


def picked(n: Node, x: Expr, axis: int, places: Any) -> Expr:
    """x at constant places along an axis."""
    index = constant(np.asarray(places, np.int64))
    return n.emit(op.take(x, index, axis=axis, mode="clip"))


def _slice(n: Node) -> Result:
    """Bounds beyond the extents are cut to them, as numpy does."""
    x, rank = n[0], len(n.shape())
    starts, ends = n.numbers(1, "starts"), n.numbers(2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        raise n.refused("has no bounds")
    axes = n.numbers(3, "axes") or list(range(len(starts)))
    steps = n.numbers(4, "steps") or [1] * len(starts)
    if any(not -rank <= a < rank for a in axes) or 0 in steps or not len(axes) == len(steps) == len(starts):
        raise n.refused(f"cuts axes {axes} of {rank} in steps {steps}")
    for axis, start, end, step in zip(axes, starts, ends, steps):
        axis, extent = axis % rank, shape(x)[axis]
        places = range(*slice(start, end, step).indices(extent))
        if not places:
            extents = list(shape(x))
            extents[axis] = 0
            return np.zeros(extents, n.kind())
        if step > 0:
            x = sliced(n, x, axis, places[0], places[-1] + 1, step)
        else:
            x = picked(n, x, axis, list(places))
    return x


def _pad(n: Node) -> Result:
    """Modes constant, reflect, edge and wrap; widths below zero cut."""
    x, rank = n[0], len(n.shape())
    widths = n.numbers(1, "pads") or []
    axes = n.numbers(3, "axes") if n.has(3) else list(range(rank))
    if axes is None or len(widths) != 2 * len(axes) or any(not -rank <= a < rank for a in axes):
        raise n.refused(f"gives {len(widths)} widths to axes {axes} of {rank}")
    pairs = {a % rank: (widths[i], widths[i + len(axes)]) for i, a in enumerate(axes)}
    mode = str(n.attribute("mode", "constant"))
    extents = [e + sum(pairs.get(i, (0, 0))) for i, e in enumerate(n.shape())]
    n.sized([max(e, 0) for e in extents], n.kind())
    for axis, (before, after) in pairs.items():
        if before < 0 or after < 0:
            extent = shape(x)[axis]
            x = sliced(n, x, axis, max(-before, 0), extent - max(-after, 0))
            pairs[axis] = (max(before, 0), max(after, 0))
    if mode == "constant":
        return _constant_pad(n, x, [pairs.get(i, (0, 0)) for i in range(rank)])
    if mode not in ("edge", "reflect", "wrap"):
        raise n.refused(f"has the mode '{mode}'", "constant, edge, reflect, wrap")
    for axis, pair in pairs.items():
        if any(pair):
            x = picked(n, x, axis, np.pad(np.arange(shape(x)[axis]), pair, mode=mode))  # type: ignore[call-overload]
    return x


def _constant_pad(n: Node, x: Expr, pairs: list[tuple[int, int]]) -> Result:
    kind = dtype(x)
    if n.has(2) and n.value(2).array is None:
        filler = n.emit(op.reshape(n[2], [1] * len(shape(x))))
        for axis, (before, after) in enumerate(pairs):
            sides = []
            for width in (before, after):
                extents = [*shape(x)[:axis], width, *shape(x)[axis + 1 :]]
                sides.append([n.emit(op.broadcast_to(filler, extents))] if width else [])
            if before or after:
                x = n.emit(op.concat([*sides[0], x, *sides[1]], axis))
        return x
    fill = (
        n.known(2, "fill").reshape(-1)[0]
        if n.has(2) and n.value(2).shape != (0,)
        else n.attribute("value", 0.0)
    )
    if kind == "float32":
        return op.nn.pad(x, [int(w) for pair in pairs for w in pair], "constant", float(fill))
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            sides = [[*shape(x)[:axis], width, *shape(x)[axis + 1 :]] for width in (before, after)]
            parts = [constant(np.full(extents, fill, kind)) if extents[axis] else None for extents in sides]
            x = n.emit(op.concat([p for p in (parts[0], x, parts[1]) if p is not None], axis))
    return x


def _tile(n: Node) -> Result:
    repeats = n.numbers(1, "repeats") or []
    n.sized([e * r for e, r in zip(n.shape(), repeats)], n.kind())
    if any(r < 1 for r in repeats) or len(repeats) != len(n.shape()):
        raise n.refused(f"repeats {repeats} times")
    return op.tile(n[0], repeats)


def _expand(n: Node) -> Result:
    wanted = n.numbers(1, "shape") or []
    extents = list(np.broadcast_shapes(n.shape(), tuple(wanted))) if min(wanted, default=1) > 0 else []
    if min(wanted, default=1) < 1:
        raise n.refused(f"stretches to {wanted}")
    extents = n.sized(extents, n.kind())
    return op.broadcast_to(n[0], extents) if tuple(extents) != n.shape() else n.value()


def _depth_to_space(n: Node) -> Result:
    batch, channels, height, width = n.shape()
    block = int(n.attribute("blocksize", 1))
    if block < 1 or channels % (block * block):
        raise n.refused(f"takes blocks of {block} from {channels} channels")
    inner = channels // (block * block)
    if n.attribute("mode", "DCR") == "DCR":
        x = n.emit(op.reshape(n[0], [batch, block, block, inner, height, width]))
        x = n.emit(op.permute_dims(x, [0, 3, 4, 1, 5, 2]))
    else:
        x = n.emit(op.reshape(n[0], [batch, inner, block, block, height, width]))
        x = n.emit(op.permute_dims(x, [0, 1, 4, 2, 5, 3]))
    return op.reshape(x, [batch, inner, height * block, width * block])


def _space_to_depth(n: Node) -> Result:
    batch, channels, height, width = n.shape()
    block = int(n.attribute("blocksize", 1))
    if block < 1 or height % block or width % block:
        raise n.refused(f"cuts {height} × {width} into blocks of {block}")
    h, w = height // block, width // block
    x = n.emit(op.reshape(n[0], [batch, channels, h, block, w, block]))
    order = [0, 3, 5, 1, 2, 4] if n.attribute("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return op.reshape(n.emit(op.permute_dims(x, order)), [batch, channels * block * block, h, w])


def _identity(n: Node) -> Result:
    return n.value()


def _dropout(n: Node) -> Result:
    """Nothing at inference; the mask keeps all."""
    if n.has(2) and bool(n.known(2, "mode").reshape(-1)[0]):
        ratio = float(n.known(1, "ratio").reshape(-1)[0]) if n.has(1) else 0.5
        if ratio != 0.0:
            raise n.refused("drops values at random", "inference")
    mask = np.ones(n.shape(), np.bool_) if len(n.wanted) > 1 else None
    return (n.value(), mask) if mask is not None else n.value()


def _trilu(n: Node) -> Result:
    offset = int(n.known(1, "diagonal").reshape(-1)[0]) if n.has(1) else 0
    rows, columns = n.shape()[-2:]
    keep = np.tri(rows, columns, offset, dtype=np.bool_)
    if n.attribute("upper", 1):
        keep = ~np.tri(rows, columns, offset - 1, dtype=np.bool_)
    return op.where(constant(keep), n[0], n.scalar(0, n.kind()))


def _eye_like(n: Node) -> Result:
    from lepton_compilers.importers.onnx.rules.casts import element_kind

    rows, columns = n.shape()
    kind = element_kind(int(n.attributes["dtype"])) if "dtype" in n.attributes else n.value().kind
    return np.eye(rows, columns, int(n.attribute("k", 0))).astype(kind)


def _reverse_sequence(n: Node) -> Result:
    batch, time = int(n.attribute("batch_axis", 1)), int(n.attribute("time_axis", 0))
    x, extents = n[0], n.shape()
    steps = np.arange(extents[time]).reshape([-1 if i == time else 1 for i in range(len(extents))])
    lengths = n.emit(op.reshape(n[1], [-1 if i == batch else 1 for i in range(len(extents))]))
    held = constant(steps.astype(np.int64))
    last = n.emit(op.subtract(lengths, constant(np.int64(1))))
    back = n.emit(op.subtract(last, held))
    index = n.emit(op.where(n.emit(op.less(held, lengths)), back, held))
    index = n.emit(op.maximum(index, constant(np.int64(0))))
    return op.gather_elements(x, n.emit(op.broadcast_to(index, extents)), axis=time)


RULES: Mapping[str, Converter] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
