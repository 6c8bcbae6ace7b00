"""A small federation for tests: known differences, so that every aggregate can be computed exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lepton_fleet.aggregator import Aggregator
from lepton_fleet.job import Job, Limits, RoundResult
from lepton_fleet.round import Policy
from lepton_sdk.federated.client import FederatedClient, TrainingResult
from lepton_sdk.federated.update import Parameters, write_parameters
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.round import Task
from lepton_sdk.wire.transport import Transport

TENANT, JOB = "acme", "digits"


def base_model(size: int = 300) -> dict[str, np.ndarray]:
    """Float32 parameters of two shapes."""
    random = np.random.default_rng(7)
    return {
        "conv.weight": random.standard_normal((size, 3)).astype(np.float32),
        "head.bias": np.zeros(5, np.float32),
    }


def training(seed: int, n_examples: int) -> Callable[[Parameters, Task], TrainingResult]:
    """Local training that gives base + a difference known from (seed, round)."""

    def train(base: Parameters, task: Task) -> TrainingResult:
        change = difference_of(base, seed, task.round)
        moved = {name: array + change[name] for name, array in base.items()}
        return TrainingResult(moved, n_examples, {"loss": 0.5})

    return train


def difference_of(base: Parameters, seed: int, round_number: int) -> dict[str, np.ndarray]:
    """What `training` adds to the base."""
    random = np.random.default_rng((seed, round_number))
    return {name: random.standard_normal(base[name].shape).astype(np.float32) for name in sorted(base)}


def expected_mean(base: Parameters, members: list[tuple[str, int, int]], round_number: int) -> dict[str, Any]:
    """The exact next model: members are (device id, seed, n_examples); float64 sums by device id."""
    total = sum(n for _, _, n in members)
    result = {}
    for name, array in base.items():
        sums = np.zeros(array.shape, np.float64)
        for _, seed, n in sorted(members):
            moved = array + difference_of(base, seed, round_number)[name]
            sums += np.float64(n) * (moved - array).astype(np.float64)
        result[name] = (array.astype(np.float64) + sums / total).astype(np.float32)
    return result


def make_job(folder: Path, *, rounds: int = 1, devices: int = 2, **options: Any) -> Job:
    """A job in `folder`. options: min_devices, selection_s, deadline_s, size, and fields of Limits."""
    base = folder / "base.safetensors"
    base.parent.mkdir(parents=True, exist_ok=True)
    base.write_bytes(write_parameters(base_model(options.pop("size", 300))))
    linger_s = options.pop("linger_s", 0.3)
    policy = Policy(
        options.pop("min_devices", devices), devices, options.pop("selection_s", 0.5),
        options.pop("deadline_s", 20.0),
    )  # fmt: skip
    return Job(
        TENANT, JOB, rounds, policy, base, folder / "state", folder / "models",
        Limits(**options), linger_s=linger_s,
    )  # fmt: skip


def make_client(
    transport: Transport, identity: Identity, server: Identity, spool: Path, seed: int, n_examples: int
) -> FederatedClient:
    """A device with known training."""
    return FederatedClient(
        transport, identity, train=training(seed, n_examples), spool=spool, server_key=server.public,
        tenant=TENANT, job=JOB, retry_s=0.2,
    )  # fmt: skip


@contextmanager
def running(client: FederatedClient, rounds: int | None = None) -> Iterator[FederatedClient]:
    """The client on a thread of its own, stopped at the end."""
    thread = threading.Thread(target=client.run, kwargs={"rounds": rounds}, daemon=True)
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join(10)
        assert not thread.is_alive()


class RunningAggregator:
    """An aggregator on a thread of its own; events and results as they come."""

    def __init__(
        self, job: Job, transport: Transport, identity: Identity, allow: list[Identity], **options: Any
    ) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.results: list[RoundResult] = []
        self.error: BaseException | None = None
        self._arguments = (job, transport, identity)
        self._options = {"allow": AllowList([each.public for each in allow]), **options}
        self.aggregator: Aggregator | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> RunningAggregator:
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.aggregator = Aggregator(
                *self._arguments,
                on_event=lambda name, fields: self.events.append((name, dict(fields))),
                **self._options,
            )
            for result in self.aggregator.run(10.0):
                self.results.append(result)
        except BaseException as error:
            self.error = error

    def wait_for(self, name: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Fields of the first event of that name."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for found, fields in list(self.events):
                if found == name:
                    return fields
            if self.error is not None:
                raise self.error
            time.sleep(0.01)
        raise AssertionError(f"no event {name} within {timeout_s} s; seen {[n for n, _ in self.events]}")

    def join(self, timeout_s: float = 20.0) -> list[RoundResult]:
        """Wait for the end; raises what ended it."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), [name for name, _ in self.events]
        if self.error is not None:
            raise self.error
        return self.results

    def counts(self) -> dict[str, int]:
        """The aggregator's exact counts."""
        assert self.aggregator is not None
        return self.aggregator.counts()
