"""Pictures as inline SVG. Colours are CSS variables of the page, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_compilers.report.fidelity import LayerFidelity
from lepton_compilers.report.structure import Layer
from lepton_compilers.report.text import escaped, shortened

_ROW = 30
_LEFT = 70
_WIDTH = 380


def graph(layers: Sequence[Layer], inputs: Sequence[str]) -> str:
    """The program from top to bottom; a tensor that skips layers runs down the left side."""
    height = (len(layers) + 1) * _ROW + 10
    parts = [_box(-1, "input", ", ".join(inputs), "real")]
    lanes: list[int] = []
    for layer in layers:
        kind = "integer" if layer.dtype in ("int8", "int16") else "real"
        parts.append(_box(layer.step, layer.operation, layer.output, kind))
        for source in sorted(layer.reads, reverse=True):
            if source == layer.step - 1:
                x, y = _LEFT + 14, _top(layer.step)
                parts.append(f'<path class="edge" d="M{x} {y - 6}V{y}"/>')
                continue
            free = (number for number, until in enumerate(lanes) if until < source)
            lane = next(free, len(lanes))
            lanes[lane : lane + 1] = [layer.step]
            parts.append(_skip(source, layer.step, lane))
    body = "".join(parts)
    return f'<svg class="graph" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="layers">{body}</svg>'


def _top(step: int) -> int:
    return 5 + (step + 1) * _ROW


def _box(step: int, title: str, name: str, kind: str) -> str:
    y = _top(step)
    hint = escaped(f"step {step}: {title}, {name}") if step >= 0 else escaped(name)
    return (
        f'<g><title>{hint}</title><rect class="{kind}" x="{_LEFT}" y="{y}" width="{_WIDTH - _LEFT - 5}" '
        f'height="{_ROW - 6}" rx="4"/><text x="{_LEFT + 8}" y="{y + 16}">{escaped(title)}</text>'
        f'<text class="name" x="{_WIDTH - 12}" y="{y + 16}">{escaped(shortened(name, 26))}</text></g>'
    )


def _skip(source: int, step: int, lane: int) -> str:
    # Lanes beyond the space there is lie on each other: a crowded picture, never one that leaves the page.
    x = _LEFT - 12 - 9 * min(lane, 5)
    begin, end = _top(source) + 16, _top(step) + 8
    return f'<path class="edge" d="M{_LEFT} {begin}H{x}V{end}H{_LEFT}"/>'


def histogram(row: LayerFidelity) -> str:
    """float values over the integers' range; heights are logarithms of counts. Red: what saturates."""
    peak = math.log1p(max(row.histogram))
    width, height = 256, 60
    each = width / len(row.histogram)
    thick = f"{each - 0.6:.1f}"
    bars = "".join(
        f'<rect class="bar" x="{i * each:.1f}" y="{height - h:.1f}" width="{thick}" height="{h:.1f}"/>'
        for i, count in enumerate(row.histogram)
        if (h := height * math.log1p(count) / peak if peak else 0.0)
    )
    if row.saturated:
        below, above = row.float_low < row.int8_low, row.float_high > row.int8_high
        bars += '<rect class="bad" x="0" y="0" width="3" height="60"/>' if below else ""
        bars += '<rect class="bad" x="253" y="0" width="3" height="60"/>' if above else ""
    zero = width * -row.int8_low / (row.int8_high - row.int8_low)
    return (
        f'<svg viewBox="0 0 {width} {height + 14}" role="img" aria-label="histogram">{bars}'
        f'<path class="axis" d="M0 {height}H{width}M{zero:.1f} {height}v4"/>'
        f'<text x="0" y="{height + 12}">{row.int8_low:.3g}</text>'
        f'<text class="name" x="{width}" y="{height + 12}">{row.int8_high:.3g}</text></svg>'
    )


def roc(curves: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Every class's curve in one square, false positives to the right."""
    side, margin = 260, 26
    paths = []
    for curve in curves:
        points = " ".join(
            f"{margin + side * false:.1f},{8 + side * (1 - true):.1f}"
            for false, true in zip(curve["false_positive_rates"], curve["true_positive_rates"])
        )
        number = curve["class"]
        hint = escaped(f"{number} {names[number] if number < len(names) else ''}: {curve['area']:.4f}")
        hue = round(number * 137.5) % 360
        paths.append(
            f'<polyline points="{points}" style="stroke:hsl({hue} 65% 50%)"><title>{hint}</title></polyline>'
        )
    diagonal = f"M{margin} {8 + side}L{margin + side} 8"
    return (
        f'<svg class="roc" viewBox="0 0 {side + margin + 8} {side + 36}" role="img" aria-label="ROC curves">'
        f'<rect class="frame" x="{margin}" y="8" width="{side}" height="{side}"/>'
        f'<path class="chance" d="{diagonal}"/>{"".join(paths)}'
        f'<text x="{margin}" y="{side + 26}">false positives 0 … 1</text>'
        f'<text transform="rotate(-90 14 {side})" x="14" y="{side}">true positives 0 … 1</text></svg>'
    )
