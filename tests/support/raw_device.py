"""A device driven by hand: sends exactly what a test tells it, honest or not."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from typing import Any, TypeVar

from lepton_sdk.wire.codec import decode, encode
from lepton_sdk.wire.identity import Identity, Signed
from lepton_sdk.wire.round import Report, Task
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_sdk.wire.update import CODEC, Need, Offer, Receipt
from support.federation import JOB, TENANT

S = TypeVar("S", bound=Signed)


class RawDevice:
    """Collects what the server tells it; `published` holds everything it sent, as (topic, payload)."""

    def __init__(self, transport: Transport, identity: Identity) -> None:
        self.transport, self.identity, self.topics = transport, identity, Topics(TENANT)
        self.published: list[tuple[str, bytes]] = []
        self._received: list[Task | Need | Receipt] = []
        self._changed = threading.Condition()
        for topic, kind in (
            (self.topics.task(identity.device_id), Task),
            (self.topics.need(identity.device_id), Need),
            (self.topics.receipt(identity.device_id), Receipt),
        ):
            transport.subscribe(topic, lambda delivery, kind=kind: self._take(kind, delivery))
        transport.start(5.0)

    def _take(self, kind: type[Any], delivery: Delivery) -> None:
        delivery.acknowledge()
        with self._changed:
            self._received.append(decode(kind, delivery.payload))
            self._changed.notify_all()

    def wait_for(self, kind: type[S], timeout_s: float = 5.0) -> S:
        """The first message of that kind that was not yet waited for."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for message in self._received:
                    if isinstance(message, kind):
                        self._received.remove(message)
                        return message
                left = deadline - time.monotonic()
                assert left > 0, f"no {kind.__name__} within {timeout_s} s"
                self._changed.wait(left)

    def send(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))
        self.transport.publish(topic, payload)

    def report_eligible(self, number: int) -> None:
        report = Report(TENANT, self.identity.device_id, b"boot", JOB, number, "eligible")
        self.send(self.topics.report(self.identity.device_id), encode(self.identity.sign(report)))

    def make_offer(self, task: Task, content: bytes, **changes: Any) -> Offer:
        """An honest signed offer for `content`, which rides inside, with `changes`."""
        size = task.chunk_bytes
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        fields: dict[str, Any] = {
            "tenant": TENANT, "job": JOB, "round": task.round, "base_model_sha256": task.base_model_sha256,
            "device": self.identity.device_id, "boot_id": b"boot", "update_id": secrets.token_bytes(16),
            "attempt": 0, "n_examples": 10, "codec": CODEC, "size": len(content), "chunk_bytes": size,
            "chunk_sha256": tuple(hashlib.sha256(chunk).digest() for chunk in chunks), "metrics": {},
            "payload": content,
        }  # fmt: skip
        return self.identity.sign(Offer(**{**fields, **changes}))

    def send_offer(self, offer: Offer) -> None:
        self.send(self.topics.offer(self.identity.device_id), encode(offer))

    def fate(self, offer: Offer) -> Receipt:
        """Send an offer and wait for its receipt; those of other updates are passed over."""
        self.send_offer(offer)
        while (receipt := self.wait_for(Receipt)).update_id != offer.update_id:
            pass
        return receipt


def tasks_for(*devices: RawDevice, number: int = 1) -> list[Task]:
    """Let all devices report eligible for round `number` until each has its task."""
    tasks: dict[int, Task] = {}
    for _ in range(50):
        waiting = [device for device in devices if id(device) not in tasks]
        for device in waiting:
            device.report_eligible(number)
        for device in waiting:
            with contextlib.suppress(AssertionError):
                task = device.wait_for(Task, 0.1)
                if task.round == number:
                    tasks[id(device)] = task
        if len(tasks) == len(devices):
            return [tasks[id(device)] for device in devices]
    raise AssertionError("no tasks")
