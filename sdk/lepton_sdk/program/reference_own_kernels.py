"""numpy rules of the operators that are our own (`lepton.…`): halves, samples between places, determinants.

Places that a model's input decides may lie anywhere; what lies outside of a map reads as its rule says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lepton_sdk.program import bfloat16_winograd as winograd
from lepton_sdk.program.rule import Array
from lepton_sdk.program.tensors import Padding

Kernel = Callable[..., Any]


def _round_bfloat16(x: Array) -> Array:
    """The nearest value with eight bits of mantissa, ties to even; NaN stays one."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32).reshape(x.shape))


def _round_float16(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


def _centre(x: Array) -> Array:
    """uint8 less 128 as int8, and back."""
    other = np.int8 if x.dtype == np.uint8 else np.uint8
    return (np.ascontiguousarray(x).view(np.uint8) ^ np.uint8(0x80)).view(other).reshape(x.shape)


def _bit_cast(x: Array, to: str) -> Array:
    return np.ascontiguousarray(x).reshape(-1).view(to).reshape(x.shape)


def _mirrored(v: Array, low: float, high: float) -> Array:
    span = np.float32(high - low)
    distance = np.where(v < low, low - v, v - low).astype(np.float32)
    if span <= 0:
        return np.full_like(v, low)
    turns = np.floor(distance / span)
    rest = distance - turns * span
    found = np.where(turns % 2 == 0, low + rest, high - rest)
    inside = (v >= low) & (v <= high)
    return np.where(inside, v, np.where(np.abs(v) < 1e6, found, low)).astype(np.float32)


def _index(i: Array, extent: int, padding: int, aligned: bool) -> Array:
    outside = (i < 0) | (i >= extent)
    if padding == 0:
        return np.where(outside, -1, i)
    if padding == 1:
        return np.clip(i, 0, extent - 1)
    low, high = (0.0, extent - 1.0) if aligned else (-0.5, extent - 0.5)
    mirrored = np.clip(np.floor(_mirrored(i.astype(np.float32), low, high) + 0.5), 0, extent - 1)
    return np.where(outside, mirrored, i).astype(np.int64)


def _taps(g: Array, extent: int, mode: int, padding: int, aligned: bool) -> list[tuple[Array, Array]]:
    """(index, weight) of every neighbour along one axis; index −1 reads zero."""
    n = np.float32(extent)
    v = (g + 1) * np.float32(0.5) * (n - 1) if aligned else ((g + 1) * n - 1) * np.float32(0.5)
    if padding == 1:
        v = np.clip(np.where(np.isnan(v), 0, v), 0, n - 1)
    if padding == 2:
        v = _mirrored(v, *((0.0, extent - 1.0) if aligned else (-0.5, extent - 0.5)))
    v = np.where(np.isnan(v), -1e6, np.clip(v, -1e6, 1e6)).astype(np.float32)
    if mode == 1:
        return [(_index(np.rint(v).astype(np.int64), extent, padding, aligned), np.ones_like(v))]
    low = np.floor(v)
    t, first = v - low, low.astype(np.int64)
    if mode == 0:
        weights = [1 - t, t]
    else:
        a = np.float32(-0.75)
        far = [((a * p - 5 * a) * p + 8 * a) * p - 4 * a for p in (t + 1, 2 - t)]
        near = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (t, 1 - t)]
        weights = [far[0], near[0], near[1], far[1]]
        first = first - 1
    return [(_index(first + i, extent, padding, aligned), w) for i, w in enumerate(weights)]


def _grid_sample(x: Array, grid: Array, mode: int, padding: int, align_corners: int) -> Array:
    """x [N, C, …] at grid [N, …, axes], whose last axis counts from the innermost axis of the map."""
    size = x.shape[2:]
    taps = [
        _taps(grid[..., len(size) - 1 - axis].reshape(len(x), -1), extent, mode, padding, bool(align_corners))
        for axis, extent in enumerate(size)
    ]
    y = np.zeros((*x.shape[:2], math.prod(grid.shape[1:-1])), np.float32)
    for chosen in itertools.product(*taps):
        index = [np.maximum(i, 0) for i, _ in chosen]
        seen = np.logical_and.reduce([i >= 0 for i, _ in chosen])
        weight = np.where(seen, math.prod([w for _, w in chosen], start=np.float32(1)), 0)
        for image in range(len(x)):
            y[image] += x[image][(slice(None), *(i[image] for i in index))] * weight[image]
    return y.reshape(*x.shape[:2], *grid.shape[1:-1])


