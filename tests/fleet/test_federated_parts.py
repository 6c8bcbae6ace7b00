"""Store, grants, strategy, configuration: the parts that an aggregator is made of."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_fleet.aggregator_config import read_aggregator_config
from lepton_fleet.broker import access_rules
from lepton_fleet.desk import Desk, Letter
from lepton_fleet.grants import Grants
from lepton_fleet.round import Phase, Policy, Round, UpdateCommitted
from lepton_fleet.store import Fenced, Store
from lepton_fleet.strategy import Contribution, FedAvg
from lepton_sdk.federated.update import write_parameters
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.update import Offer, Receipt
from lepton_targets.errors import BadInputError, UnavailableError, UsageError

SHA = bytes(32)


def offer(device: str, update_id: bytes, n_examples: int = 10) -> Offer:
    return Offer(
        "acme", "digits", 1, SHA, device, b"boot", update_id, 0, n_examples, "safetensors+zstd", 100, 64,
        (SHA, SHA), {},
    )  # fmt: skip


def test_the_store_counts_a_device_once_and_survives_being_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "rounds.sqlite"
    store = Store(path)
    first, second = offer("a" * 16, b"1" * 16), offer("a" * 16, b"2" * 16)
    state = Round("digits", 1, SHA, Policy(1, 2, 1.0, 60.0), Phase.OPEN, selected=("a" * 16,))
    with store.transaction():
        store.save_round(state)
        store.put_offer(first)
        assert store.missing(first) == [(0, 64), (1, 36)]
        assert store.put_chunk(first.update_id, 0, b"x" * 64)
        assert not store.put_chunk(first.update_id, 0, b"x" * 64)
        assert store.missing(first) == [(1, 36)]
        assert store.count(first)
        assert not store.count(second)
        store.put_receipt(Receipt("acme", "a" * 16, first.update_id, "accepted", ""), "digits", 1)
        store.add_dropped({"forged": 2})
    store.close()

    again = Store(path)
    assert again.rounds("digits") == [Round(**{**_fields(state), "counted": {"a" * 16: first.update_id}})]
    assert again.receipt("a" * 16, first.update_id) == ("accepted", "")
    assert again.counted("digits", 1) == [("a" * 16, first.update_id, 10)]
    counts = again.counts("digits")
    assert (counts["updates_counted"], counts["updates_offered"], counts["dropped_forged"]) == (1, 1, 2)


def _fields(state: Round) -> dict[str, object]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "rounds.sqlite")
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put_offer(offer("a" * 16, b"1" * 16))
        raise ZeroDivisionError("the machine stops here")
    assert store.offer(b"1" * 16) is None


def test_two_aggregators_can_not_both_write(tmp_path: Path) -> None:
    old = Store(tmp_path / "rounds.sqlite")
    new = Store(tmp_path / "rounds.sqlite")
    with pytest.raises(Fenced, match="taken over"), old.transaction():
        old.add_offence("a" * 16)
    with new.transaction():
        assert new.add_offence("a" * 16) == 1


def test_announcements_are_numbered_upwards_whatever_the_clock_does(tmp_path: Path) -> None:
    proposed = (100, 101, 7, 7, 200)
    numbers = []
    for number in proposed:
        store = Store(tmp_path / "rounds.sqlite")
        with store.transaction():
            numbers.append(store.next_sequence("digits", number))
        store.close()
    assert numbers == [100, 101, 102, 103, 200]


def test_a_newer_offer_of_a_device_replaces_its_unfinished_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "rounds.sqlite")
    with store.transaction():
        store.put_offer(offer("a" * 16, b"1" * 16))
        store.put_chunk(b"1" * 16, 0, b"x")
        store.put_offer(offer("a" * 16, b"2" * 16))
    assert store.offer(b"1" * 16) is None
    assert store.payload(b"1" * 16) == b""
    assert store.offer(b"2" * 16) is not None


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "arrive", "wait"]), st.integers(0, 4), st.integers(0, 9))),
    st.integers(1, 500),
)
def test_grants_bound_what_is_in_flight(events: list[tuple[str, int, int]], limit: int) -> None:
    grants = Grants(limit, each_bytes=200, lifetime_s=5.0)
    for now, (what, update, index) in enumerate(events):
        update_id = bytes([update])
        match what:
            case "ask":
                grants.ask(update_id, [(i, 50) for i in range(index + 1)], float(now))
            case "arrive":
                grants.arrived(update_id, index, float(now))
            case _:
                grants.next_waiting(float(now))
        assert grants.in_flight_bytes <= max(limit, 50), "a single chunk always fits, else the limit holds"


def test_who_waits_is_served_in_order_and_old_grants_expire() -> None:
    grants = Grants(100, each_bytes=100, lifetime_s=5.0)
    assert grants.ask(b"a", [(0, 60), (1, 60)], 0.0) == (0,)
    assert grants.ask(b"b", [(0, 60)], 0.0) == ()
    assert grants.ask(b"b", [(0, 30)], 0.0) == (0,)
    assert grants.ask(b"c", [(0, 60)], 0.0) == ()
    assert grants.next_waiting(1.0) == b"c"
    assert grants.next_waiting(1.0) is None
    assert grants.ask(b"c", [(0, 60)], 1.0) == ()
    assert grants.next_waiting(9.0) == b"c"
    assert grants.in_flight_bytes == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 1 << 20), st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3)),
        min_size=1,
        max_size=6,
    )
)
def test_fedavg_is_the_weighted_mean(members: list[tuple[int, list[float]]]) -> None:
    base = {"w": np.array([1, 2, 3], np.float32)}
    updates = [Contribution(str(i), n, {"w": np.array(d, np.float32)}) for i, (n, d) in enumerate(members)]
    found = FedAvg().aggregate(base, updates)["w"]
    weights = np.array([n for n, _ in members], np.float64)
    mean = np.average(np.array([d for _, d in members], np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(found, base["w"] + mean, rtol=1e-6, atol=1e-6)
    assert found.dtype == np.float32


def test_fedavg_without_updates_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no updates"):
        FedAvg().aggregate({"w": np.zeros(1, np.float32)}, [])


GOOD = """
[server]
key = "server.pem"
allow = "keys"
[job]
rounds = 3
base = "base.safetensors"
[round]
min_devices = 2
max_devices = 4
[training]
epochs = 2
learning_rate = 0.1
[limits]
max_norm = 5.0
"""


def configuration(folder: Path, text: str) -> Path:
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "base.safetensors").write_bytes(write_parameters({"w": np.zeros(1, np.float32)}))
    path = folder / "aggregator.toml"
    path.write_text(text)
    return path


def test_a_configuration_becomes_a_job(tmp_path: Path) -> None:
    config = read_aggregator_config(configuration(tmp_path, GOOD))
    assert config.job.policy == Policy(2, 4, 5.0, 600.0)
    assert config.job.limits.max_norm == 5.0
    assert config.strategy.configure(1) == {"epochs": 2, "learning_rate": 0.1}
    assert (tmp_path / "server.pub.pem").exists()
    assert config.evaluation is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("rounds = 3", "rounds = 0"), "at least 1"),
        (("rounds = 3", 'rounds = "3"'), "int is accepted"),
        (("rounds = 3", "rounds = 3\nruonds = 3"), "did you mean rounds"),
        (("rounds = 3", "rounds 3"), "not TOML"),
        (("max_devices = 4", "max_devices = 1"), "min_devices <= max_devices"),
        (("base.safetensors", "absent.safetensors"), "compile MODEL --trainable all"),
        (('allow = "keys"', ""), "--allow"),
        (("[limits]", "[limit]"), "did you mean limits"),
    ],
)
def test_a_wrong_configuration_is_wrong_use(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_aggregator_config(configuration(tmp_path, GOOD.replace(*change)))


def test_broker_rules_keep_a_device_to_its_own_topics() -> None:
    rules = access_rules("acme")
    assert "pattern write fl/v1/acme/dev/%u/up/+" in rules
    assert "pattern read fl/v1/acme/dev/%u/down/+" in rules
    assert "topic readwrite fl/v1/acme/#" in rules


def test_updates_of_a_round_that_was_given_up_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "rounds.sqlite")
    given_up = Round("digits", 1, SHA, Policy(2, 2, 1.0, 60.0), Phase.ABANDONED, reason="too few")
    with store.transaction():
        store.save_round(given_up)
        store.count(offer("a" * 16, b"1" * 16))
    counts = store.counts("digits")
    assert (counts["updates_counted"], counts["updates_abandoned"]) == (0, 1)


def test_a_store_that_can_not_write_is_unavailable(tmp_path: Path) -> None:
    store = Store(tmp_path / "rounds.sqlite")
    with store.transaction():
        pass
    store._db.execute("pragma max_page_count=1")
    with pytest.raises(UnavailableError, match="nothing of this was acknowledged"), store.transaction():
        store.put_chunk(b"1" * 16, 0, bytes(1 << 20))
    assert store.payload(b"1" * 16) == b""


def test_what_did_not_become_durable_is_told_to_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path / "rounds.sqlite")
    desk = Desk(store, Topics("acme"), "digits")
    device, update_id = "a" * 16, b"1" * 16
    desk.round = Round("digits", 1, SHA, Policy(1, 2, 1.0, 60.0), Phase.OPEN, selected=(device, "b" * 16))
    with contextlib.suppress(ZeroDivisionError), desk.transaction():
        desk.step(UpdateCommitted(device, update_id))
        raise ZeroDivisionError("the machine stops here")
    assert desk.take_outbox() == []
    assert desk.round.counted == {}
    assert store.receipt(device, update_id) is None

    with desk.transaction():
        desk.step(UpdateCommitted(device, update_id))
    (letter, *_) = desk.take_outbox()
    assert isinstance(letter, Letter)
    assert isinstance(letter.message, Receipt)
    assert letter.message.status == "accepted"
    assert store.receipt(device, update_id) == ("accepted", "")
