"""Sums of products as numpy computes them fast: of whole feature maps, in the operands' own type."""

from __future__ import annotations

import numpy as np

from lepton_sdk.program.operations import Conv2d, Dense, DepthwiseConv2d, GroupedConv2d
from lepton_sdk.program.rule import Array, windows


def sums_of_products(op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, x: Array, weight: Array) -> Array:
    """Σ x·w of every output, channels last; integers as float64 are exact below 2^53."""
    if isinstance(op, Dense):
        return np.asarray(x @ weight.T)
    if isinstance(op, DepthwiseConv2d):
        kh, kw, out = weight.shape
        x = np.repeat(x, out // x.shape[3], axis=3)
        columns = windows(x, (kh, kw), op.stride, op.padding, op.dilation, 0)
        return np.asarray(np.einsum("nhwcij,ijc->nhwc", columns, weight))
    out, kh, kw, channels = weight.shape
    columns = windows(x, (kh, kw), op.stride, op.padding, op.dilation, 0).transpose(0, 1, 2, 4, 5, 3)
    n, oh, ow = columns.shape[:3]
    # Conv2d is the case of one group.
    groups = x.shape[3] // channels
    sums = [
        part.reshape(n * oh * ow, kh * kw * channels) @ kernels.reshape(out // groups, -1).T
        for part, kernels in zip(np.split(columns, groups, axis=5), np.split(weight, groups))
    ]
    return np.concatenate(sums, axis=1).reshape(n, oh, ow, out)
