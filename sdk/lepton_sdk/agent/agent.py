"""`DeviceAgent`: installs the models its server wishes for; the driver around `machine.py`.

    agent = DeviceAgent(transport, identity, "slots", server_key="server.pub.pem", trust=["release.pub.pem"])
    agent.start()
    agent.session().run(x)          # always of the active slot; ask again for each inference or batch

One thread feeds the machine and writes the record before it acts. Downloads and probation's checks have
threads of their own, so that a withdrawal stops the one and a probe that hangs can't hold up the other.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_sdk.agent import machine
from lepton_sdk.agent.checks import open_installed, problem_of, prove, verify_download, within
from lepton_sdk.agent.download import BackgroundDownload
from lepton_sdk.agent.machine import Action, Device, Done, Event, Failed, Started, Wished
from lepton_sdk.agent.record import Installed, Phase, Problem, Reason, Record
from lepton_sdk.agent.shadow import read_desired, report_of
from lepton_sdk.agent.slots import Slots
from lepton_sdk.agent.vigil import Probe, Vigil
from lepton_sdk.session import Session
from lepton_sdk.wire.identity import Identity, PublicKey
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_targets.cpus import CPUS
from lepton_targets.errors import LeptonError, UnavailableError, UsageError, nearest
from lepton_targets.host import runs_here

logger = logging.getLogger(__name__)

RETRY_S = 1.0
SELF_TEST_S = 300.0
EventCallback = Callable[[str, Mapping[str, Any]], None]


class _Nudge:
    """Wakes the agent's thread without an event of the machine."""


