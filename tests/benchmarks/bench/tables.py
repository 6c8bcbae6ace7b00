"""The document that `make bench` writes as JSON, as tables of Markdown; every function gives its lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.bench.contests import MEAN_OF, PRECISIONS
from benchmarks.bench.inference import BESIDE, OURS
from benchmarks.bench.roofline import CALL, MAPS, MULTIPLIES, WEIGHTS, Floor, Limits, Work, floor

Row = Mapping[str, Any]
Document = Mapping[str, Any]

ABSENT = "–"
BUSY = "†"
"""Behind the name of a row during which other processes kept cores busy."""

RIVALS = {"litert": "LiteRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
FORMS = {"eager": "eager", "channels last": "channels last", "compiled": "compiled"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A head, the line under it, a line a row."""
    return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]


def inference(document: Document, threads: int) -> list[str]:
    """Every contest at so many threads; with one the share of the peak and what binds, else the speed-up."""
    rows = [r for r in document["inference"] if r["threads"] == threads and not r.get("beside")]
    if not rows:
        return ["Not measured in this run."]
    head = ["network", "precision", "ours µs", *RIVALS.values(), "ratio median", "ratio min"]
    head += ["of peak", "what binds"] if threads == 1 else ["speed-up of ours"]
    lines = []
    for row in rows:
        if failed := row.get("failed"):
            lines.append([row["network"], row["precision"], failed])
            continue
        cells = [_named(row, document), row["precision"], *_times(row, ("lepton", *RIVALS)), *_ratios(row)]
        if threads == 1:
            cells += [_share(row["peak_fraction"]), binds(document, row)]
        else:
            cells.append(_speed_up(row))
        lines.append(cells)
    lines += [_mean(rows, precision, len(head)) for precision in PRECISIONS if _counted(rows, precision)]
    return table(head, (_filled(line, len(head)) for line in lines))


def besides(document: Document) -> list[str]:
    """Contests whose rival is our own code at another precision."""
    head = (
        "network",
        "precision",
        "threads",
        "ours µs",
        "beside",
        "its µs",
        "ratio median",
        "ratio min",
        "of peak",
    )
    lines = []
    for row in document["inference"]:
        if not row.get("beside"):
            continue
        start = [_named(row, document), row["precision"], str(row["threads"])]
        if failed := row.get("failed"):
            lines.append([*start, failed])
            continue
        ours, other = _times(row, (OURS, BESIDE))
        cells = [ours, row["beside"], other, *_ratios(row), _share(row["peak_fraction"])]
        lines.append([*start, *cells])
    return table(head, (_filled(line, len(head)) for line in lines)) if lines else []


def floors(document: Document) -> list[str]:
    """Of each time with one thread, what the limits account for, and the rest."""
    head = (
        "network",
        "precision",
        "multiplies",
        "weights",
        "maps",
        "call",
        "rest",
        "least time µs",
        "ours µs",
    )
    lines = []
    for row in document["inference"]:
        found = row_floor(document, row)
        if found is None:
            continue
        least = row["latency_us"]["lepton"]["min"]
        shares = found.shares(least)
        cells = [
            f"{shares[name]:.0%}".replace("-0%", "0%") for name in (MULTIPLIES, WEIGHTS, MAPS, CALL, "rest")
        ]
        cells[1] += f" {found.weights_level}"
        cells[2] += f" {found.maps_level}"
        lines.append((row["network"], row["precision"], *cells, time(found.total_us), time(least)))
    return table(head, lines)


def row_floor(document: Document, row: Row) -> Floor | None:
    """The least time of a row with one thread; None where it failed or nothing is known of its layers."""
    layers = document["builds"].get(key(row), {}).get("layers")
    if row["threads"] != 1 or row.get("failed") or not layers or not document.get("limits"):
        return None
    return floor([Work(**layer) for layer in layers], Limits.of(document["limits"]))


def binds(document: Document, row: Row) -> str:
    """The limit that binds a row, with its share of the time."""
    found = row_floor(document, row)
    return ABSENT if found is None else found.binds(row["latency_us"]["lepton"]["min"])


def key(row: Row) -> str:
    """A contest's name in `builds`."""
    return f"{row['network']} {row['precision']}"


def limits(document: Document) -> list[str]:
    """What one core was measured to do."""
    found = document["limits"]
    lines = [(f"multiplies, {dtype}", f"{rate / 1e3:.0f} G/s") for dtype, rate in found["macs_a_us"].items()]
    for level in found["levels"]:
        size = "" if level["bytes"] is None else f" ({level['bytes'] // 1024:,} KiB)"
        lines.append((f"reads from {level['name']}{size}", f"{level['bytes_a_us'] / 1e3:.0f} GB/s"))
    return table(
        ("one core", "measured"), [*lines, ("a call of a bound network", f"{found['call_us']:.2f} µs")]
    )


