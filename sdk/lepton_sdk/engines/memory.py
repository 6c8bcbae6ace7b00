"""Memory as generated code wants it."""

from __future__ import annotations

import numpy as np

from lepton_sdk.bundle.format import ALIGNMENT


def aligned_bytes(nbytes: int) -> np.ndarray:
    """A zeroed uint8 array [nbytes] that begins at a multiple of ALIGNMENT."""
    memory = np.zeros(nbytes + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + nbytes]
