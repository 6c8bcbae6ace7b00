"""Watches over the model on probation: a thread checks it, and the verdict never waits for that thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lepton_sdk.agent.checks import problem_of
from lepton_sdk.agent.machine import Done, Event, Failed
from lepton_sdk.agent.probation import Probation, Verdict
from lepton_sdk.agent.record import Phase, ProbationPolicy, Problem, Reason
from lepton_sdk.session import Session
from lepton_targets.errors import LeptonError

logger = logging.getLogger(__name__)

Probe = Callable[[Session], bool | None]
IDLE_S = 60.0


class Vigil:
    """At most one probation at a time. Safe to use from several threads."""

    def __init__(
        self, probe: Probe | None, interval_s: float, clock: Callable[[], float], nudge: Callable[[], None]
    ) -> None:
        """nudge: called when `judge` may have something new to say."""
        self._probe, self._interval_s, self._clock, self._nudge = probe, interval_s, clock, nudge
        self._lock = threading.Lock()
        self._probation: Probation | None = None
        self._counter = 0
        self._over = threading.Event()

    def begin(self, counter: int, policy: ProbationPolicy, prove: Callable[[], Session]) -> None:
        """Start checking; `prove` opens the active model and runs its self-test."""
        self.end()
        self._over = threading.Event()
        with self._lock:
            self._counter, self._probation = counter, Probation(policy, self._clock())
        threading.Thread(
            target=self._check, args=(prove, self._over), name="lepton-probation", daemon=True
        ).start()

    def end(self) -> None:
        """Forget the probation; a check under way is ignored when it returns."""
        self._over.set()
        with self._lock:
            self._probation = None

    def count_inferences(self, count: int) -> None:
        self._change(lambda probation: probation.inferred(count))

    def fail(self, problem: Problem) -> None:
        self._change(lambda probation: probation.failed(problem))

    def patience(self) -> float:
        """Seconds until the verdict may change by time alone."""
        with self._lock:
            probation = self._probation
        if probation is None:
            return IDLE_S
        return max(probation.next_change(self._clock()) - self._clock(), 0.01)

    def judge(self) -> Event | None:
        """The end of the probation, once; None while it is undecided or nothing is on probation."""
        with self._lock:
            probation, counter = self._probation, self._counter
        if probation is None:
            return None
        verdict = probation.verdict(self._clock())
        if verdict is Verdict.UNDECIDED:
            return None
        self.end()
        if verdict is Verdict.WELL:
            return Done(Phase.PROBATION, counter)
        problem = probation.failure or Problem(
            Reason.NO_CONFIRMATION, f"not found well within {probation.policy.timeout_s:g} s"
        )
        return Failed(Phase.PROBATION, counter, problem.reason, problem.detail)

    def _check(self, prove: Callable[[], Session], over: threading.Event) -> None:
        try:
            session = prove()
        except Exception as error:  # whatever the model raises, it is not well
            self._note(problem_of(error), over)
            return
        while not over.is_set():
            problem = self._probed(session)
            self._note(problem, over)
            if problem is not None:
                return
            over.wait(self._interval_s)

    def _note(self, problem: Problem | None, over: threading.Event) -> None:
        self._change(lambda p: p.checked() if problem is None else p.failed(problem), over)

    def _probed(self, session: Session) -> Problem | None:
        if self._probe is None:
            return None
        try:
            well = self._probe(session)
        except Exception as error:
            logger.warning("the probe failed", exc_info=True)
            detail = error.message if isinstance(error, LeptonError) else f"{type(error).__name__}: {error}"
            return Problem(Reason.PROBE, detail)
        return Problem(Reason.PROBE, "the probe said no") if well is False else None

    def _change(self, change: Callable[[Probation], Probation], over: threading.Event | None = None) -> None:
        with self._lock:
            if self._probation is None or (over is not None and over is not self._over):
                return
            self._probation = change(self._probation)
        self._nudge()
