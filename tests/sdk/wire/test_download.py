"""Artifacts by blocks: whole or not at all, whatever the network does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lepton_fleet.blocks import BlobFolder, BlockServer
from lepton_sdk.wire.blocks import BLOCK_BYTES, Block, Want
from lepton_sdk.wire.codec import decode, encode
from lepton_sdk.wire.download import Downloader
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.loopback import LoopbackBroker, LoopbackMessage
from lepton_sdk.wire.topics import Topics
from lepton_targets.errors import BadInputError, CheckFailedError, UnavailableError

ARTIFACT = bytes(range(256)) * 1500


class Site:
    """One server and one device on a loopback broker."""

    def __init__(self, folder: Path, allowed: bool = True) -> None:
        self.broker = LoopbackBroker()
        self.server, self.device = Identity.generate(), Identity.generate()
        self.goal = folder / "goal"
        allow = AllowList([self.device.public] if allowed else [])
        transport = self.broker.transport()
        transport.start()
        self.blocks = BlockServer(transport, self.server, BlobFolder(folder / "blobs"), "acme", allow)
        self.blocks.start()
        self.sha256 = self.blocks.blobs.put(ARTIFACT)
        self.transport = self.broker.transport()
        self.transport.start()
        self.downloader = Downloader(
            self.transport, self.device, self.server.public, "acme", window=3, retry_s=0.02
        )

    def fetch(self, timeout_s: float = 3.0, max_bytes: int = 1 << 20) -> bytes:
        return self.downloader.fetch(
            self.sha256, self.goal, timeout_s=timeout_s, max_bytes=max_bytes
        ).read_bytes()


def test_lost_doubled_and_altered_blocks_do_no_harm(tmp_path: Path) -> None:
    site = Site(tmp_path)
    seen = 0

    def fault(message: LoopbackMessage) -> tuple[LoopbackMessage, ...]:
        nonlocal seen
        seen += 1
        if "/down/block" not in message.topic or seen % 4 == 0:
            return (message,)
        altered = LoopbackMessage(message.topic, message.payload[:-70] + b"?" + message.payload[-69:])
        return ((), (message, message), (altered,))[seen % 3]

    site.broker.fault = fault
    assert site.fetch() == ARTIFACT
    assert site.downloader.forged > 0
    assert site.transport.unacknowledged == 0


def test_a_download_goes_on_where_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.goal.with_name("goal.part").write_bytes(ARTIFACT[: 3 * BLOCK_BYTES])
    assert site.fetch() == ARTIFACT
    wants = [decode(Want, m.payload) for m in site.broker.log if m.topic.endswith("/up/want")]
    assert min(offset for want in wants for offset, _ in want.pairs()) == 3 * BLOCK_BYTES
    before = len(site.broker.log)
    assert site.fetch() == ARTIFACT
    assert len(site.broker.log) == before, "what is here is not asked for"


def test_a_damaged_beginning_is_fetched_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.goal.with_name("goal.part").write_bytes(bytes(100_000))
    assert site.fetch() == ARTIFACT


def test_a_server_whose_copy_is_damaged_is_told_apart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.blocks.blobs.path(site.sha256).write_bytes(ARTIFACT[:-1] + b"?")
    with pytest.raises(CheckFailedError, match="twice"):
        site.fetch()
    assert not site.goal.exists()


def test_limits_and_silence_are_errors(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(BadInputError, match="at most 1000"):
        site.fetch(max_bytes=1000)
    stranger = Site(tmp_path / "stranger", allowed=False)
    with pytest.raises(UnavailableError, match="no server gave"):
        stranger.fetch(timeout_s=0.2)
    assert stranger.blocks.counts["refused"] > 0
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(UnavailableError, match="stopped"):
        stranger.downloader.fetch(stranger.sha256, stranger.goal, timeout_s=9, max_bytes=9, stop=stopped)


def test_forged_wants_and_blocks_change_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    topics, attacker = Topics("acme"), Identity.generate()
    forged = attacker.sign(Want("acme", site.device.device_id, site.sha256, (0, 10)))
    foreign = site.device.sign(Want("other", site.device.device_id, site.sha256, (0, 10)))
    for want in (forged, foreign):
        site.transport.publish(topics.want(site.device.device_id), encode(want))
    site.transport.publish(topics.want(site.device.device_id), b"\xff")
    assert site.blocks.counts == {"refused": 3}

    def inject(message: LoopbackMessage) -> tuple[LoopbackMessage, ...]:
        if message.topic.endswith("/up/want"):
            lie = attacker.sign(Block("acme", site.sha256, len(ARTIFACT), 0, b"lie" * 100))
            return (LoopbackMessage(topics.block(site.device.device_id), encode(lie)), message)
        return (message,)

    site.broker.fault = inject
    assert site.fetch() == ARTIFACT
