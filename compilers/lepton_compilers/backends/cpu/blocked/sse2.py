"""The rows of any x86-64: int8 maps as int16 less their zero point, kernels/sse2.h."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.plans.layout import LANES, MapElements
from lepton_compilers.backends.cpu.weights.pairs import row_pairs, window_pairs

IN_ORDER = np.arange(LANES)


def lanes(channels: int) -> npt.NDArray[np.intp]:
    """Which channel each lane is: all in order, up to a whole vector of sums."""
    return np.arange(-(-channels // 4) * 4)


KERNELS = BlockedKernels(
    header="sse2.h",
    elements=MapElements(2, centred=True),
    weight_type=np.int16,
    unit=2,
    lanes=lanes,
    lanes_a_vector=4,
    sums=12,
    depthwise=partial(row_pairs, order=IN_ORDER),
    depthwise3x3=partial(window_pairs, order=IN_ORDER),
    depthwise_pixels=4,
    one_pixel_panel=3,
    columns_inside=True,
    winograd=True,
)
