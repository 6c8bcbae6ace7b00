"""examples/*.toml: every key of the real readers stands in them, and what they call a default is one."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_fleet.aggregator_config import read_aggregator_config
from lepton_sdk.agent.agent import CONFIG_KEYS, from_config
from lepton_sdk.device_config import read_device_config
from lepton_sdk.federated.update import write_parameters
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.loopback import LoopbackBroker
from lepton_targets.errors import UsageError

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_DEFAULT = ("password_file", "authority", "certificate", "private_key", "trust", "targets")


def as_it_is(name: str) -> str:
    return (EXAMPLES / name).read_text()


def uncommented(name: str, leave: tuple[str, ...] = ()) -> str:
    """The file with every key switched on but those of `leave`."""

    def switch(found: re.Match[str]) -> str:
        return found[0] if found[1] in leave else found[0][1:]

    return re.sub(r"^#(\w+) = .*$", switch, as_it_is(name), flags=re.MULTILINE)


def keys(text: str) -> dict[str, set[str]]:
    return {section: set(content) for section, content in tomllib.loads(text).items()}


def known_keys(read: Any, path: Path, text: str, section: str) -> set[str]:
    """What the reader names when it meets a key that means nothing."""
    path.write_text(text.replace(f"[{section}]", f"[{section}]\nzzz = 1"))
    with pytest.raises(UsageError, match=f"unknown key {section}.zzz") as raised:
        read(path)
    (line,) = (line for line in raised.value.details if line.startswith("known here: "))
    return set(line.removeprefix("known here: ").split(", "))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that the examples name, as far as a reader opens them."""
    (tmp_path / "fleet" / "devices").mkdir(parents=True)
    Identity.load_or_create(tmp_path / "publisher.pem")
    (tmp_path / "trainable.lep").write_bytes(write_parameters({"w": np.zeros(1, np.float32)}))
    (tmp_path / "broker.password").write_text("secret")
    return tmp_path


def test_the_devices_file_names_every_key_and_its_default(folder: Path) -> None:
    path = folder / "device.toml"
    every = uncommented("device.toml")
    for section in ("broker", "device", "federated"):
        assert keys(every)[section] == known_keys(read_device_config, path, every, section), section
    assert keys(every)["agent"] == set(CONFIG_KEYS)
    path.write_text(as_it_is("device.toml"))
    plain = read_device_config(path)
    path.write_text(uncommented("device.toml", NO_DEFAULT))
    spelt_out = read_device_config(path)
    assert replace(plain, agent=None) == replace(spelt_out, agent=None)
    path.write_text(every)
    assert read_device_config(path).broker.tls is not None


def test_the_agents_table_makes_an_agent(folder: Path) -> None:
    path = folder / "device.toml"
    path.write_text(uncommented("device.toml"))
    section = read_device_config(path).agent
    assert section is not None
    transport, identity = LoopbackBroker().transport(), Identity.generate()
    from_config(section, transport, identity, server_key=identity.public, folder=folder)
    with pytest.raises(UsageError, match=r"agent\.zzz"):
        from_config({**section, "zzz": 1}, transport, identity, server_key=identity.public, folder=folder)


def test_the_aggregators_file_names_every_key_and_its_default(folder: Path) -> None:
    path = folder / "aggregator.toml"
    every = uncommented("aggregator.toml", ("authority", "certificate", "private_key"))
    path.write_text(every)
    spelt_out = read_aggregator_config(path)
    path.write_text(as_it_is("aggregator.toml"))
    plain = read_aggregator_config(path)
    assert plain.job == spelt_out.job
    assert plain.connect_timeout_s == spelt_out.connect_timeout_s
    assert plain.evaluation is not None
    assert plain.evaluation.engine == getattr(spelt_out.evaluation, "engine", None)
    every = uncommented("aggregator.toml")
    for section in ("broker", "server", "job", "round", "limits", "evaluation"):
        text = every if section == "broker" else uncommented("aggregator.toml", NO_DEFAULT[:4])
        named = keys(every)[section]
        assert named == known_keys(read_aggregator_config, path, text, section), section


def test_the_files_in_the_guide_are_read(folder: Path) -> None:
    guide = (EXAMPLES.parent / "docs" / "fleet.md").read_text()
    device, aggregator = re.findall(r"^```toml\n(.*?)^```", guide, flags=re.MULTILINE | re.DOTALL)
    path = folder / "guide.toml"
    path.write_text(device)
    assert read_device_config(path).federated is not None
    path.write_text(aggregator)
    assert read_aggregator_config(path).job.rounds == 3
