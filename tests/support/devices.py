"""A fleet in one process: a publisher, a server, devices with slots, over the loopback broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lepton_fleet.blocks import BlobFolder, BlockServer
from lepton_sdk.agent.agent import DeviceAgent
from lepton_sdk.agent.record import ProbationPolicy
from lepton_sdk.agent.shadow import (
    ReleaseStatement,
    Reported,
    desired_for,
    read_reported,
    sign_statement,
    withdrawal_for,
)
from lepton_sdk.bundle import Bundle
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.loopback import LoopbackBroker
from lepton_sdk.wire.topics import Topics
from lepton_targets import host
from support import bundles

TENANT = "plant"
AT_ONCE = ProbationPolicy(seconds=0.0, inferences=0, timeout_s=20.0)
WRONG_GOLDEN = {"golden": bytes(128)}


@dataclass
class Workshop:
    """Keys and blobs of a server and a publisher, and the loopback broker between them and a device."""

    folder: Path
    broker: LoopbackBroker = field(default_factory=LoopbackBroker)

    def __post_init__(self) -> None:
        self.server = Identity.generate()
        self.publisher_pem = self.folder / "publisher.pem"
        self.publisher = Identity.load_or_create(self.publisher_pem)
        self.trust = [self.folder / "publisher.pub.pem"]
        self.device = Identity.generate()
        self.blobs = BlobFolder(self.folder / "blobs")
        self.wire = self.broker.transport()
        self.wire.start()
        allow = AllowList([self.device.public])
        self.blocks = BlockServer(self.wire, self.server, self.blobs, TENANT, allow)
        self.blocks.start()
        self.reports: list[Reported] = []
        self.wire.subscribe(Topics(TENANT).reported(self.device.device_id), self._on_reported)

    def _on_reported(self, delivery: Any) -> None:
        report = read_reported(delivery.payload, self.device.device_id, TENANT, self.device.public)
        self.reports.append(report)

    def agent(self, **options: Any) -> DeviceAgent:
        given = {"engine": "reference", "tenant": TENANT, "check_interval_s": 0.02, **options}
        transport = self.broker.transport()
        slots = self.folder / "slots"
        return DeviceAgent(
            transport, self.device, slots, server_key=self.server.public, trust=self.trust, **given
        )

    def bundle(self, number: int, *, key: Path | None = None, **changes: Any) -> bytes:
        """A signed bundle that differs from others by its name."""
        path = self.folder / f"release{number}.lep"
        changes.setdefault("manifest_changes", {"name": f"tiny{number}"})
        return bundles.write(path, key=key or self.publisher_pem, **changes).read_bytes()

    def release(self, counter: int, content: bytes, **changes: Any) -> bytes:
        """An encoded statement about `content`, which becomes a blob."""
        sha256 = self.blobs.put(content).hex()
        target = changes.pop("target", host().name)
        publisher = changes.pop("publisher", self.publisher)
        fields: dict[str, Any] = {
            "tenant": TENANT,
            "name": f"release {counter}",
            "counter": counter,
            "digest": "",
            "file_sha256": {target: sha256},
            "file_bytes": {target: len(content)},
            **changes,
        }
        if not fields["digest"]:
            fields["digest"] = Bundle(memoryview(content)).digest
        return sign_statement(ReleaseStatement(**fields), publisher)

    def wish(self, sequence: int, release: bytes, policy: ProbationPolicy = AT_ONCE, **changes: Any) -> None:
        server = changes.pop("server", self.server)
        device = changes.pop("device", self.device.device_id)
        self.send(desired_for(device, TENANT, sequence, release, policy, server))

    def withdraw(self, sequence: int, counter: int) -> None:
        self.send(withdrawal_for(self.device.device_id, TENANT, sequence, counter, self.server))

    def send(self, payload: bytes) -> None:
        self.wire.publish(Topics(TENANT).desired(self.device.device_id), payload, retain=True)

    def wait(self, what: Callable[[Reported], bool], timeout_s: float = 15.0) -> Reported:
        """The first report for which `what` holds."""
        return wait_for(lambda: next((report for report in self.reports if what(report)), None), timeout_s)

    def wait_answer(self, sequence: int) -> Reported:
        return self.wait(lambda report: report.answer_sequence == sequence)


def wait_for(look: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """What `look` returns once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
    return found
