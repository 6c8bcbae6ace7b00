"""Where each row or column of a resized map comes from, by the coordinate modes of TFLite and ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MODES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


def _coordinates(size: int, wanted: int, mode: str) -> Array | None:
    """The source coordinate of every place of the result, float32 as LiteRT computes it; [wanted]."""
    if mode not in MODES:
        return None
    places = np.arange(wanted, dtype=np.float32)
    if mode == "align_corners" and wanted > 1:
        step, offset = np.float32(size - 1) / np.float32(wanted - 1), np.float32(0)
    elif mode == "pytorch_half_pixel" and wanted == 1:
        step = offset = np.float32(0)
    else:
        step = np.float32(size) / np.float32(wanted)
        offset = np.float32(0.5) * step - np.float32(0.5) if "half_pixel" in mode else np.float32(0)
    found: Array = places * step + offset
    return found


def nearest_places(size: int, wanted: int, mode: str, rounding: str) -> Array | None:
    """The source place of every place of the result, int32 [wanted]; None for unknown modes and roundings."""
    if mode == "half_pixel" and rounding == "round_prefer_ceil":
        # Half a pixel added and taken off again would round twice.
        step = np.float32(size) / np.float32(wanted)
        places = np.floor((np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * step)
        found: Array = np.clip(places, 0, size - 1).astype(np.int32)
        return found
    at = _coordinates(size, wanted, mode)
    if at is None:
        return None
    if rounding == "floor":
        chosen = np.floor(at)
    elif rounding == "ceil":
        chosen = np.ceil(at)
    elif rounding == "round_prefer_ceil":
        chosen = np.floor(at + np.float32(0.5))
    elif rounding in ("round_prefer_floor", "round", ""):
        chosen = np.ceil(at - np.float32(0.5))
    else:
        return None
    return np.clip(chosen, 0, size - 1).astype(np.int32)


def bilinear_places(size: int, wanted: int, mode: str) -> tuple[Array, Array] | None:
    """(both neighbours int32 [wanted, 2], weight of the second float32 [wanted]); None for unknown modes.

    Source: XNNPACK's indirection of resize_bilinear2d.
    """
    at = _coordinates(size, wanted, mode)
    if at is None:
        return None
    at = np.clip(at, np.float32(0), np.float32(size - 1))
    first = at.astype(np.int32)
    second = np.minimum(first + 1, size - 1)
    return np.stack([first, second], axis=1).astype(np.int32), at - first.astype(np.float32)