def _samples(size: float, parts: int, asked: int, extent: int) -> int:
    """Samples along a side of a region's part; at most as many as the map has rows, and two."""
    each = np.clip(np.nan_to_num(size / np.float32(parts), nan=-1e6), -1e6, 1e6)
    return asked if asked > 0 else int(np.clip(np.ceil(each), 0, extent + 2))


def _roi_align(
    x: Array,
    regions: Array,
    places: Array,
    half_pixel: int,
    largest: int,
    sampling_ratio: int,
    spatial_scale: float,
    shape: Any = None,
) -> Array:
    """Every part of a region: the mean of its samples, or the largest weighted neighbour of all of them."""
    rows, columns = shape
    y = np.zeros((len(regions), x.shape[1], rows, columns), np.float32)
    scale, shift = np.float32(spatial_scale), np.float32(0.5 if half_pixel else 0)
    height, width = x.shape[2:]
    for r, region in enumerate(regions.astype(np.float32)):
        plane = x[int(np.clip(places[r], 0, len(x) - 1))].reshape(x.shape[1], -1)
        left, top, right, bottom = region * scale - shift
        w, h = right - left, bottom - top
        if not half_pixel:
            w, h = max(w, np.float32(1)), max(h, np.float32(1))
        dy, dx = h / np.float32(rows), w / np.float32(columns)
        ny = _samples(h, rows, sampling_ratio, height)
        nx = _samples(w, columns, sampling_ratio, width)
        for py, px in np.ndindex(rows, columns):
            found = []
            for sy, sx in np.ndindex(ny, nx):
                at, weight = _region_taps(
                    top + py * dy + np.float32(sy + 0.5) * dy / np.float32(ny),
                    left + px * dx + np.float32(sx + 0.5) * dx / np.float32(nx),
                    height,
                    width,
                )
                found.append(plane[:, at] * weight)
            if found and largest:
                y[r, :, py, px] = np.max(found, axis=(0, 2))
            elif found:
                y[r, :, py, px] = np.sum(found, axis=(0, 2)) / max(ny * nx, 1)
    return y


