"""The table of `lepton bench --layers`: where a function's time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_sdk.cli.output import print_table
from lepton_sdk.layer_times import LayerTime, LayerTimes

_BUSY = 1.25
"""Whole runs by the sum of their steps, from where on something else took the difference."""


def to_json(times: LayerTimes, peaks: Mapping[str, float]) -> dict[str, Any]:
    """Plain values; above_peak_us: time beyond that of the multiply-accumulates at the peak.

    peaks: multiply-accumulates in 10⁹ a second that a core can do at most, by type.
    """
    return {
        "steps_us": times.steps_us,
        "with_readings_us": times.timed_us,
        "whole_us": times.whole.to_json(),
        "clock_reading_ns": times.reading_ns,
        "clock_readings": times.readings,
        "peak_gmacs_per_s": dict(peaks),
        "layers": [_layer(layer, peaks.get(layer.dtype)) for layer in times.layers],
    }


def _layer(layer: LayerTime, peak: float | None) -> dict[str, Any]:
    speed = layer.gmacs_per_s
    return {
        "name": layer.name,
        "operation": layer.operation,
        "conversion": layer.conversion,
        "shapes": layer.shapes,
        "dtype": layer.dtype,
        "latency_us": {"min": layer.min_us, "median": layer.median_us},
        "share": layer.share,
        "macs": layer.macs,
        "gmacs_per_s": speed,
        "peak_fraction": speed / peak if speed and peak else None,
        "above_peak_us": layer.median_us - layer.macs / peak / 1e3 if peak else None,
        "steps": [
            {
                "kernels": list(step.kernels),
                "latency_us": {"min": step.min_us, "median": step.median_us},
                "parts": step.parts,
            }
            for step in layer.steps
        ],
    }


def print_layers(report: Mapping[str, Any]) -> None:
    """What `to_json` gives, as a table: a row a layer, below it its kernels where it has several.

    above µs: what a layer takes beyond its multiply-accumulates at the peak; Winograd's method may take less.
    """
    peaks = bool(report["peak_gmacs_per_s"])
    columns: tuple[str, ...] = ("layer", "operation", "kernel", "shapes", "µs", "share", "MACs", "G MAC/s")
    columns += ("of peak", "above µs") if peaks else ()
    rows: list[tuple[str, ...]] = []
    for layer in report["layers"]:
        steps = layer["steps"]
        kernels = _kernels(steps[0]) if len(steps) == 1 else f"{len(steps)} kernels"
        speed, fraction, above = layer["gmacs_per_s"], layer["peak_fraction"], layer["above_peak_us"]
        beside = ("" if fraction is None else f"{fraction:.0%}", "" if above is None else f"{above:.2f}")
        rows.append(
            (
                _shortened(layer["name"]),
                layer["operation"],
                kernels,
                layer["shapes"],
                f"{layer['latency_us']['median']:.2f}",
                f"{layer['share']:.1%}",
                f"{layer['macs']:,}" if layer["macs"] else "",
                f"{speed:.1f}" if speed else "",
                *(beside if peaks else ()),
            )
        )
        if len(steps) > 1:
            rows += [
                (
                    "",
                    "",
                    f"  {_kernels(s)}",
                    "",
                    f"{s['latency_us']['median']:.2f}",
                    *[""] * (len(columns) - 5),
                )
                for s in steps
            ]
    print()
    print_table(columns, _aligned(columns, rows, first=4))
    print()
    print_table(("kernel", "steps", "µs", "share"), _by_kernel(report))
    conversions = sum(layer["share"] for layer in report["layers"] if layer["conversion"])
    print(f"  {conversions:.1%} in conversions, which belong to no layer")
    print(
        f"  steps {report['steps_us']:.2f} µs; whole runs {report['with_readings_us']:.2f} µs with clock "
        f"readings, {report['whole_us']['median']:.2f} µs without; {report['clock_readings']} readings of "
        f"{report['clock_reading_ns']:.0f} ns are taken off the steps"
    )
    if report["whole_us"]["median"] > _BUSY * report["steps_us"]:
        print("  this machine does other work too: whole runs are interrupted more often than single steps")


def _by_kernel(report: Mapping[str, Any]) -> list[tuple[str, int, float, str]]:
    """A row for all steps of a kernel, the one that takes most first."""
    times: dict[str, list[float]] = {}
    for layer in report["layers"]:
        for step in layer["steps"]:
            times.setdefault(", ".join(step["kernels"]), []).append(step["latency_us"]["median"])
    total = report["steps_us"] or 1.0
    rows = [(name, len(own), sum(own), f"{sum(own) / total:.1%}") for name, own in times.items()]
    return sorted(rows, key=lambda row: -row[2])


def _aligned(columns: Sequence[str], rows: Sequence[tuple[str, ...]], first: int) -> list[tuple[str, ...]]:
    """Figures from column `first` on, to the right."""
    widths = [max(map(len, (name, *column))) for name, column in zip(columns, zip(*rows))]
    return [(*row[:first], *(cell.rjust(w) for cell, w in zip(row[first:], widths[first:]))) for row in rows]


def _kernels(step: Mapping[str, Any]) -> str:
    parts = f" in {step['parts']} parts" if step["parts"] > 1 else ""
    return ", ".join(step["kernels"]) + parts


def _shortened(name: str, letters: int = 36) -> str:
    return name if len(name) <= letters else f"…{name[1 - letters :]}"