class DeviceAgent:
    """Keeps the model of one device as its server wishes, and never runs one that has not proven itself."""

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        slots: Path | str,
        *,
        server_key: PublicKey | Path | str,
        trust: Sequence[Path | str],
        tenant: str = "default",
        targets: Sequence[str] | None = None,
        probe: Probe | None = None,
        engine: str = "native",
        threads: int = 1,
        check_interval_s: float = 1.0,
        max_attempts: int = 3,
        self_test_timeout_s: float = SELF_TEST_S,
        on_event: EventCallback | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """trust: public PEM files of publishers, whose signature bundles and releases must carry.
        targets: names accepted, best first; None: all that this CPU runs. probe: called with a session of
        the model on probation every `check_interval_s`; False or an exception means it is not well.
        max_attempts: times a phase may end this process before its release is given up. self_test_timeout_s:
        how long golden vectors may take. on_event: called with "phase" or "refused" and fields as they
        happen, on the agent's thread."""
        self._transport, self._identity, self._topics = transport, identity, Topics(tenant)
        self._server_key = server_key if isinstance(server_key, PublicKey) else PublicKey.load(server_key)
        self._trust = tuple(Path(path) for path in trust)
        self._publishers = tuple(PublicKey.load(path) for path in self._trust)
        self._engine, self._threads, self._self_test_timeout_s = engine, threads, self_test_timeout_s
        self._slots = Slots(Path(slots))
        self._device = Device(tuple(targets if targets is not None else runnable_targets()), max_attempts)
        self._inbox: queue.SimpleQueue[Event | _Nudge] = queue.SimpleQueue()
        self._download = BackgroundDownload(
            transport, identity, self._server_key, tenant, self._slots, self._post
        )
        self._vigil = Vigil(probe, check_interval_s, clock, self._nudge)
        self._on_event = on_event or (lambda name, fields: None)
        self._record = self._slots.load_record()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session_lock = threading.Lock()
        self._opened: tuple[Installed, Session] | None = None
        self._refused, self._last_refusal, self._report_due = 0, "", False

    # ---- for the application

    @property
    def record(self) -> Record:
        """Where the update stands, as written on the disc."""
        return self._record

    @property
    def phase(self) -> Phase:
        return self._record.phase

    def session(self) -> Session:
        """The session of the active slot: the same object until a switch or a roll-back.

        Raises UnavailableError before the first model, LeptonError when the slot was tampered with.
        """
        with self._session_lock:
            active = self._record.active
            if active is None:
                raise UnavailableError(
                    f"device {self._identity.device_id} has no model yet",
                    "roll one out to it:  lepton fleet rollout",
                )
            if self._opened is None or self._opened[0] != active:
                self._opened = (active, self._open(active))
            return self._opened[1]

    def count_inferences(self, count: int = 1) -> None:
        """Tell probation that the application made `count` good inferences with the active model."""
        self._vigil.count_inferences(count)

    def report_failure(self, detail: str) -> None:
        """Tell probation that the application found the active model unwell."""
        self._vigil.fail(Problem(Reason.PROBE, detail))

    # ---- running

    def start(self, connect_timeout_s: float | None = None) -> None:
        """Subscribe, connect, and work on a thread of its own until `close`.

        Raises UnavailableError: no broker, or another process works in the slots.
        """
        self._begin(connect_timeout_s)
        self._thread = threading.Thread(target=self._work, name="lepton-agent", daemon=True)
        self._thread.start()

    def run(self, connect_timeout_s: float | None = 30.0) -> None:
        """As `start`, on the caller's thread; returns after `close`."""
        self._begin(connect_timeout_s)
        self._work()

    def close(self) -> None:
        """Stop working; the transport stays open. What was under way resumes at the next start."""
        self._stop.set()
        self._nudge()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._download.stop()
        self._vigil.end()
        self._slots.release()

    def claim(self) -> None:
        """Keep other processes out of the slots until `close`; `start` and `run` do so themselves. For those
        who connect the transport before. Raises UnavailableError."""
        self._slots.claim()
        self._record = self._slots.load_record()

    def _begin(self, connect_timeout_s: float | None) -> None:
        self.claim()
        self._inbox.put(Started())
        self._transport.on_connection(self._on_connection)
        self._transport.subscribe(self._topics.desired(self._identity.device_id), self._on_desired)
        self._transport.start(connect_timeout_s)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._inbox.get(timeout=self._vigil.patience())
            except queue.Empty:
                item = _Nudge()
            if self._report_due:
                self._report()
            if not isinstance(item, _Nudge):
                self._feed(item)
            self._judge()

    # ---- from the transport's thread

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._report_due = True
            self._nudge()

    def _on_desired(self, delivery: Delivery) -> None:
        delivery.acknowledge()  # the broker keeps it as retained: a crash here loses nothing
        if not delivery.payload:
            return
        device, tenant = self._identity.device_id, self._topics.tenant
        try:
            wish = read_desired(delivery.payload, device, tenant, self._server_key, self._publishers)
        except LeptonError as error:
            self._refused += 1
            self._last_refusal = error.message
            logger.warning("a desired document was refused: %s", error.message)
            self._on_event("refused", {"reason": error.message})
            self._report_due = True
            self._nudge()
        else:
            self._inbox.put(Wished(wish))

    def _post(self, event: Event) -> None:
        self._inbox.put(event)

    def _nudge(self) -> None:
        self._inbox.put(_Nudge())

    # ---- the machine and its actions

    def _feed(self, event: Event) -> None:
        before = self._record
        record, actions = machine.step(before, event, self._device)
        if record != before:
            self._save(record)
            self._record = record
            if record.phase is not before.phase:
                logger.info("update: %s → %s", before.phase, record.phase)
        if self._stop.is_set():
            return
        for action in actions:
            self._act(action, record)

    def _save(self, record: Record) -> None:
        """Write the record, however long the disc stays full: nothing may happen before it is durable."""
        while not self._stop.is_set():
            try:
                self._slots.save_record(record)
            except OSError as error:
                logger.error("the update record can't be written: %s", error)
                self._slots.free_space()
                self._stop.wait(RETRY_S)
            else:
                return

    def _act(self, action: Action, record: Record) -> None:
        match action:
            case machine.Report():
                self._report()
                self._tell(record)
            case machine.Tidy():
                self._tidy(record)
            case machine.RaiseFloor(counter):
                self._attempt(lambda: self._slots.raise_floor(counter))
            case machine.Download(counter, blob):
                self._download.start(counter, blob)
            case machine.Verify(candidate):
                path = self._slots.download(candidate.blob.sha256)
                check = lambda: verify_download(path, candidate, self._trust, self._engine)  # noqa: E731
                self._do(Phase.VERIFY, candidate.counter, check)
            case machine.Stage(candidate):
                path = self._slots.download(candidate.blob.sha256)
                self._do(Phase.STAGE, candidate.counter, lambda: self._slots.stage(path, candidate.slot))
            case machine.SelfTest(candidate):
                limit_s, installed = self._self_test_timeout_s, candidate.installed()
                test = lambda: within(limit_s, lambda: self._prove(installed))  # noqa: E731
                self._do(Phase.SELF_TEST, candidate.counter, test)
            case machine.Activate(slot, Phase.ROLLING_BACK, counter):
                while not self._attempt(lambda: self._slots.activate(slot)):
                    if self._stop.wait(RETRY_S):
                        return
                self._post(Done(Phase.ROLLING_BACK, counter))
            case machine.Activate(slot, phase, counter):
                self._do(phase, counter, lambda: self._slots.activate(slot))
            case machine.Watch(counter, policy):
                active = record.active
                assert active is not None
                self._vigil.begin(counter, policy, lambda: self._prove(active))

    def _do(self, phase: Phase, counter: int, act: Callable[[], object]) -> None:
        """Act and tell the machine how it went. Whatever a bad bundle raises is a refusal, not our end."""
        try:
            act()
        except Exception as error:
            problem = problem_of(error)
            logger.warning("%s of release %d failed: %s", phase, counter, error)
            self._post(Failed(phase, counter, problem.reason, problem.detail, problem.lasting))
        else:
            self._post(Done(phase, counter))

    @staticmethod
    def _attempt(act: Callable[[], object]) -> bool:
        """Act where the disc's refusal can be mended later; whether it worked."""
        try:
            act()
        except OSError as error:
            logger.error("the disc refused: %s", error)
            return False
        return True

    def _tidy(self, record: Record) -> None:
        if record.phase is not Phase.DOWNLOAD:
            self._download.stop()
        if record.phase is not Phase.PROBATION:
            self._vigil.end()
        self._attempt(lambda: self._slots.agree_with(record))

    def _judge(self) -> None:
        event = self._vigil.judge()
        if event is not None:
            self._feed(event)

    def _prove(self, installed: Installed) -> Session:
        path = self._slots.bundle(installed.slot)
        return prove(path, installed.digest, self._trust, self._engine, self._threads)

    def _open(self, active: Installed) -> Session:
        path = self._slots.bundle(active.slot)
        return open_installed(path, active.digest, self._trust, self._engine, self._threads)

    # ---- what others see

    def _report(self) -> None:
        self._report_due = False
        device, tenant = self._identity.device_id, self._topics.tenant
        report = report_of(
            self._record, tenant, self._device.targets, self._identity, self._refused, self._last_refusal
        )
        self._transport.publish(self._topics.reported(device), report, retain=True)

    def _tell(self, record: Record) -> None:
        answer, active = record.answer, record.active
        self._on_event(
            "phase",
            {
                "phase": record.phase.value,
                "active": None if active is None else active.counter,
                "result": None if answer is None else answer.result.value,
                "reason": None if answer is None or answer.reason is None else answer.reason.value,
            },
        )


