"""A device says that it is here; the broker says that it is gone."""

from __future__ import annotations

from pathlib import Path

from lepton_sdk.wire.codec import decode
from lepton_sdk.wire.loopback import LoopbackBroker
from lepton_sdk.wire.presence import Presence
from lepton_sdk.wire.status import Status

DEVICE = "0123456789abcdef"


def test_here_at_each_connection_gone_when_it_vanishes_or_parts(tmp_path: Path) -> None:
    broker = LoopbackBroker()
    transport = broker.transport()
    presence = Presence(transport, DEVICE, "plant", tmp_path, "1.2")
    presence.begin()
    transport.start()
    transport.drop()
    transport.reconnect()
    presence.end()
    statuses = [decode(Status, message.payload) for message in broker.log]
    assert [status.online for status in statuses] == [True, False, True, False]
    assert {(status.device, status.version, status.boot_id) for status in statuses} == {
        (DEVICE, "1.2", presence.boot_id)
    }
    assert all(
        message.retain and message.topic == f"fl/v1/plant/dev/{DEVICE}/status" for message in broker.log
    )
    assert all(status.free_bytes > 0 for status in statuses)
