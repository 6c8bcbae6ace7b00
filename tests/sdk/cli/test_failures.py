"""How `lepton` ends when something is wrong: with the words, with the paths, with itself, with its reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lepton_sdk.cli import targets
from lepton_sdk.cli.main import main
from support.in_process import Lepton

LEPTON = (sys.executable, "-m", "lepton_sdk.cli.main")


class TestWrongUse:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["run", "--json"], "Missing"),
            (["nonsense", "--json"], "nonsense"),
            (["targets", "--nonsense", "--json"], "--nonsense"),
            (["bench", "x", "--threads", "0", "--json"], "--threads"),
            (["bench", "x", "--threads", "many", "--json"], "integer"),
            (["device", "dance", "--json"], "dance"),
        ],
    )
    def test_is_an_error_object_with_json(self, lepton: Lepton, words: Sequence[str], said: str) -> None:
        result = lepton(*words)
        assert result.code == 2
        assert result.json["error"]["type"] == "UsageError"
        assert said in result.json["error"]["message"]
        assert result.json["error"]["details"] == []
        assert said in result.err

    def test_without_words_help_is_shown(self, lepton: Lepton) -> None:
        result = lepton()
        assert result.code == 2
        assert "compile" in result.out + result.err


class TestFault:
    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise ValueError("two\nlines")

        monkeypatch.setattr(targets, "_host_name", fail)

    def test_is_one_line_and_exits_1(self, lepton: Lepton) -> None:
        result = lepton("targets")
        assert result.code == 1
        assert result.out == ""
        (line,) = result.err.splitlines()
        assert line.startswith("lepton: internal error: ValueError: two lines (test_failures.py:")
        assert "report this line" in line

    def test_is_an_error_object_with_json(self, lepton: Lepton) -> None:
        error = lepton("targets", "--json").json["error"]
        assert error["type"] == "InternalError"
        assert "ValueError: two lines" in error["message"]

    def test_traceback_is_for_who_asks(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("LEPTON_TRACEBACK", "1")
        with pytest.raises(SystemExit) as stopped:
            main(["targets"])
        assert stopped.value.code == 1
        assert "Traceback" in capfd.readouterr().err


class TestOutput:
    """Where a result cannot go, no work is begun, and the message names the path that was given."""

    def refused(self, lepton: Lepton, path: Path, examples: Path, output: Path) -> str:
        result = lepton("run", path, "--input", examples, "--output", output)
        assert result.code == 3
        assert f"cannot write {output}: " in result.err
        made = lepton("keygen", "-o", output)
        assert made.code == 3
        assert f"cannot write {output}: " in made.err
        return result.err

    def test_folder(self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path) -> None:
        assert "is a folder" in self.refused(lepton, path, examples, tmp_path)

    def test_missing_folder_is_not_made(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "no" / "such" / "x"
        assert "does not exist" in self.refused(lepton, path, examples, output)
        assert not (tmp_path / "no").exists()

    def test_file_in_the_folders_place(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        self.refused(lepton, path, examples, examples / "x")

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder nobody can write in")
    def test_folder_that_takes_no_files(self, lepton: Lepton, path: Path, examples: Path) -> None:
        self.refused(lepton, path, examples, Path("/proc/x"))

    def test_device(self, lepton: Lepton, path: Path, examples: Path) -> None:
        assert "no ordinary file" in self.refused(lepton, path, examples, Path(os.devnull))
        assert not Path(os.devnull).is_file()

    def test_what_is_read_is_not_written_over(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        before = examples.read_bytes()
        (tmp_path / "link.npz").symlink_to(examples)
        for output in (examples, tmp_path / "x" / ".." / examples.name, tmp_path / "link.npz", path):
            (tmp_path / "x").mkdir(exist_ok=True)
            result = lepton("run", path, "--input", examples, "--output", output)
            assert result.code == 2, output
            assert "which is read here" in result.err
        assert examples.read_bytes() == before


class TestReaderThatLeaves:
    """A pipe whose other end is closed before anything is printed."""

    def ended(self, *words: object) -> int:
        receiving, sending = os.pipe()
        os.close(receiving)
        try:
            done = subprocess.run(
                [*LEPTON, *map(str, words)], stdout=sending, stderr=subprocess.PIPE, text=True, timeout=60
            )
        finally:
            os.close(sending)
        assert "Traceback" not in done.stderr
        assert "Broken" not in done.stderr
        return done.returncode

    @pytest.mark.parametrize("words", [("targets",), ("targets", "--json"), ("--help",), ("--version",)])
    def test_what_was_only_to_be_printed_exits_141(self, words: tuple[str, ...]) -> None:
        assert self.ended(*words) == 141

    def test_a_file_that_was_written_is_success(self, path: Path, examples: Path, tmp_path: Path) -> None:
        output = tmp_path / "outputs.npz"
        for as_json in ((), ("--json",)):
            assert self.ended("run", path, "--input", examples, "--output", output, *as_json) == 0
            assert np.load(output)["y"].shape == (30, 10)
            output.unlink()
        assert self.ended("run", path, "--input", examples) == 141
        assert self.ended("keygen", "-o", tmp_path / "key.pem") == 0
        assert (tmp_path / "key.pem").exists()

    def test_errors_keep_their_codes(self, tmp_path: Path) -> None:
        assert self.ended("verify", tmp_path / "absent.lep", "--json") == 3
        assert self.ended("run", "--json") == 2
