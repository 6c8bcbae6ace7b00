"""numpy rules of kernels that slide a window over any number of axes: convolutions, pools, any layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lepton_sdk.program.rule import Array

Kernel = Callable[..., Any]


def _to_channels_first(x: Array, layout: str, order: str) -> Array:
    return x.transpose([layout.index(letter) for letter in order])


def _pairs(padding: Sequence[int], axes: int) -> list[tuple[int, int]]:
    """Relax's widths: one for all, one an axis, or all befores, then all afters."""
    given = [int(p) for p in padding]
    if len(given) == 1:
        given *= axes
    return list(zip(given[:axes], given[-axes:]))


def _each(values: Any, axes: int) -> list[int]:
    given = [int(v) for v in values] if isinstance(values, list | tuple) else [int(values)]
    return given * axes if len(given) == 1 else given


def _views(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """[N, C, out…, k…]: every window of a padded [N, C, …] array."""
    axes = len(kernel)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + axes)))
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in stride))
    return view[(*steps, *(slice(None, None, d) for d in dilation))]


def _conv(spatial: str) -> Kernel:
    axes = len(spatial)

    def rule(
        x: Array,
        weight: Array,
        strides: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        data_layout: str,
        kernel_layout: str,
        out_layout: str = "",
        **_: Any,
    ) -> Array:
        x = _to_channels_first(x, data_layout, "NC" + spatial)
        weight = _to_channels_first(weight, kernel_layout, "OI" + spatial)
        x = np.pad(x, [(0, 0), (0, 0), *_pairs(padding, axes)])
        windows = _views(x, weight.shape[2:], _each(strides, axes), _each(dilation, axes))
        inner, each = weight.shape[1], weight.shape[0] // groups
        over_window = [1, *range(2 + axes, 2 + 2 * axes)]
        parts = [
            np.tensordot(
                windows[:, g * inner : (g + 1) * inner],
                weight[g * each : (g + 1) * each],
                axes=(over_window, [1, *range(2, 2 + axes)]),
            )
            for g in range(groups)
        ]
        y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
        return _to_channels_first(y, "NC" + spatial, out_layout or data_layout)

    return rule


def _conv_transpose(spatial: str) -> Kernel:
    axes = len(spatial)

    def rule(
        x: Array,
        weight: Array,
        strides: Any,
        padding: Any,
        output_padding: Any,
        dilation: Any,
        groups: int,
        data_layout: str,
        kernel_layout: str,
        out_layout: str = "",
        **_: Any,
    ) -> Array:
        x = _to_channels_first(x, data_layout, "NC" + spatial)
        weight = _to_channels_first(weight, kernel_layout, "IO" + spatial)
        stride, spread = _each(strides, axes), _each(dilation, axes)
        pads, extra = _pairs(padding, axes), _each(output_padding, axes)
        kernel = weight.shape[2:]
        full = [
            (n - 1) * s + (k - 1) * d + 1 + e
            for n, s, k, d, e in zip(x.shape[2:], stride, kernel, spread, extra)
        ]
        each, inner = weight.shape[1], weight.shape[0] // groups
        y = np.zeros((x.shape[0], each * groups, *full), np.result_type(x, weight))
        for g in range(groups):
            part, kernels = x[:, g * inner : (g + 1) * inner], weight[g * inner : (g + 1) * inner]
            for at in np.ndindex(*kernel):
                product = np.tensordot(part, kernels[(slice(None), slice(None), *at)], axes=([1], [0]))
                where = tuple(
                    slice(a * d, a * d + (n - 1) * s + 1, s)
                    for a, d, n, s in zip(at, spread, x.shape[2:], stride)
                )
                y[(slice(None), slice(g * each, (g + 1) * each), *where)] += np.moveaxis(product, -1, 1)
        cut = tuple(slice(before, n - after) for n, (before, after) in zip(full, pads))
        return _to_channels_first(
            y[(slice(None), slice(None), *cut)], "NC" + spatial, out_layout or data_layout
        )

    return rule


def _pool(spatial: str, average: bool) -> Kernel:
    axes = len(spatial)

    def rule(
        x: Array,
        pool_size: Any,
        strides: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
        layout: str = "",
        out_layout: str = "",
        **_: Any,
    ) -> Array:
        x = _to_channels_first(x, layout, "NC" + spatial)
        kernel, stride, spread = (_each(v, axes) for v in (pool_size, strides, dilation))
        pads = _pairs(padding, axes)
        more = [0] * axes
        if ceil_mode:
            for i, (n, k, s, d, (before, after)) in enumerate(zip(x.shape[2:], kernel, stride, spread, pads)):
                reach = n + before + after - ((k - 1) * d + 1)
                more[i] = max(-(-reach // s) * s - reach, 0)
        border = [(before, after + m) for (before, after), m in zip(pads, more)]
        if not average:
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            padded = np.pad(x, [(0, 0), (0, 0), *border], constant_values=lowest)
            y = _views(padded, kernel, stride, spread).max(axis=tuple(range(-axes, 0)))
        else:
            inside = np.ones((1, 1, *x.shape[2:]))
            if count_include_pad:
                inside = np.pad(inside, [(0, 0), (0, 0), *pads], constant_values=1)
                counted = np.pad(inside, [(0, 0), (0, 0), *((0, m) for m in more)])
            else:
                counted = np.pad(inside, [(0, 0), (0, 0), *border])
            padded = np.pad(x, [(0, 0), (0, 0), *border])
            over = tuple(range(-axes, 0))
            total = _views(padded, kernel, stride, spread).sum(axis=over, dtype=x.dtype)
            count = _views(counted, kernel, stride, spread).sum(axis=over)
            y = total / np.maximum(count, 1)
        return _to_channels_first(y, "NC" + spatial, out_layout or layout)

    return rule


def _adaptive(spatial: str) -> Kernel:
    axes = len(spatial)

    def rule(x: Array, output_size: Any = None, layout: str = "", out_layout: str = "", **_: Any) -> Array:
        x = _to_channels_first(x, layout, "NC" + spatial)
        wanted = _each(output_size, axes) if output_size is not None else list(x.shape[2:])
        y = np.zeros((*x.shape[:2], *wanted), x.dtype)
        for at in np.ndindex(*wanted):
            where = tuple(
                slice(i * n // m, math.ceil((i + 1) * n / m)) for i, n, m in zip(at, x.shape[2:], wanted)
            )
            mean = x[(slice(None), slice(None), *where)].mean(axis=tuple(range(2, 2 + axes)))
            y[(slice(None), slice(None), *at)] = mean
        return _to_channels_first(y, "NC" + spatial, out_layout or layout)

    return rule


WINDOW_KERNELS: Mapping[str, Kernel] = {
    **{f"relax.nn.conv{len(s)}d": _conv(s) for s in ("W", "HW", "DHW")},
    **{f"relax.nn.conv{len(s)}d_transpose": _conv_transpose(s) for s in ("W", "HW", "DHW")},
    **{f"relax.nn.max_pool{len(s)}d": _pool(s, average=False) for s in ("W", "HW", "DHW")},
    **{f"relax.nn.avg_pool{len(s)}d": _pool(s, average=True) for s in ("W", "HW", "DHW")},
    **{f"relax.nn.adaptive_avg_pool{len(s)}d": _adaptive(s) for s in ("W", "HW", "DHW")},
}
