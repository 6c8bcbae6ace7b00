"""Takes part in the rounds of one job: the driver around `machine.py`, with transport, clock and spool.

    client = FederatedClient(transport, identity, train=train, spool="spool", server_key="server.pub.pem")
    client.run(rounds=3)

`train` is any function of the base model's parameters and the task; it runs on the thread that called
`run`, while the transport's thread keeps the connection alive.
"""

from __future__ import annotations

import logging
import queue
import random
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lepton_sdk.federated import machine
from lepton_sdk.federated.machine import Phase
from lepton_sdk.federated.silence import SILENCE_S, Silence
from lepton_sdk.federated.spool import Spool, SpooledUpdate
from lepton_sdk.federated.update import Parameters, difference, pack, read_parameters
from lepton_sdk.wire import codec
from lepton_sdk.wire.download import Downloader
from lepton_sdk.wire.identity import Identity, PublicKey, Signed
from lepton_sdk.wire.presence import Presence
from lepton_sdk.wire.round import Report, RoundAnnouncement, Task
from lepton_sdk.wire.topics import Topics, check_name
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_sdk.wire.update import CODEC, Chunk, Need, Offer, Receipt
from lepton_targets.errors import LeptonError, MessageError

logger = logging.getLogger(__name__)

RETRY_S = 1.0
RETRY_LIMIT_S = 60.0
FETCH_TIMEOUT_S = 30.0
MAX_MODEL_BYTES = 1 << 30

