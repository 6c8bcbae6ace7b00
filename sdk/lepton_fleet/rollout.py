"""A roll-out as a pure state machine: wave by wave, and back as soon as a wave shows that the model is bad.

Planning is in `rollout_plan.py`. The driver (`rollout_driver.py`) writes the new state durably and then
does the actions; each may be done twice, so after a crash it feeds `Began` and everything goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lepton_fleet.rollout_plan import RolloutPlan
from lepton_sdk.agent.record import Result


class Stage(StrEnum):
    """RUNNING opens waves; WITHDRAWING takes the release back; the others are ends. INCOMPLETE: devices are
    silent, and nothing speaks against the release; `resumed` makes it run again."""

    RUNNING = "running"
    WITHDRAWING = "withdrawing"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    STOPPED = "stopped"


class Fate(StrEnum):
    """What became of the release on one device; PENDING while it has not said."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"
    FAILED = "failed"


FAILURES = frozenset({Fate.ROLLED_BACK, Fate.REFUSED, Fate.FAILED})
ENDS = frozenset({Stage.COMPLETED, Stage.INCOMPLETE, Stage.STOPPED})


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a plan stands. wave: index of the last one opened, -1 before the first.

    fates: of devices that have answered; reasons: why a device did not keep the release; waiting: devices
    that have been told to take it back and have not said so yet; reason: why the roll-out was stopped or is
    incomplete.
    """

    plan: RolloutPlan
    stage: Stage = Stage.RUNNING
    wave: int = -1
    fates: Mapping[str, Fate] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    reason: str = ""

    def fate(self, device: str) -> Fate:
        return self.fates.get(device, Fate.PENDING)

    @property
    def asked(self) -> tuple[str, ...]:
        """Every device of the waves opened so far."""
        return tuple(device for wave in self.plan.waves[: self.wave + 1] for device in wave)

    @property
    def pending(self) -> tuple[str, ...]:
        """Devices that were asked and have not answered."""
        return tuple(device for device in self.asked if self.fate(device) is Fate.PENDING)


# ---- events


@dataclass(frozen=True, slots=True)
class Began:
    """The driver started, for the first time or again."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A device's signed report names the wish `sequence` and how it ended."""

    device: str
    sequence: int
    result: Result
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TimeRanOut:
    """The time of the timer `number` (see StartTimer) is over."""

    number: int


Event = Began | Answered | TimeRanOut

# ---- actions


