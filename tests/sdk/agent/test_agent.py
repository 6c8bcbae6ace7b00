"""The agent with real bundles over the loopback broker: what is installed, what is refused and why."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_sdk.agent.agent import DeviceAgent, from_config
from lepton_sdk.agent.record import Phase, ProbationPolicy, Record
from lepton_sdk.agent.slots import Slots
from lepton_sdk.session import Session
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.loopback import LoopbackMessage
from lepton_targets.errors import BundleFormatError, UnavailableError, UsageError
from support import bundles
from support.devices import WRONG_GOLDEN, Workshop, wait_for

FOREVER = ProbationPolicy(seconds=3600.0, inferences=0, timeout_s=7200.0)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def start(workshop: Workshop) -> Iterator[Callable[..., DeviceAgent]]:
    started: list[DeviceAgent] = []

    def begin(**options: Any) -> DeviceAgent:
        agent = workshop.agent(**options)
        agent.start()
        started.append(agent)
        return agent

    yield begin
    for agent in started:
        agent.close()


def install(workshop: Workshop, counter: int, sequence: int) -> None:
    workshop.wish(sequence, workshop.release(counter, workshop.bundle(counter)))
    assert workshop.wait_answer(sequence).result == "confirmed"


def test_a_release_is_installed_run_and_replaced(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    agent = start()
    with pytest.raises(UnavailableError, match="no model yet"):
        agent.session()
    install(workshop, counter=1, sequence=1)
    x = np.arange(10, dtype=np.int8).reshape(1, 10)
    assert np.array_equal(agent.session().run(x)["y"], bundles.TABLE[x.astype(int) + 128])
    first = agent.session()
    assert agent.session() is first
    install(workshop, counter=2, sequence=2)
    assert agent.session().bundle.manifest.name == "tiny2"
    assert (agent.record.active.slot, agent.record.previous.slot, agent.record.floor) == ("b", "a", 2)
    assert [report.phase for report in workshop.reports[-3:]] == ["switch", "probation", "confirmed"]


def test_native_code_passes_the_same_proofs(workshop: Workshop, start: Callable[..., DeviceAgent]) -> None:
    agent = start(engine="native")
    install(workshop, counter=1, sequence=1)
    assert agent.session().target == bundles.host().name


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def newer(content: bytes) -> bytes:
    return content[:8] + (9).to_bytes(2, "little") + content[10:]


def stranger(workshop: Workshop) -> Identity:
    return Identity.load_or_create(workshop.folder / "stranger.pem")


def bad_content(workshop: Workshop, kind: str) -> tuple[bytes, dict[str, Any]]:
    """A bundle's bytes that are bad in one way, and what its (properly signed) release says otherwise."""
    good = workshop.bundle(2)
    digest = {"digest": "a" * 64}
    match kind:
        case "truncated":
            return good[: len(good) // 2], digest
        case "bit-flipped":
            return flipped(good), digest
        case "newer":
            return newer(good), digest
        case "wrongly signed":
            stranger(workshop)
            return workshop.bundle(2, key=workshop.folder / "stranger.pem"), {}
        case "unsigned":
            return bundles.write(workshop.folder / "unsigned.lep").read_bytes(), {}
        case "other bundle":
            return good, digest
        case "wrong golden":
            return workshop.bundle(2, segment_changes=WRONG_GOLDEN), {}
        case "wrong target":
            return good, {"target": "mps2-an386"}
        case _:
            return good, {"file_bytes": {bundles.host().name: 1 << 50}}


@pytest.mark.parametrize(
    ("kind", "result", "reason"),
    [
        ("truncated", "refused", "damaged"),
        ("bit-flipped", "refused", "damaged"),
        ("newer", "refused", "newer_format"),
        ("wrongly signed", "refused", "signature"),
        ("unsigned", "refused", "signature"),
        ("other bundle", "refused", "damaged"),
        ("wrong golden", "refused", "self_test"),
        ("wrong target", "refused", "wrong_target"),
        ("larger than the disc", "failed", "disc_full"),
    ],
)
def test_a_bad_release_is_refused_with_its_reason(
    workshop: Workshop, start: Callable[..., DeviceAgent], kind: str, result: str, reason: str
) -> None:
    agent = start()
    install(workshop, counter=1, sequence=1)
    before = agent.record.active
    content, said = bad_content(workshop, kind)
    workshop.wish(2, workshop.release(2, content, **said))
    report = workshop.wait_answer(2)
    assert (report.result, report.reason) == (result, reason), report.detail
    assert report.detail
    assert (report.active_counter, agent.record.active) == (1, before)
    assert agent.session().bundle.manifest.name == "tiny1"
    wait_for(lambda: list((workshop.folder / "slots" / "incoming").iterdir()) == [])
    assert not (workshop.folder / "slots" / "b").exists()


def test_code_for_another_target_than_the_release_says_is_refused(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    start(engine="native")
    workshop.wish(1, workshop.release(1, workshop.bundle(1, targets=("cortex-a53",))))
    assert workshop.wait_answer(1).reason == "wrong_target"


def test_an_older_release_is_not_installed(workshop: Workshop, start: Callable[..., DeviceAgent]) -> None:
    start()
    install(workshop, counter=5, sequence=1)
    workshop.wish(2, workshop.release(4, workshop.bundle(4)))
    assert workshop.wait_answer(2).reason == "older_counter"


@pytest.mark.parametrize(
    "kind", ["forged server", "forged publisher", "other device", "garbage", "other tenant"]
)
def test_a_document_that_is_not_for_us_changes_nothing(
    workshop: Workshop, start: Callable[..., DeviceAgent], kind: str
) -> None:
    agent = start()
    install(workshop, counter=1, sequence=1)
    before, content = agent.record, workshop.bundle(2)
    match kind:
        case "forged server":
            workshop.wish(2, workshop.release(2, content), server=stranger(workshop))
        case "forged publisher":
            workshop.wish(2, workshop.release(2, content, publisher=stranger(workshop)))
        case "other device":
            workshop.wish(2, workshop.release(2, content), device=stranger(workshop).device_id)
        case "garbage":
            workshop.send(b"\xa2\x61v\x01")
        case _:
            workshop.wish(2, workshop.release(2, content, tenant="other"))
    report = workshop.wait(lambda report: report.refused_messages == 1)
    assert report.last_refusal
    assert agent.record == before


def test_a_forged_block_is_dropped_and_the_true_one_taken(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    start()
    spoiled: list[str] = []

    def spoil(message: LoopbackMessage) -> tuple[LoopbackMessage, ...]:
        if message.topic.endswith("down/block") and not spoiled:
            spoiled.append(message.topic)
            return (LoopbackMessage(message.topic, flipped(message.payload)),)
        return (message,)

    workshop.broker.fault = spoil
    install(workshop, counter=1, sequence=1)
    assert spoiled


def test_an_unwell_model_is_rolled_back(workshop: Workshop, start: Callable[..., DeviceAgent]) -> None:
    agent = start(probe=lambda session: session.bundle.manifest.name != "tiny2")
    install(workshop, counter=1, sequence=1)
    release = workshop.release(2, workshop.bundle(2))
    workshop.wish(2, release)
    report = workshop.wait_answer(2)
    assert (report.result, report.reason, report.active_counter) == ("rolled_back", "probe", 1)
    assert agent.session().bundle.manifest.name == "tiny1"
    workshop.wish(3, release)
    assert workshop.wait_answer(3).reason == "tried_before"


def test_a_self_test_that_hangs_is_refused_and_the_old_model_stays(
    workshop: Workshop, start: Callable[..., DeviceAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start(self_test_timeout_s=0.2)
    install(workshop, counter=1, sequence=1)
    ended = threading.Event()
    monkeypatch.setattr(Session, "self_test", lambda session: ended.wait(20.0))
    try:
        workshop.wish(2, workshop.release(2, workshop.bundle(2)))
        answer = workshop.wait_answer(2)
    finally:
        ended.set()
    assert (answer.result, answer.reason) == ("refused", "self_test")
    assert "did not end within 0.2 s" in answer.detail
    assert agent.session().bundle.manifest.name == "tiny1"


def test_an_older_signed_bundle_put_into_the_active_slot_is_not_run(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    agent = start()
    install(workshop, counter=1, sequence=1)
    install(workshop, counter=2, sequence=2)
    agent.close()
    slots = workshop.folder / "slots"
    shutil.copyfile(slots / "a" / "bundle.lep", slots / "b" / "bundle.lep")
    with pytest.raises(BundleFormatError, match="was installed there"):
        workshop.agent().session()


def test_a_probe_that_hangs_is_no_confirmation(workshop: Workshop, start: Callable[..., DeviceAgent]) -> None:
    hanging = threading.Event()
    start(probe=lambda session: hanging.wait(30))
    policy = ProbationPolicy(seconds=0.1, inferences=0, timeout_s=0.3)
    workshop.wish(1, workshop.release(1, workshop.bundle(1)), policy)
    report = workshop.wait_answer(1)
    hanging.set()
    assert (report.result, report.reason, report.active_counter) == ("rolled_back", "no_confirmation", 0)


def test_inferences_of_the_application_confirm(workshop: Workshop, start: Callable[..., DeviceAgent]) -> None:
    agent = start()
    policy = ProbationPolicy(seconds=0.0, inferences=10, timeout_s=20.0)
    workshop.wish(1, workshop.release(1, workshop.bundle(1)), policy)
    workshop.wait(lambda report: report.phase == "probation")
    agent.count_inferences(9)
    assert agent.phase is Phase.PROBATION
    agent.count_inferences()
    assert workshop.wait_answer(1).result == "confirmed"


def test_a_failure_the_application_saw_rolls_back(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    agent = start()
    install(workshop, counter=1, sequence=1)
    workshop.wish(2, workshop.release(2, workshop.bundle(2)), FOREVER)
    workshop.wait(lambda report: (report.phase, report.active_counter) == ("probation", 2))
    agent.report_failure("the conveyor stopped")
    assert workshop.wait_answer(2).detail == "the conveyor stopped"


def test_a_disc_that_fills_up_while_staging_fails_the_order_only(
    workshop: Workshop, start: Callable[..., DeviceAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    install(workshop, counter=1, sequence=1)
    release = workshop.release(2, workshop.bundle(2))
    with monkeypatch.context() as full:
        full.setattr(Slots, "stage", lambda *_: no_space())
        workshop.wish(2, release)
        report = workshop.wait_answer(2)
    assert (report.result, report.reason, report.active_counter) == ("failed", "disc_full", 1)
    workshop.wish(3, release)
    assert workshop.wait_answer(3).result == "confirmed"


def test_a_record_that_cannot_be_written_holds_the_update_back_until_it_can(
    workshop: Workshop, start: Callable[..., DeviceAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, full, tries = start(), threading.Event(), threading.Event()
    install(workshop, counter=1, sequence=1)
    save, before = Slots.save_record, agent.record

    def save_or_not(slots: Slots, record: Record) -> None:
        if full.is_set():
            tries.set()
            no_space()
        save(slots, record)

    full.set()
    monkeypatch.setattr(Slots, "save_record", save_or_not)
    workshop.wish(2, workshop.release(2, workshop.bundle(2)))
    assert tries.wait(10)
    assert agent.record == before
    full.clear()
    assert workshop.wait_answer(2).result == "confirmed"


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_withdrawal_brings_the_previous_model_back(
    workshop: Workshop, start: Callable[..., DeviceAgent]
) -> None:
    agent = start()
    install(workshop, counter=1, sequence=1)
    install(workshop, counter=2, sequence=2)
    workshop.withdraw(3, counter=2)
    report = workshop.wait_answer(3)
    assert (report.result, report.reason, report.active_counter) == ("rolled_back", "withdrawn", 1)
    assert agent.session().bundle.manifest.name == "tiny1"


def test_a_device_whose_process_keeps_dying_in_probation_rolls_back(workshop: Workshop) -> None:
    first = workshop.agent()
    first.start()
    install(workshop, counter=1, sequence=1)
    workshop.wish(2, workshop.release(2, workshop.bundle(2)), FOREVER)
    workshop.wait(lambda report: (report.phase, report.active_counter) == ("probation", 2))
    first.close()
    for start in range(2, 4):
        agent = workshop.agent()
        agent.start()
        wait_for(lambda start=start, agent=agent: agent.record.attempts == start)
        assert agent.session().bundle.manifest.name == "tiny2"
        agent.close()
    last = workshop.agent()
    last.start()
    report = workshop.wait_answer(2)
    assert (report.result, report.reason, report.active_counter) == ("rolled_back", "process_died", 1)
    last.close()


def test_the_configuration_makes_an_agent_or_names_the_wrong_key(workshop: Workshop) -> None:
    section = {"slots": "s", "trust": ["publisher.pub.pem"], "engine": "reference"}
    wire = workshop.broker.transport()
    made = {"server_key": workshop.server.public, "folder": workshop.folder}
    assert from_config(section, wire, workshop.device, **made).phase is Phase.IDLE
    with pytest.raises(UsageError, match="did you mean slots"):
        from_config({**section, "slot": 1}, wire, workshop.device, **made)
    with pytest.raises(UsageError, match="accepted: a list of texts"):
        from_config({**section, "trust": "publisher.pub.pem"}, wire, workshop.device, **made)
    with pytest.raises(UsageError, match=r"agent\.trust is missing"):
        from_config({"slots": "s"}, wire, workshop.device, **made)


def test_a_half_made_slot_and_a_foreign_link_are_put_right(workshop: Workshop) -> None:
    agent = workshop.agent()
    agent.start()
    install(workshop, counter=1, sequence=1)
    agent.close()
    slots = Slots(workshop.folder / "slots")
    (slots.root / ".b.new").mkdir()
    (slots.root / ".b.new" / "bundle.lep").write_bytes(b"half")
    (slots.root / "b").mkdir()
    slots.activate(None)
    again = workshop.agent()
    again.start()
    wait_for(lambda: slots.active() == "a")
    wait_for(lambda: not (slots.root / "b").exists() and not (slots.root / ".b.new").exists())
    again.close()
