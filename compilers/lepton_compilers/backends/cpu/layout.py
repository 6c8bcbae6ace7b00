"""How a tensor's bytes lie in memory: dense in C order, or blocked by 16 channels for wide vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plan import Place
from lepton_sdk.program import Tensor

LANES = 16


def blocks(channels: int) -> int:
    """Blocks of 16 channels that hold `channels`."""
    return -(-channels // LANES)


@dataclass(frozen=True, slots=True)
class Blocked:
    """An int8 feature map as u8 (q + 128), [images][blocks][pixels][16]; the last block is padded.

    What the padding channels hold is never used: weights are zero there.
    """

    place: Place
    images: int
    pixels: int
    channels: int

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return blocks(self.channels) * self.pixels * LANES

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return self.images * self.image_bytes

    def at(self, place: Place) -> Blocked:
        """The same layout at another address."""
        return Blocked(place, self.images, self.pixels, self.channels)


def blocked_form(tensor: Tensor) -> Blocked:
    """The blocked layout that a tensor's shape calls for, at no place yet: rank 4 by pixels, else by rows."""
    shape = tensor.shape
    if len(shape) == 4:
        return Blocked(Place(""), shape[0], shape[1] * shape[2], shape[3])
    return Blocked(Place(""), math.prod(shape[:-1]), 1, shape[-1] if shape else 1)
