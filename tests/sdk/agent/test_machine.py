"""Any order of events, and a crash after any action: the machine never trusts an unproven model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_sdk.agent.machine import (
    Action,
    Activate,
    Device,
    Done,
    Download,
    Event,
    Failed,
    RaiseFloor,
    Report,
    SelfTest,
    Stage,
    Started,
    Tidy,
    Verify,
    Watch,
    Wished,
    step,
)
from lepton_sdk.agent.record import (
    AT_REST,
    Blob,
    Order,
    Phase,
    Reason,
    Record,
    Release,
    Result,
    Slot,
    Withdrawal,
    dump,
    load,
)

DEVICE = Device(targets=("x86-64-avx2", "x86-64"), max_attempts=3)
CHAIN = (Phase.DOWNLOAD, Phase.VERIFY, Phase.STAGE, Phase.SELF_TEST, Phase.SWITCH, Phase.PROBATION)


def release(counter: int, *, target: str = "x86-64", digest: str | None = None) -> Release:
    return Release(
        "digits", counter, digest or f"{counter:064x}", {target: Blob(f"{counter + 1000:064x}", 100)}
    )


def order(sequence: int, counter: int, **options: str) -> Wished:
    return Wished(Order(sequence, release(counter, **options)))


def after(record: Record, *events: Event) -> Record:
    for event in events:
        record, _ = step(record, event, DEVICE)
    return record


def installed(counter: int, record: Record | None = None) -> Record:
    record = record or Record()
    wish = order(record.sequence + 1, counter)
    return after(record, wish, *(Done(phase, counter) for phase in CHAIN))


def test_a_good_release_walks_the_chain_and_is_confirmed() -> None:
    record, seen = Record(), []
    for event in (order(1, 5), *(Done(phase, 5) for phase in CHAIN)):
        record, _ = step(record, event, DEVICE)
        seen.append(record.phase)
    assert seen == [*CHAIN, Phase.CONFIRMED]
    assert record.active is not None
    assert (record.active.slot, record.active.counter, record.floor) == (Slot.A, 5, 5)
    assert record.answer is not None
    assert (record.answer.sequence, record.answer.result) == (1, Result.CONFIRMED)


def test_the_next_release_takes_the_other_slot_and_keeps_the_first_behind_it() -> None:
    record = installed(6, installed(5))
    assert record.active is not None
    assert record.previous is not None
    assert (record.active.slot, record.previous.slot, record.previous.counter) == (Slot.B, Slot.A, 5)


def test_failing_probation_brings_the_previous_model_back_and_is_not_tried_again() -> None:
    record = after(installed(5), order(2, 6), *(Done(phase, 6) for phase in CHAIN[:-1]))
    record, actions = step(record, Failed(Phase.PROBATION, 6, Reason.PROBE, "too slow"), DEVICE)
    assert Activate(Slot.A, Phase.ROLLING_BACK, 6) in actions
    record = after(record, Done(Phase.ROLLING_BACK, 6))
    assert record.phase is Phase.ROLLED_BACK
    assert record.active == installed(5).active
    assert record.floor == 5
    record, actions = step(record, order(3, 6), DEVICE)
    assert record.answer is not None
    assert (record.answer.result, record.answer.reason) == (Result.REFUSED, Reason.TRIED_BEFORE)
    assert not any(isinstance(action, Download) for action in actions)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (order(9, 4), Reason.OLDER_COUNTER),
        (order(9, 5, digest="f" * 64), Reason.COUNTER_REUSED),
        (order(9, 6, target="cortex-a53"), Reason.WRONG_TARGET),
    ],
)
def test_an_order_that_must_not_be_followed_is_refused_with_its_reason(wish: Wished, reason: Reason) -> None:
    before = installed(5)
    record, actions = step(before, wish, DEVICE)
    assert record.answer is not None
    assert (record.answer.result, record.answer.reason) == (Result.REFUSED, reason)
    assert record.active == before.active
    assert Report() in actions
    assert not any(isinstance(action, Download) for action in actions)


def test_a_replayed_order_changes_nothing() -> None:
    record = installed(6, installed(5))
    assert step(record, order(1, 9), DEVICE) == (record, (Report(),))


def test_a_full_disc_fails_the_order_but_a_new_order_may_try_again() -> None:
    record = after(installed(5), order(2, 6), Failed(Phase.DOWNLOAD, 6, Reason.DISC_FULL, lasting=False))
    assert record.answer is not None
    assert (record.phase, record.answer.result) == (Phase.IDLE, Result.FAILED)
    assert after(record, order(3, 6)).phase is Phase.DOWNLOAD


@pytest.mark.parametrize("phase", [Phase.VERIFY, Phase.STAGE, Phase.SELF_TEST, Phase.PROBATION])
def test_a_phase_that_keeps_killing_the_process_is_given_up(phase: Phase) -> None:
    record = after(installed(5), order(2, 6), *(Done(done, 6) for done in CHAIN[: CHAIN.index(phase)]))
    assert record.phase is phase
    starts = 0
    while record.phase is phase:
        record, _ = step(load(dump(record)), Started(), DEVICE)
        starts += 1
    record = after(record, Done(Phase.ROLLING_BACK, 6))
    assert starts == DEVICE.max_attempts
    assert record.answer is not None
    assert record.answer.reason is Reason.PROCESS_DIED
    assert record.active == installed(5).active
    assert 6 in record.refused


def test_a_withdrawal_brings_back_the_model_before_a_confirmed_one() -> None:
    record = after(installed(6, installed(5)), Wished(Withdrawal(3, 6)), Done(Phase.ROLLING_BACK, 6))
    assert record.phase is Phase.ROLLED_BACK
    assert record.active is not None
    assert (record.active.counter, record.floor) == (5, 6)
    assert record.answer is not None
    assert (record.answer.sequence, record.answer.reason) == (3, Reason.WITHDRAWN)


@pytest.mark.parametrize("phase", CHAIN[:-2])
def test_a_withdrawal_before_the_switch_stops_the_update(phase: Phase) -> None:
    record = after(installed(5), order(2, 6), *(Done(done, 6) for done in CHAIN[: CHAIN.index(phase)]))
    record = after(record, Wished(Withdrawal(3, 6)))
    assert record.answer is not None
    assert (record.phase, record.answer.result) == (Phase.IDLE, Result.REFUSED)
    assert record.active == installed(5).active


def test_a_withdrawal_during_the_switch_waits_for_the_link() -> None:
    record = after(
        installed(5), order(2, 6), *(Done(done, 6) for done in CHAIN[:4]), Wished(Withdrawal(3, 6))
    )
    assert record.phase is Phase.SWITCH
    assert after(record, Done(Phase.SWITCH, 6)).phase is Phase.ROLLING_BACK


def test_a_slot_that_was_staged_over_is_no_way_back() -> None:
    confirmed = installed(6, installed(5))
    record = after(confirmed, order(3, 7), *(Done(phase, 7) for phase in CHAIN[:3]))
    record = after(record, Failed(Phase.SELF_TEST, 7, Reason.SELF_TEST), Wished(Withdrawal(4, 6)))
    assert record.active == confirmed.active
    assert record.answer is not None
    assert record.answer.reason is Reason.NOTHING_TO_RESTORE


def test_a_confirmed_only_model_is_not_taken_away() -> None:
    record = after(installed(5), Wished(Withdrawal(2, 5)))
    assert record.active == installed(5).active
    assert record.answer is not None
    assert record.answer.reason is Reason.NOTHING_TO_RESTORE


# ---- any order of events, a crash anywhere


@dataclass
class World:
    """A device's disc and its driver, where any action may be the last one before the power fails."""

    disc: bytes = field(default_factory=lambda: dump(Record()))
    slots: dict[Slot, int] = field(default_factory=dict)  # slot → counter of the bundle in it
    link: Slot | None = None
    floor: int = 0
    downloaded: set[int] = field(default_factory=set)
    verified: set[int] = field(default_factory=set)  # counters whose bundle passed the self-test
    bad: frozenset[int] = frozenset()  # releases that fail the self-test
    pending: list[Event] = field(default_factory=list)

    @property
    def record(self) -> Record:
        return load(self.disc)

    def feed(self, event: Event, power: int) -> bool:
        """Handle `event`; the power fails after `power` durable acts. False when it failed."""
        before = self.record
        record, actions = step(before, event, DEVICE)
        if record != before:
            if power == 0:
                return False
            power -= 1
            self.disc = dump(record)
        for action in actions:
            if power == 0:
                return False
            power -= 1
            self.act(action, record)
        return True

    def take(self) -> Event:
        """The next result; what it says has happened by now, and not before."""
        event = self.pending.pop(0)
        if isinstance(event, Done) and event.phase is Phase.DOWNLOAD:
            self.downloaded.add(event.counter)
        if isinstance(event, Done) and event.phase is Phase.SELF_TEST:
            self.verified.add(event.counter)
        return event

    def act(self, action: Action, record: Record) -> None:
        match action:
            case Download(counter, _):
                self.pending.append(Done(Phase.DOWNLOAD, counter))
            case Verify(candidate):
                assert candidate.counter in self.downloaded
                self.pending.append(Done(Phase.VERIFY, candidate.counter))
            case Stage(candidate):
                assert candidate.slot is not self.link, "never into the active slot"
                self.slots[candidate.slot] = candidate.counter
                self.pending.append(Done(Phase.STAGE, candidate.counter))
            case SelfTest(candidate):
                assert self.slots[candidate.slot] == candidate.counter
                if candidate.counter in self.bad:
                    self.pending.append(Failed(Phase.SELF_TEST, candidate.counter, Reason.SELF_TEST))
                else:
                    self.pending.append(Done(Phase.SELF_TEST, candidate.counter))
            case Activate(slot, phase, counter):
                if phase is Phase.SWITCH:
                    assert slot is not None
                    assert self.slots[slot] == counter > self.floor, "an older release is never installed"
                self.link = slot
                self.pending.append(Done(phase, counter))
            case Watch(counter, _):
                self.pending.append(Done(Phase.PROBATION, counter))
            case RaiseFloor(counter):
                self.floor = max(self.floor, counter)
            case Tidy():
                named = {i.slot for i in (record.active, record.previous, record.candidate) if i is not None}
                self.slots = {s: c for s, c in self.slots.items() if s in named or s is self.link}
            case Report():
                pass

    def check(self) -> None:
        assert len(self.slots) <= 2
        if self.link is not None:
            assert self.slots[self.link] in self.verified, "the active slot holds a proven model"
            assert self.slots[self.link] not in self.bad
        record = self.record
        if record.phase in AT_REST and not self.pending:
            assert self.link is (None if record.active is None else record.active.slot)