S = TypeVar("S", bound=Signed)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What training gives back: all parameters (float32, the base's names and shapes), the number of
    examples it saw, and metrics to report."""

    parameters: Parameters
    n_examples: int
    metrics: Mapping[str, int | float] = field(default_factory=dict)


TrainFunction = Callable[[Parameters, Task], TrainingResult]
EventCallback = Callable[[str, Mapping[str, Any]], None]


class FederatedClient:
    """One device's part in one job. `counts`: updates_trained, updates_offered, receipts by status, and
    messages dropped by reason."""

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        *,
        train: TrainFunction,
        spool: Path | str,
        server_key: PublicKey | Path | str,
        tenant: str = "default",
        job: str = "default",
        on_event: EventCallback | None = None,
        retry_s: float = RETRY_S,
        no_answer_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        version: str = "",
    ) -> None:
        """spool: a folder of this job's own. on_event: called with a name and fields as things happen.
        retry_s: first wait for an answer; doubles up to a minute. no_answer_s: after so long without one the
        event "no_answer" says what may be wrong. jitter: a number in [0, 1)."""
        self._transport, self._identity, self._train = transport, identity, train
        self._server_key = server_key if isinstance(server_key, PublicKey) else PublicKey.load(server_key)
        self._topics, self._job = Topics(tenant), check_name(job, "job")
        self._folder = Path(spool)
        self._spool = Spool(self._folder)
        self._downloader = Downloader(transport, identity, self._server_key, tenant)
        self._on_event = on_event or (lambda name, fields: None)
        self._retry_s, self._clock, self._jitter = retry_s, clock, jitter
        self._silence = Silence(no_answer_s, clock)
        self._presence = Presence(transport, identity.device_id, tenant, self._folder, version)
        self._inbox: queue.SimpleQueue[machine.Event] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._state = machine.Device()
        self._timer_at: float | None = None
        self._base: dict[str, Any] = {}
        self._result: TrainingResult | None = None
        self._sending: SpooledUpdate | None = None
        self._offered: set[bytes] = set()
        self.counts: Counter[str] = Counter()

    @property
    def device_id(self) -> str:
        return self._identity.device_id

    @property
    def phase(self) -> Phase:
        """Where this device stands in the round."""
        return self._state.phase

    def run(
        self, *, rounds: int | None = None, connect_timeout_s: float | None = 30.0, sign_off: bool = True
    ) -> Counter[str]:
        """Take part until `rounds` updates have got their receipts (None: until `stop`).

        sign_off: tell at the end that the device is offline; not where other work goes on.
        Raises UnavailableError when no broker answers within `connect_timeout_s` at the start, or another
        process works in the spool; later losses of the connection are mended. Returns the counts.
        """
        self.claim()
        try:
            self._take_part(rounds, connect_timeout_s)
        finally:
            self._spool.release()
        if sign_off:
            self.sign_off()
        return self.counts

    def claim(self) -> None:
        """Keep other processes out of the spool until `run` is over; `run` does so itself. For whoever
        connects the transport before. Raises UnavailableError."""
        self._spool.claim()

    def _take_part(self, rounds: int | None, connect_timeout_s: float | None) -> None:
        device = self._identity.device_id
        self._transport.subscribe(self._topics.round(self._job), self._on_announcement)
        self._transport.subscribe(self._topics.task(device), self._on_task)
        self._transport.subscribe(self._topics.need(device), self._on_need)
        self._transport.subscribe(self._topics.receipt(device), self._on_receipt)
        self._presence.begin()
        self._transport.on_connection(self._on_connection)
        self._transport.start(connect_timeout_s)
        self._offer_what_waits()
        self._silence.asked()
        settled_before = self._settled()
        while not self._stop.is_set() and (rounds is None or self._settled() - settled_before < rounds):
            self._apply(self._next_event())
            self._tell_of_silence()

    def sign_off(self) -> None:
        """Tell that this device is offline now."""
        self._presence.end()

    def stop(self) -> None:
        """Let `run` return soon; from any thread. What is spooled is offered at the next start."""
        self._stop.set()

    # ---- from the transport's thread: parse, check, queue

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._inbox.put(machine.Connected())

    def _on_announcement(self, delivery: Delivery) -> None:
        message = self._checked(RoundAnnouncement, delivery)
        if message and (message.tenant, message.job) == (self._topics.tenant, self._job):
            self._inbox.put(machine.Announced(message.round, message.phase, message.sequence))

    def _on_task(self, delivery: Delivery) -> None:
        message = self._checked(Task, delivery)
        ours = (self._topics.tenant, self._job, self.device_id)
        if message and (message.tenant, message.job, message.device) == ours:
            self._inbox.put(machine.TaskGiven(message))

    def _on_need(self, delivery: Delivery) -> None:
        message = self._checked(Need, delivery)
        if message and (message.tenant, message.device) == (self._topics.tenant, self.device_id):
            self._inbox.put(machine.Needed(message.update_id, message.chunks))

    def _on_receipt(self, delivery: Delivery) -> None:
        message = self._checked(Receipt, delivery)
        if message and (message.tenant, message.device) == (self._topics.tenant, self.device_id):
            if message.reason:
                logger.warning("update %s: %s (%s)", message.update_id.hex(), message.status, message.reason)
            self._inbox.put(machine.Received(message.update_id, message.status))

    def _checked(self, kind: type[S], delivery: Delivery) -> S | None:
        """The message, or None (counted) when it is malformed or not the server's."""
        delivery.acknowledge()
        try:
            message = codec.decode(kind, delivery.payload)
            self._server_key.verify(message)
        except LeptonError as error:
            self.counts["malformed" if isinstance(error, MessageError) else "forged"] += 1
            logger.warning("a message on %s was dropped: %s", delivery.topic, error.message)
            return None
        return message

    # ---- the machine's turn

    def _next_event(self) -> machine.Event | None:
        wait_s = 0.2 if self._timer_at is None else min(0.2, max(0.0, self._timer_at - self._clock()))
        try:
            return self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            if self._timer_at is not None and self._clock() >= self._timer_at:
                self._timer_at = None
                return machine.TimerFired()
            return None

    def _tell_of_silence(self) -> None:
        seconds = self._silence.overdue()
        if seconds is None:
            return
        if self._state.announced is None:
            hint = f"no round of job {self._job!r} is announced to tenant {self._topics.tenant!r}: does its "
            hint += "aggregator run, are both names right, is server_key the server's?"
        else:
            hint = "is this device's key on the server's allow-list? "
            hint += "Else the round waits for more devices, or has enough"
        self._on_event("no_answer", {"seconds": round(seconds, 1), "hint": hint})

    def _apply(self, event: machine.Event | None) -> None:
        answers = machine.TaskGiven | machine.Needed | machine.Received
        first = isinstance(event, machine.Announced) and self._state.announced is None
        if first or isinstance(event, answers):
            self._silence.answered()
        pending = deque([] if event is None else [event])
        while pending:
            self._state, actions = machine.step(self._state, pending.popleft())
            for action in actions:
                result = self._do(action)
                if result is not None:
                    pending.append(result)

    def _do(self, action: machine.Action) -> machine.Event | None:
        match action:
            case machine.AskForTask(round_number):
                self._silence.asked()
                self._report(round_number, Phase.ELIGIBLE.value)
            case machine.Work(phase, task):
                return self._work(phase, task)
            case machine.SendOffer(update_id, attempt):
                self._silence.asked()
                return self._send_offer(update_id, attempt)
            case machine.SendChunks(update_id, chunks):
                return self._send_chunks(update_id, chunks)
            case machine.Forget(update_id, status):
                self._forget(update_id, status)
            case machine.SetTimer(backoff):
                delay = min(RETRY_LIMIT_S, self._retry_s * 2 ** min(backoff, 16))
                self._timer_at = self._clock() + delay * (0.75 + 0.5 * self._jitter())
            case machine.StopTimer():
                self._timer_at = None
        return None

    def _work(self, phase: Phase, task: Task) -> machine.Event:
        self._on_event("phase", {"phase": phase.value, "round": task.round})
        steps = {
            Phase.FETCH: self._fetch,
            Phase.VERIFY: self._verify,
            Phase.TRAIN: self._train_locally,
            Phase.SPOOL: self._put_in_spool,
        }
        try:
            return steps[phase](task)
        except Exception as error:
            # Training is the caller's code and a disc may fill: a round is lost, the device goes on.
            log = logger.error if isinstance(error, LeptonError) else logger.exception
            log("round %d: %s failed: %s", task.round, phase.value, error)
            self._on_event("failed", {"phase": phase.value, "round": task.round, "reason": str(error)})
            if phase in (Phase.TRAIN, Phase.SPOOL):  # the others are tried again, so the server still waits
                self._report(task.round, "failed")
            return machine.Failed(phase, task.round, str(error))

    def _fetch(self, task: Task) -> machine.Event:
        goal = self._base_path(task)
        for older in goal.parent.glob("*") if goal.parent.exists() else ():
            if not older.name.startswith(goal.name):
                older.unlink()
        self._downloader.fetch(
            task.base_model_sha256,
            goal,
            timeout_s=min(FETCH_TIMEOUT_S, max(1.0, task.deadline_s)),
            max_bytes=MAX_MODEL_BYTES,
            stop=self._stop,
        )
        return machine.Done(Phase.FETCH, task.round)

    def _verify(self, task: Task) -> machine.Event:
        self._base = read_parameters(self._base_path(task).read_bytes())
        return machine.Done(Phase.VERIFY, task.round)

    def _train_locally(self, task: Task) -> machine.Event:
        self._result = self._train({name: array.copy() for name, array in self._base.items()}, task)
        self.counts["updates_trained"] += 1
        return machine.Done(Phase.TRAIN, task.round)

    def _put_in_spool(self, task: Task) -> machine.Event:
        result = self._result
        assert result is not None, "SPOOL follows TRAIN"
        update = SpooledUpdate(
            job=self._job,
            round=task.round,
            base_model_sha256=task.base_model_sha256,
            update_id=secrets.token_bytes(16),
            n_examples=result.n_examples,
            chunk_bytes=task.chunk_bytes,
            inline_bytes=task.inline_bytes,
            metrics=dict(result.metrics),
            payload=pack(difference(result.parameters, self._base)),
        )
        self._spool.put(update)
        self._result, self._sending = None, update
        return machine.Spooled(update.update_id, task.round)

    def _send_offer(self, update_id: bytes, attempt: int) -> machine.Event | None:
        update = self._update(update_id)
        if update is None:
            return None
        inline = len(update.payload) <= update.inline_bytes
        offer = Offer(
            tenant=self._topics.tenant,
            job=update.job,
            round=update.round,
            base_model_sha256=update.base_model_sha256,
            device=self.device_id,
            boot_id=self._presence.boot_id,
            update_id=update_id,
            attempt=attempt,
            n_examples=update.n_examples,
            codec=CODEC,
            size=len(update.payload),
            chunk_bytes=update.chunk_bytes,
            chunk_sha256=update.chunk_sha256(),
            metrics=update.metrics,
            payload=update.payload if inline else b"",
        )
        self._publish(self._topics.offer(self.device_id), offer)
        if update_id not in self._offered:
            self._offered.add(update_id)
            self.counts["updates_offered"] += 1
        fields = {"update_id": update_id.hex(), "round": update.round, "attempt": attempt}
        self._on_event("update_offered", {**fields, "bytes": len(update.payload)})
        return machine.Sent(update_id) if inline else None

    def _send_chunks(self, update_id: bytes, chunks: tuple[int, ...]) -> machine.Event | None:
        update = self._update(update_id)
        if update is None:
            return None
        for index in chunks:
            if index < update.n_chunks:
                chunk = Chunk(update_id, index, update.chunk(index))
                self._transport.publish(self._topics.chunk(self.device_id), codec.encode(chunk))
        self._on_event("chunks_sent", {"update_id": update_id.hex(), "n": len(chunks), "of": update.n_chunks})
        return machine.Sent(update_id)

    def _forget(self, update_id: bytes, status: str) -> None:
        self._spool.remove(update_id)
        self._sending = None
        self.counts[f"receipts_{status}"] += 1
        self._on_event("receipt", {"update_id": update_id.hex(), "status": status})
        self._offer_what_waits()

    # ---- small parts

    def _offer_what_waits(self) -> None:
        """Offer the oldest update left in the spool by an earlier life of this process."""
        waiting = self._spool.pending()
        if waiting:
            self._sending = waiting[0]
            self._inbox.put(machine.Spooled(waiting[0].update_id, waiting[0].round))

    def _update(self, update_id: bytes) -> SpooledUpdate | None:
        if self._sending is None or self._sending.update_id != update_id:
            self._sending = next((u for u in self._spool.pending() if u.update_id == update_id), None)
        return self._sending

    def _report(self, round_number: int, phase: str) -> None:
        report = Report(
            self._topics.tenant, self.device_id, self._presence.boot_id, self._job, round_number, phase, {}
        )
        self._publish(self._topics.report(self.device_id), report)

    def _publish(self, topic: str, message: Signed) -> None:
        self._transport.publish(topic, codec.encode(self._identity.sign(message)))

    def _base_path(self, task: Task) -> Path:
        return self._folder / "base" / task.base_model_sha256.hex()

    def _settled(self) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith("receipts_"))
