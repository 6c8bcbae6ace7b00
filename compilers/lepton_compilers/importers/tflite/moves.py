"""TFLite operators that move elements: slices, joins, tiles, borders, blocks of pixels to channels and back.

Reshapes and transposes move the stored bytes; the others stand between dequantize and quantize, where
integerize finds their int8 form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tflite
from tvm import relax

from lepton_compilers.importers.tflite.layer import Layer, Shape
from lepton_compilers.passes.graph import Expr, shape
from lepton_compilers.peak import checked_size

Results = Expr | tuple[Expr, ...]
Converter = Callable[[Layer], Results]


def sliced(x: Expr, begin: Sequence[int], end: Sequence[int], strides: Sequence[int]) -> Expr:
    """x[begin:end:strides] along the first axes; an end beyond the beginning is written as Relax does."""
    axes = list(range(len(begin)))
    return relax.op.strided_slice(x, axes, list(begin), list(end), list(strides))


def _slice(layer: Layer) -> Expr:
    begin, size = layer.integers(1, "begins"), layer.integers(2, "sizes")
    extents = layer.shape(0)
    end = [n if count < 0 else start + count for start, count, n in zip(begin, size, extents)]
    return layer.quantised(sliced(layer.real(0), begin, end, [1] * len(begin)))


def strided_ranges(
    extents: Shape, begin: Sequence[int], end: Sequence[int], strides: Sequence[int], masks: Mapping[str, int]
) -> tuple[tuple[slice, ...], Shape, set[int]]:
    """(a slice an axis, the result's shape, axes that vanish) of STRIDED_SLICE.

    Raises NotImplementedError for new axes and ellipses.
    """
    if masks["ellipsis"] or masks["new_axis"]:
        raise NotImplementedError("STRIDED_SLICE with new axes or an ellipsis")
    ranges: list[slice] = []
    gone: set[int] = set()
    for axis, n in enumerate(extents):
        if axis >= len(begin):
            ranges.append(slice(0, n, 1))
            continue
        bit = 1 << axis
        if masks["shrink"] & bit:
            at = begin[axis] % n if begin[axis] < 0 else begin[axis]
            ranges.append(slice(at, at + 1, 1))
            gone.add(axis)
            continue
        given = slice(
            None if masks["begin"] & bit else begin[axis],
            None if masks["end"] & bit else end[axis],
            strides[axis],
        )
        ranges.append(slice(*given.indices(n)))
    counts = [len(range(r.start, r.stop, r.step)) for r in ranges]
    return tuple(ranges), tuple(n for axis, n in enumerate(counts) if axis not in gone), gone


def _strided_slice(layer: Layer) -> Expr:
    options = layer.options(tflite.StridedSliceOptions)
    masks = {
        "begin": int(options.BeginMask()),
        "end": int(options.EndMask()),
        "ellipsis": int(options.EllipsisMask()),
        "new_axis": int(options.NewAxisMask()),
        "shrink": int(options.ShrinkAxisMask()),
    }
    lists = [layer.integers(i, what) for i, what in ((1, "begins"), (2, "ends"), (3, "strides"))]
    begin, end, strides = lists
    try:
        ranges, result, gone = strided_ranges(layer.shape(0), begin, end, strides, masks)
    except NotImplementedError as error:
        raise layer.refuse("new axes or an ellipsis; write them as a reshape") from error
    x = layer.raw(0) if gone else layer.real(0)
    for axis, r in enumerate(ranges):
        if r.step < 0:
            raise layer.refuse(f"stride {r.step} along axis {axis}; positive strides are supported")
    starts, stops, steps = ([getattr(r, name) for r in ranges] for name in ("start", "stop", "step"))
    if not gone:
        return layer.quantised(sliced(x, starts, stops, steps))
    if layer.gives_int8():
        part = layer.emit(layer.converter.dequantize(x, layer.inputs[0]))
        part = layer.emit(layer.quantised(sliced(part, starts, stops, steps)))
    else:
        part = layer.emit(sliced(x, starts, stops, steps))
    return relax.op.reshape(part, list(result))


def _parts(layer: Layer, source: int, axis: int, sizes: Sequence[int]) -> tuple[Expr, ...]:
    x, extents = layer.real(source), layer.shape(source)
    results, start = [], 0
    for index, size in enumerate(sizes):
        begin, end = [0] * len(extents), list(extents)
        begin[axis], end[axis] = start, start + size
        part = layer.emit(sliced(x, begin, end, [1] * len(extents)))
        results.append(layer.quantised(part, index))
        start += size
    return tuple(results)


def _split(layer: Layer) -> tuple[Expr, ...]:
    (axis,) = layer.axes(0, len(layer.shape(1)))
    count = len(layer.outputs)
    return _parts(layer, 1, axis, [layer.shape(1)[axis] // count] * count)


def _split_v(layer: Layer) -> tuple[Expr, ...]:
    (axis,), sizes = layer.axes(2, len(layer.shape(0))), list(layer.integers(1, "sizes"))
    whole = layer.shape(0)[axis]
    rest = whole - sum(n for n in sizes if n >= 0)
    return _parts(layer, 0, axis, [rest if n < 0 else n for n in sizes])


def _unpack(layer: Layer) -> tuple[Expr, ...]:
    extents = layer.shape(0)
    axis = int(layer.options(tflite.UnpackOptions).Axis()) % len(extents)
    if extents[axis] != len(layer.outputs):
        raise layer.refuse(f"{len(layer.outputs)} parts of an extent of {extents[axis]}")
    parts = _parts(layer, 0, axis, [1] * extents[axis])
    left = [n for at, n in enumerate(extents) if at != axis]
    return tuple(relax.op.reshape(layer.emit(part), left) for part in parts)


def joined(layer: Layer, parts: Sequence[tuple[Expr, int]], axis: int) -> Expr:
    """A concat of stored parts, each with the operand whose numbers it has."""
    reals = [
        layer.emit(layer.converter.dequantize(part, layer.inputs[index])) if layer.is_int8(index) else part
        for part, index in parts
    ]
    if len(reals) == 1:
        return layer.quantised(reals[0])
    return layer.quantised(relax.op.concat(reals, axis))


def _pack(layer: Layer) -> Expr:
    axis, count = int(layer.options(tflite.PackOptions).Axis()), len(layer.inputs)
    axis %= len(layer.shape(0)) + 1
    parts = []
    for index in range(count):
        extents = list(layer.shape(index))
        extents.insert(axis, 1)
        parts.append((layer.emit(relax.op.reshape(layer.raw(index), extents)), index))
    if count == 1:
        return parts[0][0]
    return joined(layer, parts, axis)


def _concatenation(layer: Layer) -> Expr:
    options = layer.options(tflite.ConcatenationOptions)
    axis = int(options.Axis()) % len(layer.shape(0))
    parts = [(layer.raw(index), index) for index in range(len(layer.inputs))]
    reals = [layer.real(index) for _, index in parts]
    whole = layer.emit(relax.op.concat(reals, axis)) if len(reals) > 1 else reals[0]
    return layer.quantised(layer.activated(whole, options.FusedActivationFunction()))


def _tile(layer: Layer) -> Expr:
    """By doubling, so that no multiple makes a long list."""
    x, multiples = layer.raw(0), layer.integers(1, "multiples")
    extents = tuple(n * count for n, count in zip(layer.shape(0), multiples))
    checked_size(f"layer '{layer.name}'", extents, layer.dtype(0))
    for axis, count in enumerate(multiples):
        whole, power = x if count & 1 else None, x
        for bit in range(1, count.bit_length()):
            power = _joined_twice(layer, power, power, axis)
            if count >> bit & 1:
                whole = power if whole is None else _joined_twice(layer, whole, power, axis)
        if whole is None:
            raise layer.refuse(f"multiples {multiples}; each at least 1 is supported")
        x = whole
    return relax.op.reshape(x, list(shape(x)))


def _joined_twice(layer: Layer, a: Expr, b: Expr, axis: int) -> Expr:
    """Two parts in the first operand's numbers, joined."""
    if layer.is_int8():
        a, b = (layer.emit(layer.converter.dequantize(part, layer.inputs[0])) for part in (a, b))
    return layer.emit(layer.quantised(relax.op.concat([a, b], axis)))


def _gather(layer: Layer) -> Expr:
    options = layer.options(tflite.GatherOptions)
    if int(options.BatchDims()):
        raise layer.refuse("batch dimensions; gather along one axis of the whole is supported")
    extents = layer.shape(0)
    axis = int(options.Axis()) % len(extents)
    indices = layer.raw(1)
    return layer.quantised(relax.op.take(layer.real(0), indices, axis=axis, mode="clip"))


def _reshape(layer: Layer) -> Expr:
    size = math.prod(layer.shape(0))
    target = layer.constant(1)
    options = layer.options(tflite.ReshapeOptions)
    given: Sequence[int] = ()
    if target is not None:
        given = [int(n) for n in target.reshape(-1)]
    elif not layer.has(1) and hasattr(options, "NewShapeAsNumpy") and options.NewShapeLength():
        given = [int(n) for n in options.NewShapeAsNumpy()]
    else:
        given = layer.result_shape()
    if list(given).count(-1) == 1:
        rest = math.prod(n for n in given if n != -1)
        given = [size // max(rest, 1) if n == -1 else n for n in given]
    if math.prod(given) != size:
        raise layer.refuse(f"{layer.shape(0)} can't become {tuple(given)}")
    return relax.op.reshape(layer.raw(0), list(given))


def _expand_dims(layer: Layer) -> Expr:
    (axis,), extents = layer.integers(1, "axis"), list(layer.shape(0))
    extents.insert(axis % (len(extents) + 1), 1)
    return relax.op.reshape(layer.raw(0), extents)


def _depth_to_space(layer: Layer) -> Expr:
    block = int(layer.options(tflite.DepthToSpaceOptions).BlockSize())
    n, h, w, c = layer.shape(0)
    x = layer.emit(relax.op.reshape(layer.raw(0), [n, h, w, block, block, c // block**2]))
    x = layer.emit(relax.op.permute_dims(x, [0, 1, 3, 2, 4, 5]))
    return relax.op.reshape(x, [n, h * block, w * block, c // block**2])


def _space_to_depth(layer: Layer) -> Expr:
    block = int(layer.options(tflite.SpaceToDepthOptions).BlockSize())
    n, h, w, c = layer.shape(0)
    x = layer.emit(relax.op.reshape(layer.raw(0), [n, h // block, block, w // block, block, c]))
    x = layer.emit(relax.op.permute_dims(x, [0, 1, 3, 2, 4, 5]))
    return relax.op.reshape(x, [n, h // block, w // block, c * block**2])


def _space_to_batch(layer: Layer) -> Expr:
    """Pad, then blocks of pixels to the batch: what dilated convolutions come wrapped in."""
    block, widths = layer.integers(1, "blocks"), layer.integers(2, "paddings")
    x = layer.real(0)
    if any(widths):
        spread = [0, 0, *widths, *[0] * (2 * (len(layer.shape(0)) - 1 - len(block)))]
        x = layer.emit(relax.op.nn.pad(x, spread))
        x = layer.emit(layer.quantised(x))
    else:
        x = layer.raw(0)
    extents = shape(x)
    split: list[int] = [extents[0]]
    for n, b in zip(extents[1:], block):
        split += [n // b, b]
    rest = list(extents[1 + len(block) :])
    x = layer.emit(relax.op.reshape(x, [*split, *rest]))
    m = len(block)
    axes = [2 + 2 * i for i in range(m)] + [0] + [1 + 2 * i for i in range(m)]
    x = layer.emit(relax.op.permute_dims(x, [*axes, *range(1 + 2 * m, 1 + 2 * m + len(rest))]))
    spatial = [n // b for n, b in zip(extents[1:], block)]
    return relax.op.reshape(x, [extents[0] * math.prod(block), *spatial, *rest])


def _batch_to_space(layer: Layer) -> Expr:
    block, crops = layer.integers(1, "blocks"), layer.integers(2, "crops")
    extents, m = layer.shape(0), len(block)
    rest, batch = list(extents[1 + m :]), extents[0] // math.prod(block)
    x = layer.emit(relax.op.reshape(layer.raw(0), [*block, batch, *extents[1:]]))
    axes = [m]
    for i in range(m):
        axes += [m + 1 + i, i]
    x = layer.emit(relax.op.permute_dims(x, [*axes, *range(2 * m + 1, 2 * m + 1 + len(rest))]))
    spatial = [n * b for n, b in zip(extents[1:], block)]
    x = layer.emit(relax.op.reshape(x, [batch, *spatial, *rest]))
    if not any(crops):
        return relax.op.reshape(x, list(shape(x)))
    begin = [0, *crops[::2], *[0] * len(rest)]
    end = [batch, *(n - after for n, after in zip(spatial, crops[1::2])), *rest]
    if layer.is_int8():
        x = layer.emit(layer.converter.dequantize(x, layer.inputs[0]))
    return layer.quantised(sliced(x, begin, end, [1] * len(begin)))


def _pad(layer: Layer) -> Expr:
    widths = list(layer.integers(1, "paddings"))
    fill = 0.0
    if layer.has(2):
        known = layer.constant(2)
        if known is None:
            raise layer.refuse("its fill value depends on the input's values; a constant is supported")
        fill = float(known.reshape(()))
        if layer.is_int8(2):
            scale, zero = layer.numbers(2)
            fill = (fill - zero) * scale
    return layer.quantised(relax.op.nn.pad(layer.real(0), widths, "constant", fill))


def _mirror_pad(layer: Layer) -> Expr:
    widths = layer.integers(1, "paddings")
    edge = int(layer.options(tflite.MirrorPadOptions).Mode() == tflite.MirrorPadMode.SYMMETRIC)
    extents = layer.shape(0)
    if not edge:
        return layer.quantised(relax.op.nn.pad(layer.real(0), list(widths), "reflect"))
    # Relax knows no border that repeats the edge.
    result = tuple(b + n + a for n, b, a in zip(extents, widths[::2], widths[1::2]))
    arguments = (layer.raw(0), relax.const(np.asarray(widths, np.int32)), relax.const(np.int32(edge)))
    return layer.typed("mirror_pad", arguments, (result, layer.dtype(0)))


def _fill(layer: Layer) -> Expr:
    """A constant spread over a shape; one that is computed is stretched."""
    extents = layer.integers(0, "extents")
    return layer.quantised(relax.op.broadcast_to(layer.real(1), list(extents)))


def _broadcast_to(layer: Layer) -> Expr:
    return layer.quantised(relax.op.broadcast_to(layer.real(0), list(layer.integers(1, "extents"))))


def _reverse(layer: Layer) -> Expr:
    x = layer.real(0)
    axes = layer.axes(1, len(layer.shape(0)))
    for axis in axes:
        x = layer.emit(relax.op.flip(x, axis))
    return layer.quantised(x)


def _top_k(layer: Layer) -> tuple[Expr, ...]:
    (k,) = layer.integers(1, "count")
    found = layer.emit(relax.op.topk(layer.real(0), k, -1, "both", True, layer.result_dtype(1)))
    values, indices = (layer.emit(relax.TupleGetItem(found, i)) for i in (0, 1))
    return layer.quantised(values), indices


MOVES: Mapping[str, Converter] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _expand_dims,
    "FILL": _fill,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SLICE": _slice,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TOPK_V2": _top_k,
    "UNPACK": _unpack,
}
