"""The device's machine under any order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.federated.machine import (
    SENDING,
    Action,
    Announced,
    AskForTask,
    Connected,
    Device,
    Done,
    Event,
    Failed,
    Forget,
    Needed,
    Phase,
    Received,
    SendChunks,
    SendOffer,
    Sent,
    SetTimer,
    Spooled,
    StopTimer,
    TaskGiven,
    TimerFired,
    Work,
    step,
)
from lepton_sdk.wire.round import Task

ROUNDS = st.integers(1, 3)
UPDATES = st.sampled_from([bytes([n]) * 16 for n in range(3)])


def task(number: int) -> Task:
    return Task("acme", "digits", number, "0" * 16, bytes(32), 100, {}, 4096, 0, 60.0)


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Announced, ROUNDS, st.sampled_from(["selecting", "open", "closed"]), st.integers(0, 9)),
    st.builds(TaskGiven, st.builds(task, ROUNDS)),
    st.builds(Done, st.sampled_from([Phase.FETCH, Phase.VERIFY, Phase.TRAIN]), ROUNDS),
    st.builds(Failed, st.sampled_from(list(Phase)), ROUNDS, st.just("because")),
    st.builds(Spooled, UPDATES, ROUNDS),
    st.builds(Needed, UPDATES, st.sampled_from([(), (0,), (1, 2)])),
    st.builds(Sent, UPDATES),
    st.builds(Received, UPDATES, st.sampled_from(["accepted", "duplicate", "stale", "rejected"])),
    st.just(TimerFired()),
    st.just(Connected()),
)


def follow(*events: Event, state: Device | None = None) -> tuple[Device, list[Action]]:
    state, actions = state or Device(), []
    for event in events:
        state, now = step(state, event)
        actions += now
    return state, actions


def test_a_whole_round() -> None:
    update_id = bytes(16)
    state, actions = follow(
        Announced(1, "selecting", 1),
        TaskGiven(task(1)),
        Done(Phase.FETCH, 1),
        Done(Phase.VERIFY, 1),
        Done(Phase.TRAIN, 1),
        Spooled(update_id, 1),
        Needed(update_id, (0, 1)),
        Sent(update_id),
        Received(update_id, "accepted"),
    )
    assert [a for a in actions if not isinstance(a, SetTimer | StopTimer)] == [
        AskForTask(1),
        *(Work(phase, task(1)) for phase in (Phase.FETCH, Phase.VERIFY, Phase.TRAIN, Phase.SPOOL)),
        SendOffer(update_id, 0),
        SendChunks(update_id, (0, 1)),
        Forget(update_id, "accepted"),
    ]
    assert (state.phase, state.finished) == (Phase.IDLE, 1)
    assert follow(Announced(1, "open", 2), state=state)[0].phase is Phase.IDLE, "a round is done once"


def test_without_an_answer_the_offer_is_repeated_ever_more_slowly() -> None:
    update_id = bytes(16)
    state, _ = follow(Spooled(update_id, 1))
    _, actions = follow(TimerFired(), TimerFired(), Connected(), state=state)
    assert actions == [
        SendOffer(update_id, 1), SetTimer(1), SendOffer(update_id, 2), SetTimer(2),
        SendOffer(update_id, 3), SetTimer(0),
    ]  # fmt: skip


def test_a_round_that_closes_in_training_is_left() -> None:
    state, _ = follow(Announced(1, "open", 1), TaskGiven(task(1)), Done(Phase.FETCH, 1))
    left, _ = follow(Announced(1, "closed", 2), state=state)
    assert left.phase is Phase.IDLE
    later, actions = follow(Announced(2, "selecting", 3), Done(Phase.TRAIN, 1), state=left)
    assert later.phase is Phase.ELIGIBLE
    assert AskForTask(2) in actions
    assert follow(Announced(1, "open", 1), state=later)[0] == later, "an announcement played again"


def test_a_server_that_lost_its_store_and_counts_from_one_is_followed() -> None:
    update_id = bytes(16)
    done, _ = follow(Announced(7, "open", 1), Spooled(update_id, 7), Received(update_id, "accepted"))
    assert AskForTask(1) in follow(Announced(1, "selecting", 2), state=done)[1]
    assert follow(Announced(1, "selecting", 0), state=done)[0] == done, "an old one played again is not"

    first, _ = follow(Announced(1, "open", 1), Spooled(update_id, 1), Received(update_id, "accepted"))
    closed, _ = follow(Announced(1, "closed", 2), state=first)
    assert AskForTask(1) in follow(Announced(1, "selecting", 3), state=closed)[1]

    sending, _ = follow(Announced(7, "open", 1), Spooled(update_id, 7))
    told, actions = follow(Announced(1, "selecting", 2), Received(update_id, "stale"), state=sending)
    assert told.phase is Phase.ELIGIBLE
    assert AskForTask(1) in actions


@given(st.lists(EVENTS, max_size=40))
def test_any_order_of_events_keeps_the_promises(events: list[Event]) -> None:
    state, spooled, told = Device(), set(), set()
    for event in events:
        before = state
        state, actions = step(state, event)
        if isinstance(event, Spooled):
            spooled.add(event.update_id)
        if isinstance(event, Received):
            told.add(event.update_id)
        for action in actions:
            match action:
                case SendOffer(update_id) | SendChunks(update_id):
                    assert update_id in spooled, "only what is on disc is offered"
                case Forget(update_id):
                    assert update_id in told, "only a receipt empties the spool"
                    assert update_id == before.update_id
                case _:
                    pass
        if before.phase in SENDING and state.phase not in SENDING:
            assert isinstance(event, Received), "only a receipt ends an upload"
        assert state.finished >= before.finished
        assert (state.update_id is not None) == (state.phase in SENDING)
        timers = [a for a in actions if isinstance(a, SetTimer | StopTimer)]
        if state.phase in (Phase.ELIGIBLE, *SENDING) and before.phase is not state.phase:
            assert state.phase is Phase.AWAIT_RECEIPT or isinstance(timers[-1], SetTimer), (
                "never left waiting"
            )
