"""What commands print: one JSON object for programs, tables for people. Progress goes to stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lepton_targets.errors import LeptonError


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """An aligned table; numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def print_error(error: LeptonError, as_json: bool) -> None:
    """`lepton: …` on stderr; with as_json an object on stdout too."""
    print(f"lepton: {error}", file=sys.stderr)
    if as_json:
        details = {"type": type(error).__name__, "message": error.message, "details": list(error.details)}
        print_json({"error": details})


@contextlib.contextmanager
def progress_bar(title: str, total: int, silent: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, told how many of `total` are done; none with `silent` or without a terminal."""
    if silent or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
