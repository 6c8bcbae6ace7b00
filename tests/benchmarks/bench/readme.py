"""The figures between README.md's markers, written from the run's document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.bench import tables

BEGIN, END = "<!-- written by make bench -->", "<!-- make bench ends -->"
SHOWN = (
    *("ResNet-8", "VWW", "KWS", "AD", "ResNet-50", "MobileNetV2"),
    *("MobileNetV3", "YOLO", "U-Net", "Transformer"),
)


def updated(text: str, document: dict[str, Any]) -> str:
    """README.md with what stands between its markers replaced. Raises ValueError without the markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no {BEGIN} … {END} to write between")
    return "\n".join([f"{before}{BEGIN}", "", *figures(document), "", f"{END}{after}"])


def figures(document: dict[str, Any]) -> list[str]:
    """Two tables: latencies of the shown networks; what else was measured in that run."""
    machine = document["machine"]["processor"]
    return [
        f"One thread on {machine}, {document['date']} (`make bench`); ratio = our least time ÷ that of the",
        "fastest of LiteRT (XNNPACK), ONNX Runtime and OpenVINO, all in turns in one process.",
        "",
        *_latencies(document),
        "",
        *tables.table(("measured besides", "result"), _others(document)),
    ]


def _latencies(document: dict[str, Any]) -> list[str]:
    rows = {
        (row["network"], row["precision"], row["threads"]): row
        for row in document["inference"]
        if not row.get("failed") and row["ratio_min"] is not None
    }
    lines = []
    for network in SHOWN:
        int8, float32 = (rows.get((network, precision, 1)) for precision in ("int8", "float32"))
        if int8 is None:
            continue
        theirs = tables.RIVALS[int8["fastest"]]
        times = int8["latency_us"]
        cells = (
            f"{tables.time(times['lepton']['min'])} µs",
            f"{tables.time(times[int8['fastest']]['min'])} µs ({theirs})",
            f"**{int8['ratio_min']:.2f}**",
            f"**{float32['ratio_min']:.2f}**" if float32 else tables.ABSENT,
            tables.binds(document, int8),
        )
        lines.append((network, *cells))
    head = ("network", "int8, ours", "fastest rival", "ratio", "float32 ratio", "what binds int8")
    return tables.table(head, lines)


def _others(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    two = [
        f"{row['network']} {row['speed_up']['min']:.2f} ×"
        for row in document["inference"]
        if row["threads"] == 2
        and row["network"] in SHOWN
        and row["precision"] == "int8"
        and row.get("speed_up")
    ]
    if two:
        yield "two threads, int8, over one", ", ".join(two)
    steps = [
        f"{row['network']} {row['ratio_min']:.2f} (batch {row['batch']})"
        for row in document["training"]
        if row["threads"] == 1 and row.get("ratio_min")
    ]
    if steps:
        yield "training step ÷ PyTorch's fastest form, one thread", ", ".join(steps)
    cold = [row["cold"] for row in document["devices"] if row["cold"]]
    if cold:
        spans = [
            _span([one[name] for one in cold])
            for name in ("first_inference_ms", "rss_mb", "call_overhead_us")
        ]
        yield (
            "first inference beyond `import numpy`; `.run` over the C function",
            f"{spans[0]} ms, {spans[1]} MB; {spans[2]} µs",
        )


def _span(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}–{high}"
