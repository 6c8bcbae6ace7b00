"""What a federated job is: its names, its rounds, its limits, its result; all values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lepton_fleet.round import Policy
from lepton_sdk.wire.topics import check_name
from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the aggregator accepts, and how much it lets devices send.

    in_flight_bytes: granted to all devices together; grant_bytes: to one update at a time. max_norm: L2 norm
    of an update. quarantine_after: unusable updates of a device before it is shut out. batch_bytes: made
    durable by one fsync. waiting_bytes: kept of messages that were not dealt with yet.
    """

    chunk_bytes: int = 64 << 10
    inline_bytes: int = 32 << 10
    in_flight_bytes: int = 64 << 20
    grant_bytes: int = 1 << 20
    max_update_bytes: int = 256 << 20
    max_norm: float = 1e4
    max_examples: int = 1 << 24
    quarantine_after: int = 3
    batch_bytes: int = 8 << 20
    waiting_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """A federated job. rounds: how many are to be committed. base: the first model, see
    `base_model.py`. state: folder of the store and blobs. output:
    folder that gets round-NNNN.safetensors. linger_s: how long late devices are still answered at the end."""

    tenant: str
    name: str
    rounds: int
    policy: Policy
    base: Path
    state: Path
    output: Path
    limits: Limits = field(default_factory=Limits)
    linger_s: float = 2.0
    max_abandoned: int = 3

    def __post_init__(self) -> None:
        check_name(self.tenant, "tenant")
        check_name(self.name, "job")
        if self.rounds < 1:
            raise UsageError(f"rounds = {self.rounds}: at least 1 is accepted")
        if not 1 <= self.policy.min_devices <= self.policy.max_devices:
            found = f"min_devices = {self.policy.min_devices}, max_devices = {self.policy.max_devices}"
            raise UsageError(found, "accepted: 1 <= min_devices <= max_devices")
        if self.policy.deadline_s <= 0 or self.policy.selection_s <= 0:
            raise UsageError("deadline_s and selection_s are durations above 0 s")


@dataclass(frozen=True, slots=True)
class RoundResult:
    """How a round ended. model: the new parameters' file; None where the round was abandoned (`reason`)."""

    number: int
    committed: bool
    model: Path | None
    model_sha256: bytes | None
    n_updates: int
    n_examples: int
    metrics: Mapping[str, float]
    reason: str = ""
