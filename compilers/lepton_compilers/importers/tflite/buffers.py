"""Buffers that a TFLite file holds behind its flatbuffer, by offset and size, read as if they were inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tflite


class Outside:
    """A buffer's bytes elsewhere in the file; writable, as those of an inner one."""

    def __init__(self, content: bytearray, offset: int, size: int) -> None:
        if offset + size > len(content):
            raise ValueError(f"a buffer lies at {offset} … {offset + size} of {len(content)} bytes")
        self._bytes = np.frombuffer(content, np.uint8, size, offset)

    def DataLength(self) -> int:
        """Number of bytes."""
        return len(self._bytes)

    def DataAsNumpy(self) -> npt.NDArray[np.uint8]:
        """The bytes."""
        return self._bytes


class WithOutsideBuffers(tflite.Model):  # type: ignore[misc]
    """A TFLite model that reads as the flatbuffer does, outside buffers included."""

    def __init__(self, content: bytearray) -> None:
        self._content = content
        self.Init(content, tflite.Model.GetRootAsModel(content, 0)._tab.Pos)

    def Buffers(self, index: int) -> Any:
        """The buffer at `index`; offsets of 0 and 1 mean inside."""
        inner = super().Buffers(index)
        if inner is None or inner.Offset() <= 1:
            return inner
        return Outside(self._content, inner.Offset(), inner.Size())
