"""`make bench`: every figure of docs/BENCHMARKS.md, measured through the public command.

Each network is compiled for this machine and timed against LiteRT by `lepton bench --against`, which
alternates the two in one process; the ratio is what counts, for timings of different runs don't compare.
Writes docs/benchmarks.json and docs/BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

sys.path.insert(0, str(Path(__file__).parent))

import fidelity  # noqa: E402
import rivals  # noqa: E402

from support.evaluation_data import data_root  # noqa: E402

NETWORKS = {
    "ResNet-8": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "VWW": "mlperf_tiny/vww_96_int8.tflite",
    "KWS": "mlperf_tiny/kws_ref_model.tflite",
    "AD": "mlperf_tiny/ad01_int8.tflite",
    "wake word": "mlperf_tiny/str_ww_ref_model.tflite",
}

LINKS = (
    "Other measurements: [RIVALS.md](RIVALS.md) beside three runtimes, [INSTRUCTIONS.md](INSTRUCTIONS.md)",
    "counted by instruction set, [FIDELITY.md](FIDELITY.md) nearness to float,",
    "[onnx-coverage.md](onnx-coverage.md) ONNX's node tests.",
)
"""Where docs/BENCHMARKS.md sends those who look for more."""


def lepton(*arguments: str) -> dict[str, Any]:
    """Run `lepton … --json` as a user would and give its JSON."""
    command = [str(Path(sys.executable).parent / "lepton"), *arguments, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr}{result.stdout}")
    return json.loads(result.stdout.splitlines()[-1])


def measure(folder: Path, targets: list[str]) -> list[dict[str, Any]]:
    """One row a network and target."""
    rows = []
    for name, file in NETWORKS.items():
        model = data_root() / file
        if not model.is_file():
            print(f"{name}: {file} is not there; left out", file=sys.stderr)
            continue
        for target in targets:
            bundle = folder / f"{model.stem}.{target}.lep"
            compiled = lepton("compile", str(model), "--target", target, "-o", str(bundle))
            timed = lepton("bench", str(bundle), "--against", f"litert:{model}")
            cold = lepton("bench", str(bundle), "--cold")["cold"]
            row = {
                "network": name,
                "target": compiled["artifacts"][0]["target"],
                "macs": compiled["macs"],
                "code_bytes": compiled["artifacts"][0]["code_bytes"],
                "weights_bytes": compiled["artifacts"][0]["weights_bytes"],
                "arena_bytes": compiled["artifacts"][0]["arena_bytes"],
                "compile_s": compiled["seconds"],
                "latency_us": timed["latency_us"],
                "against": timed["against"],
                "ratio_median": timed["ratio_median"],
                "ratio_min": timed["ratio_min"],
                "cold": cold,
                "kind": "measured",
            }
            rows.append(row)
            print(
                f"{name:10} {row['target']:18} {row['ratio_median']:.3f} of LiteRT (median)", file=sys.stderr
            )
    return rows


def processor() -> str:
    """The CPU's name as Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def page(document: dict[str, Any]) -> str:
    """docs/BENCHMARKS.md."""
    lines = [
        "# Benchmarks",
        "",
        f"Measured {document['date']} on {document['machine']}, {document['cores']} cores, "
        f"Python {document['python']}, by `make bench`.",
        "One thread. Each row's two engines ran alternately in one process; ratio = ours ÷ LiteRT's (with",
        "XNNPACK), so below 1 is faster. Timings are noisy; compare ratios only.",
        "",
        *LINKS,
        "",
        "| network | target | ours µs (median) | LiteRT µs (median) | ratio median | ratio min "
        "| code | weights | arena | compile |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_speed_row(row) for row in document["rows"]),
        "",
        "## Cold start, beyond `import numpy` (measured in a fresh process)",
        "",
        "| network | target | first inference ms | memory MB | `.run` overhead µs | numpy alone |",
        "|---|---|---|---|---|---|",
        *(_cold_row(row) for row in document["rows"]),
        "",
        *_rivals(),
        *_fidelity(),
    ]
    return "\n".join(lines) + "\n"


def _rivals() -> list[str]:
    """What tests/benchmarks/rivals.py measured, where it has been run."""
    path = ROOT / "docs" / "rivals.json"
    if not path.is_file():
        return []
    title = "## Beside LiteRT, ONNX Runtime and OpenVINO ([RIVALS.md](RIVALS.md))"
    document = json.loads(path.read_text())
    measured = f"Measured {document['date']} on {document['machine']}, in a run of its own."
    return [title, "", measured, "", "![ratios](rivals.svg)", "", *rivals.table(document), ""]


def _fidelity() -> list[str]:
    """What tests/benchmarks/fidelity.py measured, where it has been run."""
    path = ROOT / "docs" / "fidelity.json"
    if not path.is_file():
        return []
    title = "## Nearness to float: SQNR of the output, share of equal classes ([FIDELITY.md](FIDELITY.md))"
    return [title, "", *fidelity.table(json.loads(path.read_text()))]


def _speed_row(row: dict[str, Any]) -> str:
    ours, theirs = row["latency_us"]["median"], row["against"]["latency_us"]["median"]
    sizes = " | ".join(f"{row[key] / 1024:.0f} KiB" for key in ("code_bytes", "weights_bytes", "arena_bytes"))
    ratios = f"{row['ratio_median']:.2f} | {row['ratio_min']:.2f}"
    return (
        f"| {row['network']} | {row['target']} | {ours:.1f} | {theirs:.1f} | {ratios} | {sizes} "
        f"| {row['compile_s']:.1f} s |"
    )


def _cold_row(row: dict[str, Any]) -> str:
    cold = row["cold"]
    return (
        f"| {row['network']} | {row['target']} | {cold['first_inference_ms']:.1f} | {cold['rss_mb']:.1f} "
        f"| {cold['call_overhead_us']:.1f} "
        f"| {cold['numpy_import_ms']:.0f} ms, {cold['numpy_rss_mb']:.0f} MB |"
    )


def main() -> None:
    """Measure, then write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default="x86-64,host", help="target names, separated by commas")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of the two files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments.targets.split(","))
    document = {
        "date": datetime.date.today().isoformat(),
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rows": rows,
    }
    (arguments.output / "benchmarks.json").write_text(json.dumps(document, indent=1) + "\n")
    (arguments.output / "BENCHMARKS.md").write_text(page(document))


if __name__ == "__main__":
    main()
