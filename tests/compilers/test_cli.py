"""`lepton compile` as it is used wrongly: told before the work, with what to do; the model is never read."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.evaluation_data import committed_kws
from support.in_process import run_here

MODEL, _, _ = committed_kws()


@pytest.mark.parametrize(
    ("options", "said", "advice"),
    [
        (("--c-weights", "file"), "--c-weights belongs to a C project", "--emit c-project"),
        (("--c-weights", "zip"), "--c-weights is 'zip'; accepted: auto, array, file", ""),
        (("--emit", "c-project", "--c-weights", "zip"), "accepted: auto, array, file", ""),
        (("--batch", "8"), "nothing is to be trained", "--trainable all"),
        (("--quantize", "int4"), "--quantize is 'int4'; accepted: none, int8, int8x16", ""),
        (("--int16", "layer"), "--int16 names layers of a quantised network", "--quantize int8"),
    ],
)
def test_options_without_what_they_belong_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], said: str, advice: str
) -> None:
    result = run_here(capfd, "compile", MODEL, *options, "-o", tmp_path / "x.lep", "--json")
    assert result.code == 2
    assert said in result.json["error"]["message"]
    assert advice in " ".join(result.json["error"]["details"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "labels.txt as text: No such file or directory"),
        ("one\n", "there is 1 label, and the model's output Identity has 12 scores"),
        ("one\ntwo\n", "there are 2 labels"),
    ],
)
def test_labels(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str | None, said: str) -> None:
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_text(content)
    result = run_here(capfd, "compile", MODEL, "--labels", labels, "-o", tmp_path / "x.lep")
    assert result.code == 3
    assert said in result.err


def test_the_passes_stand_in_columns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = run_here(capfd, "compile", MODEL, "--dry-run", "--explain").out
    rows = [line for line in shown.splitlines() if " ms  " in line]
    assert len(rows) > 5
    assert len({line.index(" ms  ") for line in rows}) == 1
    found = run_here(capfd, "compile", MODEL, "--dry-run", "--explain", "--json").json
    assert [line.split()[0] for line in rows] == [one["name"] for one in found["passes"]]
