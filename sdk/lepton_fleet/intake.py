"""The aggregator's edge: a delivery becomes a checked message of a known device, or is dropped."""

from __future__ import annotations

from typing import TypeVar

from lepton_sdk.wire import codec
from lepton_sdk.wire.identity import AllowList
from lepton_sdk.wire.round import Report
from lepton_sdk.wire.topics import device_of
from lepton_sdk.wire.transport import Delivery
from lepton_sdk.wire.update import Chunk, Offer
from lepton_targets.errors import LeptonError, MessageError, SignatureError

S = TypeVar("S", Offer, Report)

# An offer holds a hash a chunk, and the whole of a small update.
OFFER_LIMIT = 2 << 20
UNKNOWN_DEVICE = "unknown_device"


class Dropped(LeptonError):
    """A message that changes nothing. `reason` is one word for the counts."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def parse(delivery: Delivery, tenant: str, allow: AllowList) -> tuple[str, Offer | Chunk | Report]:
    """(device, message) of a delivery on an `up/…` topic.

    Raises Dropped: malformed, unknown_device, other_device (topic and message disagree), other_tenant,
    forged. A chunk carries no signature: its hash stands in the signed offer.
    """
    try:
        device = device_of(delivery.topic)
        leaf = delivery.topic.rsplit("/", 1)[1]
        if allow.get(device) is None:
            raise Dropped(UNKNOWN_DEVICE, f"{device} is not on the allow-list")
        if leaf == "chunk":
            return device, codec.decode(Chunk, delivery.payload)
        if leaf == "offer":
            return device, _checked(codec.decode(Offer, delivery.payload, OFFER_LIMIT), device, tenant, allow)
        if leaf == "report":
            return device, _checked(codec.decode(Report, delivery.payload), device, tenant, allow)
    except MessageError as error:
        raise Dropped("malformed", error.message) from error
    raise Dropped("malformed", f"nothing is expected on {delivery.topic}")


def _checked(message: S, device: str, tenant: str, allow: AllowList) -> S:
    key = allow.get(device)
    if key is None or message.device != device:
        raise Dropped("other_device", f"a message of {message.device} on the topic of {device}")
    if message.tenant != tenant:
        raise Dropped("other_tenant", f"a message of tenant {message.tenant} reached {tenant}")
    try:
        key.verify(message)
    except SignatureError as error:
        raise Dropped("forged", error.message) from error
    return message
