"""A round's control messages: announced by the server, answered by devices that are able, given as tasks.

A deadline is a duration from a message's arrival; `sequence` grows with each announcement of a server, so
that an old one played again is known as such without any clock of the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from lepton_sdk.wire.codec import require
from lepton_sdk.wire.topics import is_device_id

SELECTING, OPEN, CLOSED = "selecting", "open", "closed"


@dataclass(frozen=True, slots=True)
class RoundAnnouncement:
    """Server → all, retained, `round/{job}`: which round is on and in which phase. Signed by the server."""

    kind: ClassVar[str] = "round"
    tenant: str
    job: str
    round: int
    phase: str
    base_model_sha256: bytes
    deadline_s: float
    strategy: str
    sequence: int
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(self.phase in (SELECTING, OPEN, CLOSED), f"round: phase {self.phase!r} is unknown")
        require(self.round >= 0, "round: a round counts from 0")
        require(len(self.base_model_sha256) == 32, "round: a SHA-256 has 32 bytes")
        require(self.deadline_s >= 0, "round: a deadline is a duration from 0 s")


@dataclass(frozen=True, slots=True)
class Report:
    """Device → server, `up/report`: where the device stands; "eligible" asks for a task. Signed."""

    kind: ClassVar[str] = "report"
    tenant: str
    device: str
    boot_id: bytes
    job: str
    round: int
    phase: str
    metrics: Mapping[str, int | float] = field(default_factory=dict)
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"report: device {self.device!r} is no device id")
        require(len(self.phase) <= 32 and len(self.metrics) <= 64, "report: too long")


@dataclass(frozen=True, slots=True)
class Task:
    """Server → a device, `down/task`: train on this base with these settings, offer the difference. Signed.

    settings: what the strategy tells the trainer (epochs, learning_rate, momentum, …). chunk_bytes: size of
    every chunk but the last; an update of at most inline_bytes rides in its offer.
    """

    kind: ClassVar[str] = "task"
    tenant: str
    job: str
    round: int
    device: str
    base_model_sha256: bytes
    base_model_bytes: int
    settings: Mapping[str, int | float | str]
    chunk_bytes: int
    inline_bytes: int
    deadline_s: float
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"task: device {self.device!r} is no device id")
        require(len(self.base_model_sha256) == 32, "task: a SHA-256 has 32 bytes")
        require(self.base_model_bytes > 0, "task: a base model has bytes")
        require(64 <= self.chunk_bytes <= 256 << 10, "task: chunks of 64 bytes to 256 KiB are accepted")
        require(0 <= self.inline_bytes <= 512 << 10, "task: at most 512 KiB ride in an offer")
        require(self.deadline_s >= 0, "task: a deadline is a duration from 0 s")
