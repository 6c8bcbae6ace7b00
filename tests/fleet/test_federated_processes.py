"""Real processes, a real broker, SIGKILL: nothing is lost and nothing counts twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_fleet.broker import EmbeddedBroker
from lepton_sdk.federated.update import read_parameters, write_parameters
from lepton_sdk.wire.identity import Identity
from support.federation import JOB, TENANT, base_model, expected_mean
from support.watched_process import WatchedProcess

# About 340 KB an update in chunks of 4 KiB, granted one at a time: an upload has some 80 known points.
SIZE = 30_000
CONFIG = """
[broker]
host = "{host}"
port = {port}
keepalive_s = 5
[server]
key = "server.pem"
tenant = "{tenant}"
[job]
name = "{job}"
rounds = 1
base = "base.safetensors"
linger_s = 0.5
[round]
min_devices = {devices}
max_devices = {devices}
selection_s = 1.0
deadline_s = 30.0
[limits]
chunk_bytes = 4096
inline_bytes = 1024
grant_bytes = 4096
"""
DEVICE = Path(__file__).parent.parent / "support" / "synthetic_device.py"


class Fleet:
    """A broker, an aggregator and devices, each a process."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, devices: int) -> None:
        self.folder, self.broker = folder, broker
        Identity.load_or_create(folder / "server.pem")
        (folder / "keys").mkdir()
        self.identities = [Identity.generate() for _ in range(devices)]
        for index, identity in enumerate(self.identities):
            identity.save(folder / f"device{index}.pem")
            (folder / f"device{index}.pub.pem").rename(folder / "keys" / f"device{index}.pub.pem")
        (folder / "base.safetensors").write_bytes(write_parameters(base_model(SIZE)))
        values = {"host": broker.host, "port": broker.port, "tenant": TENANT, "job": JOB, "devices": devices}
        (folder / "aggregator.toml").write_text(CONFIG.format(**values))
        self._started: list[WatchedProcess] = []

    def aggregator(self) -> WatchedProcess:
        return self._start(
            "-m", "lepton_sdk.cli.main", "aggregator", "run", "--config", self.folder / "aggregator.toml",
            "--allow", self.folder / "keys", "--json", log=self.folder / "aggregator.log",
        )  # fmt: skip

    def device(self, index: int) -> WatchedProcess:
        return self._start(
            DEVICE, self.broker.host, self.broker.port, self.folder / f"device{index}.pem",
            self.folder / "server.pub.pem", self.folder / f"spool{index}", index, 10 * (index + 1),
            log=self.folder / f"device{index}.log",
        )  # fmt: skip

    def _start(self, *arguments: object, log: Path) -> WatchedProcess:
        process = WatchedProcess(*arguments, log=log)
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()

    def assert_each_counted_once(self, committed: dict[str, Any]) -> None:
        """The model is the exact weighted mean of every device's one update."""
        members = [
            (identity.device_id, index, 10 * (index + 1)) for index, identity in enumerate(self.identities)
        ]
        model = read_parameters((self.folder / "models" / "round-0001.safetensors").read_bytes())
        expected = expected_mean(base_model(SIZE), members, 1)
        for name, array in expected.items():
            np.testing.assert_array_equal(model[name], array)
        assert committed["n_updates"] == committed["updates_counted"] == len(members)
        assert committed["n_examples"] == sum(n for _, _, n in members)
        assert committed["updates_rejected"] == committed["updates_unfinished"] == 0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def fleet(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[Fleet]:
    made = Fleet(tmp_path, broker, devices=2)
    yield made
    made.end()


def test_a_device_killed_in_mid_upload_counts_once(fleet: Fleet) -> None:
    aggregator = fleet.aggregator()
    other, victim = fleet.device(0), fleet.device(1)
    offered = victim.wait_for("update_offered")
    sent = victim.wait_for("chunks_sent")
    victim.kill()
    assert sent["of"] > 50, "the upload is cut in its midst"

    again = fleet.device(1)
    assert again.wait_for("update_offered")["update_id"] == offered["update_id"], "kept in the spool"
    assert again.wait_for("receipt")["status"] == "accepted"
    assert other.wait_for("receipt")["status"] == "accepted"
    fleet.assert_each_counted_once(aggregator.wait_for("round_committed"))
    assert aggregator.wait() == again.wait() == other.wait() == 0
    assert not list((fleet.folder / "spool1").glob("*.update"))


def test_an_aggregator_killed_in_mid_round_goes_on(fleet: Fleet) -> None:
    aggregator = fleet.aggregator()
    devices = [fleet.device(0), fleet.device(1)]
    needed = aggregator.wait_for("chunks_needed")
    while needed["missing"] == needed["of"]:
        needed = aggregator.wait_for("chunks_needed")
    aggregator.kill()
    with sqlite3.connect(fleet.folder / "state" / "rounds.sqlite") as store:
        (phase,) = store.execute("select phase from rounds").fetchone()
        (chunks,) = store.execute("select count(*) from chunks").fetchone()
    assert phase == "open"
    assert chunks > 0

    restarted = fleet.aggregator()
    assert restarted.wait_for("ready")["rounds_committed"] == 0
    fleet.assert_each_counted_once(restarted.wait_for("round_committed"))
    assert [device.wait_for("receipt")["status"] for device in devices] == ["accepted", "accepted"]
    assert restarted.wait() == 0


def test_an_aggregator_killed_after_counting_tells_from_its_table(fleet: Fleet) -> None:
    aggregator = fleet.aggregator()
    first, second = fleet.device(0), fleet.device(1)
    second.wait_for("chunks_sent")
    second.kill()
    counted = aggregator.wait_for("update_counted")
    aggregator.kill()
    assert counted["device"] == fleet.identities[0].device_id

    restarted, again = fleet.aggregator(), fleet.device(1)
    fleet.assert_each_counted_once(restarted.wait_for("round_committed"))
    assert {first.wait_for("receipt")["status"], again.wait_for("receipt")["status"]} == {"accepted"}


def test_a_broker_killed_in_mid_upload_may_forget(fleet: Fleet) -> None:
    aggregator = fleet.aggregator()
    devices = [fleet.device(0), fleet.device(1)]
    devices[1].wait_for("chunks_sent")
    fleet.broker.restart()
    fleet.assert_each_counted_once(aggregator.wait_for("round_committed", timeout_s=20))
    assert [device.wait_for("receipt")["status"] for device in devices] == ["accepted", "accepted"]


def test_without_a_broker_the_command_says_so(fleet: Fleet) -> None:
    fleet.broker.kill()
    config = fleet.folder / "aggregator.toml"
    config.write_text(config.read_text().replace("keepalive_s = 5", "connect_timeout_s = 0.5"))
    process = fleet.aggregator()
    assert process.wait() == 5
    assert "no MQTT broker at 127.0.0.1" in (fleet.folder / "aggregator.log").read_text()
