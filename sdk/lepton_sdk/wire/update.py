"""An update's way to the server: offered, its chunks asked for and sent, its fate told by a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.wire.codec import require
from lepton_sdk.wire.topics import is_device_id

ACCEPTED, DUPLICATE, STALE, REJECTED = "accepted", "duplicate", "stale", "rejected"
RECEIPT_STATUSES = (ACCEPTED, DUPLICATE, STALE, REJECTED)
CODEC = "safetensors+zstd"
MAX_CHUNKS = 16384
MAX_CHUNK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Offer:
    """Device → server, `up/offer`: an update is ready. Signed by the device.

    size: bytes of the payload. chunk_sha256: hash of each chunk in order; all but the last have chunk_bytes
    bytes, so the list covers the whole. payload: the whole update where it is small, else b"".
    """

    kind: ClassVar[str] = "offer"
    tenant: str
    job: str
    round: int
    base_model_sha256: bytes
    device: str
    boot_id: bytes
    update_id: bytes
    attempt: int
    n_examples: int
    codec: str
    size: int
    chunk_bytes: int
    chunk_sha256: tuple[bytes, ...]
    metrics: Mapping[str, int | float]
    payload: bytes = b""
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"offer: device {self.device!r} is no device id")
        require(len(self.base_model_sha256) == 32, "offer: a SHA-256 has 32 bytes")
        require(len(self.update_id) == 16, "offer: an update_id has 16 bytes")
        require(len(self.boot_id) <= 32, "offer: a boot_id has at most 32 bytes")
        require(self.n_examples >= 1, f"offer: n_examples {self.n_examples} found, at least 1 is accepted")
        require(self.codec == CODEC, f"offer: codec {self.codec!r} found, {CODEC!r} is accepted")
        require(
            64 <= self.chunk_bytes <= MAX_CHUNK_BYTES, "offer: chunks of 64 bytes to 256 KiB are accepted"
        )
        require(self.size >= 1, "offer: an empty update")
        require(
            len(self.chunk_sha256) == -(-self.size // self.chunk_bytes) <= MAX_CHUNKS,
            f"offer: {len(self.chunk_sha256)} chunk hashes for {self.size} bytes",
        )
        require(all(len(sha) == 32 for sha in self.chunk_sha256), "offer: a SHA-256 has 32 bytes")
        require(len(self.payload) in (0, self.size), "offer: a payload inside an offer is the whole update")
        require(len(self.metrics) <= 64, "offer: at most 64 metrics are accepted")

    def chunk_size(self, index: int) -> int:
        """Bytes of chunk `index`."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Device → server, `up/chunk`: part of an update; its hash stands in the signed offer."""

    kind: ClassVar[str] = "chunk"
    update_id: bytes
    index: int
    content: bytes

    def __post_init__(self) -> None:
        require(len(self.update_id) == 16, "chunk: an update_id has 16 bytes")
        require(0 <= self.index < MAX_CHUNKS, f"chunk: index {self.index} is out of range")
        require(0 < len(self.content) <= MAX_CHUNK_BYTES, "chunk: 1 byte to 256 KiB are accepted")


@dataclass(frozen=True, slots=True)
class Need:
    """Server → device, `down/need`: the chunks it may send now, `granted_bytes` in all; none means: wait,
    the server is busy and will ask. Signed by the server."""

    kind: ClassVar[str] = "need"
    tenant: str
    device: str
    update_id: bytes
    chunks: tuple[int, ...]
    granted_bytes: int
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(len(self.update_id) == 16, "need: an update_id has 16 bytes")
        require(all(0 <= index < MAX_CHUNKS for index in self.chunks), "need: a chunk out of range")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Server → device, `down/receipt`: the fate of an update, told once it is durable. Signed."""

    kind: ClassVar[str] = "receipt"
    tenant: str
    device: str
    update_id: bytes
    status: str
    reason: str
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(len(self.update_id) == 16, "receipt: an update_id has 16 bytes")
        require(self.status in RECEIPT_STATUSES, f"receipt: status {self.status!r} is unknown")
