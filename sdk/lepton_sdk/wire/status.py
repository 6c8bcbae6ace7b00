"""A device is here, or gone: retained on its topic, and left with the broker as its last will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.wire.codec import require
from lepton_sdk.wire.topics import is_device_id


@dataclass(frozen=True, slots=True)
class Status:
    """Device (or the broker in its name) → server, `status`. A hint and unsigned: nothing is decided by it.

    free_bytes: space where the device keeps its models; battery: 0 to 1, None on mains.
    """

    kind: ClassVar[str] = "status"
    device: str
    online: bool
    boot_id: bytes
    version: str
    free_bytes: int
    battery: float | None = None

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"status: device {self.device!r} is no device id")
        require(self.battery is None or 0 <= self.battery <= 1, "status: battery goes from 0 to 1")
