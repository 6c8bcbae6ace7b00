"""A device's model update as a pure state machine: event in, new record and actions out; no I/O.

    IDLE → DOWNLOAD → VERIFY → STAGE → SELF_TEST → SWITCH → PROBATION → CONFIRMED
                                                     └──────→ ROLLING_BACK → ROLLED_BACK

The driver writes the new record durably and only then does the actions, in their order. After a crash it
feeds `Started`, and the machine asks again for whatever the present phase was doing. Results carry the
counter of the release they belong to, so that one that comes late changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lepton_sdk.agent.record import (
    AT_REST,
    Answer,
    Blob,
    Candidate,
    Order,
    Phase,
    ProbationPolicy,
    Reason,
    Record,
    Result,
    Slot,
    Withdrawal,
)

# ---- events


@dataclass(frozen=True, slots=True)
class Started:
    """The process began; the record came from the disc."""


@dataclass(frozen=True, slots=True)
class Wished:
    """An order or a withdrawal arrived whose signatures were checked."""

    wish: Order | Withdrawal


@dataclass(frozen=True, slots=True)
class Done:
    """The action of `phase` for release `counter` succeeded (for PROBATION: the model is well)."""

    phase: Phase
    counter: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The action of `phase` for release `counter` failed. lasting: trying again can't help."""

    phase: Phase
    counter: int
    reason: Reason
    detail: str = ""
    lasting: bool = True


Event = Started | Wished | Done | Failed

# ---- actions


@dataclass(frozen=True, slots=True)
class Download:
    counter: int
    blob: Blob


@dataclass(frozen=True, slots=True)
class Verify:
    """Check the downloaded file: its hash, signature, format, digest, target."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Stage:
    """Put the downloaded file into the slot that is not active."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Run the golden vectors of the staged bundle."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Activate:
    """Point the active link at `slot`, or remove it; `phase` and `counter` come back in Done."""

    slot: Slot | None
    phase: Phase
    counter: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Begin probation of the active model."""

    counter: int
    policy: ProbationPolicy


@dataclass(frozen=True, slots=True)
class RaiseFloor:
    """Never install a release at or below `counter` again."""

    counter: int


@dataclass(frozen=True, slots=True)
class Tidy:
    """Make the disc agree with the record: at rest the link, always the slots and downloads it names."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the server the record's phase and answer."""


