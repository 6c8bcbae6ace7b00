"""`lepton fleet serve`: published files for devices that come between roll-outs."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from lepton_fleet.broker import EmbeddedBroker
from lepton_fleet.home import FleetHome, FleetSettings
from lepton_sdk.wire.download import Downloader
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.mqtt import MqttTransport


def test_a_device_downloads_while_no_roll_out_runs(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        home = FleetHome.create(tmp_path / "fleet", FleetSettings("plant", port=broker.port))
        content = bytes(range(256)) * 1000
        sha256 = home.blobs.put(content)
        device = Identity.generate()
        device.save(tmp_path / "device.pem")
        (tmp_path / "device.pub.pem").rename(home.folder / "devices" / "device.pub.pem")
        command = [sys.executable, "-m", "lepton_sdk.cli.main", "fleet", "serve", "-C", str(home.folder)]
        with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert '"ready"' in server.stdout.readline()
            transport = MqttTransport(broker.host, broker.port)
            transport.start(5.0)
            downloader = Downloader(transport, device, home.server().public, "plant")
            goal = downloader.fetch(sha256, tmp_path / "model", timeout_s=10.0, max_bytes=1 << 20)
            transport.close()
            server.send_signal(signal.SIGTERM)
            assert server.wait(10.0) == 0
        assert hashlib.sha256(goal.read_bytes()).digest() == sha256
