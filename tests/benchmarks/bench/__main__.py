"""The whole run: `python -m benchmarks.bench`, as `make bench` calls it."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import device, machine, plot, readme, tables
from benchmarks.bench.child import ChildFailed, in_child
from benchmarks.bench.contests import NETWORKS, Contest, contests, missing
from benchmarks.bench.page import page

ROOT = Path(__file__).resolve().parents[3]
TRAINING = (
    *(("digits CNN", 16, 0.42), ("MNIST CNN", 16, 0.42), ("ResNet-8", 8, 0.50), ("ResNet-8", 32, 0.60)),
    *(("autoencoder", 8, 0.15), ("autoencoder", 32, 0.35), ("LSTM", 8, 0.33)),
)
"""Network, batch, and the ratio to PyTorch's fastest form that we mean to reach with one thread."""


class Progress:
    """A line to the standard error for each measurement: its number, how long it took, what came out."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._begin = steps, 0, time.monotonic()

    def step(self, what: str, result: str) -> None:
        """One more is done."""
        self._done += 1
        seconds = time.monotonic() - self._begin
        print(
            f"[{self._done:3}/{self._steps}] {seconds:5.0f} s  {what}: {result}", file=sys.stderr, flush=True
        )


def main() -> None:
    """Build, measure, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to measure each row")
    parser.add_argument("--no-training", action="store_true", help="leave out training steps")
    parser.add_argument("--no-devices", action="store_true", help="leave out sizes and fresh processes")
    parser.add_argument("--output", type=Path, help="folder of the files; docs for a whole run")
    chosen = parser.parse_args()
    wanted, threads = chosen.networks.split(","), [int(n) for n in chosen.threads.split(",")]
    if unknown := set(wanted) - {*NETWORKS}:
        parser.error(f"unknown networks {sorted(unknown)}; known: {', '.join(NETWORKS)}")
    whole = (
        set(wanted) == {*NETWORKS} and threads == [1, 2] and not chosen.no_training and not chosen.no_devices
    )
    output: Path = chosen.output or (ROOT / "docs" if whole else ROOT / "build" / "benchmarks")
    document = measured(wanted, threads, chosen.seconds, not chosen.no_training, not chosen.no_devices)
    write(document, output, ROOT / "README.md" if whole and chosen.output is None else None)


def measured(
    wanted: Sequence[str], threads: Sequence[int], seconds: float, training: bool, devices: bool
) -> dict[str, Any]:
    """The document of a run."""
    begin, described = time.monotonic(), machine.described()
    others = machine.OthersWork()
    time.sleep(1)
    if (busy := others.cores()) > machine.BUSY_CORES:
        print(f"other processes keep {busy:.1f} cores busy: rows will be marked", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = contests(folder, wanted)
        tiny = device.networks(wanted) if devices else []
        steps = TRAINING if training else ()
        pairs = len(device.TARGETS) * len(tiny)
        progress = Progress(1 + len(found) + len(threads) * (len(found) + len(steps)) + pairs)
        builds = _built(found, folder, progress)
        limits = _limits(seconds, progress)
        inference = [
            _contest(contest, folder, builds[_key(contest)], count, seconds, progress)
            for count in threads
            for contest in found
        ]
        trained = [
            _training(name, batch, goal, count, seconds, progress)
            for count in threads
            for name, batch, goal in steps
        ]
        on_devices = [_device(name, target, folder, progress) for target in device.TARGETS for name in tiny]
    rows = (*inference, *trained)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": described,
        "seconds": time.monotonic() - begin,
        "busy_cores": machine.BUSY_CORES,
        "load_after": round(os.getloadavg()[0], 2),
        "versions": {name: version for row in rows for name, version in row.get("versions", {}).items()},
        "missing": [f"{file}: not among the evaluation data" for file in missing(wanted)],
        "kinds": {
            **dict.fromkeys(("limits", "inference", "training", "devices"), "measured"),
            "least times": "modelled",
        },
        "limits": limits,
        "builds": builds,
        "inference": inference,
        "training": trained,
        "devices": [row for row in on_devices if row is not None],
    }


