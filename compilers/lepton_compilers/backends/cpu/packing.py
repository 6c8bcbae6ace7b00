"""Constants as kernels want them: one blob of weights, and the rearrangements that fill it."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from lepton_compilers.arena import aligned
from lepton_compilers.backends.cpu.layout import LANES, blocks

Array = npt.NDArray[np.generic]


class WeightBlob:
    """One 64-byte aligned blob; equal constants share their bytes. Kernels may read 64 bytes past its end."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._offsets: dict[bytes, int] = {}

    def add(self, value: Array) -> int:
        """Offset of the array's C-order bytes, added where they are not there yet."""
        content = np.ascontiguousarray(value).tobytes()
        digest = hashlib.sha256(content).digest()
        if digest not in self._offsets:
            self._offsets[digest] = len(self._bytes)
            self._bytes += content
            self._bytes += bytes(aligned(len(self._bytes)) - len(self._bytes))
        return self._offsets[digest]

    def content(self) -> bytes:
        """The blob."""
        return bytes(self._bytes) + bytes(64)


def padded(value: Array, axis: int, multiple: int = LANES) -> Array:
    """`value` with zeros appended along `axis` up to a multiple."""
    missing = -value.shape[axis] % multiple
    return np.pad(value, [(0, missing if i == axis else 0) for i in range(value.ndim)])


def float_columns(weight: Array) -> Array:
    """Weights [O, …] as [O/16][…][16]: lanes are output channels."""
    flat = padded(weight.reshape(weight.shape[0], -1), 0)
    return np.ascontiguousarray(flat.reshape(blocks(weight.shape[0]), LANES, -1).transpose(0, 2, 1))


def float_bits(value: float) -> int:
    """The float32's bits as a signed integer: how a literal float reaches a kernel without rounding."""
    return int(np.asarray(value, np.float32).view(np.int32))
