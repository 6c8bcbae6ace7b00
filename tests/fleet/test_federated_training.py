"""Real training on real digits: two devices and an aggregator, each `lepton … run --config`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lepton_fleet.broker import EmbeddedBroker
from lepton_sdk.wire.identity import Identity
from support.watched_process import WatchedProcess

pytest.importorskip("tvm")
onnx = pytest.importorskip("onnx")
pytest.importorskip("sklearn")

LEPTON = ("-m", "lepton_sdk.cli.main")
AGGREGATOR = """
[broker]
host = "{host}"
port = {port}
[server]
key = "server.pem"
allow = "keys"
[job]
name = "digits"
rounds = 2
base = "trainable.lep"
linger_s = 0.5
[round]
min_devices = 2
[training]
epochs = 2
learning_rate = 0.05
[evaluation]
bundle = "trainable.lep"
data = "test.npz"
"""
DEVICE = """
[broker]
host = "{host}"
port = {port}
[device]
key = "device{index}.pem"
server_key = "server.pub.pem"
[federated]
job = "digits"
spool = "spool{index}"
bundle = "trainable.lep"
data = "device{index}.npz"
rounds = 2
"""


def prepare(folder: Path, broker: EmbeddedBroker) -> None:
    from lepton_fleet.demo.digits import load_digits
    from lepton_fleet.demo.network import small_cnn

    digits = load_digits(2)
    onnx.save(small_cnn(), folder / "model.onnx")
    options = ["--trainable", "all", "-o", str(folder / "trainable.lep")]
    command = [sys.executable, *LEPTON, "compile", str(folder / "model.onnx"), *options]
    subprocess.run(command, check=True, capture_output=True)
    np.savez(folder / "test.npz", features=digits.test.features, labels=digits.test.labels)
    address = {"host": broker.host, "port": broker.port}
    (folder / "aggregator.toml").write_text(AGGREGATOR.format(**address))
    Identity.load_or_create(folder / "server.pem")
    (folder / "keys").mkdir()
    for index, share in enumerate(digits.devices):
        np.savez(folder / f"device{index}.npz", features=share.features, labels=share.labels)
        (folder / f"device{index}.toml").write_text(DEVICE.format(**address, index=index))
        Identity.load_or_create(folder / f"device{index}.pem")
        public = (folder / f"device{index}.pub.pem").read_bytes()
        (folder / "keys" / f"{index}.pub.pem").write_bytes(public)


def test_two_rounds_on_real_digits_make_a_better_model(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        prepare(tmp_path, broker)
        aggregator, *devices = (
            WatchedProcess(
                *LEPTON, role, "run", "--config", tmp_path / f"{name}.toml", "--json",
                log=tmp_path / f"{name}.log",
            )
            for role, name in (("aggregator", "aggregator"), ("device", "device0"), ("device", "device1"))
        )  # fmt: skip
        committed = [aggregator.wait_for("round_committed", timeout_s=30) for _ in range(2)]
        finished = [device.wait_for("finished", timeout_s=30) for device in devices]
        assert aggregator.wait() == devices[0].wait() == devices[1].wait() == 0
    assert committed[1]["accuracy"] > 0.5, "ten classes; untrained, a tenth is right"
    assert Path(committed[1]["model"]).is_file()
    sent = sum(counts["updates_offered"] for counts in finished)
    assert sent == committed[1]["updates_counted"] == 4
    assert all(counts["receipts_accepted"] == 2 for counts in finished)
