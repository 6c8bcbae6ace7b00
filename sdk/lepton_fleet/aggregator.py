"""Runs a job's rounds: the driver around `round.py`, with transport, store and clock.

    net (the transport's thread) → queue → this loop: one transaction for a batch of deliveries (offers,
    chunks, counted updates, receipts, the round's state), then acknowledgements, then what is to be told

So whatever a device or the broker is told is durable already. Killed anywhere, the aggregator reads the
store at its next start and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lepton_fleet import round as rounds
from lepton_fleet.base_model import base_parameters
from lepton_fleet.blocks import BlobFolder, BlockServer
from lepton_fleet.desk import Desk, Happening, Letter
from lepton_fleet.inbox import Inbox
from lepton_fleet.job import Job, RoundResult
from lepton_fleet.reception import Reception
from lepton_fleet.round import Phase, Round
from lepton_fleet.store import Store
from lepton_fleet.strategy import Contribution, FedAvg, Strategy
from lepton_sdk.durable import write_durably
from lepton_sdk.federated.update import Parameters, read_parameters, unpack, write_parameters
from lepton_sdk.wire import codec
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.round import RoundAnnouncement, Task
from lepton_sdk.wire.topics import ANY_DEVICE, Topics
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_targets.errors import LeptonError, UnavailableError

Evaluate = Callable[[Parameters], Mapping[str, float]]
EventCallback = Callable[[str, Mapping[str, Any]], None]

TICK_S = 0.1
KEEP_TIME_S = 1.0
_BATCH_MESSAGES = 1024


class Aggregator:
    """The server side of one job. `run` yields each round's result; `counts` are exact at any time."""

    def __init__(
        self,
        job: Job,
        transport: Transport,
        identity: Identity,
        *,
        allow: AllowList,
        strategy: Strategy | None = None,
        evaluate: Evaluate | None = None,
        on_event: EventCallback | None = None,
        clock: Callable[[], float] = time.monotonic,
        sequence: Callable[[], int] = time.time_ns,
    ) -> None:
        """evaluate: metrics of a new model, {} where nothing measures it. on_event: called with a name and
        fields as things happen. sequence: numbers for announcements that grow; where they don't, the store
        goes on from its last one."""
        self._job, self._transport, self._identity, self._allow = job, transport, identity, allow
        self._strategy = strategy or FedAvg()
        self._evaluate = evaluate or (lambda parameters: {})
        self._on_event = on_event or (lambda name, fields: None)
        self._clock, self._sequence = clock, sequence
        self._topics = Topics(job.tenant)
        self._store = Store(job.state / "rounds.sqlite")
        self._desk = Desk(self._store, self._topics, job.name)
        self._reception = Reception(job, self._desk, allow, clock)
        self.blobs = BlobFolder(job.state / "blobs")
        self._blocks = BlockServer(transport, identity, self.blobs, job.tenant, allow)
        self._inbox: Inbox[rounds.Reconnected] = Inbox(job.limits.waiting_bytes)
        self._timer: tuple[float, Phase] | None = None
        self._keep_time_at = 0.0
        self._base: Parameters = {}

    def counts(self) -> dict[str, int]:
        """Exact figures so far; see `Store.counts`."""
        return self._store.counts(self._job.name)

    def close(self) -> None:
        """Close the transport and the store."""
        self._transport.close()
        self._store.close()

    # ---- the story of a job

    def run(self, connect_timeout_s: float | None = 30.0) -> Iterator[RoundResult]:
        """Run the job's rounds, beginning where the store says; yields every round that was settled now.

        Raises UnavailableError (no broker; too many rounds abandoned in a row), Fenced (another aggregator
        took over).
        """
        for topic in (self._topics.offer, self._topics.chunk, self._topics.report):
            self._transport.subscribe(topic(ANY_DEVICE), self._inbox.deliver)
        self._blocks.start()
        self._transport.on_connection(self._on_connection)
        self._transport.start(connect_timeout_s)
        committed = sum(state.phase is Phase.COMMITTED for state in self._store.rounds(self._job.name))
        self._on_event("ready", {"job": self._job.name, "rounds_committed": committed, **self.counts()})
        abandoned = 0
        while (state := self._next_round()) is not None:
            result = self._run_round(state)
            abandoned = 0 if result.committed else abandoned + 1
            yield result
            if abandoned >= self._job.max_abandoned:
                raise UnavailableError(
                    f"{abandoned} rounds in a row were abandoned: {result.reason}",
                    "check that the devices are online and on the allow-list, or lower min_devices",
                )
        self._linger()
        self._on_event("finished", self.counts())

    def _next_round(self) -> Round | None:
        """The round that was under way, or the next one; None when all are committed."""
        before = self._store.rounds(self._job.name)
        if before and before[-1].phase not in rounds.SETTLED:
            return before[-1]
        committed = [state for state in before if state.phase is Phase.COMMITTED]
        if before:
            self._work_on(before[-1])
            self._settle()
        if len(committed) >= self._job.rounds:
            return None
        latest = committed[-1].model_sha256 if committed else None
        base = latest or self.blobs.put(base_parameters(self._job.base))
        return Round(self._job.name, len(before) + 1, base, self._job.policy)

    def _run_round(self, state: Round) -> RoundResult:
        self._work_on(state)
        self._apply(rounds.Start() if state.phase is Phase.PLANNED else rounds.Resumed())
        while self._desk.round.phase not in rounds.SETTLED:
            self._turn()
        return self._result()

    def _work_on(self, state: Round) -> None:
        self._desk.round = state
        self._base = read_parameters(self.blobs.get(state.base_model_sha256))
        self._reception.contract = {name: array.shape for name, array in self._base.items()}

    def _linger(self) -> None:
        """Answer devices that come late, until none has come for a while."""
        quiet_at = self._clock() + self._job.linger_s
        while self._clock() < quiet_at:
            if self._turn():
                quiet_at = self._clock() + self._job.linger_s

    # ---- one turn: a batch in, a transaction, the outbox

    def _turn(self) -> bool:
        """Deal with what has arrived or run out; True when anything had arrived."""
        batch = self._collect()
        deliveries = [item for item in batch if isinstance(item, Delivery)]
        with self._desk.transaction():
            for item in batch:
                if isinstance(item, Delivery):
                    self._reception.take(item)
                else:
                    self._desk.step(item)
            self._reception.go_on()
            for _ in range(self._inbox.take_dropped()):
                self._desk.drop("overflow")
            self._keep_time()
            if self._timer is not None and self._clock() >= self._timer[0]:
                _, phase = self._timer
                self._timer = None
                self._desk.step(rounds.TimerFired(phase))
        for delivery in deliveries:
            delivery.acknowledge()
        self._send()
        return bool(deliveries)

    def _apply(self, event: rounds.Event) -> None:
        """One event of this side: its own transaction, then the outbox."""
        with self._desk.transaction():
            self._desk.step(event)
        self._send()

    def _collect(self) -> list[Delivery | rounds.Reconnected]:
        due_in = TICK_S if self._timer is None else self._timer[0] - self._clock()
        patience_s = min(TICK_S, max(0.001, due_in))
        return self._inbox.take(patience_s, self._job.limits.batch_bytes, _BATCH_MESSAGES)

    def _send(self) -> None:
        """Outside of any transaction: everything in the outbox; first what is to be told, then the work."""
        entries = self._desk.take_outbox()
        for entry in sorted(entries, key=lambda entry: not isinstance(entry, Letter | Happening)):
            match entry:
                case Letter(topic, message):
                    self._transport.publish(topic, codec.encode(self._identity.sign(message)))
                case Happening(name, fields):
                    self._on_event(name, fields)
                case _:
                    self._act(entry)

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._inbox.put(rounds.Reconnected())

    # ---- what the round does

    def _act(self, action: rounds.Action) -> None:
        match action:
            case rounds.Announce(phase):
                self._announce(phase)
            case rounds.SetTimer(phase, seconds):
                self._timer = (self._clock() + self._time_left(phase, seconds), phase)
            case rounds.GiveTask(device):
                self._give_task(device)
            case rounds.Drain():
                self._timer = None
                self._apply(rounds.Drained())
            case rounds.Aggregate():
                self._apply(self._aggregate())
            case rounds.Evaluate(model_sha256):
                self._apply(self._measure(model_sha256))
            case rounds.Settle():
                self._settle()
            case rounds.TakeUpdate() | rounds.SendReceipt():
                pass

    def _time_left(self, phase: Phase, seconds: float) -> float:
        """Of an open round that an earlier life of this process began, what that life left of it."""
        kept = self._store.time_left(self._job.name, self._desk.round.number) if phase is Phase.OPEN else None
        return seconds if kept is None else min(seconds, kept)

    def _keep_time(self) -> None:
        """Note about once a second how long the round stays open; by this side's steady clock, no date."""
        now = self._clock()
        if self._timer is not None and self._timer[1] is Phase.OPEN and now >= self._keep_time_at:
            self._keep_time_at = now + KEEP_TIME_S
            self._store.put_time_left(self._job.name, self._desk.round.number, max(0.0, self._timer[0] - now))

    def _announce(self, phase: str) -> None:
        state = self._desk.round
        with self._store.transaction():
            sequence = self._store.next_sequence(self._job.name, self._sequence())
        message = RoundAnnouncement(
            self._job.tenant, self._job.name, state.number, phase, state.base_model_sha256,
            float(state.policy.deadline_s), self._strategy.name, sequence,
        )  # fmt: skip
        payload = codec.encode(self._identity.sign(message))
        self._transport.publish(self._topics.round(self._job.name), payload, retain=True)
        fields = {"round": state.number, "selected": len(state.selected), "counted": len(state.counted)}
        self._on_event(f"round_{phase}", {**fields, "base_model_sha256": state.base_model_sha256.hex()})

    def _give_task(self, device: str) -> None:
        state, limits = self._desk.round, self._job.limits
        task = Task(
            self._job.tenant, self._job.name, state.number, device, state.base_model_sha256,
            self.blobs.path(state.base_model_sha256).stat().st_size,
            dict(self._strategy.configure(state.number)), limits.chunk_bytes, limits.inline_bytes,
            float(state.policy.deadline_s),
        )  # fmt: skip
        payload = codec.encode(self._identity.sign(task))
        self._transport.publish(self._topics.task(device), payload)

    def _aggregate(self) -> rounds.Event:
        def contributions() -> Iterator[Contribution]:
            for device, update_id, n_examples in self._store.counted(state.job, state.number):
                difference = unpack(self._store.payload(update_id), contract)
                yield Contribution(device, n_examples, difference)

        state, contract = self._desk.round, self._reception.contract
        try:
            parameters = self._strategy.aggregate(self._base, contributions())
        except LeptonError as error:
            return rounds.Failed(f"aggregation: {error.message}")
        return rounds.Aggregated(self.blobs.put(write_parameters(parameters)))

    def _measure(self, model_sha256: bytes) -> rounds.Event:
        try:
            return rounds.Evaluated(self._evaluate(read_parameters(self.blobs.get(model_sha256))))
        except LeptonError as error:
            return rounds.Failed(f"evaluation: {error.message}")

    def _settle(self) -> None:
        with self._store.transaction():
            self._store.forget_round(self._desk.round.job, self._desk.round.number)
        self._reception.forget_unfinished()
        self._timer = None
        state = self._desk.round
        if state.phase is Phase.COMMITTED and state.model_sha256 is not None:
            write_durably(self._output(state.number), self.blobs.get(state.model_sha256))

    def _result(self) -> RoundResult:
        state = self._desk.round
        committed = state.phase is Phase.COMMITTED
        examples = sum(n for _, _, n in self._store.counted(state.job, state.number))
        model = self._output(state.number) if committed else None
        result = RoundResult(
            state.number, committed, model, state.model_sha256 if committed else None, len(state.counted),
            examples, state.metrics, state.reason,
        )  # fmt: skip
        fields = {
            "round": result.number,
            "n_updates": result.n_updates,
            "n_examples": examples,
            **state.metrics,
            **({"model": str(model)} if committed else {"reason": state.reason}),
            **self.counts(),
        }
        self._on_event("round_committed" if committed else "round_abandoned", fields)
        return result

    def _output(self, number: int) -> Path:
        return self._job.output.absolute() / f"round-{number:04d}.safetensors"
