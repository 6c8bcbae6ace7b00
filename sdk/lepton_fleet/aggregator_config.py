"""An aggregator's TOML file as values; `examples/aggregator.toml` names every key.

[broker]      host, port, connect_timeout_s, …          [server]  key, tenant, allow (folder of device keys)
[job]         name, rounds, base, state, output, linger_s
[round]       min_devices, max_devices, selection_s, deadline_s
[training]    settings told to every trainer: epochs, learning_rate, momentum, seed, …
[limits]      chunk_bytes, inline_bytes, in_flight_bytes, grant_bytes, max_update_bytes, max_norm, …
[evaluation]  bundle, data, engine, trust
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from lepton_fleet.job import Job, Limits
from lepton_fleet.round import Policy
from lepton_fleet.strategy import FedAvg, Settings
from lepton_sdk.wire.configuration import Section, broker_transport, read_configuration
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.mqtt import MqttTransport
from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Files to measure new models with."""

    bundle: Path
    data: Path
    engine: str
    trust: tuple[Path, ...] | None


@dataclass(frozen=True, slots=True)
class AggregatorConfig:
    """Everything that `lepton aggregator run` needs; the transport is not started yet."""

    job: Job
    identity: Identity
    allow: AllowList
    strategy: FedAvg
    evaluation: Evaluation | None
    transport: MqttTransport
    connect_timeout_s: float


def read_aggregator_config(path: Path, allow: Path | None = None) -> AggregatorConfig:
    """Read the file; `allow` overrides its folder of device keys.

    Raises UsageError (keys, values), UnavailableError (a folder or key that isn't there), BadInputError.
    """
    whole = read_configuration(path)
    server = whole.section("server")
    tenant = server.text("tenant", "default")
    identity = Identity.load_or_create(server.path("key"))
    configured = server.optional_path("allow")
    server.finish()
    if allow is None and configured is None:
        raise UsageError("no allow-list of device keys", "give --allow KEYS/, or server.allow")
    job = _job(
        whole.section("job"), tenant, _policy(whole.section("round")), _limits(whole.section("limits"))
    )
    settings = _settings(whole.section("training"))
    evaluation = _evaluation(whole.section("evaluation")) if "evaluation" in whole else None
    transport, timeout_s = broker_transport(whole.section("broker"), f"aggregator-{tenant}-{job.name}")
    whole.finish()
    strategy = FedAvg(settings) if settings else FedAvg()
    return AggregatorConfig(
        job, identity, AllowList(folder=allow or configured), strategy, evaluation, transport, timeout_s
    )


def _job(section: Section, tenant: str, policy: Policy, limits: Limits) -> Job:
    job = Job(
        tenant=tenant,
        name=section.text("name", "default"),
        rounds=section.whole("rounds"),
        policy=policy,
        base=section.path("base"),
        state=section.path("state", "state"),
        output=section.path("output", "models"),
        limits=limits,
        linger_s=section.number("linger_s", 2.0),
    )
    section.finish()
    if not job.base.is_file():
        raise UsageError(
            f"job.base = {job.base}: no such file",
            "it is the first model: a trainable bundle, or weights as .safetensors",
            "make one:  lepton compile MODEL --trainable all -o trainable.lep",
        )
    return job


def _policy(section: Section) -> Policy:
    least = section.whole("min_devices")
    policy = Policy(
        least,
        section.whole("max_devices", least),
        section.number("selection_s", 5.0),
        section.number("deadline_s", 600.0),
    )
    section.finish()
    return policy


def _limits(section: Section) -> Limits:
    given = {
        field.name: (section.number if field.type == "float" else section.whole)(field.name, field.default)
        for field in fields(Limits)
    }
    section.finish()
    return Limits(**given)  # type: ignore[arg-type]


def _settings(section: Section) -> Settings:
    settings = section.rest()
    for key, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise UsageError(f"training.{key} = {value!r}: a number or text is accepted")
    return settings


def _evaluation(section: Section) -> Evaluation:
    evaluation = Evaluation(
        section.path("bundle"), section.path("data"), section.text("engine", "native"), section.paths("trust")
    )
    section.finish()
    return evaluation
