"""Ratios to the fastest rival as SVG: a bar a contest, one thread above two; the line is 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLOURS = {
    ("int8", 1): "#2f6f9f",
    ("int8", 2): "#8fb8d6",
    ("float32", 1): "#c07a2c",
    ("float32", 2): "#e3bd8d",
}
LEFT, UNIT, BAR, GAP = 190, 420, 13, 8


def chart(document: Mapping[str, Any]) -> str:
    """Bars as long as ratios by least times, shorter is faster; contests without a rival have none."""
    contests: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in document["inference"]:
        if not row.get("failed") and not row.get("beside") and row["ratio_min"] is not None:
            contests.setdefault((row["network"], row["precision"]), []).append(row)
    parts, y, widest = [], 10, UNIT
    for (network, precision), rows in contests.items():
        middle = y + BAR * len(rows) / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end">{network} {precision}</text>')
        for row in rows:
            wide = row["ratio_min"] * UNIT
            widest = max(widest, wide)
            colour = COLOURS.get((precision, row["threads"]), "#777777")
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR - 1}" fill="{colour}"/>')
            label = f"{row['ratio_min']:.2f}" + (f", {row['threads']} threads" if row["threads"] > 1 else "")
            parts.append(f'<text x="{LEFT + wide + 5:.1f}" y="{y + BAR - 3}">{label}</text>')
            y += BAR
        y += GAP
    x = LEFT + UNIT
    parts.append(f'<line x1="{x}" y1="4" x2="{x}" y2="{y}" stroke="#444"/>')
    parts.append(f'<text x="{x}" y="{y + 14}" text-anchor="middle">fastest rival</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + widest + 110:.0f}" height="{y + 24}" '
        f'font-family="sans-serif" font-size="11">{"".join(parts)}</svg>\n'
    )
