"""`lepton device run` before it has anything to do: what is wrong is said, with its exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lepton_sdk.cli.main import main
from lepton_sdk.wire.identity import Identity

CONFIG = """
[broker]
port = {port}
connect_timeout_s = 0.3
[device]
key = "device.pem"
server_key = "server.pub.pem"
[agent]
slots = "slots"
trust = ["server.pub.pem"]
"""


def run(folder: Path, text: str) -> int:
    (folder / "device.toml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["device", "run", "--config", str(folder / "device.toml"), "--json"])
    return int(ended.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Identity.load_or_create(tmp_path / "server.pem")
    return tmp_path


@pytest.fixture
def config() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return CONFIG.format(port=probe.getsockname()[1])


def test_a_broker_that_is_down_is_exit_5(
    folder: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, config) == 5
    assert "no MQTT broker at 127.0.0.1" in capsys.readouterr().err
    assert (folder / "device.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("[agent]", "[agnet]"), "neither [federated] nor [agent]"),
        (('server_key = "server.pub.pem"', ""), "device.server_key is missing"),
        (("connect_timeout_s", "conect_timeout_s"), "did you mean connect_timeout_s"),
        (("[device]", "[device"), "not TOML"),
    ],
)
def test_a_wrong_file_is_exit_2(
    folder: Path, config: str, change: tuple[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, config.replace(*change)) == 2
    assert reason in capsys.readouterr().err


def test_a_key_that_is_not_there_is_exit_5(folder: Path, config: str) -> None:
    assert run(folder, config.replace("server.pub.pem", "absent.pem")) == 5
