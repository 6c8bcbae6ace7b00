"""Is the new model well? A verdict from time, inferences and probes; pure, time comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from lepton_sdk.agent.record import ProbationPolicy, Problem


class Verdict(StrEnum):
    """UNDECIDED while neither enough good has been seen nor anything bad."""

    UNDECIDED = "undecided"
    WELL = "well"
    UNWELL = "unwell"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True)
class Probation:
    """Probation that began at `began` (seconds of a monotonic clock); a process's restart begins it anew.

    checks: times the model was checked and found well; inferences: those the application counted.
    failure: what went wrong first, or None.
    """

    policy: ProbationPolicy
    began: float
    checks: int = 0
    inferences: int = 0
    failure: Problem | None = None

    def checked(self) -> Probation:
        return replace(self, checks=self.checks + 1)

    def inferred(self, count: int) -> Probation:
        return replace(self, inferences=self.inferences + count)

    def failed(self, failure: Problem) -> Probation:
        return self if self.failure is not None else replace(self, failure=failure)

    def verdict(self, now: float) -> Verdict:
        """WELL needs at least one check, so that a model nobody tried is never confirmed."""
        elapsed = now - self.began
        if self.failure is not None:
            return Verdict.UNWELL
        if self.checks and self._proven(elapsed):
            return Verdict.WELL
        return Verdict.TOO_LATE if elapsed >= self.policy.timeout_s else Verdict.UNDECIDED

    def next_change(self, now: float) -> float:
        """When, on the clock of `now`, time alone may change the verdict next."""
        moments = [self.began + self.policy.seconds, self.began + self.policy.timeout_s]
        return min((moment for moment in moments if moment > now), default=now)

    def _proven(self, elapsed: float) -> bool:
        policy = self.policy
        if not policy.seconds and not policy.inferences:
            return True
        long_enough = policy.seconds > 0 and elapsed >= policy.seconds
        often_enough = policy.inferences > 0 and self.inferences >= policy.inferences
        return long_enough or often_enough
