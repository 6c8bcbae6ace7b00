"""FlexBuffers, the schema-free form in which custom TFLite operators store their options.

Only what such options are: one map of scalars. Source: flatbuffers' document "FlexBuffers".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

FlexValue = int | float | bool

_INT, _UINT, _FLOAT, _MAP, _BOOL = 1, 2, 3, 9, 26
_INDIRECT = {6: _INT, 7: _UINT, 8: _FLOAT}


def flexbuffer_map(content: bytes) -> Mapping[str, FlexValue]:
    """The scalars of a root map by key; other values are left out. Raises ValueError for other roots."""
    if len(content) < 3:
        raise ValueError(f"a FlexBuffer of {len(content)} bytes")
    width, packed = content[-1], content[-2]
    if packed >> 2 != _MAP or width not in (1, 2, 4, 8):
        raise ValueError("the custom options are no FlexBuffer map")
    at = len(content) - 2 - width
    start, width = at - _unsigned(content, at, width), 1 << (packed & 3)
    count = _unsigned(content, start - width, width)
    keys = start - 3 * width
    keys -= _unsigned(content, keys, width)
    key_width = _unsigned(content, start - 2 * width, width)
    found: dict[str, FlexValue] = {}
    for index in range(count):
        place = keys + index * key_width
        key = place - _unsigned(content, place, key_width)
        name = content[key : content.index(0, key)].decode("utf-8")
        kind = content[start + count * width + index]
        scalar = _scalar(content, start + index * width, width, kind >> 2, 1 << (kind & 3))
        if scalar is not None:
            found[name] = scalar
    return found


def _unsigned(content: bytes, at: int, width: int) -> int:
    if at < 0 or at + width > len(content):
        raise ValueError(f"a FlexBuffer that points to byte {at} of {len(content)}")
    return int.from_bytes(content[at : at + width], "little")


def _scalar(content: bytes, at: int, width: int, kind: int, own_width: int) -> FlexValue | None:
    if kind in _INDIRECT:
        at, width, kind = at - _unsigned(content, at, width), own_width, _INDIRECT[kind]
    raw = _unsigned(content, at, width)
    if kind == _BOOL:
        return bool(raw)
    if kind == _UINT:
        return raw
    if kind == _INT:
        return raw - (1 << 8 * width) if raw >> (8 * width - 1) else raw
    if kind == _FLOAT and width in (4, 8):
        return float(struct.unpack("<f" if width == 4 else "<d", content[at : at + width])[0])
    return None
