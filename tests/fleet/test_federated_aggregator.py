"""The aggregator in a hostile or unlucky network: rejected with a reason, counted, and the work goes on."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import time
from pathlib import Path

import cbor2
import numpy as np
import pytest

from lepton_fleet.store import Fenced
from lepton_sdk.federated.client import FederatedClient
from lepton_sdk.federated.update import pack, read_parameters
from lepton_sdk.wire.codec import encode
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.loopback import LoopbackBroker, LoopbackMessage
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.update import Chunk, Need, Receipt
from lepton_targets.errors import UnavailableError
from support.devices import wait_for
from support.federation import (
    JOB,
    TENANT,
    RunningAggregator,
    base_model,
    difference_of,
    expected_mean,
    make_client,
    make_job,
    running,
    training,
)
from support.raw_device import RawDevice, tasks_for


class Site:
    """A loopback broker, a server key, device keys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broker = folder, LoopbackBroker()
        self.server = Identity.generate()
        self.devices = [Identity.generate() for _ in range(3)]
        self.stranger = Identity.generate()

    def aggregator(self, **options: object) -> RunningAggregator:
        job = make_job(self.folder, **options)
        return RunningAggregator(job, self.broker.transport(), self.server, self.devices).start()

    def raw(self, index: int) -> RawDevice:
        return RawDevice(self.broker.transport(), self.devices[index])

    def update(self, seed: int) -> bytes:
        return pack(difference_of(base_model(), seed, 1))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_network_that_loses_doubles_and_reorders_costs_nothing(site: Site) -> None:
    # A seeded draw, not every n-th message: a period can fall in step with the timers.
    draw = random.Random(5).random
    held: list[LoopbackMessage] = []

    def fault(message: LoopbackMessage) -> tuple[LoopbackMessage, ...]:
        luck = draw()
        if luck < 0.12:
            return ()
        if luck < 0.22:
            held.append(message)
            return ()
        late, held[:] = tuple(held), []
        return (message, message, *late) if luck < 0.5 else (message, *late)

    site.broker.fault = fault
    aggregator = site.aggregator(
        devices=3, rounds=2, chunk_bytes=512, inline_bytes=0, grant_bytes=2048, deadline_s=600.0
    )
    clients = [
        make_client(site.broker.transport(), identity, site.server, site.folder / str(seed), seed, seed + 1)
        for seed, identity in enumerate(site.devices)
    ]
    with running(clients[0], 2), running(clients[1], 2), running(clients[2], 2):
        results = aggregator.join(120)
    members = [(identity.device_id, seed, seed + 1) for seed, identity in enumerate(site.devices)]
    model = base_model()
    for number in (1, 2):
        model = expected_mean(model, members, number)
    assert results[-1].model is not None
    found = read_parameters(results[-1].model.read_bytes())
    for name, array in model.items():
        np.testing.assert_array_equal(found[name], array)
    assert [result.n_updates for result in results] == [3, 3]
    assert aggregator.counts()["updates_counted"] == 6


def test_forged_foreign_and_malformed_messages_change_nothing(site: Site) -> None:
    aggregator = site.aggregator(devices=1)
    device = site.raw(0)
    (task,) = tasks_for(device)
    honest = device.make_offer(task, site.update(0))
    topics, own = Topics("acme"), site.devices[0].device_id
    attacker = site.broker.transport()
    attacker.start()
    forged = dataclasses.replace(honest, n_examples=1_000_000)
    elsewhere = site.devices[0].sign(dataclasses.replace(honest, tenant="other"))
    unknown = site.stranger.sign(dataclasses.replace(honest, device=site.stranger.device_id))
    for topic, payload in (
        (topics.offer(own), encode(forged)),
        (topics.offer(own), encode(site.stranger.sign(honest))),
        (topics.offer(own), encode(elsewhere)),
        (topics.offer(site.devices[1].device_id), encode(honest)),
        (topics.offer(site.stranger.device_id), encode(unknown)),
        (topics.offer(own), b"\xff\x00 not CBOR"),
        (topics.offer(own), encode(honest)[:-1]),
        (topics.offer(own), cbor2.dumps({"v": 9})),
        (topics.report(own), b""),
        (topics.chunk(own), encode(Chunk(bytes(16), 0, b"for no update"))),
        (topics.offer(own), encode(device.make_offer(task, site.update(0), job="another"))),
    ):
        attacker.publish(topic, payload)
    assert device.fate(honest).status == "accepted"
    (result,) = aggregator.join()
    assert (result.n_updates, result.n_examples) == (1, 10)
    counts = aggregator.counts()
    assert {name: n for name, n in counts.items() if name.startswith("dropped_")} == {
        "dropped_forged": 2,
        "dropped_malformed": 4,
        "dropped_other_device": 1,
        "dropped_other_job": 1,
        "dropped_other_tenant": 1,
        "dropped_unknown_chunk": 1,
        "dropped_unknown_device": 1,
    }
    assert counts["updates_offered"] == counts["updates_counted"] == 1


