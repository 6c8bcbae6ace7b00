"""What commands print: one JSON object for programs, tables for people. Progress goes to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lepton_targets.errors import LeptonError

_REDRAWN_SECONDS = 0.1


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """An aligned table; numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=200)
    # Rich would end the process by its own rules where the reader of our output has left.
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().rstrip("\n").split("\n")
    # A title inside the table would be folded to the table's width.
    print("\n".join((*(() if title is None else (title,)), *(line.rstrip() for line in lines))))


def print_error(error: LeptonError, as_json: bool) -> None:
    """`lepton: …` on stderr; with as_json an object on stdout too."""
    print(f"lepton: {error}", file=sys.stderr)
    print_failure(type(error).__name__, error.message, error.details, as_json)


def print_failure(kind: str, message: str, details: Sequence[str], as_json: bool) -> None:
    """The object of a failure on stdout, with as_json; whether someone reads it changes no exit code."""
    if as_json:
        with work_is_done():
            print_json({"error": {"type": kind, "message": message, "details": list(details)}})


@contextlib.contextmanager
def work_is_done() -> Iterator[None]:
    """Around what is printed when a command's outcome stands: a reader that leaves changes it no more."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Let all further output go nowhere, the interpreter's last flush too: whoever read it has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def progress_bar(title: str, total: float, silent: bool) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, told how many of `total` are done; none with `silent` or without a terminal.

    It is drawn anew where it is told, ten times a second at most: no thread disturbs what is measured.
    """
    if silent or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task, drawn = bar.add_task(title, total=total), 0.0

        def told(done: float) -> None:
            nonlocal drawn
            if (now := time.monotonic()) - drawn > _REDRAWN_SECONDS:
                drawn = now
                bar.update(task, completed=done, refresh=True)

        told(0)
        yield told


def counted(n: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
