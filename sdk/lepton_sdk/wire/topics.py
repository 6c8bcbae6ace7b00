"""Who writes where: every topic of the protocol, and which device a topic belongs to.

fl/v1/{tenant}/dev/{id}/status                            device, retained, and its last will
…/dev/{id}/up/offer · chunk · want · report               device
…/dev/{id}/down/task · receipt · need · block             server
…/dev/{id}/desired (retained)  ·  reported                server · device
fl/v1/{tenant}/round/{job} (retained, signed)             server
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lepton_targets.errors import MessageError, UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DEVICE = re.compile(r"[0-9a-f]{16}")
ANY_DEVICE = "+"


def check_name(name: str, what: str) -> str:
    """`name` if it may stand in a topic as a tenant or job; raises UsageError with what is accepted."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} can't stand in a topic",
            "accepted: 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
        )
    return name


def is_device_id(text: str) -> bool:
    """Whether `text` is 16 lower-case hexadecimal digits."""
    return bool(_DEVICE.fullmatch(text))


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one tenant. A `device` may be ANY_DEVICE to make a subscription's filter."""

    tenant: str

    def __post_init__(self) -> None:
        check_name(self.tenant, "tenant")

    def status(self, device: str) -> str:
        return self._device(device, "status")

    def offer(self, device: str) -> str:
        return self._device(device, "up/offer")

    def chunk(self, device: str) -> str:
        return self._device(device, "up/chunk")

    def want(self, device: str) -> str:
        return self._device(device, "up/want")

    def report(self, device: str) -> str:
        return self._device(device, "up/report")

    def task(self, device: str) -> str:
        return self._device(device, "down/task")

    def receipt(self, device: str) -> str:
        return self._device(device, "down/receipt")

    def need(self, device: str) -> str:
        return self._device(device, "down/need")

    def block(self, device: str) -> str:
        return self._device(device, "down/block")

    def desired(self, device: str) -> str:
        return self._device(device, "desired")

    def reported(self, device: str) -> str:
        return self._device(device, "reported")

    def round(self, job: str) -> str:
        return f"fl/v1/{self.tenant}/round/{check_name(job, 'job')}"

    def _device(self, device: str, leaf: str) -> str:
        if device != ANY_DEVICE and not is_device_id(device):
            raise UsageError(f"device id {device!r} is not 16 hexadecimal digits")
        return f"fl/v1/{self.tenant}/dev/{device}/{leaf}"


def device_of(topic: str) -> str:
    """The device id that stands in `topic`; raises MessageError where none does."""
    parts = topic.split("/")
    if len(parts) < 6 or parts[:2] != ["fl", "v1"] or parts[3] != "dev" or not is_device_id(parts[4]):
        raise MessageError(f"topic {topic!r} belongs to no device")
    return parts[4]


def matches(topic_filter: str, topic: str) -> bool:
    """Whether `topic` matches an MQTT filter with + and # (MQTT 3.1.1 §4.7; no $-topics are used here)."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(found) or part not in ("+", found[index]):
            return False
    return len(wanted) == len(found)
