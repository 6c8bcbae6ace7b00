"""How a tensor's bytes lie in memory: dense in C order, or blocked by 16 channels for wide vectors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_sdk.program import Tensor

LANES = 16


def blocks(channels: int) -> int:
    """Blocks of 16 channels that hold `channels`."""
    return -(-channels // LANES)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A feature map, [images][blocks][pixels][16].

    The last block is padded. What the padding channels hold is never used.
    """

    place: Place
    images: int
    pixels: int
    channels: int
    element_bytes: int = 1

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return blocks(self.channels) * self.pixels * LANES * self.element_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return self.images * self.image_bytes

    def at(self, place: Place) -> Blocked:
        """The same layout at another address."""
        return dataclasses.replace(self, place=place)


@dataclass(frozen=True, slots=True)
class MapElements:
    """How an instruction set keeps the values of blocked maps, and its kernels from and to dense tensors.

    centred: values are q − zero point; else q less `least`. shifted: the kernels take last what is
    subtracted.
    """

    element_bytes: int = 1
    centred: bool = False
    pack: str = "pack_map"
    unpack: str = "unpack_map"
    shifted: bool = True
    least: int = 0

    def subtracted(self, zero_point: int) -> int:
        """q less a map's value."""
        return zero_point if self.centred else self.least


UNSIGNED = MapElements(pack="pack_u8", unpack="unpack_u8", shifted=False)
"""u8: q + 128."""


FLOATS = MapElements(4, pack="pack_f32", unpack="unpack_f32", shifted=False)
"""float32 as it is."""


BFLOATS = MapElements(2, pack="pack_bf16", unpack="unpack_bf16", shifted=False)
"""float32 rounded to bfloat16."""


def blocked_form(tensor: Tensor, elements: MapElements = UNSIGNED) -> Blocked:
    """The blocked layout that a tensor's shape calls for, at no place yet: rank 4 by pixels, else by rows."""
    shape, size = tensor.shape, elements.element_bytes
    if len(shape) == 4:
        return Blocked(Place(""), shape[0], shape[1] * shape[2], shape[3], size)
    return Blocked(Place(""), math.prod(shape[:-1]), 1, shape[-1] if shape else 1, size)
