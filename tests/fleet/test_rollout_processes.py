"""Devices, broker and roll-out as separate processes; devices and the roll-out are killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lepton_fleet.broker import EmbeddedBroker
from lepton_sdk.agent.record import Phase, Record
from lepton_sdk.agent.slots import Slots
from lepton_sdk.bundle import Bundle
from lepton_sdk.wire.identity import Identity
from support import bundles, device_process
from support.devices import WRONG_GOLDEN, wait_for

LEPTON = (sys.executable, "-m", "lepton_sdk.cli.main")
CONFIGURATION = """\
[broker]
port = {port}
[device]
key = "device.pem"
server_key = "server.pub.pem"
tenant = "plant"
[agent]
slots = "slots"
trust = ["publisher.pub.pem"]
check_interval_s = 0.1
"""
LARGE = {"weights": bundles.TABLE.tobytes() + os.urandom(24 << 20)}


@dataclass
class Device:
    """One device's folder and the process that works in it."""

    folder: Path
    port: int
    engine: str = "reference"
    bad_name: str = "no such model"
    process: subprocess.Popen[str] | None = None

    @property
    def id(self) -> str:
        return Identity.load(self.folder / "device.pem").device_id

    @property
    def record(self) -> Record:
        return Slots(self.folder / "slots").load_record()

    def start(self) -> None:
        """With a probe of its own; see `device_process`."""
        command = [sys.executable, device_process.__file__, str(self.folder), str(self.port)]
        self._start([*command, self.engine, self.bad_name])

    def start_command(self) -> None:
        """As `lepton device run` does."""
        config = self.folder / "device.toml"
        config.write_text(CONFIGURATION.format(port=self.port))
        self._start([*LEPTON, "device", "run", "--config", str(config), "--json"])

    def _start(self, command: list[str]) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, text=True)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def active_name(self) -> str | None:
        """Name of the model in the active slot, as any process would find it on the disc."""
        slots = Slots(self.folder / "slots")
        slot = slots.active()
        return None if slot is None else Bundle.open(slots.bundle(slot)).manifest.name

    def phases(self) -> list[str]:
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line)["phase"] for line in lines if '"phase": ' in line]


