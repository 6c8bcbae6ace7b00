"""What commands show: tables without trailing blanks, counts that read well, bars only on a terminal."""

from __future__ import annotations

import sys
import threading

import pytest

from lepton_sdk.cli.output import counted, print_table, progress_bar


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 layers"), (1, "1 layer"), (2, "2 layers"), (1234, "1,234 layers")]
)
def test_counts(n: int, text: str) -> None:
    assert counted(n, "layer") == text


def test_a_table_keeps_its_title_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    title = "a title that is wider than the table"
    print_table(("a", "b"), [("x", 1), ("longer", 1000)], title=title)
    assert capsys.readouterr().out.splitlines() == [title, "a           b", "x           1", "longer  1,000"]


def test_a_bar_is_for_a_terminal_that_was_not_silenced(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for silent, terminal in ((True, True), (False, False)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with progress_bar("work", 10, silent) as told:
            told(5)
        assert capfd.readouterr().err == ""


def test_no_thread_draws_the_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One would take turns with what is measured."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    before = threading.active_count()
    with progress_bar("work", 10, False) as told:
        told(5)
        assert threading.active_count() == before
    assert "work" in capfd.readouterr().err
