"""A federated round as a pure state machine: event in, new state and actions out; no I/O, no clock.

    PLANNED → SELECTING → OPEN → CLOSING → AGGREGATING → EVALUATING → COMMITTED
                           └────────────────┴──────────→ ABANDONED

The driver stores the new state in one transaction and only then does the actions, so an action that tells
the world of something (a receipt, an announcement) is never ahead of what is durable. After a crash it
feeds `Resumed`, and the machine asks again for whatever the present phase was doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from lepton_sdk.wire.round import CLOSED, OPEN, SELECTING
from lepton_sdk.wire.update import ACCEPTED, DUPLICATE, REJECTED, STALE


class Phase(Enum):
    """Where a round stands."""

    PLANNED = "planned"
    SELECTING = "selecting"
    OPEN = "open"
    CLOSING = "closing"
    AGGREGATING = "aggregating"
    EVALUATING = "evaluating"
    COMMITTED = "committed"
    ABANDONED = "abandoned"


SETTLED = (Phase.COMMITTED, Phase.ABANDONED)
BEFORE_OPEN = (Phase.PLANNED, Phase.SELECTING)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a round is run. min_devices, max_devices: updates needed to commit, tasks given at most.
    selection_s: how long more devices than min_devices are waited for. deadline_s: how long it is open."""

    min_devices: int
    max_devices: int
    selection_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """A round's whole state. counted: update_id by device. refused: devices out of this round."""

    job: str
    number: int
    base_model_sha256: bytes
    policy: Policy
    phase: Phase = Phase.PLANNED
    selected: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    counted: Mapping[str, bytes] = field(default_factory=dict)
    model_sha256: bytes | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def everyone_counted(self) -> bool:
        """No selected device is still awaited, and there are enough."""
        enough = len(self.counted) >= self.policy.min_devices
        return enough and all(device in self.counted for device in self.selected)

    @property
    def room(self) -> int:
        """How many more devices may take part."""
        return self.policy.max_devices - len(self.selected)


# ---- events


@dataclass(frozen=True, slots=True)
class Start:
    """Begin the planned round."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The server began anew: say and do again what this phase says and does."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The broker is there again, perhaps with nothing retained: say again what this phase says. The timer
    runs on, so that a broker that comes and goes can't hold a round open."""


@dataclass(frozen=True, slots=True)
class DeviceEligible:
    """An allowed device asks for a task."""

    device: str


@dataclass(frozen=True, slots=True)
class DeviceFailed:
    """A device tells that it can't do its task."""

    device: str


@dataclass(frozen=True, slots=True)
class UpdateOffered:
    """An allowed device offers an update for this round."""

    device: str
    update_id: bytes


@dataclass(frozen=True, slots=True)
class UpdateCommitted:
    """An update is durable in all its parts, and valid."""

    device: str
    update_id: bytes


@dataclass(frozen=True, slots=True)
class UpdateRefused:
    """An update can't be used."""

    device: str
    update_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer that was set for `phase` ran out; one that fires after its phase changes nothing."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Drained:
    """What arrived before the close has been dealt with."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The new model is durable."""

    model_sha256: bytes


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the new model is worth; {} where nothing measures it."""

    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """Aggregation or evaluation failed."""

    reason: str


Event = (
    Start
    | Resumed
    | Reconnected
    | DeviceEligible
    | DeviceFailed
    | UpdateOffered
    | UpdateCommitted
    | UpdateRefused
    | TimerFired
    | Drained
    | Aggregated
    | Evaluated
    | Failed
)


# ---- actions


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the round with this phase, retained."""

    phase: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Set the round's one timer, for `phase`."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveTask:
    """Send the device its task."""

    device: str


