"""The aggregator's inbox: bounded, in order, and honest about what it dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lepton_fleet.inbox import Inbox
from lepton_sdk.wire.transport import Delivery


@given(st.lists(st.one_of(st.integers(0, 60), st.just("take"), st.just("own")), max_size=60))
def test_no_flood_keeps_more_than_the_limit_and_nothing_is_lost_unsaid(events: list[int | str]) -> None:
    inbox: Inbox[str] = Inbox(100)
    delivered = taken = dropped = waiting = 0
    acknowledged: list[int] = []
    for event in events:
        if isinstance(event, int):
            room = waiting + event <= 100
            inbox.deliver(Delivery("a/b", bytes(event), False, lambda: acknowledged.append(1)))
            delivered += 1
            waiting += event if room else 0
        elif event == "own":
            inbox.put("reconnected")
        else:
            items = inbox.take(0.0001, 50, 5)
            assert len(items) <= 5
            taken += sum(isinstance(item, Delivery) for item in items)
            waiting -= sum(len(item.payload) for item in items if isinstance(item, Delivery))
        assert 0 <= waiting <= 100
    dropped = inbox.take_dropped()
    assert len(acknowledged) == dropped
    while items := inbox.take(0.0001, 50, 5):
        taken += sum(isinstance(item, Delivery) for item in items)
    assert taken + dropped == delivered
    assert inbox.take_dropped() == 0