def _region_taps(y: Any, x: Any, height: int, width: int) -> tuple[list[int], Array]:
    if not (-1 <= y <= height and -1 <= x <= width):
        return [0, 0, 0, 0], np.zeros(4, np.float32)
    y, x = max(y, np.float32(0)), max(x, np.float32(0))
    y0, x0 = int(y), int(x)
    y1, x1 = y0 + 1, x0 + 1
    if y0 >= height - 1:
        y0 = y1 = height - 1
        y = np.float32(y0)
    if x0 >= width - 1:
        x0 = x1 = width - 1
        x = np.float32(x0)
    ly, lx = y - y0, x - x0
    weight = np.array([(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx], np.float32)
    return [y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], weight


def _deformed_windows(x: Array, offset: Array, mask: Array | None = None, *, geometry: Any) -> Array:
    """[N, C, kh·kw, rows, columns]: every place of the window, moved by its own offset."""
    kh, kw, sy, sx, dy, dx, top, left, sets = geometry
    batch, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    moved = offset.reshape(batch, sets, kh * kw, 2, rows, columns)
    y = np.zeros((batch, channels, kh * kw, rows, columns), np.float32)
    row, column = np.mgrid[:rows, :columns].astype(np.float32)
    each = channels // sets
    for b, k, p in np.ndindex(batch, channels, kh * kw):
        v = row * sy - top + p // kw * dy + moved[b, k // each, p, 0]
        u = column * sx - left + p % kw * dx + moved[b, k // each, p, 1]
        v, u = (np.clip(np.nan_to_num(a, nan=-1e6), -1e6, 1e6).astype(np.float32) for a in (v, u))
        y0, x0 = np.floor(v), np.floor(u)
        for ty, tx in np.ndindex(2, 2):
            yy, xx = (y0 + ty).astype(int), (x0 + tx).astype(int)
            inside = (yy >= 0) & (yy < height) & (xx >= 0) & (xx < width)
            weight = (v - y0 if ty else 1 - (v - y0)) * (u - x0 if tx else 1 - (u - x0))
            y[b, k, p] += np.where(
                inside, weight * x[b, k, np.clip(yy, 0, height - 1), np.clip(xx, 0, width - 1)], 0
            )
        if mask is not None:
            y[b, k, p] *= mask.reshape(batch, sets, kh * kw, rows, columns)[b, k // each, p]
    return y


def _corners(boxes: Array, centred: int) -> Array:
    """[n, 4] as top, left, bottom, right."""
    if centred:
        x, y, w, h = boxes.T
        half = np.float32(0.5)
        return np.stack([y - h * half, x - w * half, y + h * half, x + w * half], 1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], 1)


def _non_max_suppression(
    boxes: Array, scores: Array, most: int, centred: int, iou_threshold: float, score_threshold: Any
) -> Array:
    """Rows (batch, class, box), the best of each class first; −1 in those that are left."""
    batch, classes, _ = scores.shape
    rows = []
    for b, c in np.ndindex(batch, classes):
        corners, score = _corners(boxes[b], centred), scores[b, c]
        kept: list[int] = []
        # NaN comes first, as it does in every falling order here.
        for at in np.argsort(np.where(np.isnan(score), np.inf, score)[::-1], kind="stable")[::-1]:
            i = len(score) - 1 - int(at)
            if len(kept) == most:
                break
            if score_threshold != "" and not score[i] > np.float32(score_threshold):
                continue
            if not any(_overlap(corners[i], corners[k]) > np.float32(iou_threshold) for k in kept):
                kept.append(i)
        rows += [(b, c, i) for i in kept]
    y = np.full((batch * classes * most, 3), -1, np.int64)
    y[: len(rows)] = np.array(rows, np.int64).reshape(-1, 3)
    return y


def _overlap(a: Array, b: Array) -> Any:
    height, width = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if not (height > 0 and width > 0):
        return np.float32(0)
    shared = height * width
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _winograd_tiles(x: Array, padding: Sequence[int], height: int, width: int) -> Array:
    return winograd.transformed_input(x, Padding(*padding), height, width)


def _winograd_products(tiles: Array, weight: Array, bias: Array, height: int, width: int) -> Array:
    """[N, tiles down, across, 4, 4, C] by [O, 4, 4, C]."""
    by_place = np.moveaxis(tiles, (3, 4), (0, 1)).reshape(4, 4, -1, tiles.shape[-1])
    products = by_place @ weight.transpose(1, 2, 3, 0)
    placed = np.moveaxis(products.reshape(4, 4, *tiles.shape[:3], -1), (0, 1), (3, 4))
    return winograd.result(placed, height, width) + bias


OWN_KERNELS: Mapping[str, Kernel] = {
    "lepton.bit_cast": _bit_cast,
    "lepton.centre": _centre,
    "lepton.copy": lambda x: x,
    "lepton.deformed_windows": _deformed_windows,
    "lepton.determinant": lambda x: np.linalg.det(x.astype(np.float64)),
    "lepton.from_float16": lambda x: x.astype(np.float32),
    "lepton.grid_sample": _grid_sample,
    "lepton.non_max_suppression": _non_max_suppression,
    "lepton.roi_align": _roi_align,
    "lepton.round_bfloat16": _round_bfloat16,
    "lepton.round_float16": _round_float16,
    "lepton.to_float16": lambda x: x.astype(np.float16),
    "lepton.winograd_products": _winograd_products,
    "lepton.winograd_tiles": _winograd_tiles,
}
