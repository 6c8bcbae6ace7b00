"""A device's TOML file as values; `examples/device.toml` names every key.

[broker]     host, port, connect_timeout_s, …       [device]  key, server_key, tenant
[federated]  job, spool, bundle, data, trust, engine, rounds, retry_s, no_answer_s    [agent]  slots, trust, …
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_sdk.federated.client import RETRY_S
from lepton_sdk.federated.silence import SILENCE_S
from lepton_sdk.wire.configuration import Broker, Section, read_broker, read_configuration
from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class FederatedConfig:
    """What `[federated]` says. rounds: 0 for no end. trust: None accepts an unsigned bundle."""

    job: str
    spool: Path
    bundle: Path
    data: Path
    trust: tuple[Path, ...] | None
    engine: str
    rounds: int
    retry_s: float
    no_answer_s: float


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """The whole file. agent: the keys of `[agent]`, which `lepton_sdk.agent.agent.from_config` reads."""

    broker: Broker
    key: Path
    server_key: Path
    tenant: str
    federated: FederatedConfig | None
    agent: Mapping[str, Any] | None
    folder: Path


def read_device_config(path: Path) -> DeviceConfig:
    """Read the file; no key and no bundle is opened. Raises UsageError for keys and values."""
    whole = read_configuration(path)
    if "federated" not in whole and "agent" not in whole:
        raise UsageError(f"{path} has neither [federated] nor [agent]", "a device does at least one of them")
    names = whole.section("device")
    config = DeviceConfig(
        broker=read_broker(whole.section("broker")),
        key=names.path("key"),
        server_key=names.path("server_key"),
        tenant=names.text("tenant", "default"),
        federated=_federated(whole.section("federated")) if "federated" in whole else None,
        agent=whole.section("agent").rest() if "agent" in whole else None,
        folder=whole.folder,
    )
    names.finish()
    whole.finish()
    return config


def _federated(section: Section) -> FederatedConfig:
    config = FederatedConfig(
        job=section.text("job", "default"),
        spool=section.path("spool", "spool"),
        bundle=section.path("bundle"),
        data=section.path("data"),
        trust=section.paths("trust"),
        engine=section.text("engine", "native"),
        rounds=section.whole("rounds", 0),
        retry_s=section.number("retry_s", RETRY_S),
        no_answer_s=section.number("no_answer_s", SILENCE_S),
    )
    section.finish()
    return config