def runnable_targets() -> tuple[str, ...]:
    """Names of the CPU rows this machine runs, best first (the table is ordered, later is better)."""
    return tuple(cpu.name for cpu in reversed(CPUS) if runs_here(cpu))


CONFIG_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "slots": str,
    "trust": list,
    "targets": list,
    "engine": str,
    "threads": int,
    "check_interval_s": (int, float),
    "self_test_timeout_s": (int, float),
}

_WORDS = {str: "a text", list: "a list of texts", int: "a whole number", (int, float): "a number"}


def from_config(
    section: Mapping[str, Any],
    transport: Transport,
    identity: Identity,
    *,
    server_key: PublicKey | Path | str,
    tenant: str = "default",
    folder: Path | None = None,
    probe: Probe | None = None,
    on_event: EventCallback | None = None,
) -> DeviceAgent:
    """The agent that a device's TOML section `[agent]` describes.

    Keys: slots (folder), trust (public PEM files), and where wanted targets, engine, threads,
    check_interval_s and self_test_timeout_s. folder: what relative paths are relative to. Raises UsageError
    for other keys or values.
    """
    folder = Path.cwd() if folder is None else folder
    for key, value in section.items():
        if key not in CONFIG_KEYS:
            known = f"known here: {', '.join(sorted(CONFIG_KEYS))}"
            raise UsageError(f"unknown key agent.{key}{nearest(key, CONFIG_KEYS)}", known)
        texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if not isinstance(value, CONFIG_KEYS[key]) or (isinstance(value, list) and not texts):
            raise UsageError(f"agent.{key} is {value!r}", f"accepted: {_WORDS[CONFIG_KEYS[key]]}")
    for key in ("slots", "trust"):
        if key not in section:
            raise UsageError(f"the key agent.{key} is missing", "the agent needs a folder and trusted keys")
    return DeviceAgent(
        transport,
        identity,
        folder / section["slots"],
        server_key=server_key,
        trust=[folder / path for path in section["trust"]],
        tenant=tenant,
        targets=section.get("targets"),
        probe=probe,
        engine=section.get("engine", "native"),
        threads=section.get("threads", 1),
        check_interval_s=float(section.get("check_interval_s", 1.0)),
        self_test_timeout_s=float(section.get("self_test_timeout_s", SELF_TEST_S)),
        on_event=on_event,
    )