def test_a_bad_chunk_is_asked_for_again(site: Site) -> None:
    aggregator = site.aggregator(devices=1, chunk_bytes=512, inline_bytes=0)
    device = site.raw(0)
    payload = site.update(0)
    (task,) = tasks_for(device)
    offer = device.make_offer(task, payload, payload=b"")
    device.send_offer(offer)
    need = device.wait_for(Need)
    assert need.chunks == tuple(range(len(offer.chunk_sha256)))
    assert need.granted_bytes == len(payload)
    topic = device.topics.chunk(device.identity.device_id)
    for index in need.chunks:
        content = payload[512 * index : 512 * (index + 1)]
        device.send(topic, encode(Chunk(offer.update_id, index, b"?" * 100 if index == 1 else content)))
    again = device.wait_for(Need)
    assert again.chunks == (1,)
    device.send(topic, encode(Chunk(offer.update_id, 1, payload[512:1024])))
    assert device.wait_for(Receipt).status == "accepted"
    aggregator.join()
    assert aggregator.counts()["dropped_bad_chunk"] == 1


def test_unusable_updates_are_rejected_with_a_reason_and_repeated_offenders_shut_out(site: Site) -> None:
    aggregator = site.aggregator(
        devices=3, min_devices=1, max_norm=1000.0, max_examples=100, max_update_bytes=100_000,
        quarantine_after=2, selection_s=0.3,
    )  # fmt: skip
    bad, worse, good = site.raw(0), site.raw(1), site.raw(2)
    difference = difference_of(base_model(), 0, 1)
    poisoned = pack({**difference, "head.bias": np.full(5, np.nan, np.float32)})
    reshaped = pack({**difference, "head.bias": np.zeros(6, np.float32)})
    tasks = tasks_for(bad, worse, good)

    receipt = bad.fate(bad.make_offer(tasks[0], poisoned))
    assert receipt.status == "rejected"
    assert "'head.bias' holds NaN" in receipt.reason
    assert "out of the round" in bad.fate(bad.make_offer(tasks[0], reshaped)).reason

    receipt = worse.fate(worse.make_offer(tasks[1], site.update(1), n_examples=101))
    assert receipt.reason == "101 examples claimed, at most 100 are accepted"

    offer = good.make_offer(tasks[2], site.update(2))
    assert good.fate(offer).status == "accepted"
    (result,) = aggregator.join()
    assert result.n_updates == 1
    counts = aggregator.counts()
    assert (counts["updates_counted"], counts["updates_rejected"]) == (1, 3)


def test_a_repeat_offender_is_quarantined(site: Site) -> None:
    aggregator = site.aggregator(devices=2, min_devices=1, rounds=3, quarantine_after=1, selection_s=0.2)
    bad, good = site.raw(0), site.raw(1)
    for number in (1, 2, 3):
        if number == 1:
            task, bad_task = tasks_for(good, bad)
            huge = pack({name: array * 1e8 for name, array in difference_of(base_model(), 0, 1).items()})
            assert "norm" in bad.fate(bad.make_offer(bad_task, huge)).reason
        else:
            (task,) = tasks_for(good, number=number)
            late = bad.make_offer(task, site.update(0))
            assert "quarantined" in bad.fate(late).reason
        assert good.fate(good.make_offer(task, site.update(1))).status == "accepted"
    results = aggregator.join()
    assert [result.n_updates for result in results] == [1, 1, 1]


def test_replayed_stale_and_duplicate_updates_are_told_and_count_once(site: Site) -> None:
    aggregator = site.aggregator(devices=2, rounds=2)
    first, second = site.raw(0), site.raw(1)
    tasks = tasks_for(first, second)
    offer = first.make_offer(tasks[0], site.update(0))
    assert first.fate(offer).status == "accepted"
    assert first.fate(offer).status == "accepted", "answered from the table"
    twin = first.make_offer(tasks[0], site.update(5))
    assert first.fate(twin).status == "duplicate"
    ahead = first.make_offer(tasks[0], site.update(5), round=7)
    assert first.fate(ahead).status == "stale"
    assert second.fate(second.make_offer(tasks[1], site.update(1))).status == "accepted"

    next_task, second_task = tasks_for(first, second, number=2)
    stale = second.make_offer(tasks[1], site.update(9))
    assert second.fate(stale).status == "stale"
    for topic, payload in list(first.published):
        first.transport.publish(topic, payload)
    assert second.fate(second.make_offer(second_task, site.update(1))).status == "accepted"
    assert first.fate(first.make_offer(next_task, site.update(0))).status == "accepted"
    results = aggregator.join()
    assert [result.n_updates for result in results] == [2, 2]
    counts = aggregator.counts()
    assert (counts["updates_counted"], counts["updates_duplicate"]) == (4, 1)