def training(document: Document) -> list[str]:
    """Every training step beside PyTorch's forms."""
    head = ("network", "batch", "threads", "ours µs", *(f"PyTorch {form}" for form in FORMS.values()))
    head += ("ratio median", "ratio min", "goal", "of peak")
    lines = []
    for row in document["training"]:
        start = [_named(row, document), str(row["batch"]), str(row["threads"])]
        if reason := row.get("failed") or row.get("refused"):
            lines.append([*start, f"not trained: {reason}"])
            continue
        goal = f"{row['goal']:.2f}" if row["threads"] == 1 and row["goal"] else ABSENT
        cells = [*_times(row, ("lepton", *FORMS)), *_ratios(row), goal, _share(row["peak_fraction"])]
        lines.append([*start, *cells])
    return table(head, (_filled(line, len(head)) for line in lines))


def devices(document: Document) -> list[str]:
    """Sizes, seconds of compiling and the ratio to LiteRT, by target."""
    head = ("network", "target", "ours µs", "LiteRT µs", "ratio", "code", "weights", "arena", "compile")
    lines = []
    for row in document["devices"]:
        times = (row["latency_us"]["median"], row["against"]["latency_us"]["median"])
        sizes = (f"{row[name] / 1024:.0f} KiB" for name in ("code_bytes", "weights_bytes", "arena_bytes"))
        cells = (*map(time, times), f"{row['ratio_median']:.2f}", *sizes, f"{row['compile_s']:.1f} s")
        lines.append((row["network"], row["target"], *cells))
    return table(head, lines)


def first_inferences(document: Document) -> list[str]:
    """What a fresh process needs to its first result, beyond `import numpy`."""
    head = ("network", "first inference ms", "memory MB", "`.run` over the C function µs", "numpy alone")
    lines = []
    for row in document["devices"]:
        if cold := row["cold"]:
            numpy = f"{cold['numpy_import_ms']:.0f} ms, {cold['numpy_rss_mb']:.0f} MB"
            own = (f"{cold[name]:.1f}" for name in ("first_inference_ms", "rss_mb", "call_overhead_us"))
            lines.append((row["network"], *own, numpy))
    return table(head, lines)


def time(us: float) -> str:
    """Microseconds with as many digits as mean something."""
    return f"{us:.2f}" if us < 10 else f"{us:.1f}" if us < 1000 else f"{us:,.0f}"


def mean(rows: Iterable[Row], precision: str, value: Callable[[Row], float]) -> float | None:
    """Geometric mean over MEAN_OF at a precision; None where there is none."""
    found = [math.log(value(row)) for row in _counted(rows, precision)]
    return math.exp(math.fsum(found) / len(found)) if found else None


def _counted(rows: Iterable[Row], precision: str) -> list[Row]:
    return [r for r in rows if r["precision"] == precision and r["network"] in MEAN_OF and r.get("ratio_min")]


def _mean(rows: Sequence[Row], precision: str, width: int) -> list[str]:
    counted = len(_counted(rows, precision))
    means = [mean(rows, precision, lambda row, k=k: row[f"ratio_{k}"]) for k in ("median", "min")]  # type: ignore[misc]
    cells = [f"geometric mean of {counted}", precision, *[""] * (1 + len(RIVALS))]
    return [*cells, *(f"{value:.2f}" for value in means if value is not None), *[""] * (width - 8)]


def _named(row: Row, document: Document) -> str:
    return row["network"] + (f" {BUSY}" if row.get("others_cores", 0) > document["busy_cores"] else "")


def _times(row: Row, names: Iterable[str]) -> list[str]:
    times = row["latency_us"]
    return [time(times[name]["min"]) if name in times else ABSENT for name in names]


def _ratios(row: Row) -> list[str]:
    found = (row[f"ratio_{name}"] for name in ("median", "min"))
    return [ABSENT if ratio is None else f"{ratio:.2f}" for ratio in found]


def _share(fraction: float | None) -> str:
    return ABSENT if fraction is None else f"{fraction:.0%}"


def _speed_up(row: Row) -> str:
    if row["threads_used"] == 1:
        return "runs on one"
    return ABSENT if row["speed_up"] is None else f"{row['speed_up']['min']:.2f} ×"


def _filled(cells: Sequence[str], width: int) -> list[str]:
    return [*cells, *[""] * (width - len(cells))]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")