def write(document: dict[str, Any], output: Path, readme_path: Path | None) -> None:
    """benchmarks.json, benchmarks.svg, BENCHMARKS.md in `output`; README.md's figures where it is given."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "benchmarks.json").write_text(json.dumps(document, indent=1) + "\n")
    (output / "benchmarks.svg").write_text(plot.chart(document))
    (output / "BENCHMARKS.md").write_text(page(document, ROOT / "docs", "benchmarks.svg"))
    if readme_path is not None:
        readme_path.write_text(readme.updated(readme_path.read_text(), document))
    print(f"written: {output / 'BENCHMARKS.md'}", file=sys.stderr)


def _key(contest: Contest) -> str:
    return tables.key({"network": contest.network, "precision": contest.precision})


def _bundle(contest: Contest, folder: Path) -> Path:
    return folder / f"{_key(contest)}.lep"


def _built(found: Sequence[Contest], folder: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Every contest compiled, a process a core: nothing is timed against a rival here."""

    def build(contest: Contest) -> dict[str, Any]:
        calibration = None
        if contest.calibration is not None:
            calibration = folder / f"{_key(contest)}.npy"
            np.save(calibration, contest.calibration)
        arguments = {"model": contest.model, "calibration": calibration, "options": dict(contest.options)}
        row = _safely("build", None, output=_bundle(contest, folder), **arguments)
        progress.step(f"compile {_key(contest)}", row.get("failed") or f"{row['compile_s']:.1f} s")
        return row

    # Those that are quantised take longest: they begin first.
    order = sorted(found, key=lambda contest: contest.calibration is None)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(map(_key, order), pool.map(build, order)))


def _limits(seconds: float, progress: Progress) -> dict[str, Any] | None:
    row = _safely("limits", machine.cores_for(1), seconds=max(seconds, 2.0))
    progress.step("limits of one core", row.get("failed") or _rates(row))
    return None if row.get("failed") else row


def _rates(row: dict[str, Any]) -> str:
    multiplies = [f"{dtype} {rate / 1e3:.0f} G/s" for dtype, rate in row["macs_a_us"].items()]
    reads = [f"{level['name']} {level['bytes_a_us'] / 1e3:.0f} GB/s" for level in row["levels"]]
    return ", ".join([*multiplies, *reads])


def _contest(
    contest: Contest, folder: Path, build: dict[str, Any], threads: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    row: dict[str, Any] = {"network": contest.network, "precision": contest.precision, "threads": threads}
    row["beside"] = contest.beside
    if failed := build.get("failed"):
        row["failed"] = failed
    else:
        arguments = {"bundle": _bundle(contest, folder), "rivals": contest.rivals, "macs": build["macs"]}
        if contest.beside is not None:
            arguments["beside"] = _bundle(replace(contest, precision=contest.beside), folder)
        row |= _on_cores("inference", threads, precision=contest.precision, seconds=seconds, **arguments)
    progress.step(f"{_key(contest)}, {threads} threads", row.get("failed") or _outcome(row))
    return row


def _training(
    name: str, batch: int, goal: float, threads: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    row: dict[str, Any] = {"network": name, "batch": batch, "goal": goal, "threads": threads}
    row |= _on_cores("training", threads, network=name, batch=batch, seconds=seconds)
    said = row.get("failed") or row.get("refused") or _outcome(row)
    progress.step(f"training {name}, batch {batch}, {threads} threads", said)
    return row


def _device(name: str, target: str, folder: Path, progress: Progress) -> dict[str, Any] | None:
    try:
        row = device.measured(name, target, folder, seconds=1.0)
    except device.CommandFailed as error:
        progress.step(f"{name} for {target}", f"left out: {error}")
        return None
    progress.step(f"{name} for {target}", f"{row['ratio_median']:.2f} of LiteRT")
    return row


def _outcome(row: dict[str, Any]) -> str:
    if row["ratio_min"] is None:
        return "no rival"
    return f"{row['ratio_min']:.3f} of {row['fastest']} (medians {row['ratio_median']:.3f})"


def _on_cores(kind: str, threads: int, **arguments: Any) -> dict[str, Any]:
    cores = machine.cores_for(threads)
    if cores is None:
        return {"failed": f"this run may use fewer than {threads} cores", "latency_us": {}}
    return _safely(kind, cores, threads=threads, **arguments)


def _safely(kind: str, cores: list[int] | None, **arguments: Any) -> dict[str, Any]:
    measure: Callable[..., dict[str, Any]] = in_child
    try:
        return measure(kind, cores, **arguments)
    except ChildFailed as error:
        return {"failed": str(error), "latency_us": {}}


if __name__ == "__main__":
    main()