def test_an_update_id_of_another_device_is_not_taken(site: Site) -> None:
    aggregator = site.aggregator(devices=2, inline_bytes=0)
    honest, thief = site.raw(0), site.raw(1)
    tasks = tasks_for(honest, thief)
    counted = honest.make_offer(tasks[0], site.update(0))
    assert honest.fate(counted).status == "accepted"
    thief.send_offer(thief.make_offer(tasks[1], site.update(1), update_id=counted.update_id))
    oversized = {
        "size": 1 << 30,
        "chunk_bytes": 256 << 10,
        "payload": b"",
        "chunk_sha256": (bytes(32),) * 4096,
    }
    thief.send_offer(thief.make_offer(tasks[1], b"x", update_id=counted.update_id, **oversized))
    assert thief.fate(thief.make_offer(tasks[1], site.update(1))).status == "accepted"
    (result,) = aggregator.join()
    assert result.model is not None
    members = [(site.devices[seed].device_id, seed, 10) for seed in (0, 1)]
    expected = expected_mean(base_model(), members, 1)
    for name, array in read_parameters(result.model.read_bytes()).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
    assert aggregator.counts()["dropped_taken_update_id"] == 2


def test_chunks_that_come_for_nothing_are_not_kept(site: Site) -> None:
    aggregator = site.aggregator(devices=2, min_devices=1, deadline_s=0.8, chunk_bytes=256, linger_s=1.0)
    quick, slow = site.raw(0), site.raw(1)
    tasks = tasks_for(quick, slow)
    content = site.update(1)
    chunk = slow.topics.chunk(site.devices[1].device_id)
    offers = [slow.make_offer(tasks[1], content, payload=b"") for _ in range(2)]
    for offer in offers:
        slow.send_offer(offer)
    slow.send(chunk, encode(Chunk(offers[0].update_id, 0, content[:256])))
    assert quick.fate(quick.make_offer(tasks[0], site.update(0))).status == "accepted"
    aggregator.wait_for("round_committed")
    for offer in offers:
        slow.send(chunk, encode(Chunk(offer.update_id, 1, content[256:512])))
    aggregator.join()
    with sqlite3.connect(site.folder / "state" / "rounds.sqlite") as store:
        assert store.execute("select count(*) from chunks").fetchone() == (0,)
    assert aggregator.counts()["dropped_unknown_chunk"] == 3


def test_a_silent_device_does_not_hold_the_round(site: Site) -> None:
    aggregator = site.aggregator(devices=3, min_devices=2, deadline_s=0.6)
    quick, slow, silent = site.raw(0), site.raw(1), site.raw(2)
    tasks = tasks_for(quick, slow, silent)
    began = time.monotonic()
    assert quick.fate(quick.make_offer(tasks[0], site.update(0))).status == "accepted"
    assert slow.fate(slow.make_offer(tasks[1], site.update(1))).status == "accepted"
    (result,) = aggregator.join()
    assert time.monotonic() - began < 5
    assert result.n_updates == 2


def test_a_restarted_aggregator_gives_an_open_round_only_the_time_it_had_left(site: Site) -> None:
    now = [1000.0]
    options = {"devices": 2, "min_devices": 1, "deadline_s": 60.0}
    job = make_job(site.folder, **options)

    def aggregator() -> RunningAggregator:
        transport = site.broker.transport()
        return RunningAggregator(job, transport, site.server, site.devices, clock=lambda: now[0]).start()

    first = aggregator()
    quick, silent = site.raw(0), site.raw(1)
    task, _ = tasks_for(quick, silent)
    assert quick.fate(quick.make_offer(task, site.update(0))).status == "accepted"
    now[0] += 50.0
    time.sleep(0.5)
    now[0] = 3.0
    second = aggregator()
    second.wait_for("ready")
    with pytest.raises(Fenced):
        first.join()
    now[0] += 9.0
    time.sleep(0.5)
    assert not second.results
    now[0] += 2.0
    second.wait_for("round_committed")

    def has_lingered() -> bool:
        now[0] += 10.0
        return any(name == "finished" for name, _ in second.events)

    wait_for(has_lingered)
    (result,) = second.join()
    assert result.n_updates == 1


def test_too_few_updates_abandon_the_round_and_in_the_end_the_job(site: Site) -> None:
    aggregator = site.aggregator(devices=2, deadline_s=0.2)
    devices = [site.raw(0), site.raw(1)]
    for number in (1, 2, 3):
        tasks_for(*devices, number=number)
    with pytest.raises(UnavailableError, match="3 rounds in a row were abandoned: 0 of at least 2"):
        aggregator.join()
    assert not (site.folder / "models").exists()


