"""Which 3 × 3 convolutions multiply bfloat16 in Winograd's form, and what that rounds.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4.1, F(2 × 2, 3 × 3): tiles
of 4 × 4 inputs are transformed, kernels as well; both are rounded to bfloat16 and multiplied at 16 places,
where a direct sum has 36 products; sums and the way back are float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.operations import Conv2d, Operation
from lepton_sdk.program.tensors import Padding, Tensors

Array = npt.NDArray[np.float32]

PLACES = 16
"""Products of a tile of 2 × 2 outputs, one channel to one channel."""
LEAST_CHANNELS, LEAST_SIDE = 64, 8
"""Of inputs and outputs, and of the result's map: below, transforms cost more than the products saved."""

_WEIGHT_TRANSFORM = np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]])


def transforms(op: Operation, t: Tensors) -> bool:
    """Whether the operation is one: 3 × 3 at stride 1, a border of one at most, many channels."""
    if not isinstance(op, Conv2d) or op.stride != (1, 1) or op.dilation != (1, 1):
        return False
    p, (o, *kernel, c), (_, oh, ow, _) = op.padding, t[op.weight].shape, t[op.y].shape
    narrow = max(p.top, p.bottom, p.left, p.right) <= 1
    return kernel == [3, 3] and narrow and min(c, o) >= LEAST_CHANNELS and min(oh, ow) >= LEAST_SIDE


def transformed_weight(weight: Array) -> Array:
    """Weights [O, 3, 3, C] as G·w·Gᵀ [O, 4, 4, C]: computed in float64, one rounding to float32."""
    by = _WEIGHT_TRANSFORM
    turned = np.einsum("ai,oijc,bj->oabc", by, weight.astype(np.float64), by)
    return np.asarray(turned, np.float32)


def transformed_input(x: Array, padding: Padding, height: int, width: int) -> Array:
    """[N, H, W, C] as Bᵀ·d·B of every tile of a result of height × width: [N, tiles down, across, 4, 4, C].

    Sums are float32, down the columns first.
    """
    down, across = -(-height // 2), -(-width // 2)
    bottom = 2 * down + 2 - x.shape[1] - padding.top
    right = 2 * across + 2 - x.shape[2] - padding.left
    borders = ((0, 0), (padding.top, max(bottom, 0)), (padding.left, max(right, 0)), (0, 0))
    padded = np.pad(x, borders)
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (1, 2))[:, ::2, ::2][:, :down, :across]
    d = np.moveaxis(tiles, 3, 5)
    return _forward(_forward(d, 3), 4)


def _forward(d: Array, axis: int) -> Array:
    a, b, c, e = (np.take(d, i, axis) for i in range(4))
    return np.stack([a - c, b + c, c - b, b - e], axis)


def result(products: Array, height: int, width: int) -> Array:
    """Aᵀ·m·A of every tile [N, tiles down, across, 4, 4, O]: [N, height, width, O]; float32."""
    n, down, across, _, _, o = products.shape
    y = _back(_back(products, 3), 4)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * down, 2 * across, o)[:, :height, :width]


def _back(t: Array, axis: int) -> Array:
    a, b, c, e = (np.take(t, i, axis) for i in range(4))
    return np.stack([a + b + c, b - c - e], axis)
