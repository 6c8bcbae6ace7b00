"""Resizing and sampling of maps.

Where the places to sample are known, resizing is a product with a constant matrix along each axis, or a
choice of places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.casts import cast
from lepton_compilers.importers.onnx.rules.movement import picked
from lepton_compilers.importers.onnx.values import Array, Converter, Node, Result, Value, constant
from lepton_compilers.passes.graph import Expr, dtype, shape
from lepton_targets.errors import BadInputError

op = relax.op

LONGEST_AXIS = 2**22
"""Of a resized map: the place of every element along it is worked out at import."""


def along_axis(n: Node, matrix: Array, x: Expr, axis: int) -> Expr:
    """matrix [out, in] times x along an axis."""
    extents = shape(x)
    before, after = math.prod(extents[:axis]), math.prod(extents[axis + 1 :])
    n.sized([*extents[:axis], matrix.shape[0], *extents[axis + 1 :]], dtype(x))
    n.sized(matrix.shape, dtype(x))
    held = matrix.astype(dtype(x))
    if after == 1:
        rows = n.emit(op.reshape(x, [before, extents[axis]]))
        y = n.emit(op.matmul(rows, constant(held.T)))
    else:
        rows = n.emit(op.reshape(x, [before, extents[axis], after]))
        y = n.emit(op.matmul(constant(held), rows))
    return n.emit(op.reshape(y, [*extents[:axis], matrix.shape[0], *extents[axis + 1 :]]))


def _resize(n: Node) -> Result:
    """Modes nearest, linear, cubic of every coordinate transformation, antialias included."""
    x, given = n[0], n.shape()
    axes = [int(a) % len(given) for a in n.attribute("axes", range(len(given)))]
    roi_place, scales_place, sizes_place = (1, 2, 3) if n.opset >= 11 else (9, 1, 9)
    scales = _numbers(n, scales_place)
    sizes = _numbers(n, sizes_place)
    if sizes:
        policy = str(n.attribute("keep_aspect_ratio_policy", "stretch"))
        scales = [s / given[a] for s, a in zip(sizes, axes)]
        if policy != "stretch":
            one = min(scales) if policy == "not_larger" else max(scales)
            scales = [one] * len(axes)
            sizes = [math.floor(one * given[a] + 0.5) for a in axes]
    elif scales:
        sizes = [math.floor(given[a] * s) for s, a in zip(scales, axes)]
    if (
        not scales
        or not sizes
        or not len(axes) == len(scales) == len(sizes)
        or min(scales) <= 0
        or min(sizes) < 1
    ):
        raise BadInputError(
            f"layer '{n.name}' (Resize) turns {given} into {sizes} by {scales} over axes {axes}"
        )
    roi = _numbers(n, roi_place) or [0.0] * len(axes) + [1.0] * len(axes)
    wanted = list(given)
    for a, s in zip(axes, sizes):
        wanted[a] = int(s)
    n.sized(wanted, n.kind())
    if max(sizes) > LONGEST_AXIS:
        raise n.refused(f"makes an axis {max(sizes)} long", f"up to {LONGEST_AXIS}")
    mode = str(n.attribute("mode", "nearest"))
    kind = dtype(x)
    if mode != "nearest" and not kind.startswith("float"):
        x = n.emit(op.astype(x, "float32"))
    coordinates = str(
        n.attribute("coordinate_transformation_mode", "half_pixel" if n.opset >= 11 else "asymmetric")
    )
    outside = None
    for place, axis in enumerate(axes):
        extent, size = given[axis], int(sizes[place])
        span = (float(roi[place]), float(roi[len(axes) + place]))
        at = _source(n, coordinates, extent, size, float(scales[place]), span)
        if coordinates == "tf_crop_and_resize":
            out = ((at < 0) | (at > extent - 1)).reshape([-1 if i == axis else 1 for i in range(len(given))])
            outside = out if outside is None else outside | out
        if mode == "nearest":
            index = _nearest(n, at, extent)
            if size != extent or (index != np.arange(size)).any():
                x = picked(n, x, axis, index)
            continue
        matrix = _weights(n, mode, at, extent, float(scales[place]))
        if size != extent or not np.array_equal(matrix, np.eye(size)):
            x = along_axis(n, matrix, x, axis)
    if outside is not None and outside.any():
        fill = n.scalar(float(n.attribute("extrapolation_value", 0.0)), dtype(x))
        x = n.emit(op.where(constant(np.broadcast_to(outside, wanted).copy()), fill, x))
    if dtype(x) != kind:
        return cast(n, Value("float32", expr=x), kind)
    return x


def _numbers(n: Node, place: int) -> list[float]:
    if not n.has(place):
        held = n.attribute("scales", None) if place == 1 and n.opset < 10 else None
        return [float(v) for v in held] if held is not None else []
    return [
        float(v)
        for v in n.known(place, ("", "region", "scales", "sizes")[place] if place < 4 else "").reshape(-1)
    ]


def _source(n: Node, mode: str, extent: int, size: int, scale: float, span: tuple[float, float]) -> Array:
    """Where each result lies in the source, by the formulas of ONNX's Resize."""
    at = np.arange(size, dtype=np.float64)
    if mode == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjusted = size / (scale * extent)
        return extent / 2 * (1 - adjusted) + (at + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if size > 1 else np.zeros(1)
    # As ONNX counts it, before it is cut to a whole number.
    wanted = scale * extent
    if mode == "align_corners":
        return at * (extent - 1) / (wanted - 1) if wanted != 1 else np.zeros(size)
    if mode == "asymmetric":
        return at / scale
    if mode == "tf_half_pixel_for_nn":
        return (at + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = span
        if size == 1:
            return np.array([0.5 * (start + end) * (extent - 1)])
        return start * (extent - 1) + at * (end - start) * (extent - 1) / (wanted - 1)
    raise n.refused(f"has the coordinate_transformation_mode '{mode}'")


def _nearest(n: Node, at: Array, extent: int) -> Array:
    mode = str(n.attribute("nearest_mode", "round_prefer_floor" if n.opset >= 11 else "floor"))
    rounded: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounded:
        raise n.refused(f"has the nearest_mode '{mode}'")
    return np.clip(rounded[mode](at), 0, extent - 1).astype(np.int64)


def _weights(n: Node, mode: str, at: Array, extent: int, scale: float) -> Array:
    """[out, in]: how much of each source element every result takes; edges go on beyond the ends."""
    if mode not in ("linear", "cubic"):
        raise n.refused(f"has the mode '{mode}'", "nearest, linear, cubic")
    squeeze = min(scale, 1.0) if n.attribute("antialias", 0) else 1.0
    a = float(n.attribute("cubic_coeff_a", -0.75))

    def kernel(distance: Array) -> Array:
        d = np.abs(distance)
        if mode == "linear":
            return np.asarray(np.clip(1 - d, 0, 1))
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    reach = 1 if mode == "linear" else 2
    first = math.floor(-reach / squeeze) + 1
    steps = np.arange(first, reach - first + (1 if mode == "linear" else 0))
    floor = np.floor(at)
    places = floor[:, None].astype(np.int64) + steps
    weights = kernel(squeeze * (steps - (at - floor)[:, None]))
    if n.attribute("exclude_outside", 0):
        weights = np.where((places < 0) | (places >= extent), 0, weights)
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    n.sized([at.size, extent], "float64")
    matrix = np.zeros((at.size, extent))
    np.add.at(matrix, (np.arange(at.size)[:, None], np.clip(places, 0, extent - 1)), weights)
    return matrix


def _grid_sample(n: Node) -> Result:
    rank = len(n.shape())
    if rank not in (4, 5):
        raise n.refused(f"samples a map of {rank} axes", "4 or 5")
    modes = {"linear": 0, "bilinear": 0, "nearest": 1, "cubic": 2, "bicubic": 2}
    pads = {"zeros": 0, "border": 1, "reflection": 2}
    mode, pad = str(n.attribute("mode", "linear")), str(n.attribute("padding_mode", "zeros"))
    if mode not in modes or pad not in pads or n.kind() != "float32" or n.kind(1) != "float32":
        raise n.refused(
            f"has mode '{mode}', padding '{pad}' on {n.kind()}", "float32, its modes and paddings"
        )
    if n.shape(1)[-1] != rank - 2 or n.shape(1)[0] != n.shape()[0]:
        raise BadInputError(f"layer '{n.name}' (GridSample) samples {n.shape()} at {n.shape(1)}")
    extents = [*n.shape()[:2], *n.shape(1)[1:-1]]
    return n.own(
        "grid_sample",
        [n[0], n[1]],
        extents,
        "float32",
        mode=modes[mode],
        padding=pads[pad],
        align_corners=int(n.attribute("align_corners", 0)),
    )


def _roi_align(n: Node) -> Result:
    """Regions of maps sampled on a grid; a map's place that is out of range is the nearest one."""
    rows, columns = int(n.attribute("output_height", 1)), int(n.attribute("output_width", 1))
    half = n.opset >= 16 and str(n.attribute("coordinate_transformation_mode", "half_pixel")) == "half_pixel"
    if n.kind() != "float32" or rows < 1 or columns < 1:
        raise n.refused(f"gives {rows} × {columns} of {n.kind()}", "float32")
    places = n[2] if n.kind(2) == "int64" else n.emit(op.astype(n[2], "int64"))
    return n.own(
        "roi_align",
        [n[0], n[1], places],
        [n.shape(1)[0], n.shape()[1], rows, columns],
        "float32",
        half_pixel=int(half),
        shape=[rows, columns],
        largest=int(str(n.attribute("mode", "avg")) == "max"),
        sampling_ratio=int(n.attribute("sampling_ratio", 0)),
        spatial_scale=float(n.attribute("spatial_scale", 1.0)),
    )


def _non_max_suppression(n: Node) -> Result:
    """As many rows as there can be; ONNX's result ends where ours holds −1."""
    most = int(n.known(2, "number of boxes").reshape(-1)[0]) if n.has(2) else 0
    overlap = float(n.known(3, "IoU threshold").reshape(-1)[0]) if n.has(3) else 0.0
    score = float(n.known(4, "score threshold").reshape(-1)[0]) if n.has(4) else ""
    batch, boxes, four = n.shape()
    classes = n.shape(1)[1]
    if n.shape(1) != (batch, classes, boxes) or four != 4 or n.kind() != "float32" or most < 1:
        raise n.refused(f"chooses {most} of {n.shape()} by scores {n.shape(1)}", "float32, at least one box")
    most = min(most, boxes)
    return n.own(
        "non_max_suppression",
        [n[0], n[1]],
        [batch * classes * most, 3],
        "int64",
        most=most,
        centred=int(n.attribute("center_point_box", 0)),
        iou_threshold=overlap,
        score_threshold=score,
    )


RULES: Mapping[str, Converter] = {
    "GridSample": _grid_sample,
    "NonMaxSuppression": _non_max_suppression,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Upsample": _resize,
}
