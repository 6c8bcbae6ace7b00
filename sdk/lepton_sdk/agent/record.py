"""What the device remembers of its models across power failures; one JSON file, replaced as a whole.

The record is written before the action it announces, so that after a crash the machine reads where it
stood and does that action again; every action can be done twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from lepton_targets.errors import BadInputError

RECORD_VERSION = 1
T = TypeVar("T")


class Phase(StrEnum):
    """Where an update stands. IDLE, CONFIRMED and ROLLED_BACK are rest; the others resume by themselves."""

    IDLE = "idle"
    DOWNLOAD = "download"
    VERIFY = "verify"
    STAGE = "stage"
    SELF_TEST = "self_test"
    SWITCH = "switch"
    PROBATION = "probation"
    CONFIRMED = "confirmed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


AT_REST = frozenset({Phase.IDLE, Phase.CONFIRMED, Phase.ROLLED_BACK})


class Slot(StrEnum):
    """The two places for a bundle; never more."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        return Slot.B if self is Slot.A else Slot.A


class Result(StrEnum):
    """How an order ended."""

    CONFIRMED = "confirmed"  # the release is active and passed probation
    ROLLED_BACK = "rolled_back"  # it was active; the one before it is active again
    REFUSED = "refused"  # never active and will not be tried again
    FAILED = "failed"  # never active; a new order may try it again


class Reason(StrEnum):
    """Why an order was not carried out; stable words for reports and dashboards."""

    OLDER_COUNTER = "older_counter"
    COUNTER_REUSED = "counter_reused"
    TRIED_BEFORE = "tried_before"
    WRONG_TARGET = "wrong_target"
    SIGNATURE = "signature"
    DAMAGED = "damaged"
    NEWER_FORMAT = "newer_format"
    SELF_TEST = "self_test"
    PROBE = "probe"
    PROCESS_DIED = "process_died"
    NO_CONFIRMATION = "no_confirmation"
    WITHDRAWN = "withdrawn"
    NOTHING_TO_RESTORE = "nothing_to_restore"
    STORAGE = "storage"
    DISC_FULL = "disc_full"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a step failed. lasting: the same release would fail again."""

    reason: Reason
    detail: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Blob:
    """A file by its content: what `up/want` asks for. sha256: hex of the whole file; size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """A published bundle, from the publisher's signed statement.

    counter: grows with every release of a fleet, never falls; digest: SHA-256 hex of the bundle's manifest;
    files: the bundle's file for each target (the same file, or one thinned for the target).
    """

    name: str
    counter: int
    digest: str
    files: Mapping[str, Blob]


@dataclass(frozen=True, slots=True)
class ProbationPolicy:
    """How a new model proves itself after the switch, in durations of this device's monotonic clock.

    It is confirmed after `seconds` in good health or after `inferences` good inferences (0: not asked),
    whichever comes first, and rolled back when neither came within `timeout_s`.
    """

    seconds: float = 10.0
    inferences: int = 0
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Order:
    """The server's wish for this device: run `release`. sequence: the server's, grows with each wish."""

    sequence: int
    release: Release
    probation: ProbationPolicy = field(default_factory=ProbationPolicy)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The server's wish for this device: do not run release `counter`, or stop running it."""

    sequence: int
    counter: int


@dataclass(frozen=True, slots=True)
class Installed:
    """A verified bundle in a slot."""

    slot: Slot
    name: str
    counter: int
    digest: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """The release being installed, the file chosen for this device, and the slot it goes to."""

    order: Order
    target: str
    slot: Slot

    @property
    def counter(self) -> int:
        return self.order.release.counter

    @property
    def blob(self) -> Blob:
        return self.order.release.files[self.target]

    def installed(self) -> Installed:
        release = self.order.release
        return Installed(self.slot, release.name, release.counter, release.digest)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the device tells the server about the order `sequence` for release `counter`."""

    sequence: int
    counter: int
    result: Result
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """All that must survive a power failure.

    floor: highest counter ever confirmed; no release at or below it is installed again.
    refused: counters above the floor that were tried and are not tried again.
    attempts: starts of this process in the present phase; a phase that kills its process is given up.
    answer: how the last order ended; while ROLLING_BACK, what will be said once the old model is back.
    """

    phase: Phase = Phase.IDLE
    active: Installed | None = None
    previous: Installed | None = None
    candidate: Candidate | None = None
    queued: Order | Withdrawal | None = None
    floor: int = 0
    refused: tuple[int, ...] = ()
    sequence: int = 0
    attempts: int = 0
    answer: Answer | None = None


def dump(record: Record) -> bytes:
    """The record as JSON, the same bytes for the same record."""
    fields = {"v": RECORD_VERSION, **asdict(record)}
    return json.dumps(fields, sort_keys=True, indent=1).encode()


def load(content: bytes) -> Record:
    """Inverse of `dump`. Raises BadInputError for anything that `dump` did not write."""
    try:
        fields = json.loads(content)
        if fields["v"] != RECORD_VERSION:
            raise BadInputError(
                f"the update record has version {fields['v']!r}; this version reads {RECORD_VERSION}",
                "it was written by another version of lepton-edge: install that one, or remove the record",
            )
        return Record(
            phase=Phase(fields["phase"]),
            active=_optional(_installed, fields["active"]),
            previous=_optional(_installed, fields["previous"]),
            candidate=_optional(_candidate, fields["candidate"]),
            queued=_optional(_wish, fields["queued"]),
            floor=int(fields["floor"]),
            refused=tuple(int(counter) for counter in fields["refused"]),
            sequence=int(fields["sequence"]),
            attempts=int(fields["attempts"]),
            answer=_optional(_answer, fields["answer"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"the update record is damaged: {error!r}") from error


def _optional(parse: Callable[[Any], T], fields: Any) -> T | None:
    return None if fields is None else parse(fields)


def _installed(fields: Any) -> Installed:
    return Installed(Slot(fields["slot"]), str(fields["name"]), int(fields["counter"]), str(fields["digest"]))


def _candidate(fields: Any) -> Candidate:
    order = _wish(fields["order"])
    if not isinstance(order, Order) or fields["target"] not in order.release.files:
        raise ValueError("candidate without an order for its target")
    return Candidate(order, str(fields["target"]), Slot(fields["slot"]))


def _wish(fields: Any) -> Order | Withdrawal:
    if "counter" in fields:
        return Withdrawal(int(fields["sequence"]), int(fields["counter"]))
    release, probation = fields["release"], fields["probation"]
    return Order(
        int(fields["sequence"]),
        Release(
            str(release["name"]),
            int(release["counter"]),
            str(release["digest"]),
            {str(target): Blob(str(b["sha256"]), int(b["size"])) for target, b in release["files"].items()},
        ),
        ProbationPolicy(
            float(probation["seconds"]), int(probation["inferences"]), float(probation["timeout_s"])
        ),
    )


def _answer(fields: Any) -> Answer:
    reason = fields["reason"]
    return Answer(
        int(fields["sequence"]),
        int(fields["counter"]),
        Result(fields["result"]),
        None if reason is None else Reason(reason),
        str(fields["detail"]),
    )