Action = Download | Verify | Stage | SelfTest | Activate | Watch | RaiseFloor | Tidy | Report
Step = tuple[Record, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Device:
    """What the machine knows of its device. targets: names it runs, best first."""

    targets: tuple[str, ...]
    max_attempts: int = 3


def step(record: Record, event: Event, device: Device) -> Step:
    """The next record and what to do once it is durable."""
    match event:
        case Started():
            return _resume(record, device)
        case Wished(wish) if wish.sequence <= record.sequence:
            return record, (Report(),)  # the broker's retained copy again, or a replay
        case Wished(Order() as order):
            return _order(replace(record, sequence=order.sequence), order, device)
        case Wished(Withdrawal() as withdrawal):
            return _withdraw(replace(record, sequence=withdrawal.sequence), withdrawal, device)
        case Done(phase, counter) if phase is record.phase and counter == _working_on(record):
            return _advance(record, device)
        case Failed(phase, counter, reason, detail, lasting) if (
            phase is record.phase and counter == _working_on(record)
        ):
            return _fail(record, reason, detail, lasting, device)
    return record, ()


def _working_on(record: Record) -> int | None:
    """Counter of the release whose action is under way."""
    if record.candidate is not None:
        return record.candidate.counter
    return record.active.counter if record.phase is Phase.ROLLING_BACK and record.active else None


# ---- wishes


def _order(record: Record, order: Order, device: Device) -> Step:
    release = order.release
    if record.phase is Phase.DOWNLOAD and record.candidate is not None:
        return _order(replace(record, phase=Phase.IDLE, candidate=None), order, device)
    if record.phase not in AT_REST:
        return replace(record, queued=order), (Report(),)
    if record.active is not None and release.counter == record.active.counter:
        if release.digest == record.active.digest:
            return _answer(record, order, Result.CONFIRMED)
        return _answer(
            record, order, Result.REFUSED, Reason.COUNTER_REUSED, "another bundle had this counter"
        )
    if release.counter <= record.floor:
        detail = f"release {release.counter} is not above {record.floor}, which this device has confirmed"
        return _answer(record, order, Result.REFUSED, Reason.OLDER_COUNTER, detail)
    if release.counter in record.refused:
        detail = f"release {release.counter} failed here before; publish it again with a new counter"
        return _answer(record, order, Result.REFUSED, Reason.TRIED_BEFORE, detail)
    target = next((name for name in device.targets if name in release.files), None)
    if target is None:
        offered, runs = ", ".join(sorted(release.files)), ", ".join(device.targets)
        detail = f"the release is for {offered}; this device runs {runs}"
        return _answer(_refusing(record, release.counter), order, Result.REFUSED, Reason.WRONG_TARGET, detail)
    slot = Slot.A if record.active is None else record.active.slot.other
    candidate = Candidate(order, target, slot)
    downloading = replace(record, phase=Phase.DOWNLOAD, candidate=candidate, attempts=0)
    return downloading, (Tidy(), Report(), Download(candidate.counter, candidate.blob))


def _withdraw(record: Record, withdrawal: Withdrawal, device: Device) -> Step:
    counter = withdrawal.counter
    detail = "withdrawn by the server"
    if record.phase in (Phase.SWITCH, Phase.ROLLING_BACK):
        return replace(record, queued=withdrawal), (Report(),)  # a link is being replaced: first let it be
    if record.candidate is not None and record.candidate.counter == counter:
        ordered = replace(record.candidate.order, sequence=withdrawal.sequence)
        record = replace(record, candidate=replace(record.candidate, order=ordered))
        return _fail(record, Reason.WITHDRAWN, detail, True, device)
    if record.active is not None and record.active.counter == counter:
        if record.previous is None:
            why = "no earlier model is kept on this device"
            return _answer(record, withdrawal, Result.FAILED, Reason.NOTHING_TO_RESTORE, why)
        return _roll_back(record, withdrawal.sequence, Reason.WITHDRAWN, detail)
    if isinstance(record.queued, Order) and record.queued.release.counter == counter:
        record = replace(record, queued=None)
    return _answer(_refusing(record, counter), withdrawal, Result.REFUSED, Reason.WITHDRAWN, detail)


def _answer(
    record: Record,
    wish: Order | Withdrawal,
    result: Result,
    reason: Reason | None = None,
    detail: str = "",
) -> Step:
    """Answer a wish that starts nothing."""
    counter = wish.release.counter if isinstance(wish, Order) else wish.counter
    return replace(record, answer=Answer(wish.sequence, counter, result, reason, detail)), (Tidy(), Report())


# ---- results


def _advance(record: Record, device: Device) -> Step:
    candidate = record.candidate
    if record.phase is Phase.ROLLING_BACK:
        back = replace(
            record, phase=Phase.ROLLED_BACK, active=record.previous, previous=None, candidate=None, attempts=0
        )
        return _rest(back, (Tidy(), Report()), device)
    assert candidate is not None, "every other phase that ends has a candidate"
    match record.phase:
        case Phase.DOWNLOAD:
            return _enter(record, Phase.VERIFY)
        case Phase.VERIFY:
            # The slot's old bundle is about to go: from here on there is nothing behind the active one.
            return _enter(replace(record, previous=None), Phase.STAGE)
        case Phase.STAGE:
            return _enter(record, Phase.SELF_TEST)
        case Phase.SELF_TEST:
            return _enter(record, Phase.SWITCH)
        case Phase.SWITCH:
            switched = replace(record, active=candidate.installed(), previous=record.active)
            after, actions = _enter(switched, Phase.PROBATION)
            if isinstance(record.queued, Withdrawal):
                return _withdraw(replace(after, queued=None), record.queued, device)
            return after, actions
        case _:
            return _confirm(record, candidate, device)


def _confirm(record: Record, candidate: Candidate, device: Device) -> Step:
    floor = max(record.floor, candidate.counter)
    confirmed = replace(
        record,
        phase=Phase.CONFIRMED,
        candidate=None,
        floor=floor,
        refused=tuple(counter for counter in record.refused if counter > floor),
        attempts=0,
        answer=Answer(candidate.order.sequence, candidate.counter, Result.CONFIRMED),
    )
    return _rest(confirmed, (RaiseFloor(floor), Tidy(), Report()), device)


def _fail(record: Record, reason: Reason, detail: str, lasting: bool, device: Device) -> Step:
    candidate = record.candidate
    if candidate is None:
        # A link that can't be replaced while rolling back: nothing else is safe, so the phase stays.
        return record, (Report(),)
    sequence = candidate.order.sequence
    if record.phase is Phase.PROBATION:
        return _roll_back(record, sequence, reason, detail)
    result = Result.REFUSED if lasting else Result.FAILED
    given_up = replace(
        _refusing(record, candidate.counter) if lasting else record,
        phase=Phase.IDLE,
        candidate=None,
        attempts=0,
        answer=Answer(sequence, candidate.counter, result, reason, detail),
    )
    return _rest(given_up, (Tidy(), Report()), device)


def _roll_back(record: Record, sequence: int, reason: Reason, detail: str) -> Step:
    assert record.active is not None, "only an active model can be rolled back"
    counter = record.active.counter
    rolling = replace(
        _refusing(record, counter),
        phase=Phase.ROLLING_BACK,
        candidate=None,
        attempts=0,
        answer=Answer(sequence, counter, Result.ROLLED_BACK, reason, detail),
    )
    return rolling, (_begin(rolling), Report())


def _refusing(record: Record, counter: int) -> Record:
    """Remember not to try `counter`; at or below the floor it is refused anyway."""
    if counter <= record.floor or counter in record.refused:
        return record
    return replace(record, refused=(*record.refused, counter))


def _rest(record: Record, actions: tuple[Action, ...], device: Device) -> Step:
    """At rest: take up the wish that waited, if one did. Its own report follows the one of what ended."""
    wish = record.queued
    if wish is None:
        return record, actions
    record = replace(record, queued=None)
    after, more = _order(record, wish, device) if isinstance(wish, Order) else _withdraw(record, wish, device)
    return after, (*actions, *more)


# ---- phases


def _enter(record: Record, phase: Phase) -> Step:
    entered = replace(record, phase=phase, attempts=1)
    begin = _begin(entered)
    # Who hears of a probation may at once say that the model is unwell: it has begun by then.
    return entered, (begin, Report()) if phase is Phase.PROBATION else (Report(), begin)


def _begin(record: Record) -> Action:
    """The action of a phase that isn't rest; asked for when the phase is entered and again after a crash."""
    if record.phase is Phase.ROLLING_BACK:
        assert record.active is not None
        slot = None if record.previous is None else record.previous.slot
        return Activate(slot, Phase.ROLLING_BACK, record.active.counter)
    candidate = record.candidate
    assert candidate is not None
    match record.phase:
        case Phase.DOWNLOAD:
            return Download(candidate.counter, candidate.blob)
        case Phase.VERIFY:
            return Verify(candidate)
        case Phase.STAGE:
            return Stage(candidate)
        case Phase.SELF_TEST:
            return SelfTest(candidate)
        case Phase.SWITCH:
            return Activate(candidate.slot, Phase.SWITCH, candidate.counter)
        case _:
            return Watch(candidate.counter, candidate.order.probation)


MAY_KILL = frozenset({Phase.VERIFY, Phase.STAGE, Phase.SELF_TEST, Phase.PROBATION})


def _resume(record: Record, device: Device) -> Step:
    if record.phase in AT_REST:
        return record, (RaiseFloor(record.floor), Tidy(), Report())
    resumed = record
    if record.phase in MAY_KILL:
        resumed = replace(record, attempts=record.attempts + 1)
        if resumed.attempts > device.max_attempts:
            detail = f"the process ended {record.attempts} times in phase {record.phase}"
            return _fail(resumed, Reason.PROCESS_DIED, detail, True, device)
    return resumed, (Tidy(), Report(), _begin(resumed))
