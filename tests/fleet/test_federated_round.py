"""The round's machine under any order of events, deadlines, crashes."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from lepton_fleet.round import (
    SETTLED,
    Action,
    Aggregate,
    Aggregated,
    Announce,
    DeviceEligible,
    DeviceFailed,
    Drained,
    Evaluate,
    Evaluated,
    Event,
    Failed,
    GiveTask,
    Phase,
    Policy,
    Reconnected,
    Resumed,
    Round,
    SendReceipt,
    SetTimer,
    Settle,
    Start,
    TakeUpdate,
    TimerFired,
    UpdateCommitted,
    UpdateOffered,
    UpdateRefused,
    step,
)

POLICY = Policy(min_devices=2, max_devices=3, selection_s=1.0, deadline_s=60.0)
SELECTED, DEADLINE = TimerFired(Phase.SELECTING), TimerFired(Phase.OPEN)
PLANNED = Round("digits", 1, bytes(32), POLICY)
ORDER = list(Phase)
DEVICES = st.sampled_from(["a", "b", "c", "d"])
UPDATES = st.sampled_from([b"1", b"2"])

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.sampled_from([Start(), Resumed(), Reconnected(), Drained(), Aggregated(b"m")]),
    st.sampled_from([Evaluated({"accuracy": 0.9}), Failed("no")]),
    st.builds(TimerFired, st.sampled_from([Phase.SELECTING, Phase.OPEN])),
    st.builds(DeviceEligible, DEVICES),
    st.builds(DeviceFailed, DEVICES),
    st.builds(UpdateOffered, DEVICES, UPDATES),
    st.builds(UpdateCommitted, DEVICES, UPDATES),
    st.builds(UpdateRefused, DEVICES, UPDATES, st.just("NaN")),
)


def follow(*events: Event, state: Round = PLANNED) -> tuple[Round, list[Action]]:
    actions: list[Action] = []
    for event in events:
        state, now = step(state, event)
        actions += now
    return state, actions


def opened(*devices: str) -> Round:
    state, _ = follow(Start(), *(DeviceEligible(device) for device in devices), SELECTED)
    assert state.phase is Phase.OPEN
    return state


def test_a_whole_round() -> None:
    state, actions = follow(
        Start(),
        DeviceEligible("a"),
        SELECTED,
        DeviceEligible("b"),
        SELECTED,
        UpdateOffered("a", b"1"),
        UpdateCommitted("a", b"1"),
        UpdateCommitted("b", b"2"),
        Drained(),
        Aggregated(b"model"),
        Evaluated({"accuracy": 0.9}),
    )
    assert actions == [
        Announce("selecting"), SetTimer(Phase.SELECTING, 1.0),
        Announce("selecting"), SetTimer(Phase.SELECTING, 1.0),
        Announce("open"), GiveTask("a"), GiveTask("b"), SetTimer(Phase.OPEN, 60.0),
        TakeUpdate("a", b"1"), SendReceipt("a", b"1", "accepted"), SendReceipt("b", b"2", "accepted"),
        Announce("closed"), _drain(actions), Aggregate(), Evaluate(b"model"), Settle(),
    ]  # fmt: skip
    assert state.phase is Phase.COMMITTED
    assert state.metrics == {"accuracy": 0.9}


def _drain(actions: list[Action]) -> Action:
    return actions[actions.index(Announce("closed")) + 1]


def test_a_duplicate_counts_once_and_is_told() -> None:
    state, actions = follow(
        UpdateCommitted("a", b"1"), UpdateCommitted("a", b"2"), UpdateOffered("a", b"1"),
        state=opened("a", "b"),
    )  # fmt: skip
    assert [action.status for action in actions if isinstance(action, SendReceipt)] == [
        "accepted",
        "duplicate",
        "accepted",
    ]
    assert state.counted == {"a": b"1"}


def test_a_vanished_device_never_holds_a_round_past_its_deadline() -> None:
    three = opened("a", "b", "c")
    enough, _ = follow(UpdateCommitted("a", b"1"), UpdateCommitted("b", b"1"), DEADLINE, state=three)
    assert enough.phase is Phase.CLOSING
    late, actions = follow(UpdateCommitted("c", b"1"), state=enough)
    assert late.counted.keys() == {"a", "b"}
    assert [a.status for a in actions if isinstance(a, SendReceipt)] == ["stale"]
    few, _ = follow(UpdateCommitted("a", b"1"), DEADLINE, state=three)
    assert few.phase is Phase.ABANDONED
    assert "1 of at least 2" in few.reason


def test_a_device_that_fails_or_is_refused_is_no_longer_awaited() -> None:
    state, actions = follow(
        UpdateCommitted("a", b"1"), UpdateRefused("b", b"1", "NaN"), UpdateCommitted("c", b"1"),
        state=opened("a", "b", "c"),
    )  # fmt: skip
    assert state.phase is Phase.CLOSING
    assert SendReceipt("b", b"1", "rejected", "NaN") in actions
    again, answers = follow(DeviceEligible("b"), state=dataclasses.replace(opened("a", "c"), refused=("b",)))
    assert (again.selected, answers) == (("a", "c"), [])


def test_a_broker_that_comes_and_goes_does_not_move_the_deadline() -> None:
    _, actions = follow(Reconnected(), state=opened("a", "b"))
    assert Announce("open") in actions
    assert not any(isinstance(action, SetTimer) for action in actions)


@given(st.booleans(), st.lists(EVENTS, max_size=60))
def test_any_order_of_events_keeps_the_promises(begun: bool, events: list[Event]) -> None:
    state = opened("a", "b", "c") if begun else PLANNED
    for event in events:
        before = state
        state, actions = step(state, event)
        for device, update_id in before.counted.items():
            assert state.counted[device] == update_id, "what counts is never replaced or forgotten"
        new = state.counted.keys() - before.counted.keys()
        assert len(new) <= 1
        if new:
            assert before.phase is Phase.OPEN
            assert isinstance(event, UpdateCommitted)
        accepted = [a for a in actions if isinstance(a, SendReceipt) and a.status == "accepted"]
        for receipt in accepted:
            assert state.counted[receipt.device] == receipt.update_id, "told only what counts"
        if before.phase in SETTLED:
            assert state.phase is before.phase, "a settled round stays settled"
        elif before.phase is not state.phase:
            assert ORDER.index(state.phase) > ORDER.index(before.phase), "a closed round never reopens"
        assert len(state.selected) <= POLICY.max_devices
        assert set(state.counted) <= set(state.selected)
        if state.phase in (Phase.CLOSING, Phase.AGGREGATING, Phase.EVALUATING, Phase.COMMITTED):
            assert len(state.counted) >= POLICY.min_devices
        if state.phase not in (*SETTLED, Phase.PLANNED):
            assert step(state, Resumed())[1], "after a crash there is always something to do"
