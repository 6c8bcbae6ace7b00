"""`lepton bench`: how fast, against whom, and how fast from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import print_json, print_table
from lepton_targets.errors import BadInputError, UnavailableError, UsageError, nearest

if TYPE_CHECKING:
    from lepton_sdk.session import Session

_PEERS = ("litert", "onnxruntime", "openvino")
_COLD_STARTS = 7


def bench(
    bundle: Annotated[Path, typer.Argument(help="Bundle to measure.")],
    against: Annotated[
        str | None, typer.Option(help="litert:FILE.tflite: measure it too, in turns, in the same run.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference, both sides.")] = 1,
    cold: Annotated[
        bool, typer.Option("--cold", help="Measure the first inference of fresh processes too.")
    ] = False,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
    function: Annotated[str, typer.Option(help="Function of the bundle to measure.")] = "infer",
    seconds: Annotated[float, typer.Option(min=0.01, help="How long to measure.")] = 3.0,
    key: Annotated[list[Path] | None, typer.Option(help="Trusted public key; requires a signature.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure latency: batches in turns, median, least and 99th percentile."""
    from lepton_sdk.benchmark import bound_call, example_inputs, measure
    from lepton_sdk.session import Session

    session = Session(bundle, engine=engine, threads=threads, trust=key)
    inputs = example_inputs(session, function)
    calls = [bound_call(session, function, inputs)]
    if against is not None:
        peer = _Peer(against, threads)
        calls.append(peer.call(session, inputs, function))
    own, *other = measure(calls, seconds)
    report: dict[str, Any] = {
        "bundle": bundle.name,
        "engine": engine,
        "target": session.target,
        "function": function,
        "threads": session.threads,
        "latency_us": own.to_json(),
        "against": None,
        "ratio_median": None,
        "ratio_min": None,
        "peak_fraction": None,
        "cold": _cold(bundle, engine, key or []) if cold else None,
    }
    if other:
        report["against"] = {"name": peer.name, "version": peer.version, "latency_us": other[0].to_json()}
        report["ratio_median"] = own.median / other[0].median
        report["ratio_min"] = own.min / other[0].min
    if as_json:
        print_json(report)
    else:
        _print(report)


class _Peer:
    """What is measured beside the bundle, named as `litert:FILE`."""

    def __init__(self, text: str, threads: int) -> None:
        self.name, _, path = text.partition(":")
        if self.name not in _PEERS or not path:
            raise UsageError(
                f"--against is '{text}'{nearest(self.name, _PEERS)}", "accepted: litert:FILE.tflite"
            )
        if self.name != "litert":
            raise UnavailableError(f"measuring against {self.name} is not available in this version")
        from lepton_sdk.engines.litert import open

        self._engine = open(path, threads)
        self._path = path
        from importlib import metadata

        self.version = metadata.version("ai-edge-litert")

    def call(self, session: Session, inputs: dict[str, Any], function: str) -> Any:
        """Its call on the same arrays, set once. Raises BadInputError where the models' inputs differ."""
        own, theirs = session.interface(function).inputs, self._engine.functions["infer"].inputs
        if [(s.shape, s.dtype) for s in own] != [(s.shape, s.dtype) for s in theirs]:
            raise BadInputError(
                f"{session.path} and {self._path} take different inputs",
                f"{', '.join(map(str, own))} and {', '.join(map(str, theirs))}",
            )
        return self._engine.resident([inputs[spec.name] for spec in own])


def _cold(bundle: Path, engine: str, keys: list[Path]) -> dict[str, float]:
    """Medians over fresh processes; one before them writes the interpreter's bytecode, as installing does."""
    from statistics import median

    from lepton_sdk import cold_start

    command = [sys.executable, "-P", cold_start.__file__, str(bundle), engine, *map(str, keys)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    figures = []
    for _ in range(_COLD_STARTS + 1):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise UnavailableError(f"a fresh process could not run {bundle}: {last[0]}")
        figures.append(json.loads(done.stdout.splitlines()[-1]))
    return {name: median(figure[name] for figure in figures[1:]) for name in figures[0]}


def _print(report: dict[str, Any]) -> None:
    columns = ("", "min µs", "median µs", "p99 µs")
    threads = f", {report['threads']} threads" if report["threads"] > 1 else ""
    rows = [(f"{report['engine']} ({report['target']}{threads})", *report["latency_us"].values())]
    if report["against"]:
        peer = report["against"]
        rows.append((f"{peer['name']} {peer['version']}", *peer["latency_us"].values()))
        rows.append(("ratio", *(own / theirs for own, theirs in zip(rows[0][1:], rows[1][1:]))))
    print_table(columns, rows)
    if report["cold"]:
        for name, value in report["cold"].items():
            print(f"  {name:<20} {value:8.2f}")
