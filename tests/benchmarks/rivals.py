"""Latency beside LiteRT, ONNX Runtime and OpenVINO: one thread, all in turns in one run, with a core's peak.

Each rival gets a file of the same network at the same precision: the TFLite file, or ONNX (int8: quantised
by ONNX Runtime's own tool, a scale a channel). Ratios are to the fastest rival, by medians and by least
times: on a machine that others use, the least times are the steadier.
Writes docs/rivals.json, RIVALS.md and rivals.svg.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

import networks  # noqa: E402

from lepton_compilers import QuantizationConfig, compile  # noqa: E402
from lepton_compilers.backends.cpu.machine_peak import peak_call  # noqa: E402
from lepton_sdk import Session  # noqa: E402
from lepton_sdk.benchmark import bound_call, example_inputs, measure  # noqa: E402
from lepton_sdk.peers import open_peer  # noqa: E402
from lepton_targets.errors import LeptonError  # noqa: E402
from support.evaluation_data import data_root  # noqa: E402

TINY = {
    "ResNet-8": ("pretrainedResnet_quant", "pretrainedResnet"),
    "VWW": ("vww_96_int8", "vww_96_float"),
    "KWS": ("kws_ref_model", "kws_ref_model_float32"),
    "AD": ("ad01_int8", "ad01_fp32"),
}
QUANTISED = ("ResNet-50", "MobileNetV2")
PRECISIONS = ("int8", "float32")


@dataclass(frozen=True)
class Contest:
    """A network at a precision: what we compile, and each rival's file as NAME:FILE."""

    network: str
    precision: str
    model: Path
    rivals: tuple[str, ...]
    calibration: np.ndarray | None = None


def contests(folder: Path, wanted: Sequence[str]) -> list[Contest]:
    """Every network named in `wanted`, its files written to `folder` where they are generated."""
    found = []
    for name, files in TINY.items():
        for precision, stem in zip(PRECISIONS, files):
            path = data_root() / "mlperf_tiny" / f"{stem}.tflite"
            if name in wanted and path.is_file():
                found.append(Contest(name, precision, path, (f"litert:{path}", f"openvino:{path}")))
    for name, path in networks.write_networks(
        folder, [n for n in networks.LARGE_NETWORKS if n in wanted]
    ).items():
        found.append(Contest(name, "float32", path, (f"onnxruntime:{path}", f"openvino:{path}")))
        if name in QUANTISED:
            random = np.random.default_rng(0)
            samples = random.normal(size=(2, 3, networks.SIDE, networks.SIDE)).astype(np.float32)
            theirs = networks.quantised(path, samples)
            rivals = (f"onnxruntime:{theirs}", f"openvino:{theirs}")
            found.append(Contest(name, "int8", path, rivals, samples))
    return sorted(found, key=lambda c: -PRECISIONS.index(c.precision), reverse=True)


def hold(contest: Contest, seconds: float) -> dict[str, Any]:
    """Compile, open every rival, measure all in turns."""
    options: dict[str, Any] = {}
    if contest.calibration is not None:
        options = {
            "quantization": QuantizationConfig(),
            "calibration": {networks.INPUT: contest.calibration},
        }
    bundle = compile(contest.model, "host", **options)
    session = Session(bundle)
    inputs = example_inputs(session)
    names, calls = ["lepton"], [bound_call(session, "infer", inputs)]
    versions: dict[str, str] = {}
    order = [inputs[spec.name] for spec in session.interface().inputs]
    for text in contest.rivals:
        try:
            peer = open_peer(text, order)
            peer.call()
        except (LeptonError, RuntimeError) as error:
            print(f"  {text.partition(':')[0]} left out: {error}", file=sys.stderr)
            continue
        names.append(peer.name)
        calls.append(peer.call)
        versions[peer.name] = peer.version
    peak = peak_call(session.target, contest.precision)
    if peak is not None:
        calls.append(peak[0])
    taken = measure(calls, seconds)
    times = {name: latency.to_json() for name, latency in zip(names, taken)}
    row: dict[str, Any] = {
        "network": contest.network,
        "precision": contest.precision,
        "target": session.target,
        "macs": bundle.program().macs(),
        "latency_us": times,
        "versions": versions,
        "kind": "measured",
    }
    for key in ("median", "min"):
        row[f"ratio_{key}"] = times["lepton"][key] / min(times[name][key] for name in versions)
    row["peak_fraction"] = None
    if peak is not None:
        row["peak_fraction"] = (row["macs"] / times["lepton"]["min"]) / (peak[1] / taken[-1].min)
    return row


