"""Blocks of an artifact (a base model, a bundle): wanted by a device, given by a server.

An artifact is named by its SHA-256 and lies whole in the server's folder of blobs. The server signs each
block, so that a forged one is dropped at once instead of spoiling the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.wire.codec import require
from lepton_sdk.wire.topics import is_device_id

BLOCK_BYTES = 64 << 10
MAX_BLOCK_BYTES = 256 << 10
MAX_RANGES = 64


@dataclass(frozen=True, slots=True)
class Want:
    """Device → server, `up/want`: byte ranges of an artifact.

    ranges: offsets and lengths in bytes, alternating (offset, length, offset, length, …), at most 64 pairs;
    a server answers a range beyond the artifact's end with what there is. Signed by the device.
    """

    kind: ClassVar[str] = "want"
    tenant: str
    device: str
    artifact_sha256: bytes
    ranges: tuple[int, ...]
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"want: device {self.device!r} is no device id")
        require(len(self.artifact_sha256) == 32, "want: a SHA-256 has 32 bytes")
        require(
            0 < len(self.ranges) <= 2 * MAX_RANGES and len(self.ranges) % 2 == 0,
            f"want: 1 to {MAX_RANGES} ranges are accepted",
        )
        require(
            all(offset >= 0 for offset in self.ranges[::2])
            and all(0 < length <= MAX_BLOCK_BYTES for length in self.ranges[1::2]),
            f"want: ranges have offsets from 0 and lengths of 1 to {MAX_BLOCK_BYTES} bytes",
        )

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The ranges as (offset, length)."""
        return tuple(zip(self.ranges[::2], self.ranges[1::2]))


@dataclass(frozen=True, slots=True)
class Block:
    """Server → device, `down/block`: one range's bytes, and how long the whole artifact is. Signed."""

    kind: ClassVar[str] = "block"
    tenant: str
    artifact_sha256: bytes
    artifact_bytes: int
    offset: int
    content: bytes
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(len(self.artifact_sha256) == 32, "block: a SHA-256 has 32 bytes")
        require(len(self.content) <= MAX_BLOCK_BYTES, f"block: at most {MAX_BLOCK_BYTES} bytes are accepted")
        require(
            self.offset >= 0 and self.offset + len(self.content) <= self.artifact_bytes,
            "block: a range within the artifact is accepted",
        )