@dataclass(frozen=True, slots=True)
class Ask:
    device: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    device: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Feed TimeRanOut(number) after the policy's `wave_timeout_s`. number: the wave's index; for a
    withdrawal, the number of waves."""

    number: int


Action = Ask | Withdraw | StartTimer
Step = tuple[Rollout, tuple[Action, ...]]


def step(rollout: Rollout, event: Event) -> Step:
    """The next state and what to do once it is durable."""
    if rollout.stage in ENDS:
        return rollout, ()
    match event:
        case Began():
            return _resume(rollout)
        case Answered(device, sequence) if device in rollout.asked:
            if sequence == rollout.plan.sequence:
                return _answered(rollout, event)
            if sequence == rollout.plan.withdrawal_sequence and device in rollout.waiting:
                return _taken_back(rollout, event)
        case TimeRanOut(number) if number == _timer(rollout):
            return _out_of_time(rollout)
    return rollout, ()


def resumed(rollout: Rollout) -> Rollout:
    """An incomplete one runs again, in the wave where devices were silent; any other stays as it is."""
    if rollout.stage is not Stage.INCOMPLETE:
        return rollout
    return replace(rollout, stage=Stage.RUNNING, reason="")


def _timer(rollout: Rollout) -> int:
    return rollout.wave if rollout.stage is Stage.RUNNING else len(rollout.plan.waves)


def _resume(rollout: Rollout) -> Step:
    if rollout.stage is Stage.WITHDRAWING:
        return rollout, (*map(Withdraw, rollout.waiting), StartTimer(_timer(rollout)))
    if rollout.wave < 0:
        return _open_next(rollout)
    return rollout, (*map(Ask, rollout.pending), StartTimer(rollout.wave))


def _open_next(rollout: Rollout) -> Step:
    if rollout.wave + 1 == len(rollout.plan.waves):
        return replace(rollout, stage=Stage.COMPLETED), ()
    opened = replace(rollout, wave=rollout.wave + 1)
    return opened, (*map(Ask, opened.plan.waves[opened.wave]), StartTimer(opened.wave))


def _answered(rollout: Rollout, answer: Answered) -> Step:
    if rollout.fate(answer.device) is not Fate.PENDING:
        return rollout, ()
    noted = _note(rollout, answer, Fate(answer.result.value))
    if noted.stage is not Stage.RUNNING:
        return noted, ()  # its answer to the withdrawal is still to come
    return _judge(noted, time_is_up=False)


def _note(rollout: Rollout, answer: Answered, fate: Fate) -> Rollout:
    reasons = dict(rollout.reasons)
    if fate is not Fate.CONFIRMED or answer.reason:
        reasons[answer.device] = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
    return replace(rollout, fates={**rollout.fates, answer.device: fate}, reasons=reasons)


def _judge(rollout: Rollout, time_is_up: bool) -> Step:
    """Stop, open the next wave, or wait on."""
    plan = rollout.plan
    for number, wave in enumerate(plan.waves[: rollout.wave + 1]):
        failures = sum(rollout.fate(device) in FAILURES for device in wave)
        if failures > plan.policy.max_failures:
            allowed = plan.policy.max_failures
            return _stop(rollout, f"wave {number + 1}: {failures} devices failed, {allowed} are allowed")
    fates = Counter(rollout.fate(device) for device in plan.waves[rollout.wave])
    if fates[Fate.PENDING] and not time_is_up:
        return rollout, ()
    confirmed, size = fates[Fate.CONFIRMED], len(plan.waves[rollout.wave])
    allowed_failures = sum(fates[fate] for fate in FAILURES)
    if confirmed and confirmed >= plan.policy.min_confirmed * (size - allowed_failures):
        return _open_next(rollout)
    reason = f"wave {rollout.wave + 1}: {confirmed} of {size} devices confirmed"
    if fates[Fate.PENDING]:
        reason += f", {fates[Fate.PENDING]} were silent"
        return replace(rollout, stage=Stage.INCOMPLETE, reason=reason), ()
    return _stop(rollout, reason)


def _stop(rollout: Rollout, reason: str) -> Step:
    """The model is bad: take it back from every device that has it or may be installing it."""
    waiting = tuple(device for device in rollout.asked if rollout.fate(device) not in FAILURES)
    if not waiting:
        return replace(rollout, stage=Stage.STOPPED, reason=reason), ()
    stopped = replace(rollout, stage=Stage.WITHDRAWING, waiting=waiting, reason=reason)
    return stopped, (*map(Withdraw, waiting), StartTimer(_timer(stopped)))


def _taken_back(rollout: Rollout, answer: Answered) -> Step:
    had_it = rollout.fate(answer.device) is Fate.CONFIRMED
    if had_it and answer.result is not Result.ROLLED_BACK:
        fate = Fate.CONFIRMED  # it could not go back, and says why
    elif rollout.fate(answer.device) in FAILURES:
        fate = rollout.fate(answer.device)
    else:
        fate = Fate(answer.result.value)
    waiting = tuple(device for device in rollout.waiting if device != answer.device)
    noted = replace(_note(rollout, answer, fate), waiting=waiting)
    return replace(noted, stage=Stage.STOPPED) if not waiting else noted, ()


def _out_of_time(rollout: Rollout) -> Step:
    if rollout.stage is Stage.RUNNING:
        return _judge(rollout, time_is_up=True)
    reason = f"{rollout.reason}; {len(rollout.waiting)} devices have not yet said that they took it back"
    return replace(rollout, stage=Stage.STOPPED, reason=reason), ()


def summary(rollout: Rollout, seconds: float) -> dict[str, Any]:
    """What `lepton fleet rollout --json` prints: counts of devices in all and by wave.

    pending: devices of the waves without an answer; silent: those of them that were asked; untouched: never
    asked, because their wave was not opened or the waves leave them out.
    """
    plan = rollout.plan
    return {
        "release": plan.counter,
        "outcome": rollout.stage.value,
        "reason": rollout.reason,
        **_counts(rollout, plan.devices),
        "silent": len(rollout.pending),
        "untouched": len(plan.devices) + len(plan.left_out) - len(rollout.asked),
        "waves": [
            {
                "wave": number + 1,
                "opened": number <= rollout.wave,
                "devices": len(wave),
                **_counts(rollout, wave),
            }
            for number, wave in enumerate(plan.waves)
        ],
        "reasons": dict(sorted(rollout.reasons.items())),
        "seconds": round(seconds, 3),
    }


def _counts(rollout: Rollout, devices: tuple[str, ...]) -> dict[str, int]:
    found = Counter(rollout.fate(device) for device in devices)
    return {fate.value: found[fate] for fate in Fate}


def to_fields(rollout: Rollout) -> dict[str, Any]:
    """As JSON values."""
    return {
        "v": 1,
        "plan": rollout.plan.to_fields(),
        "stage": rollout.stage.value,
        "wave": rollout.wave,
        "fates": {device: fate.value for device, fate in sorted(rollout.fates.items())},
        "reasons": dict(sorted(rollout.reasons.items())),
        "waiting": list(rollout.waiting),
        "reason": rollout.reason,
    }


def from_fields(fields: Mapping[str, Any]) -> Rollout:
    """Inverse of `to_fields`; raises KeyError, ValueError or TypeError for anything else."""
    if fields["v"] != 1:
        raise ValueError(f"version {fields['v']!r}; this version reads 1")
    return Rollout(
        RolloutPlan.from_fields(fields["plan"]),
        Stage(fields["stage"]),
        int(fields["wave"]),
        {str(device): Fate(fate) for device, fate in fields["fates"].items()},
        {str(device): str(reason) for device, reason in fields["reasons"].items()},
        tuple(map(str, fields["waiting"])),
        str(fields["reason"]),
    )