@dataclass
class Fleet:
    """A fleet's folder, its devices, and the `lepton fleet` commands on it."""

    folder: Path
    broker: EmbeddedBroker
    devices: list[Device] = field(default_factory=list)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "fleet"

    def set_up(self, count: int) -> None:
        Identity.load_or_create(self.folder / "publisher.pem")
        broker = f"{self.broker.host}:{self.broker.port}"
        self.lepton("init", str(self.home), "--tenant", "plant", "--broker", broker, "--json")
        for number in range(count):
            device = Device(self.folder / f"device{number}", self.broker.port)
            device.folder.mkdir()
            Identity.load_or_create(device.folder / "device.pem")
            public = (device.folder / "device.pub.pem").read_bytes()
            (self.home / "devices" / f"{device.id}.pub.pem").write_bytes(public)
            for key in (self.home / "server.pub.pem", self.folder / "publisher.pub.pem"):
                shutil.copy(key, device.folder)
            self.devices.append(device)

    def release(self, name: str, **changes: Any) -> int:
        path = self.folder / f"{name}.lep"
        key = self.folder / "publisher.pem"
        bundles.write(
            path, key=key, manifest_changes={"name": name, **changes.pop("manifest", {})}, **changes
        )
        done = self.lepton("release", str(path), "--home", str(self.home), "--key", str(key), "--json")
        return int(json.loads(done)["release"])

    def rollout(self, *options: str, waves: str = "1,100%", probation: str = "0.2") -> subprocess.Popen[str]:
        """Start `lepton fleet rollout`."""
        given = ("rollout", "--home", str(self.home), "--json", "--waves", waves)
        process = subprocess.Popen(
            [*LEPTON, "fleet", *given, "--probation-seconds", probation, "--wave-timeout", "40", *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def lepton(self, *arguments: str) -> str:
        return subprocess.run(
            [*LEPTON, "fleet", *arguments], check=True, stdout=subprocess.PIPE, text=True
        ).stdout


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=60)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with EmbeddedBroker() as broker:
        fleet = Fleet(tmp_path, broker)
        yield fleet
        for device in fleet.devices:
            device.kill()
        for process in fleet.running:
            process.kill()
            process.wait()


def test_a_good_release_reaches_all_and_a_bad_one_never_leaves_its_wave(fleet: Fleet) -> None:
    fleet.set_up(3)
    for device in fleet.devices:
        device.start_command()
    fleet.release("good")
    process = fleet.rollout()
    result = result_of(process)
    assert (process.returncode, result["outcome"]) == (0, "completed")
    assert (result["confirmed"], result["rolled_back"], result["pending"]) == (3, 0, 0)
    assert [device.active_name() for device in fleet.devices] == ["good"] * 3

    fleet.release("bad", segment_changes=WRONG_GOLDEN)
    process = fleet.rollout()
    result = result_of(process)
    assert (process.returncode, result["outcome"]) == (4, "stopped")
    assert (result["confirmed"], result["refused"], result["untouched"]) == (0, 1, 2)
    assert [device.active_name() for device in fleet.devices] == ["good"] * 3
    assert sum("self_test" in device.phases()[-3:] for device in fleet.devices) == 1


def test_a_model_that_only_proves_unwell_in_use_is_taken_back_from_its_wave(fleet: Fleet) -> None:
    fleet.set_up(3)
    for device in fleet.devices:
        device.bad_name = "tired"
        device.start()
    fleet.release("good")
    assert result_of(fleet.rollout(waves="100%"))["confirmed"] == 3
    fleet.release("tired")
    result = result_of(fleet.rollout(waves="2,100%"))
    assert result["outcome"] == "stopped"
    assert result["rolled_back"] + result["refused"] == 2
    assert result["rolled_back"] >= 1
    assert (result["confirmed"], result["untouched"]) == (0, 1)
    assert [device.active_name() for device in fleet.devices] == ["good"] * 3


def test_a_device_killed_in_mid_download_and_in_probation_goes_on(fleet: Fleet) -> None:
    fleet.set_up(1)
    device = fleet.devices[0]
    fleet.release("large", segment_changes=LARGE)
    device.start()
    process = fleet.rollout(probation="2")
    incoming = device.folder / "slots" / "incoming"

    def arrived() -> int:
        return sum(path.stat().st_size for path in incoming.glob("*.part")) if incoming.exists() else 0

    wait_for(lambda: arrived() > 1 << 20)
    device.kill()
    before = arrived()
    assert 1 << 20 < before < 24 << 20, "killed in mid-download"
    assert device.active_name() is None
    device.start()
    wait_for(lambda: device.record.phase is Phase.PROBATION)
    assert arrived() == 0
    device.kill()
    assert device.active_name() == "large"
    device.start()
    wait_for(lambda: device.record.attempts == 2)
    result = result_of(process)
    assert (result["confirmed"], result["rolled_back"]) == (1, 0)
    assert device.record.phase is Phase.CONFIRMED


def test_a_rollout_killed_in_mid_wave_goes_on_with_its_plan(fleet: Fleet) -> None:
    fleet.set_up(2)
    fleet.release("good")
    process = fleet.rollout(waves="1,100%")
    state = fleet.home / "rollouts" / "1.json"
    wait_for(lambda: state.exists() and json.loads(state.read_bytes())["wave"] == 0)
    process.kill()
    process.wait()
    plan = json.loads(state.read_bytes())["plan"]
    for device in fleet.devices:
        device.start()
    other = fleet.rollout(waves="100%")
    assert "--waves 1,100%; --waves 100% was asked" in result_of(other)["error"]["message"]
    assert other.returncode == 2
    result = result_of(fleet.rollout(waves="1,100%"))
    assert (result["confirmed"], len(result["waves"]), result["resumed"]) == (2, 2, True)
    assert json.loads(state.read_bytes())["plan"] == plan


def test_the_plan_is_printed_and_nothing_done_by_a_dry_run(fleet: Fleet) -> None:
    fleet.set_up(3)
    fleet.release("good")
    text = fleet.lepton("rollout", "--home", str(fleet.home), "--dry-run", "--waves", "1,100%")
    assert "release 1 (good" in text
    assert "wave 2: 2 devices" in text
    assert not (fleet.home / "rollouts").exists()


def test_a_broker_that_is_down_is_named(fleet: Fleet) -> None:
    fleet.set_up(1)
    fleet.release("good")
    fleet.broker.kill()
    process = fleet.rollout("--connect-timeout", "0.3")
    assert "no MQTT broker at 127.0.0.1" in result_of(process)["error"]["message"]
    assert process.returncode == 5


def test_a_second_process_with_the_same_slots_is_kept_out(fleet: Fleet) -> None:
    fleet.set_up(1)
    first = fleet.devices[0]
    first.start_command()
    wait_for(lambda: '"ready"' in (first.folder / "log").read_text())
    command = [*LEPTON, "device", "run", "--config", str(first.folder / "device.toml"), "--json"]
    second = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20, check=False)
    assert second.returncode == 5
    assert str(first.folder / "slots") in json.loads(second.stdout)["error"]["message"]
    assert first.process is not None
    assert first.process.poll() is None
    fleet.release("good")
    assert result_of(fleet.rollout())["confirmed"] == 1, "the first works on"


def test_a_device_that_is_off_costs_the_release_nothing(fleet: Fleet) -> None:
    fleet.set_up(2)
    fleet.release("good")
    first = fleet.rollout("--wave-timeout", "0.5", waves="1")
    result = result_of(first)
    assert (first.returncode, result["outcome"]) == (5, "incomplete")
    assert (result["silent"], result["untouched"], result["resumed"]) == (1, 1, False)
    for device in fleet.devices:
        device.start_command()
    again = fleet.rollout(waves="1")
    result = result_of(again)
    assert (again.returncode, result["error"]["type"]) == (2, "UsageError")
    assert "--wave-timeout 0.5; --wave-timeout 40" in result["error"]["message"]
    for _ in range(20):  # devices take a moment to start
        result = result_of(fleet.rollout("--wave-timeout", "0.5", waves="1"))
        if result["outcome"] != "incomplete":
            break
    assert (result["outcome"], result["confirmed"], result["untouched"]) == ("completed", 1, 1)
    assert result_of(fleet.rollout())["confirmed"] == 2
