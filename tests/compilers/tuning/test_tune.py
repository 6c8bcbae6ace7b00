"""Tuning as `lepton compile` does it: a search, its file, and compiling by that file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_compilers import compile
from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice
from lepton_compilers.compilation import build_program
from lepton_compilers.tuning import tune as tune_module
from lepton_compilers.tuning.bench import LayerBench
from lepton_compilers.tuning.layers import tunable_layers
from lepton_compilers.tuning.network import Comparison, compare
from lepton_compilers.tuning.progress import Progress
from lepton_compilers.tuning.records import Entry, Tuning, kernels_digest, read_tuning
from lepton_sdk import Session
from lepton_sdk.benchmark import Latency
from lepton_sdk.bundle import Bundle
from lepton_targets import get_target
from lepton_targets.errors import CheckFailedError, UsageError
from lepton_targets.host import host, runs_here
from support.evaluation_data import committed_kws
from support.in_process import run_here

MODEL, _, _ = committed_kws()
VNNI = get_target("x86-64-avx512vnni")
tunable = pytest.mark.skipif(
    not any(runs_here(get_target(name)) for name in ("x86-64-avx2", "aarch64")),
    reason="no tiles for this CPU",
)
needs_vnni = pytest.mark.skipif(not runs_here(VNNI), reason="this machine lacks AVX-512 VNNI")


def code_of(bundle: Bundle) -> bytes:
    (artifact,) = bundle.manifest.artifacts
    return bytes(bundle.segment(artifact.code))


def another_tile_everywhere(path: Path) -> Tuning:
    """A file that gives every layer of the network its second tile."""
    program, entries = build_program(MODEL.read_bytes()), []
    for use in cpu.plan(program, VNNI).tiles:
        tile = use.tiles[min(1, len(use.tiles) - 1)]
        digest = kernels_digest(use.layer.header)
        entries.append(Entry(VNNI.name, use.layer, tile, use.tiles[0], 2, 0.5, 1.0, digest, "test"))
    tuning = Tuning().extended(entries)
    path.write_bytes(tuning.content())
    return tuning


@tunable
def test_a_search_keeps_a_file_and_compiling_by_it_gives_the_same_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "kws.lep", tmp_path / "again.lep"
    options = ("compile", MODEL, "--target", "host", "--json")
    (told,) = run_here(capfd, *options, "--tune", "8", "-o", out).json["tuning"]
    assert told["target"] == host().name
    assert told["file"] == "kws.tuning.json"
    assert told["layers"] >= told["layers_tried"] >= 1
    assert told["tiles_tried"] >= told["layers_tried"]
    for tried in told["tried"]:
        assert 1 < tried["tried"] <= tried["tiles"]
        assert tried["latency_us"] > 0
        assert (tried["tile"] != tried["table"]) <= (tried["ratio"] < 0.98)
    file = tmp_path / "kws.tuning.json"
    assert len(read_tuning(file).entries) <= told["layers_tried"]
    (read,) = run_here(capfd, *options, "--tuning", file, "-o", again).json["tuning"]
    assert read == {
        "target": told["target"],
        "file": file.name,
        "tiles_changed": told["tiles_changed"],
        "left_out": [],
    }
    assert code_of(Bundle.open(out)) == code_of(Bundle.open(again))
    assert out.read_bytes() == again.read_bytes()
    Session(out).self_test()
    # A search that goes on keeps what was found.
    before = read_tuning(file).entries
    shown = run_here(capfd, *options[:-1], "--tune", "1", "--tuning", file, "-o", out).out
    assert ("kept in kws.tuning.json" in shown) or ("kws.tuning.json holds what it held" in shown)
    assert read_tuning(file).entries.keys() >= before.keys()


@tunable
@pytest.mark.parametrize("emitted", ["bundle", "c-project"])
def test_what_was_measured_before_an_interruption_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], emitted: str
) -> None:
    opened = 0

    def interrupted(*given: Any) -> LayerBench:
        nonlocal opened
        opened += 1
        if opened == 3:
            raise KeyboardInterrupt
        return LayerBench(*given)

    monkeypatch.setattr(tune_module, "LayerBench", interrupted)
    out = tmp_path / "kws.lep"
    options = ("compile", MODEL, "--tune", "60", "--emit", emitted, "-o", out)
    result = run_here(capfd, *options)
    assert result.code == 130
    assert not out.exists()
    kept = read_tuning(tmp_path / "kws.tuning.json").entries
    assert len(kept) == 2
    assert "interrupted; no code was written, and" in result.err
    assert "kws.tuning.json keeps 2 layers" in result.err
    # The next one goes on; one that is stopped before it measures loses nothing.
    monkeypatch.setattr(tune_module, "LayerBench", lambda *given: interrupted_at_once())
    assert "keeps 2 layers" in run_here(capfd, *options, "--json").err
    assert read_tuning(tmp_path / "kws.tuning.json").entries == kept


def interrupted_at_once() -> LayerBench:
    raise KeyboardInterrupt


@tunable
def test_an_interruption_before_anything_was_measured_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune_module, "LayerBench", lambda *given: interrupted_at_once())
    result = run_here(capfd, "compile", MODEL, "--tune", "60", "-o", tmp_path / "kws.lep")
    assert result.code == 130
    assert "before any was measured" in result.err
    assert not list(tmp_path.iterdir())


@tunable
def test_a_time_too_short_to_try_anything_says_so_and_leaves_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("compile", MODEL, "--tune", "0.01", "-o", tmp_path / "kws.lep")
    shown = run_here(capfd, *options).out
    assert "nothing was tried: --tune was too short" in shown
    assert "no tuning file was written" in shown
    (told,) = run_here(capfd, *options, "--json").json["tuning"]
    assert (told["file"], told["tiles_tried"]) == (None, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["kws.lep"]


@needs_vnni
def test_known_tiles_that_are_not_faster_in_the_network_give_way_to_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = another_tile_everywhere(tmp_path / "t.json")
    slower = Comparison(*(Latency(us, us, us, 5) for us in (1.0, 1.1)), max_difference=0)
    monkeypatch.setattr(tune_module, "compare", lambda *given: slower)
    program = build_program(MODEL.read_bytes())
    tuned = tune_module.tune(program, VNNI, 0.01, known)
    assert not tuned.kept
    assert tuned.network == slower
    assert tuned.artifact.code == cpu.lower(program, VNNI).code
    assert tuned.tuning.entries.keys() == known.entries.keys()
    # A later search tries them again.
    changed = [e for key, e in tuned.tuning.entries.items() if e != known.entries[key]]
    assert changed
    assert all((e.tile, e.tried, e.latency_us) == (e.table, 1, e.table_us) for e in changed)


def test_a_file_changes_code_and_no_result(tmp_path: Path) -> None:
    another_tile_everywhere(tmp_path / "t.json")
    reports: list = []
    plain = compile(MODEL, VNNI.name, output=tmp_path / "plain.lep")
    tuned = compile(
        MODEL, VNNI.name, output=tmp_path / "tuned.lep", tuning=tmp_path / "t.json", tuned=reports
    )
    assert code_of(plain) != code_of(tuned)
    assert reports[0].changed
    assert "tiles_sha256" in tuned.manifest.provenance.options
    assert "tiles_sha256" not in plain.manifest.provenance.options
    if runs_here(VNNI):
        x = np.random.default_rng(0).integers(-128, 128, (1, 49, 10, 1)).astype(np.int8)
        (a,), (b,) = (Session(bundle).run(x).values() for bundle in (plain, tuned))
        np.testing.assert_array_equal(a, b)
        Session(tuned).self_test()


def test_a_stale_file_is_left_out_by_name_and_the_code_is_the_tables(tmp_path: Path) -> None:
    tuning = another_tile_everywhere(tmp_path / "t.json")
    stale = [dataclasses.replace(e, kernels="0" * 16) for e in tuning.entries.values()]
    (tmp_path / "t.json").write_bytes(Tuning().extended(stale).content())
    reports: list = []
    found = compile(MODEL, VNNI.name, output=tmp_path / "a.lep", tuning=tmp_path / "t.json", tuned=reports)
    assert code_of(found) == code_of(compile(MODEL, VNNI.name, output=tmp_path / "b.lep"))
    assert "the kernels of avx512vnni.h have changed" in reports[0].show()


def test_a_file_of_another_network_is_left_out_by_name(tmp_path: Path) -> None:
    (entry, *_) = another_tile_everywhere(tmp_path / "t.json").entries.values()
    another = dataclasses.replace(entry, layer=dataclasses.replace(entry.layer, x=(1, 3, 3, 3)))
    (tmp_path / "t.json").write_bytes(Tuning().extended([another]).content())
    reports: list = []
    compile(MODEL, VNNI.name, output=tmp_path / "a.lep", tuning=tmp_path / "t.json", tuned=reports)
    assert "1 entry: measured for layers that this network lacks; the table's" in reports[0].show()


def test_a_dry_run_shows_the_tuned_plan_and_a_c_project_has_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    another_tile_everywhere(tmp_path / "t.json")
    options = ("compile", MODEL, "--target", VNNI.name, "--json", "--tuning", tmp_path / "t.json")
    shown = run_here(capfd, *options, "--dry-run").json["estimates"][0]["plan"]
    program = build_program(MODEL.read_bytes())
    assert shown != cpu.estimate(program, VNNI).plan
    choice = read_tuning(tmp_path / "t.json").choice(VNNI.name)
    assert shown == cpu.estimate(program, VNNI, choice).plan
    (told,) = run_here(capfd, *options, "--emit", "c-project", "-o", tmp_path / "c").json["tuning"]
    assert told["tiles_changed"] > 0
    (model,) = (tmp_path / "c").rglob("*_model.c")
    assert model.read_text() != cpu.c_sources(program, VNNI, "kws").model


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--tune", "5", "--target", "cortex-a53"), 5, "cortex-a53 can't be tuned here"),
        (("--tune", "0"), 2, "above 0"),
        (("--tune", "5", "--dry-run"), 2, "leave one of them out"),
        (("--tuning", "none.json"), 3, "cannot read the tuning file"),
        (("--tune", "5", "--tuning", "damaged.json"), 3, "no tuning file"),
    ],
)
def test_wrong_use_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.json").write_text("{")
    result = run_here(capfd, "compile", MODEL, *options, "-o", "x.lep")
    assert result.code == code
    assert message in result.err
    assert (tmp_path / "damaged.json").read_text() == "{"


def test_a_file_may_not_replace_the_model() -> None:
    with pytest.raises(UsageError, match="read here"):
        compile(MODEL, "host", tune=1, tuning=MODEL)


@needs_vnni
def test_a_bench_times_every_tile_of_a_layer() -> None:
    program = build_program(MODEL.read_bytes())
    layer = tunable_layers(program, VNNI)[0]
    bench = LayerBench(layer, layer.tiles[:3], VNNI, 1 << 16)
    times = bench.times((0, 2), 5)
    assert [len(taken) for taken in times] == [5, 5]
    assert all(0 < us < 1e6 for taken in times for us in taken)


@needs_vnni
def test_layers_are_listed_once_the_most_expensive_first() -> None:
    program = build_program(MODEL.read_bytes())
    layers = tunable_layers(program, VNNI)
    assert len({one.layer for one in layers}) == len(layers)
    assert [one.cost for one in layers] == sorted((one.cost for one in layers), reverse=True)
    # Four equal blocks: one layer for all of them.
    assert max(one.uses for one in layers) == 4


@needs_vnni
def test_a_network_whose_results_change_is_refused() -> None:
    program = build_program(MODEL.read_bytes())
    last: TileChoice = lambda layer, tiles: tiles[-1]  # noqa: E731
    table, other = cpu.lower(program, VNNI), cpu.lower(program, VNNI, last)
    assert compare(program, table, other, 0.01).max_difference == 0
    weights = bytes(byte ^ 0x55 for byte in table.weights)
    with pytest.raises(CheckFailedError, match="differs"):
        compare(program, table, dataclasses.replace(table, weights=weights), 0.01)


def test_progress_is_a_line_with_a_bar() -> None:
    assert str(Progress(15, 60, 4, 31, 2)) == (
        "tune ━━━━━━────────────────── 15 of 60 s · 4 of 31 layers done, 2 with a faster tile"
    )
    assert "━" * 24 in str(Progress(70, 60, 4, 31, 2))
    json.dumps(str(Progress(0, 0, 0, 0, 0)))