wishes = st.one_of(
    st.builds(lambda counter: ("order", counter), st.integers(1, 6)),
    st.builds(lambda counter: ("withdraw", counter), st.integers(1, 6)),
)
moves = st.one_of(
    wishes,
    st.tuples(st.just("replay"), st.integers(1, 6)),
    st.tuples(st.just("result"), st.integers(0, 3)),
    st.tuples(st.just("finish"), st.integers(1, 9)),
    st.tuples(st.just("stale"), st.sampled_from([*CHAIN, Phase.ROLLING_BACK])),
    st.tuples(st.just("unwell"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 5)),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(moves, st.integers(0, 12)), max_size=40), st.frozensets(st.integers(1, 6), max_size=3)
)
def test_any_order_of_events_and_crashes(
    script: list[tuple[tuple[str, int], int]], bad: frozenset[int]
) -> None:
    world, sequence = World(bad=bad), 0
    for (move, value), power in script:
        event: Event | None = None
        match move:
            case "order":
                sequence += 1
                event = order(sequence, value)
            case "withdraw":
                sequence += 1
                event = Wished(Withdrawal(sequence, value))
            case "replay":
                event = order(min(value, sequence), value)
            case "result" if world.pending:
                event = world.take()
            case "finish":
                for _ in range(value):
                    if world.pending:
                        world.feed(world.take(), power=99)
                        world.check()
            case "stale":
                event = Done(Phase(value), 99)
            case "unwell":
                event = (
                    Failed(Phase.PROBATION, world.record.candidate.counter, Reason.PROBE)
                    if (world.record.candidate)
                    else None
                )
            case "crash":
                world.pending.clear()
                event = Started()
        if event is not None and not world.feed(event, power):
            world.pending.clear()
            world.feed(Started(), power=99)
        world.check()
    for _ in range(60):  # finally settles: each result leads on, none goes round in a circle
        if not world.pending:
            world.feed(Started(), power=99)
            if not world.pending:
                break
        world.feed(world.take(), power=99)
        world.check()
    assert world.record.phase in AT_REST
    assert not world.pending
    assert world.floor == world.record.floor


@given(st.integers(0, 2**31), st.sampled_from(list(Phase)))
def test_the_record_comes_back_from_its_bytes(counter: int, phase: Phase) -> None:
    record = replace(after(installed(5), order(2, counter + 6)), phase=phase, queued=Withdrawal(9, counter))
    assert load(dump(record)) == record
