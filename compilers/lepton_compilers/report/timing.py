"""What each layer takes on the machine that writes the report, where that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lepton_compilers.report.tables import bar, cell, frame
from lepton_compilers.report.text import count, escaped, percent, shortened
from lepton_sdk.layer_times import LayerTime, measure_layers
from lepton_sdk.session import Session

LONGEST_NAME = 28


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured by `Session.profile`. target: whose code ran. steps_us: the layers' sum of medians.

    whole_min_us, whole_median_us: of `infer` without readings of the clock, in turns with it.
    """

    target: str
    steps_us: float
    whole_min_us: float
    whole_median_us: float
    layers: tuple[LayerTime, ...]


def timed(session: Session, seconds: float) -> Timing:
    """The layers of `infer`, measured for about `seconds`. Raises as `Session.profile` does."""
    found = measure_layers(session.engine, session.bundle, seconds)
    whole = found.whole
    return Timing(session.target, found.steps_us, whole.min, whole.median, found.layers)


def timing(found: Timing | None) -> str:
    """The section; empty where nothing was measured."""
    if found is None:
        return ""
    longest = max((layer.share for layer in found.layers), default=0) or 1.0
    rows = []
    for layer in found.layers:
        kernels = ", ".join(dict.fromkeys(name for step in layer.steps for name in step.kernels))
        speed = layer.gmacs_per_s
        cells = (
            cell(shortened(layer.name, LONGEST_NAME)),
            cell(layer.operation),
            cell(kernels),
            cell(layer.shapes, "left"),
            bar(f"{layer.median_us:.2f}", layer.share / longest),
            cell(percent(layer.share)),
            cell(count(layer.macs) if layer.macs else ""),
            cell(f"{speed:.1f}" if speed else ""),
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    conversions = sum(layer.share for layer in found.layers if layer.conversion)
    note = (
        f"Medians on the machine that wrote this page, of its code for {found.target} on one thread. The "
        f"layers sum to {found.steps_us:.2f} µs; the whole takes {found.whole_median_us:.2f} µs, "
        f"{found.whole_min_us:.2f} at least, more where the machine does other work too. "
        f"{percent(conversions)} bring tensors into the form that kernels want, which is no layer's own work."
    )
    head = ("result", "operation", "kernels", "shapes", "µs", "share", "multiply-adds", "10⁹/s")
    return f'<h2>Time by layer</h2><p class="quiet">{escaped(note)}</p>{frame(head, rows)}'
