"""Probation's verdict from time, checks and inferences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.agent.probation import Probation, Verdict
from lepton_sdk.agent.record import ProbationPolicy, Problem, Reason

POLICY = ProbationPolicy(seconds=10.0, inferences=100, timeout_s=60.0)
UNWELL = Problem(Reason.PROBE, "slow")


def test_good_health_for_long_enough_confirms() -> None:
    probation = Probation(POLICY, began=5.0).checked()
    assert probation.verdict(14.9) is Verdict.UNDECIDED
    assert probation.next_change(14.0) == 15.0
    assert probation.verdict(15.0) is Verdict.WELL


def test_enough_inferences_confirm_before_the_time() -> None:
    assert Probation(POLICY, 0.0).checked().inferred(100).verdict(0.1) is Verdict.WELL


def test_a_model_nobody_checked_is_not_confirmed_by_time() -> None:
    probation = Probation(POLICY, 0.0).inferred(1000)
    assert probation.verdict(59.0) is Verdict.UNDECIDED
    assert probation.verdict(60.0) is Verdict.TOO_LATE


@given(st.lists(st.sampled_from(["check", "infer", "fail"]), max_size=20), st.floats(0, 1000))
def test_one_failure_decides(script: list[str], now: float) -> None:
    probation = Probation(POLICY, 0.0)
    for word in script:
        match word:
            case "check":
                probation = probation.checked()
            case "infer":
                probation = probation.inferred(60)
            case _:
                probation = probation.failed(UNWELL)
    assert (probation.verdict(now) is Verdict.UNWELL) == ("fail" in script)
    assert probation.next_change(now) >= now
