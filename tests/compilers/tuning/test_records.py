"""The file of tiles: the same bytes whatever the order, and every way in which one can be wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lepton_compilers.backends.cpu.plans.tile_choice import TiledLayer, TileUse
from lepton_compilers.tuning.records import Entry, Tuning, kernels_digest, read_tuning
from lepton_targets.errors import BadInputError

LAYER = TiledLayer(
    kernel="pointwise_u8",
    header="avx512vnni.h",
    x=(1, 7, 7, 32),
    weight=(64, 1, 1, 32),
    y=(1, 7, 7, 64),
    stride=(1, 1),
    dilation=(1, 1),
    padding=(0, 0, 0, 0),
    adds=False,
)
TILES = ((12, 2), (25, 1), (9, 3))
HERE, THERE = "x86-64-avx512vnni", "x86-64-avx2"
ENTRY = Entry(HERE, LAYER, (9, 3), (12, 2), 3, 1.25, 1.5, kernels_digest("avx512vnni.h"), "a CPU")


def tuning(*entries: Entry) -> Tuning:
    return Tuning().extended(entries)


def test_a_file_reads_as_it_was_written_in_one_order(tmp_path: Path) -> None:
    wider = dataclasses.replace(ENTRY, layer=dataclasses.replace(LAYER, x=(1, 9, 9, 32)))
    other = dataclasses.replace(ENTRY, target=THERE)
    path = tmp_path / "t.json"
    path.write_bytes(tuning(ENTRY, wider, other).content())
    assert read_tuning(path) == tuning(other, wider, ENTRY)
    assert tuning(other, wider, ENTRY).content() == path.read_bytes()
    assert len(path.read_text().splitlines()) == 2 + 3
    assert read_tuning(_written(tmp_path, tuning().content())) == tuning()


def test_an_entry_holds_for_its_target_and_layer_alone() -> None:
    known = tuning(ENTRY)
    assert known.choice(HERE)(LAYER, TILES) == (9, 3)
    assert known.choice(THERE)(LAYER, TILES) == (12, 2)
    assert known.choice(HERE)(dataclasses.replace(LAYER, adds=True), TILES) == (12, 2)


@pytest.mark.parametrize(
    ("change", "target", "reason"),
    [
        ({"kernels": "0" * 16}, HERE, "kernels of avx512vnni.h have changed"),
        ({"tile": (1000, 1000)}, HERE, "no such tile"),
        ({}, THERE, "measured for x86-64-avx512vnni, not for x86-64-avx2"),
    ],
)
def test_what_does_not_hold_is_left_out_by_name(change: dict[str, object], target: str, reason: str) -> None:
    known = tuning(dataclasses.replace(ENTRY, **change))  # type: ignore[arg-type]
    assert known.choice(target)(LAYER, TILES) == TILES[0]
    (told,) = known.left_out(target, [TileUse(LAYER, TILES, TILES[0], 0)])
    assert reason in told
    assert tuning(ENTRY).left_out(HERE, [TileUse(LAYER, TILES, TILES[0], 0)]) == []


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "wrong.json"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no tuning file"),
        (b"\x80\xff", "no tuning file"),
        (b"[" * 100_000, "no tuning file"),
        (b'{"format": "another"}', "no tuning file"),
        (tuning(ENTRY).content()[:-20], "damaged"),
        (b'{"format": "lepton-tuning", "version": 2}', "of version 2; this compiler reads version 1"),
        (b'{"format": "lepton-tuning", "version": 1}', "'entries' is no list"),
        (b'{"format": "lepton-tuning", "version": 1, "entries": [3]}', "entry 0"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_tuning(_written(tmp_path, content))


def test_a_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    plain = ENTRY.to_json()
    wrong = {"tile": [1, -1], "x": "7", "adds": 0, "header": "/etc/passwd", "tried": True, "weight": [0]}
    for name, value in wrong.items():
        listed = {"format": "lepton-tuning", "version": 1, "entries": [plain | {name: value}]}
        with pytest.raises(BadInputError, match=f"entry 0 has no valid '{name}'"):
            read_tuning(_written(tmp_path, json.dumps(listed).encode()))
        del listed["entries"][0][name]  # type: ignore[index]
        with pytest.raises(BadInputError, match=f"entry 0 has no valid '{name}'"):
            read_tuning(_written(tmp_path, json.dumps(listed).encode()))


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--tune SECONDS"):
        read_tuning(tmp_path / "none.json")
