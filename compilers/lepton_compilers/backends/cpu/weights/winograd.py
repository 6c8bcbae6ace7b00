"""Winograd's short convolutions for 3 × 3 kernels at stride 1: what is transformed when a model is compiled.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4; its matrices for m = 2, 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.weights.packing import float_panels

WEIGHT_TRANSFORMS = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
"""G of F(m × m, 3 × 3), by m."""


def places(m: int) -> int:
    """Products of one tile, one channel to one channel."""
    return (m + 2) ** 2


def transformed_panels(
    weight: npt.NDArray[np.float32], m: int, blocks_a_panel: int
) -> npt.NDArray[np.float32]:
    """Weights [O, 3, 3, C] as G·w·Gᵀ, computed in float64: float_panels of each place in turn; 1-D."""
    by = WEIGHT_TRANSFORMS[m]
    turned = np.einsum("ai,oijc,bj->aboc", by, weight.astype(np.float64), by)
    matrices = turned.reshape(places(m), *turned.shape[2:]).astype(np.float32)
    return np.concatenate([float_panels(one[:, None, :, None], blocks_a_panel) for one in matrices])
