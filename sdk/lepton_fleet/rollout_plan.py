"""The plan of a roll-out: which devices, in which waves, what counts as success. Pure; it prints itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NoReturn

from lepton_sdk.agent.record import ProbationPolicy, Release
from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a fleet: a count of devices, or a fraction in (0, 1]."""

    count: int | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Share:
        """ "5" is five devices, "25%" a quarter of all. Raises UsageError."""
        try:
            if text.endswith("%"):
                percent = float(text[:-1])
                if 0 < percent <= 100:
                    return cls(fraction=percent / 100)
            elif int(text) > 0:
                return cls(count=int(text))
        except ValueError:
            pass
        raise UsageError(f"a wave {text!r} is neither a count nor a share", "accepted: 1, 20, 5%, 100%")

    def of(self, size: int) -> int:
        """Devices out of `size`, at least one."""
        if self.fraction is not None:
            return max(1, min(size, math.ceil(self.fraction * size - 1e-9)))
        return min(size, self.count or 1)

    def __str__(self) -> str:
        return str(self.count) if self.fraction is None else f"{self.fraction * 100:.10g}%"


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """waves: how much of the fleet has been asked when each wave is open, growing; what lies beyond the last
    is left out. max_failures: devices of a wave that may roll back, refuse or fail before the release is
    withdrawn. min_confirmed: part of a wave, its failures aside, that must confirm (at least one device)
    before the next opens. wave_timeout_s: how long a wave (and a withdrawal) may take. probation: what each
    device asks of the new model."""

    waves: tuple[Share, ...] = (Share(count=1), Share(fraction=0.5), Share(fraction=1.0))
    max_failures: int = 0
    min_confirmed: float = 1.0
    wave_timeout_s: float = 600.0
    probation: ProbationPolicy = field(default_factory=ProbationPolicy)

    def options(self) -> dict[str, str]:
        """As options of `lepton fleet rollout`."""
        return {
            "--waves": ",".join(map(str, self.waves)),
            "--max-failures": str(self.max_failures),
            "--min-confirmed": f"{self.min_confirmed:g}",
            "--wave-timeout": f"{self.wave_timeout_s:g}",
            "--probation-seconds": f"{self.probation.seconds:g}",
            "--probation-inferences": str(self.probation.inferences),
            "--probation-timeout": f"{self.probation.timeout_s:g}",
        }


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """A value that says it all. sequence: of the orders to the devices; the withdrawal has the next one.
    left_out: devices beyond the last wave, which are not asked."""

    name: str
    counter: int
    digest: str
    sequence: int
    waves: tuple[tuple[str, ...], ...]
    policy: RolloutPolicy
    left_out: tuple[str, ...] = ()

    @property
    def withdrawal_sequence(self) -> int:
        return self.sequence + 1

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(device for wave in self.waves for device in wave)

    def text(self) -> str:
        """The plan for people."""
        policy, probation = self.policy, self.policy.probation
        lines = [
            f"release {self.counter} ({self.name}, bundle {self.digest[:16]}) to {len(self.devices)} devices",
            *(
                f"  wave {number}: {len(wave)} devices: {_some(wave)}"
                for number, wave in enumerate(self.waves, start=1)
            ),
            *((f"  left out: {len(self.left_out)} devices",) if self.left_out else ()),
            f"  on each device: self-test, switch, probation of {probation.seconds:g} s"
            + (f" or {probation.inferences} inferences" if probation.inferences else "")
            + f" within {probation.timeout_s:g} s",
            f"  a wave succeeds when {policy.min_confirmed:.0%} confirm within {policy.wave_timeout_s:g} s",
            f"  withdrawn from all when more than {policy.max_failures} devices of a wave fail",
        ]
        return "\n".join(lines)

    def to_fields(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> RolloutPlan:
        """Inverse of `to_fields`; raises KeyError, ValueError or TypeError for anything else."""
        policy = dict(fields["policy"])
        policy["waves"] = tuple(Share(**share) for share in policy["waves"])
        policy["probation"] = ProbationPolicy(**policy["probation"])
        waves = tuple(tuple(map(str, wave)) for wave in fields["waves"])
        return cls(
            str(fields["name"]),
            int(fields["counter"]),
            str(fields["digest"]),
            int(fields["sequence"]),
            waves,
            RolloutPolicy(**policy),
            tuple(map(str, fields["left_out"])),
        )


def plan_rollout(
    devices: Iterable[str], release: Release, policy: RolloutPolicy, sequence: int
) -> RolloutPlan:
    """Spread the devices over the waves. The order depends on device and release alone, so that a plan can
    be made again, and the same devices are not always the first to try.

    A wave that rounding leaves without a device is left away. Raises UsageError for a fleet of nobody and
    for a policy that makes no sense.
    """
    ordered = sorted(set(devices), key=lambda device: _draw(device, release.digest))
    if not ordered:
        raise UsageError("a roll-out needs at least one device", "enrol devices: put their keys into --allow")
    _check(policy)
    waves, begin = [], 0
    for share in policy.waves:
        end = share.of(len(ordered))
        if end < begin:
            _refuse_waves(
                policy, f"{share} of {len(ordered)} devices is {end}, and {begin} were asked before"
            )
        if end > begin:
            waves.append(tuple(ordered[begin:end]))
            begin = end
    left_out = tuple(ordered[begin:])
    return RolloutPlan(
        release.name, release.counter, release.digest, sequence, tuple(waves), policy, left_out
    )


def _refuse_waves(policy: RolloutPolicy, found: str) -> NoReturn:
    raise UsageError(
        f"the waves {','.join(map(str, policy.waves))} do not grow: {found}",
        "each names how much of the fleet has the release when it is done, e.g. 1,10%,100%",
    )


def _check(policy: RolloutPolicy) -> None:
    """Written so that NaN fails each of them."""
    if not policy.waves:
        raise UsageError("a roll-out needs at least one wave", "e.g. --waves 1,10%,100%")
    for before, share in pairwise(policy.waves):
        counts = before.count is not None and share.count is not None and share.count <= before.count
        parts = before.fraction or 0.0
        if counts or parts == 1.0 or (share.fraction is not None and share.fraction <= parts):
            _refuse_waves(policy, f"{share} comes after {before}")
    if not (
        policy.max_failures >= 0 and 0 < policy.min_confirmed <= 1 and 0 < policy.wave_timeout_s < math.inf
    ):
        raise UsageError("a roll-out's limits: max_failures ≥ 0, 0 < min_confirmed ≤ 1, a time above 0 s")
    probation = policy.probation
    if not (0 <= probation.seconds <= probation.timeout_s < math.inf and probation.timeout_s > 0):
        raise UsageError(
            f"probation of {probation.seconds:g} s within {probation.timeout_s:g} s can't be passed",
            "accepted: 0 or more seconds, at most the probation's timeout",
        )
    if probation.inferences < 0:
        raise UsageError("probation asks for 0 or more inferences")


def _draw(device: str, digest: str) -> bytes:
    return hashlib.sha256(f"{digest}:{device}".encode()).digest()


def _some(wave: tuple[str, ...], shown: int = 6) -> str:
    rest = len(wave) - shown
    return ", ".join(wave[:shown]) + (f" and {rest} more" if rest > 0 else "")
