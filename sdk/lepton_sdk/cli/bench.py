"""`lepton bench`: how fast, against whom, and how fast from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.options import TARGET
from lepton_sdk.cli.output import print_json, print_table, progress_bar
from lepton_targets.errors import MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from lepton_sdk.layer_times import LayerTimes
    from lepton_sdk.session import Session

_COLD_STARTS = 7
_SHORT_SECONDS = 5
"""What is measured for less shows no bar."""
_PEAK_SECONDS = 0.2


def bench(
    bundle: Annotated[Path, typer.Argument(help="Bundle to measure.")],
    against: Annotated[
        str | None,
        typer.Option(
            help="litert:FILE, onnxruntime:FILE, openvino:FILE or lepton:FILE.lep: measure it too, in turns."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference, both sides.")] = 1,
    cold: Annotated[
        bool, typer.Option("--cold", help="Measure the first inference of fresh processes too.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Measure every layer, on this machine, as long again.")
    ] = False,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
    target: Annotated[str | None, TARGET] = None,
    function: Annotated[str, typer.Option(help="Function of the bundle to measure.")] = "infer",
    seconds: Annotated[float, typer.Option(min=0.01, help="How long to measure.")] = 3.0,
    key: Annotated[list[Path] | None, typer.Option(help="Trusted public key; requires a signature.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure latency: batches in turns, median, least and 99th percentile."""
    from lepton_sdk.benchmark import MeasurementInterrupted, measure
    from lepton_sdk.peers import open_peer
    from lepton_sdk.session import Session

    session = Session(bundle, engine=engine, threads=threads, trust=key, target=target)
    by_layer = _by_layer(session, function, seconds) if layers else None
    inputs = session.example_inputs(function)
    calls: list[Callable[[], object]] = [session.bind(inputs, function=function)]
    if against is not None:
        order = [spec.name for spec in session.interface(function).inputs]
        peer = open_peer(against, [inputs[name] for name in order], threads, function, key)
        calls.append(peer.call)
    peak = _peak(session, function) if engine == "native" and session.threads == 1 else None
    if peak is not None:
        calls.append(peak.call)
    stopped: MeasurementInterrupted | None = None
    with progress_bar("bench", seconds, as_json or seconds < _SHORT_SECONDS) as progress:
        try:
            own, *other = measure(calls, seconds, progress)
        except MeasurementInterrupted as stop:
            (own, *other), stopped, cold, layers = stop.latencies, stop, False, False
    report: dict[str, Any] = {
        "bundle": bundle.name,
        "engine": engine,
        "target": session.target,
        "precision": _precision(session),
        "function": function,
        "threads": session.threads,
        "latency_us": own.to_json(),
        "against": None,
        "ratio_median": None,
        "ratio_min": None,
        "peak_fraction": None,
        "cold": _cold(bundle, engine, target, key or [], as_json) if cold else None,
        "layers": by_layer,
    }
    if peak is not None:
        report["peak_fraction"] = peak.fraction(own.median, other.pop().min)
    if other:
        report["against"] = {
            "name": peer.name,
            "version": peer.version,
            "file": peer.file,
            "target": peer.target,
            "latency_us": other[0].to_json(),
        }
        report["ratio_median"] = own.median / other[0].median
        report["ratio_min"] = own.min / other[0].min
    if as_json:
        print_json(report)
    else:
        _print(report)
    if stopped is not None:
        raise stopped


@dataclass(frozen=True, slots=True)
class _Peak:
    """A loop of multiply-accumulates, and how many the function and the loop do."""

    call: Callable[[], object]
    loop_macs: int
    macs: int

    def fraction(self, latency_us: float, loop_us: float) -> float:
        """Of the multiply-accumulates a second that the loop shows, those that the function does."""
        return (self.macs / latency_us) / (self.loop_macs / loop_us)


def _precision(session: Session) -> str | None:
    """How the session's code multiplies float32, where that was asked for when it was compiled."""
    return session.bundle.manifest.precision(session.target) if session.bundle is not None else None


def _peak(session: Session, function: str) -> _Peak | None:
    """The loop for the session's target, if some package installed here has one; it may need a compiler."""
    program = session.bundle.program() if session.bundle is not None else None
    if program is None:
        return None
    by_type: dict[str, int] = {}
    for op in program.function(function).operations:
        kind = program.tensors[op.outputs[0]].dtype if op.outputs else ""
        by_type[kind] = by_type.get(kind, 0) + op.macs(program.tensors)
    dtype, macs = max(by_type.items(), key=lambda item: item[1], default=("", 0))
    if not macs:
        return None
    found = _peak_loop(session, dtype)
    return None if found is None else _Peak(*found, sum(by_type.values()))


