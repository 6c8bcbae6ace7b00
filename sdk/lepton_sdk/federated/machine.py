"""A device in a round as a pure state machine: event in, new state and actions out; no I/O, no clock.

    IDLE → ELIGIBLE → FETCH → VERIFY → TRAIN → SPOOL → UPLOAD ⇄ AWAIT_RECEIPT → IDLE

Until it is spooled, a round's work may be dropped at any moment (the round closed, a newer one opened).
From then on only a receipt ends it. What an action brings back carries its round or update, so that a
result that comes late changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from lepton_sdk.wire.round import CLOSED, Task


class Phase(Enum):
    """Where the device stands; the value is the name told in reports and events."""

    IDLE = "idle"
    ELIGIBLE = "eligible"
    FETCH = "fetch"
    VERIFY = "verify"
    TRAIN = "train"
    SPOOL = "spool"
    UPLOAD = "upload"
    AWAIT_RECEIPT = "await_receipt"


WORKING = (Phase.FETCH, Phase.VERIFY, Phase.TRAIN, Phase.SPOOL)
SENDING = (Phase.UPLOAD, Phase.AWAIT_RECEIPT)


# ---- events


@dataclass(frozen=True, slots=True)
class Announced:
    """A round's announcement, whose signature was checked."""

    round: int
    phase: str
    sequence: int


@dataclass(frozen=True, slots=True)
class TaskGiven:
    """A task for this device, whose signature was checked."""

    task: Task


@dataclass(frozen=True, slots=True)
class Done:
    """The work of `phase` (FETCH, VERIFY or TRAIN) for `round` succeeded."""

    phase: Phase
    round: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The work of `phase` for `round` failed."""

    phase: Phase
    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class Spooled:
    """An update lies durable in the spool: just written, or found there at start."""

    update_id: bytes
    round: int


@dataclass(frozen=True, slots=True)
class Needed:
    """The server may take these chunks now; () means that it will ask later."""

    update_id: bytes
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """All that was asked for has been handed to the transport."""

    update_id: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A receipt came, signed by the server."""

    update_id: bytes
    status: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer that was last set ran out."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The transport is connected (again)."""


Event = (
    Announced | TaskGiven | Done | Failed | Spooled | Needed | Sent | Received | TimerFired | Connected
)  # fmt: skip


# ---- actions


@dataclass(frozen=True, slots=True)
class AskForTask:
    """Report to the server that this device is able to take part in `round`."""

    round: int