def test_forged_receipts_empty_no_spool_and_old_announcements_wake_nobody(site: Site) -> None:
    identity = site.devices[0]
    spool = site.folder / "spool"
    client = make_client(site.broker.transport(), identity, site.server, spool, 0, 10)
    topics = Topics("acme")

    def fault(message: LoopbackMessage) -> tuple[LoopbackMessage, ...]:
        if not message.topic.endswith("/down/receipt"):
            return (message,)
        (pending,) = spool.glob("*.update")
        lie = Receipt("acme", identity.device_id, bytes.fromhex(pending.stem), "accepted", "")
        forged = encode(site.stranger.sign(lie))
        foreign = encode(site.server.sign(dataclasses.replace(lie, tenant="other")))
        other = encode(site.server.sign(dataclasses.replace(lie, update_id=bytes(16))))
        return tuple(LoopbackMessage(message.topic, payload) for payload in (forged, foreign, other, b"\x00"))

    site.broker.fault = fault
    aggregator = site.aggregator(devices=1, linger_s=2.0)
    with running(client, 1):
        aggregator.wait_for("round_committed")
        time.sleep(0.3)
        assert len(list(spool.glob("*.update"))) == 1, "still kept"
        site.broker.fault = None
        deadline = time.monotonic() + 5
        while list(spool.glob("*.update")) and time.monotonic() < deadline:
            time.sleep(0.02)
    aggregator.join()
    assert not list(spool.glob("*.update"))
    assert client.counts["receipts_accepted"] == 1
    assert client.counts["forged"] >= 1
    assert client.counts["malformed"] >= 1
    assert topics.round(JOB) in {message.topic for message in site.broker.log}


def test_a_base_model_that_does_not_come_is_asked_for_again_in_the_same_round(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lepton_sdk.federated.client.FETCH_TIMEOUT_S", 0.3)
    failures: list[str] = []
    site.broker.fault = lambda m: () if m.topic.endswith("down/block") and not failures else (m,)
    aggregator = site.aggregator(devices=1)
    client = make_client(site.broker.transport(), site.devices[0], site.server, site.folder / "a", 0, 10)
    client._on_event = lambda name, fields: failures.append(fields["phase"]) if name == "failed" else None
    with running(client, 1):
        (result,) = aggregator.join()
    assert failures == ["fetch"]
    assert result.n_updates == 1


def test_training_that_fails_costs_the_device_its_round_only(site: Site) -> None:
    aggregator = site.aggregator(devices=2, min_devices=1)
    good = make_client(site.broker.transport(), site.devices[0], site.server, site.folder / "a", 0, 10)
    bad = make_client(site.broker.transport(), site.devices[1], site.server, site.folder / "b", 1, 10)

    def explode(base: object, task: object) -> object:
        raise ZeroDivisionError("no data")

    bad._train = explode  # type: ignore[assignment]
    with running(good, 1), running(bad):
        (result,) = aggregator.join()
    assert result.n_updates == 1
    assert aggregator.wait_for("device_failed")["device"] == site.devices[1].device_id


def test_a_device_that_nobody_enrolled_is_told_of_on_both_sides(site: Site) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    client = FederatedClient(
        site.broker.transport(), site.stranger, train=training(1, 5), spool=site.folder / "spool",
        server_key=site.server.public, tenant=TENANT, job=JOB, retry_s=0.05, no_answer_s=0.4,
        on_event=lambda name, fields: told.append((name, dict(fields))),
    )  # fmt: skip
    with running(client):
        wait_for(lambda: told)
        (_, fields), *_ = told
        assert "no round of job 'digits'" in str(fields["hint"]), "no aggregator runs"
        aggregator = site.aggregator(devices=1)
        stranger = aggregator.wait_for("unknown_device")
        assert stranger == {"device": site.stranger.device_id}
        wait_for(lambda: len(told) == 2)
        assert "allow-list" in str(told[1][1]["hint"])
        time.sleep(0.6)
    assert [name for name, _ in told] == ["no_answer", "no_answer"], "once a silence"
    assert [name for name, _ in aggregator.events].count("unknown_device") == 1
    with running(make_client(site.broker.transport(), site.devices[0], site.server, site.folder / "0", 0, 5)):
        aggregator.join()


def test_a_device_that_is_answered_says_nothing_of_silence(site: Site) -> None:
    told: list[str] = []
    client = FederatedClient(
        site.broker.transport(), site.devices[0], train=training(1, 5), spool=site.folder / "spool",
        server_key=site.server.public, tenant=TENANT, job=JOB, retry_s=0.05, no_answer_s=5.0,
        on_event=lambda name, fields: told.append(name),
    )  # fmt: skip
    aggregator = site.aggregator(devices=1)
    with running(client):
        aggregator.join()
    assert "receipt" in told
    assert "no_answer" not in told