def _by_layer(session: Session, function: str, seconds: float) -> dict[str, Any]:
    from lepton_sdk.cli.layers import to_json
    from lepton_sdk.layer_times import measure_layers

    times = measure_layers(session.engine, session.bundle, seconds, function)
    return to_json(times, _peaks(session, times))


def _peaks(session: Session, times: LayerTimes) -> dict[str, float]:
    """10⁹ multiply-accumulates a second of the loop, for each type of layers; none with several threads."""
    from lepton_sdk.benchmark import measure

    peaks: dict[str, float] = {}
    for dtype in dict.fromkeys(layer.dtype for layer in times.layers if layer.macs):
        loop = _peak_loop(session, dtype) if session.threads == 1 else None
        if loop is not None:
            peaks[dtype] = loop[1] / measure([loop[0]], _PEAK_SECONDS)[0].min / 1e3
    return peaks


def _peak_loop(session: Session, dtype: str) -> tuple[Callable[[], object], int] | None:
    """A loop of multiply-accumulates of that type, and how many."""
    from importlib.metadata import entry_points

    if dtype == "float32":
        dtype = _precision(session) or dtype
    for entry in entry_points(group="lepton.peaks"):
        try:
            found: tuple[Callable[[], object], int] | None = entry.load()(session.target, dtype)
        except (ImportError, MissingExtraError):
            continue
        if found is not None:
            return found
    return None


def _cold(bundle: Path, engine: str, target: str | None, keys: list[Path], silent: bool) -> dict[str, float]:
    """Medians over fresh processes; one before them writes the interpreter's bytecode, as installing does."""
    from statistics import median

    from lepton_sdk import cold_start

    command = [sys.executable, "-P", cold_start.__file__, str(bundle), engine, target or "", *map(str, keys)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    figures = []
    with progress_bar("fresh processes", _COLD_STARTS + 1, silent) as progress:
        for number in range(_COLD_STARTS + 1):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode != 0:
                last = done.stderr.strip().splitlines()[-1:] or ["no message"]
                raise UnavailableError(f"a fresh process could not run {bundle}: {last[0]}")
            figures.append(json.loads(done.stdout.splitlines()[-1]))
            progress(number + 1)
    return {name: median(figure[name] for figure in figures[1:]) for name in figures[0]}


def _print(report: dict[str, Any]) -> None:
    columns = ("", "min µs", "median µs", "p99 µs")
    threads = f", {report['threads']} threads" if report["threads"] > 1 else ""
    precision = f", {report['precision']}" if report["precision"] else ""
    # Beside another bundle, files say which is which.
    beside = report["against"] is not None and report["against"]["target"] is not None
    own = report["bundle" if beside and report["engine"] == "native" else "engine"]
    rows = [(f"{own} ({report['target']}{precision}{threads})", *report["latency_us"].values())]
    if report["against"]:
        peer = report["against"]
        told = f"{peer['name']} {peer['version']}"
        if peer["target"] is not None:
            told = f"{peer['file']} ({peer['target']})"
        rows.append((told, *peer["latency_us"].values()))
        rows.append(("ratio", *(own / theirs for own, theirs in zip(rows[0][1:], rows[1][1:]))))
    print_table(columns, rows)
    if report["peak_fraction"] is not None:
        print(f"  {report['peak_fraction']:.0%} of this core's peak, by operations in the model")
    if report["cold"]:
        print("\n".join(_cold_lines(report["cold"])))
    if report["layers"]:
        from lepton_sdk.cli.layers import print_layers

        print_layers(report["layers"])


def _cold_lines(cold: dict[str, float]) -> list[str]:
    return [
        f"  a fresh process' first inference: {cold['first_inference_ms']:.1f} ms, {cold['rss_mb']:.1f} MB; "
        f"numpy's own: {cold['numpy_import_ms']:.0f} ms, {cold['numpy_rss_mb']:.0f} MB",
        f"  a call beyond the model's own code: run {cold['call_overhead_us']:.2f} µs, "
        f"run_into {cold['run_into_overhead_us']:.2f} µs",
    ]