@dataclass(frozen=True, slots=True)
class Work:
    """Do the work of `phase`: FETCH the base model, VERIFY it, TRAIN, or SPOOL what training gave."""

    phase: Phase
    task: Task


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Offer a spooled update; `attempt` counts its offers from 0."""

    update_id: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class SendChunks:
    """Send these chunks of a spooled update."""

    update_id: bytes
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove an update from the spool: its fate is told."""

    update_id: bytes
    status: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Set the one timer anew: the base delay × 2^backoff (bounded, with jitter)."""

    backoff: int


@dataclass(frozen=True, slots=True)
class StopTimer:
    """No timer runs any more."""


Action = AskForTask | Work | SendOffer | SendChunks | Forget | SetTimer | StopTimer


# ---- state


@dataclass(frozen=True, slots=True)
class Device:
    """What the device knows. `finished` is the last round whose fate is settled here; `offering` is the
    round of the update on its way."""

    phase: Phase = Phase.IDLE
    announced: Announced | None = None
    task: Task | None = None
    update_id: bytes | None = None
    offering: int = -1
    attempt: int = 0
    backoff: int = 0
    finished: int = -1


Step = tuple[Device, tuple[Action, ...]]


def step(state: Device, event: Event) -> Step:
    """The state after `event` and what is to be done, in order."""
    match event:
        case Announced():
            return _announced(state, event)
        case TaskGiven(task):
            if state.phase is Phase.ELIGIBLE and state.announced and task.round == state.announced.round:
                return _work(replace(state, task=task, backoff=0), Phase.FETCH, task)
        case Done(phase, round_number) if _is_current(state, phase, round_number):
            following = {Phase.FETCH: Phase.VERIFY, Phase.VERIFY: Phase.TRAIN, Phase.TRAIN: Phase.SPOOL}
            if phase in following and state.task:
                return _work(state, following[phase], state.task)
        case Failed(phase, round_number, _) if _is_current(state, phase, round_number):
            if phase in (Phase.FETCH, Phase.VERIFY):
                again = replace(state, phase=Phase.ELIGIBLE, task=None, backoff=state.backoff + 1)
                return again, (SetTimer(again.backoff),)
            return _rest(replace(state, finished=round_number))
        case Spooled(update_id, round_number):
            if _is_current(state, Phase.SPOOL, round_number) or state.phase in (Phase.IDLE, Phase.ELIGIBLE):
                fresh = replace(
                    state, phase=Phase.UPLOAD, task=None, update_id=update_id, offering=round_number,
                    attempt=0, backoff=0,
                )  # fmt: skip
                return fresh, (SendOffer(update_id, 0), SetTimer(0))
        case Needed(update_id, chunks) if state.phase in SENDING and update_id == state.update_id:
            if not chunks:
                return state, (SetTimer(state.backoff),)
            return replace(state, phase=Phase.UPLOAD, backoff=0), (SendChunks(update_id, chunks), SetTimer(0))
        case Sent(update_id) if state.phase is Phase.UPLOAD and update_id == state.update_id:
            return replace(state, phase=Phase.AWAIT_RECEIPT), ()
        case Received(update_id, status) if state.phase in SENDING and update_id == state.update_id:
            settled = replace(state, finished=max(state.finished, state.offering))
            rested, actions = _rest(settled)
            return rested, (Forget(update_id, status), *actions)
        case TimerFired():
            return _ask_again(replace(state, backoff=state.backoff + 1))
        case Connected():
            return _ask_again(replace(state, backoff=0))
        case _:
            pass
    return state, ()


def _announced(state: Device, event: Announced) -> Step:
    if state.announced and event.sequence < state.announced.sequence:
        return state, ()
    before, state = state.announced, replace(state, announced=event)
    if before is not None and _began_anew(before, event):
        state = replace(state, finished=-1, offering=-1)
        if state.phase in WORKING:
            return _rest(state)
    if state.phase in SENDING:
        return state, ()
    if state.phase in WORKING and state.task:
        over = event.round > state.task.round or (event.round == state.task.round and event.phase == CLOSED)
        return _rest(state) if over else (state, ())
    waiting = state.phase is Phase.ELIGIBLE and before is not None and before.round == event.round
    return (state, ()) if waiting and event.phase != CLOSED else _rest(state)


def _began_anew(before: Announced, event: Announced) -> bool:
    """Whether a later announcement is of an earlier round: the server lost its store, and counts from 1."""
    reopened = event.round == before.round and before.phase == CLOSED and event.phase != CLOSED
    return event.sequence > before.sequence and (event.round < before.round or reopened)


def _rest(state: Device) -> Step:
    """Idle, or eligible at once where a round that is news to this device is on."""
    idle = replace(
        state, phase=Phase.IDLE, task=None, update_id=None, offering=-1, attempt=0, backoff=0
    )  # fmt: skip
    round_on = state.announced
    if round_on and round_on.phase != CLOSED and round_on.round > state.finished:
        return replace(idle, phase=Phase.ELIGIBLE), (AskForTask(round_on.round), SetTimer(0))
    return idle, (StopTimer(),)


def _ask_again(state: Device) -> Step:
    """Repeat what an answer is awaited for."""
    if state.phase is Phase.ELIGIBLE and state.announced:
        return state, (AskForTask(state.announced.round), SetTimer(state.backoff))
    if state.phase in SENDING and state.update_id:
        again = replace(state, attempt=state.attempt + 1)
        return again, (SendOffer(state.update_id, again.attempt), SetTimer(state.backoff))
    return state, ()


def _work(state: Device, phase: Phase, task: Task) -> Step:
    return replace(state, phase=phase), (StopTimer(), Work(phase, task))


def _is_current(state: Device, phase: Phase, round_number: int) -> bool:
    return state.phase is phase and state.task is not None and state.task.round == round_number
