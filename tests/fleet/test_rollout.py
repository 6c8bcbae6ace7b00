"""The plan and the pure machine: a bad model never gets past its wave, whatever the order of reports."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lepton_fleet import rollout as rollouts
from lepton_fleet.rollout import (
    ENDS,
    Action,
    Answered,
    Ask,
    Began,
    Event,
    Fate,
    Rollout,
    Stage,
    StartTimer,
    TimeRanOut,
    Withdraw,
    resumed,
    step,
    summary,
)
from lepton_fleet.rollout_plan import RolloutPlan, RolloutPolicy, Share, plan_rollout
from lepton_sdk.agent.record import Blob, ProbationPolicy, Release, Result
from lepton_targets.errors import UsageError

RELEASE = Release("digits", 7, "d" * 64, {"x86-64": Blob("b" * 64, 100)})
FLEET = tuple(f"{number:016x}" for number in range(8))


def plan(*waves: str, devices: tuple[str, ...] = FLEET, **policy: object) -> RolloutPlan:
    shares = tuple(map(Share.parse, waves or ("1", "50%", "100%")))
    return plan_rollout(devices, RELEASE, replace(RolloutPolicy(shares), **policy), sequence=11)


def fed(rollout: Rollout, *events: Event) -> tuple[Rollout, list[Action]]:
    done: list[Action] = []
    for event in events:
        rollout, actions = step(rollout, event)
        done += actions
    return rollout, done


def all_say(rollout: Rollout, result: Result, wave: int) -> Rollout:
    return fed(rollout, *(Answered(device, 11, result, "probe") for device in rollout.plan.waves[wave]))[0]


def test_waves_grow_to_the_whole_fleet_and_name_each_device_once() -> None:
    planned = plan("1", "50%", "100%")
    assert [len(wave) for wave in planned.waves] == [1, 3, 4]
    assert sorted(planned.devices) == sorted(FLEET)
    assert plan("1", "50%", "100%") == planned
    assert "wave 1: 1 devices" in planned.text()


def test_the_last_wave_is_the_last_that_was_asked_for() -> None:
    planned = plan("1")
    assert ([len(wave) for wave in planned.waves], len(planned.left_out)) == ([1], 7)
    assert "left out: 7 devices" in planned.text()
    assert [len(wave) for wave in plan("1", "50%").waves] == [1, 3]
    assert plan("100%").waves[0][0] == planned.waves[0][0], "a later roll-out begins with the same canary"


@given(
    st.integers(1, 60),
    st.lists(st.sampled_from(["1", "3", "10%", "33%", "50%", "100%"]), min_size=1, max_size=5),
)
def test_every_device_is_in_one_wave_or_left_out_and_waves_are_as_large_as_asked(
    size: int, waves: list[str]
) -> None:
    devices = tuple(f"{number:016x}" for number in range(size))
    ends = [Share.parse(wave).of(size) for wave in waves]
    numbers = [float(wave.strip("%")) for wave in waves]
    if ends != sorted(ends):
        with pytest.raises(UsageError, match="do not grow"):
            plan(*waves, devices=devices)
    same_kind = any(("%" in one) == ("%" in other) for one, other in pairwise(waves))
    assume(ends == sorted(ends) and (not same_kind or numbers == sorted(set(numbers))))
    assume("100%" not in waves[:-1])
    planned = plan(*waves, devices=devices)
    assert sorted((*planned.devices, *planned.left_out)) == sorted(devices)
    assert len(planned.devices) == ends[-1]
    assert all(planned.waves)


@pytest.mark.parametrize(
    "waves",
    [("100%", "1"), ("1", "1"), ("50%", "20%"), ("50%", "50%"), ("3", "2"), ("6", "50%"), ("1", "100%", "8")],
)
def test_waves_that_do_not_grow_are_refused(waves: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="do not grow"):
        plan(*waves)


def test_in_a_small_fleet_two_waves_may_be_one() -> None:
    assert [len(wave) for wave in plan("1", "10%", "100%", devices=FLEET[:4]).waves] == [1, 3]


@pytest.mark.parametrize("text", ["", "0", "-1", "0%", "101%", "a", "1.5"])
def test_a_wave_that_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="accepted"):
        Share.parse(text)


def test_a_rollout_to_nobody_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one device"):
        plan(devices=())


@pytest.mark.parametrize(
    "policy",
    [
        {"max_failures": -1},
        {"min_confirmed": 0.0},
        {"min_confirmed": 1.5},
        {"wave_timeout_s": float("nan")},
        {"probation": ProbationPolicy(seconds=20.0, timeout_s=10.0)},
        {"probation": ProbationPolicy(seconds=float("nan"))},
        {"probation": ProbationPolicy(inferences=-1)},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan("1", **policy)


def test_a_good_release_goes_wave_by_wave_to_everyone() -> None:
    rollout, actions = fed(Rollout(plan("1", "50%", "100%")), Began())
    assert actions == [Ask(rollout.plan.waves[0][0]), StartTimer(0)]
    for wave in range(3):
        assert rollout.wave == wave
        rollout = all_say(rollout, Result.CONFIRMED, wave)
    assert rollout.stage is Stage.COMPLETED
    result = summary(rollout, 1.5)
    assert (result["confirmed"], result["rolled_back"], result["pending"]) == (8, 0, 0)


def test_a_bad_release_stays_in_its_wave_and_is_taken_back() -> None:
    rollout, _ = fed(Rollout(plan("2", "100%")), Began())
    good, bad = rollout.plan.waves[0]
    rollout, actions = fed(
        rollout, Answered(good, 11, Result.CONFIRMED), Answered(bad, 11, Result.ROLLED_BACK, "probe", "slow")
    )
    assert (rollout.stage, actions) == (Stage.WITHDRAWING, [Withdraw(good), StartTimer(2)])
    rollout, actions = fed(rollout, Answered(good, 12, Result.ROLLED_BACK, "withdrawn"))
    assert (rollout.stage, actions) == (Stage.STOPPED, [])
    result = summary(rollout, 1.0)
    assert (result["confirmed"], result["rolled_back"], result["untouched"]) == (0, 2, 6)
    assert "1 devices failed, 0 are allowed" in result["reason"]
    assert result["reasons"][bad] == "probe: slow"


def test_failures_within_the_limit_let_the_next_wave_open() -> None:
    rollout, _ = fed(Rollout(plan("3", "100%", max_failures=1)), Began())
    one, *others = rollout.plan.waves[0]
    rollout, _ = fed(rollout, Answered(one, 11, Result.FAILED, "disc_full"))
    rollout, _ = fed(rollout, *(Answered(device, 11, Result.CONFIRMED) for device in others))
    assert (rollout.stage, rollout.wave) == (Stage.RUNNING, 1)


def test_a_wave_where_nobody_confirmed_opens_nothing() -> None:
    rollout, _ = fed(Rollout(plan("1", max_failures=1)), Began())
    assert all_say(rollout, Result.FAILED, 0).stage is Stage.STOPPED


def test_a_canary_alone_completes_and_the_others_are_untouched() -> None:
    rollout, _ = fed(Rollout(plan("1")), Began())
    rollout = all_say(rollout, Result.CONFIRMED, 0)
    assert rollout.stage is Stage.COMPLETED
    result = summary(rollout, 1.0)
    assert (result["confirmed"], result["pending"], result["untouched"]) == (1, 0, 7)


def test_silence_leaves_the_rollout_incomplete_and_takes_nothing_from_anybody() -> None:
    rollout, _ = fed(Rollout(plan("2", "100%")), Began())
    good, silent = rollout.plan.waves[0]
    rollout, actions = fed(rollout, Answered(good, 11, Result.CONFIRMED), TimeRanOut(0))
    assert (rollout.stage, actions) == (Stage.INCOMPLETE, [])
    assert rollout.fate(good) is Fate.CONFIRMED
    result = summary(rollout, 1.0)
    assert (result["outcome"], result["silent"], result["untouched"]) == ("incomplete", 1, 6)
    assert "1 were silent" in result["reason"]

    again, actions = fed(resumed(rollout), Began())
    assert actions == [Ask(silent), StartTimer(0)]
    again, _ = fed(again, Answered(silent, 11, Result.CONFIRMED))
    assert (again.stage, again.wave, again.reason) == (Stage.RUNNING, 1, "")


def test_a_failure_stops_for_good_although_others_are_silent() -> None:
    rollout, _ = fed(Rollout(plan("2", "100%")), Began())
    bad, _ = rollout.plan.waves[0]
    rollout, _ = fed(rollout, Answered(bad, 11, Result.ROLLED_BACK), TimeRanOut(2))
    assert rollout.stage is Stage.STOPPED
    assert resumed(rollout) == rollout


def test_enough_confirmed_when_time_is_up_opens_the_next_wave() -> None:
    rollout, _ = fed(Rollout(plan("4", "100%", min_confirmed=0.75)), Began())
    *three, late = rollout.plan.waves[0]
    rollout, _ = fed(rollout, *(Answered(device, 11, Result.CONFIRMED) for device in three))
    assert rollout.wave == 0
    rollout, _ = fed(rollout, TimeRanOut(0))
    assert rollout.wave == 1
    rollout, _ = fed(rollout, Answered(late, 11, Result.ROLLED_BACK))
    assert rollout.stage is Stage.WITHDRAWING


events = st.one_of(
    st.just(Began()),
    st.builds(
        Answered,
        st.sampled_from((*FLEET, "f" * 16)),
        st.sampled_from([10, 11, 12]),
        st.sampled_from(Result),
        st.sampled_from(["probe", ""]),
    ),
    st.builds(TimeRanOut, st.integers(-1, 4)),
)


@given(st.lists(events, max_size=60), st.integers(0, 2), st.sampled_from([0.5, 1.0]))
def test_any_order_of_reports_and_restarts(script: list[Event], max_failures: int, part: float) -> None:
    rollout = Rollout(plan("1", "50%", "100%", max_failures=max_failures, min_confirmed=part))
    touched: set[str] = set()
    for event in [Began(), *script]:
        before = rollout
        rollout, actions = step(rollout, event)
        rollout = rollouts.from_fields(json.loads(json.dumps(rollouts.to_fields(rollout))))
        asked = {action.device for action in actions if isinstance(action, Ask)}
        touched |= asked
        assert asked <= set(rollout.asked), "only devices of open waves are asked"
        assert asked.isdisjoint(action.device for action in actions if isinstance(action, Withdraw))
        if before.stage is not Stage.RUNNING:
            assert not asked, "a release that is being withdrawn reaches no further device"
            assert rollout.wave == before.wave
        if before.stage in ENDS:
            assert rollout == before
        if rollout.wave > before.wave >= 0:
            fates = [rollout.fate(device) for device in before.plan.waves[before.wave]]
            assert fates.count(Fate.CONFIRMED) >= 1
            assert sum(fate in rollouts.FAILURES for fate in fates) <= max_failures
        assert touched == set(rollout.asked)
    for _ in range(8):  # time alone ends it
        if rollout.stage in ENDS:
            break
        timer = len(rollout.plan.waves) if rollout.stage is Stage.WITHDRAWING else rollout.wave
        rollout, _ = fed(rollout, TimeRanOut(timer))
    assert rollout.stage in ENDS
    counts = summary(rollout, 0.0)
    assert sum(counts[fate.value] for fate in Fate) == len(FLEET)
