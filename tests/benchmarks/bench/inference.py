"""One network beside its rivals: they, our own code and the multiply loop take turns in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lepton_compilers.backends.cpu.machine.peak import peak_call
from lepton_sdk import Session
from lepton_sdk.benchmark import measure
from lepton_sdk.peers import open_peer
from lepton_targets.errors import LeptonError

OURS, ALONE, BESIDE = "lepton", "lepton, 1 thread", "lepton, other precision"


def measured(
    bundle: Path,
    rivals: Sequence[str],
    precision: str,
    macs: int,
    threads: int,
    seconds: float,
    beside: Path | None = None,
) -> dict[str, Any]:
    """Times of all by name, ratios to the fastest rival, the share of the peak.

    rivals: NAME:FILE; one that is not installed or does not open the file is named in `left_out`. With
    several threads, our own code with one takes turns too: their ratio is the speed-up. beside: a bundle of
    ours that counts as the rival.
    """
    session = Session(bundle, threads=threads)
    inputs = session.example_inputs()
    calls: dict[str, Callable[[], object]] = {OURS: session.bind(inputs)}
    if threads > 1:
        calls[ALONE] = Session(bundle).bind(inputs)
    versions, left_out = _open(rivals, [inputs[spec.name] for spec in session.inputs], threads, calls)
    if beside is not None:
        calls[BESIDE] = Session(beside, threads=threads).bind(inputs)
    peak = peak_call(session.target, precision) if threads == 1 else None
    taken = measure([*calls.values(), *([peak[0]] if peak else [])], seconds)
    times = {name: latency.to_json() for name, latency in zip(calls, taken)}
    row: dict[str, Any] = {
        "target": session.target,
        "threads_used": session.threads,
        "latency_us": times,
        "versions": versions,
        "left_out": left_out,
        "peak_fraction": None,
        "speed_up": None,
        **ratios(times, list(versions) if beside is None else [BESIDE]),
    }
    if peak is not None:
        row["peak_fraction"] = (macs / times[OURS]["min"]) / (peak[1] / taken[-1].min)
    if ALONE in times:
        row["speed_up"] = {key: times[ALONE][key] / times[OURS][key] for key in ("median", "min")}
    return row


def ratios(times: dict[str, dict[str, float]], rivals: Sequence[str], ours: str = OURS) -> dict[str, Any]:
    """Our time ÷ the fastest rival's, by medians and by least times; None without a rival."""
    if not rivals:
        return {"fastest": None, "ratio_median": None, "ratio_min": None}
    least = {key: min(rivals, key=lambda name: times[name][key]) for key in ("median", "min")}
    found: dict[str, Any] = {"fastest": least["median"]}
    for key, name in least.items():
        found[f"ratio_{key}"] = times[ours][key] / times[name][key]
    return found


def _open(
    rivals: Sequence[str],
    inputs: Sequence[np.ndarray],
    threads: int,
    calls: dict[str, Callable[[], object]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Add a call for every rival that opens; versions of those, reasons of the others."""
    versions, left_out = {}, {}
    for text in rivals:
        name = text.partition(":")[0]
        try:
            peer = open_peer(text, inputs, threads)
            peer.call()
        except (LeptonError, RuntimeError, ValueError) as error:
            left_out[name] = str(error).splitlines()[0]
            print(f"{name} left out: {left_out[name]}", file=sys.stderr)
            continue
        calls[peer.name], versions[peer.name] = peer.call, peer.version
    return versions, left_out
