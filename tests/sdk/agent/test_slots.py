"""Slots on disc: whole or absent; the counter only grows; damage is named, never guessed around."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.agent.record import Blob, Record, Slot
from lepton_sdk.agent.slots import Slots, is_disc_full
from lepton_targets.errors import BadInputError


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path / "slots")


def test_a_staged_slot_is_whole_and_becomes_active_by_its_link(slots: Slots) -> None:
    source = slots.download("ab")
    source.write_bytes(b"one")
    slots.stage(source, Slot.A)
    slots.activate(Slot.A)
    source.write_bytes(b"two")
    slots.stage(source, Slot.B)
    slots.stage(source, Slot.B)
    assert (slots.active(), slots.bundle(Slot.A).read_bytes()) == (Slot.A, b"one")
    assert (slots.root / "active" / "bundle.lep").read_bytes() == b"one"
    assert slots.bundle(Slot.B).read_bytes() == b"two"
    slots.activate(None)
    assert slots.active() is None


def test_the_active_slot_is_never_staged_into(slots: Slots) -> None:
    source = slots.download("ab")
    source.write_bytes(b"one")
    slots.stage(source, Slot.A)
    slots.activate(Slot.A)
    with pytest.raises(BadInputError, match="active"):
        slots.stage(source, Slot.A)


@given(st.lists(st.integers(0, 100), max_size=20))
def test_the_floor_only_rises(tmp_path_factory: pytest.TempPathFactory, counters: list[int]) -> None:
    slots = Slots(tmp_path_factory.mktemp("slots"))
    highest = 0
    for counter in counters:
        slots.raise_floor(counter)
        highest = max(highest, counter)
        assert slots.floor == highest
    assert slots.load_record().floor == highest


def test_a_lost_record_does_not_lower_the_floor(slots: Slots) -> None:
    slots.raise_floor(7)
    slots.save_record(Record(floor=3))
    assert slots.load_record().floor == 7
    (slots.root / "record.json").unlink()
    assert slots.load_record() == Record(floor=7)


@pytest.mark.parametrize("name", ["record.json", "floor.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v": 1}', b'{"v": 99}', b"\xff"])
def test_a_damaged_file_is_named(slots: Slots, name: str, content: bytes) -> None:
    (slots.root / name).write_bytes(content)
    with pytest.raises(BadInputError, match=r"damaged|version"):
        slots.load_record()


def test_a_release_larger_than_the_disc_is_known_before_it_is_fetched(slots: Slots) -> None:
    slots.require_space_for(Blob("ab", 10))
    with pytest.raises(OSError, match="are needed") as caught:
        slots.require_space_for(Blob("ab", 1 << 60))
    assert is_disc_full(caught.value)
