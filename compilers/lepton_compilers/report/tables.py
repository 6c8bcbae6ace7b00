"""Tables of the report's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lepton_compilers.report.text import escaped


def cell(value: object, kind: str = "") -> str:
    """A cell; numbers stand right. kind: further classes."""
    numeric = isinstance(value, int) or (isinstance(value, str) and value.lstrip("−–")[:1].isdigit())
    kinds = " ".join(filter(None, (kind, "n" if numeric and not kind else "")))
    return f'<td class="{kinds}">{escaped(value)}</td>' if kinds else f"<td>{escaped(value)}</td>"


def bar(text: str, share: float) -> str:
    """A number over a bar that fills `share` of its cell."""
    return f'<td class="n bar" style="--share:{min(share, 1.0) * 100:.1f}%">{escaped(text)}</td>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows of plain values."""
    return frame(head, [f"<tr>{''.join(map(cell, row))}</tr>" for row in rows])


def frame(head: Sequence[str], rows: Sequence[str]) -> str:
    """Rows that are HTML already, under a head, in a box that scrolls."""
    columns = "".join(f"<th>{escaped(name)}</th>" for name in head)
    top = f"<thead><tr>{columns}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{top}<tbody>{"".join(rows)}</tbody></table></div>'