@dataclass(frozen=True, slots=True)
class TakeUpdate:
    """Ask for the update's chunks."""

    device: str
    update_id: bytes


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """Tell the device the fate of its update; the driver stores it with the state."""

    device: str
    update_id: bytes
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Deal with what has arrived, then feed `Drained`."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Make the new model of the counted updates, keep it, then feed `Aggregated`."""


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Measure the new model, then feed `Evaluated`."""

    model_sha256: bytes


@dataclass(frozen=True, slots=True)
class Settle:
    """The round is over: hand out its result and forget its chunks."""


Action = Announce | SetTimer | GiveTask | TakeUpdate | SendReceipt | Drain | Aggregate | Evaluate | Settle
Step = tuple[Round, tuple[Action, ...]]


def step(state: Round, event: Event) -> Step:
    """The state after `event` and what is to be done once that state is durable, in order."""
    match state.phase, event:
        case Phase.PLANNED, Start():
            selecting = replace(state, phase=Phase.SELECTING)
            return selecting, (Announce(SELECTING), SetTimer(Phase.SELECTING, state.policy.selection_s))
        case Phase.SELECTING, DeviceEligible(device) if device not in (*state.selected, *state.refused):
            joined = replace(state, selected=(*state.selected, device))
            return _open(joined) if joined.room <= 0 else (joined, ())
        case Phase.SELECTING, TimerFired(Phase.SELECTING):
            if len(state.selected) >= state.policy.min_devices:
                return _open(state)
            return state, _again(state)
        case Phase.OPEN, DeviceEligible(device):
            return _late_task(state, device)
        case Phase.SELECTING | Phase.OPEN, DeviceFailed(device):
            return _without(state, device)
        case _, UpdateOffered(device, update_id):
            fate = _fate(state, device, update_id)
            return state, (fate or TakeUpdate(device, update_id),)
        case _, UpdateCommitted(device, update_id):
            fate = _fate(state, device, update_id)
            if fate is not None:
                return state, (fate,)
            counting = replace(state, counted={**state.counted, device: update_id})
            return _close_if_complete(counting, SendReceipt(device, update_id, ACCEPTED))
        case _, UpdateRefused(device, update_id, reason):
            fate = _fate(state, device, update_id)
            if fate is not None:
                return state, (fate,)
            smaller, actions = _without(state, device)
            return smaller, (SendReceipt(device, update_id, REJECTED, reason), *actions)
        case Phase.OPEN, TimerFired(Phase.OPEN):
            if len(state.counted) >= state.policy.min_devices:
                return _close(state)
            found = f"{len(state.counted)} of at least {state.policy.min_devices} updates at the deadline"
            return _abandon(state, found)
        case Phase.CLOSING, Drained():
            return replace(state, phase=Phase.AGGREGATING), (Aggregate(),)
        case Phase.AGGREGATING, Aggregated(model_sha256):
            evaluating = replace(state, phase=Phase.EVALUATING, model_sha256=model_sha256)
            return evaluating, (Evaluate(model_sha256),)
        case Phase.EVALUATING, Evaluated(metrics):
            return replace(state, phase=Phase.COMMITTED, metrics=dict(metrics)), (Settle(),)
        case Phase.AGGREGATING | Phase.EVALUATING, Failed(reason):
            return _abandon(state, reason)
        case _, Resumed():
            return state, _again(state)
        case _, Reconnected():
            return state, tuple(action for action in _again(state) if isinstance(action, Announce | GiveTask))
        case _:
            return state, ()


def _fate(state: Round, device: str, update_id: bytes) -> SendReceipt | None:
    """The receipt that is due now, or None where the update may be counted."""
    if state.counted.get(device) == update_id:
        return SendReceipt(device, update_id, ACCEPTED)
    if device in state.counted:
        return SendReceipt(device, update_id, DUPLICATE, "another update of this device counts")
    if state.phase is not Phase.OPEN:
        word = "not open yet" if state.phase in BEFORE_OPEN else "closed"
        return SendReceipt(device, update_id, STALE, f"round {state.number} is {word}")
    if device in state.refused:
        return SendReceipt(device, update_id, REJECTED, "this device is out of the round")
    if device not in state.selected:
        return SendReceipt(device, update_id, REJECTED, "this device was not selected")
    return None


def _open(state: Round) -> Step:
    opened = replace(state, phase=Phase.OPEN)
    tasks = tuple(GiveTask(device) for device in state.selected)
    return opened, (Announce(OPEN), *tasks, SetTimer(Phase.OPEN, state.policy.deadline_s))


def _late_task(state: Round, device: str) -> Step:
    """A task for a device that asks while the round is open: again, or its first where there is room."""
    if device in state.counted or device in state.refused:
        return state, ()
    if device in state.selected:
        return state, (GiveTask(device),)
    if state.room <= 0:
        return state, ()
    return replace(state, selected=(*state.selected, device)), (GiveTask(device),)


def _without(state: Round, device: str) -> Step:
    if device in state.counted or device not in state.selected:
        return state, ()
    selected = tuple(other for other in state.selected if other != device)
    return _close_if_complete(replace(state, selected=selected, refused=(*state.refused, device)))


def _close_if_complete(state: Round, *first: Action) -> Step:
    if state.phase is not Phase.OPEN or not state.everyone_counted:
        return state, first
    closing, actions = _close(state)
    return closing, (*first, *actions)


def _close(state: Round) -> Step:
    return replace(state, phase=Phase.CLOSING), (Announce(CLOSED), Drain())


def _abandon(state: Round, reason: str) -> Step:
    return replace(state, phase=Phase.ABANDONED, reason=reason), (Announce(CLOSED), Settle())


def _again(state: Round) -> tuple[Action, ...]:
    """What the present phase says and does."""
    match state.phase:
        case Phase.SELECTING:
            return (Announce(SELECTING), SetTimer(Phase.SELECTING, state.policy.selection_s))
        case Phase.OPEN:
            awaited = (device for device in state.selected if device not in state.counted)
            tasks = tuple(GiveTask(device) for device in awaited)
            return (Announce(OPEN), *tasks, SetTimer(Phase.OPEN, state.policy.deadline_s))
        case Phase.CLOSING:
            return (Announce(CLOSED), Drain())
        case Phase.AGGREGATING:
            return (Announce(CLOSED), Aggregate())
        case Phase.EVALUATING if state.model_sha256 is not None:
            return (Announce(CLOSED), Evaluate(state.model_sha256))
        case _:
            return ()
