"""Winograd's short convolutions in exact integers, kernels/winograd_pairs.h: when they fit, their weights.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4.1, F(2 × 2, 3 × 3) with the
weights' transform doubled in both directions, so that it stays whole.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.cpu.blocked.int8_forms import three_by_three
from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.tiles.avx512 import even
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import Conv2d

WEIGHT_TRANSFORM = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
PLACES = 16
BEFORE, AFTER = 8192, 4096
"""Elements that kernels/winograd_pairs.h holds of all places: inputs of a run of tiles, sums of a panel."""
FEWEST_CHANNELS = 12
MOST_WEIGHTS = 128 * 256
"""Of a kernel's place. More would be read from far away 16 / 9 times as often."""


def short_convolution(op: Conv2d, t: Tensors) -> Answer:
    """3 × 3 at stride 1 with channels enough to pay for the transforms, and no more than `before` holds.

    Four times a sum is within int32 then: 4 · 255 · 128 · 9 · 512 is 0.6 · 10⁹.
    """
    answer = three_by_three(op, t)
    if isinstance(answer, No):
        return answer
    (_, h, w, c), o = t[op.x].shape, t[op.y].shape[3]
    if op.stride != (1, 1) or min(c, o) < FEWEST_CHANNELS or min(h, w) < 4:
        return No("a stride, or too few pixels or channels for a short convolution")
    if o * c > MOST_WEIGHTS or blocks(c) * LANES * PLACES > BEFORE:
        return No("too many weights for a short convolution")
    return Yes()


def together(op: Conv2d, t: Tensors, panel: int) -> int:
    """Tiles that are transformed at a time; panel: blocks of output channels of a tile of products."""
    _, oh, ow, _ = t[op.y].shape
    tiles = -(-oh // 2) * -(-ow // 2)
    inner = blocks(t[op.x].shape[3]) * LANES
    return even(tiles, min(BEFORE // (PLACES * inner), AFTER // (PLACES * panel * LANES)))


def transformed(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int16]:
    """Weights [O, 3, 3, C] as [O, 16, C, 1]: places, as tiles of products take taps."""
    by = WEIGHT_TRANSFORM
    places: npt.NDArray[np.int64] = np.einsum("ai,oijc,bj->oabc", by, weight.astype(np.int64), by)
    return places.reshape(len(weight), PLACES, -1, 1).astype(np.int16)