def table(document: dict[str, Any]) -> list[str]:
    """Markdown rows of a document that `main` wrote."""
    rivals = ("litert", "onnxruntime", "openvino")
    lines = [
        "| network | precision | ours µs | LiteRT | ONNX Runtime | OpenVINO | ratio median | ratio min "
        "| of peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        times = row["latency_us"]
        cells = [f"{times[name]['min']:.1f}" if name in times else "–" for name in ("lepton", *rivals)]
        share = f"{row['peak_fraction']:.0%}" if row["peak_fraction"] else "–"
        ratios = f"{row['ratio_median']:.2f} | {row['ratio_min']:.2f}"
        lines.append(f"| {row['network']} | {row['precision']} | {' | '.join(cells)} | {ratios} | {share} |")
    for precision in PRECISIONS:
        tiny = [
            r["ratio_min"] for r in document["rows"] if r["precision"] == precision and r["network"] in TINY
        ]
        if tiny:
            mean = math.exp(sum(map(math.log, tiny)) / len(tiny))
            lines.append(f"| geometric mean of the first {len(tiny)} | {precision} |||||| {mean:.2f} ||")
    return lines


def page(document: dict[str, Any]) -> str:
    """docs/RIVALS.md."""
    return "\n".join(
        [
            "# Beside other runtimes",
            "",
            f"Measured {document['date']} on {document['machine']}, {document['cores']} cores, one thread,",
            "by `make rivals`: every row's runtimes took turns in one process. Times",
            "are the least of their batches in microseconds; ratios are ours ÷ the fastest rival's, so below",
            "1 is faster. `of peak`: the network's multiply-accumulates a second over those of a loop that",
            "does nothing else; products that Winograd saves count. OpenVINO computes in float32 where the",
            "file does. The load on this machine's cores averaged "
            f"{document['load']:.1f}: where that is more than a core or two, medians show who was",
            "interrupted, and only the least times compare. Versions: "
            + ", ".join(f"{name} {version}" for name, version in sorted(document["versions"].items()))
            + ".",
            "",
            "![ratios](rivals.svg)",
            "",
            *table(document),
            "",
        ]
    )


def chart(document: dict[str, Any]) -> str:
    """A bar for every row, as long as its ratio by least times; the line is 1."""
    rows, unit, left, step = document["rows"], 420, 190, 22
    height = step * len(rows) + 30
    bars = []
    for index, row in enumerate(rows):
        y, colour = 10 + step * index, "#2f6f9f" if row["precision"] == "int8" else "#c07a2c"
        wide = row["ratio_min"] * unit
        name = f"{row['network']} {row['precision']}"
        bars.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        bars.append(f'<rect x="{left}" y="{y}" width="{wide:.1f}" height="{step - 6}" fill="{colour}"/>')
        bars.append(f'<text x="{left + wide + 5:.1f}" y="{y + 13}">{row["ratio_min"]:.2f}</text>')
    line = f'<line x1="{left + unit}" y1="4" x2="{left + unit}" y2="{height - 22}" stroke="#444"/>'
    note = f'<text x="{left + unit}" y="{height - 8}" text-anchor="middle">fastest rival</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + unit + 110}" height="{height}" '
        f'font-family="sans-serif" font-size="12">{"".join(bars)}{line}{note}</svg>\n'
    )


def main() -> None:
    """Measure, then write the three files."""
    from bench import processor

    every = (*TINY, *networks.LARGE_NETWORKS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(every), help="names, separated by commas")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to measure each")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of the three files")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for contest in contests(Path(folder), arguments.networks.split(",")):
            row = hold(contest, arguments.seconds)
            rows.append(row)
            print(
                f"{row['network']:13} {row['precision']:8} {row['ratio_median']:.3f} of the fastest rival "
                f"(least times {row['ratio_min']:.3f})",
                file=sys.stderr,
            )
    document = {
        "date": datetime.date.today().isoformat(),
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": os.getloadavg()[2],
        "versions": {name: version for row in rows for name, version in row["versions"].items()},
        "rows": rows,
    }
    (arguments.output / "rivals.json").write_text(json.dumps(document, indent=1) + "\n")
    (arguments.output / "RIVALS.md").write_text(page(document))
    (arguments.output / "rivals.svg").write_text(chart(document))


if __name__ == "__main__":
    main()
