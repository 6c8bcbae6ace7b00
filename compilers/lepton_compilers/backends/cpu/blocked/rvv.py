"""The rows of RISC-V with vectors: int8 maps as int16 less their zero point, kernels/rvv.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.plans.layout import LANES, MapElements, blocks
from lepton_compilers.backends.cpu.weights.packing import taps_by_block

Int8Array = npt.NDArray[np.int8]


def lanes(channels: int) -> npt.NDArray[np.intp]:
    """Which channel each lane is: all in order, whole blocks."""
    return np.arange(blocks(channels) * LANES)


def taps(weight: Int8Array) -> npt.NDArray[np.generic]:
    """Depthwise weights [KH, KW, C] as [C / 16][KH · KW][16]; a row a block."""
    return taps_by_block(weight.astype(np.int16))


KERNELS = BlockedKernels(
    header="rvv.h",
    elements=MapElements(2, centred=True),
    weight_type=np.int16,
    unit=1,
    lanes=lanes,
    lanes_a_vector=LANES,
    sums=6,
    depthwise=taps,
    depthwise3x3=taps,
    depthwise_pixels=4,
)
