"""What a user sees through the `lepton` command: plain x86-64 beside this machine's best, fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.contests import TINY
from support.evaluation_data import data_root

TARGETS = ("host", "x86-64")


class CommandFailed(Exception):
    """`lepton` ended with an error; the message is what it said."""


def measured(network: str, target: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Sizes and seconds of compiling, the ratio to LiteRT; for the host also the first inference.

    Raises CommandFailed.
    """
    model = data_root() / "mlperf_tiny" / f"{TINY[network]['int8']}.tflite"
    bundle = folder / f"{model.stem}.{target}.lep"
    compiled = _lepton("compile", str(model), "--target", target, "-o", str(bundle))
    cold = ["--cold"] if target == "host" else []
    timed = _lepton("bench", str(bundle), "--against", f"litert:{model}", "--seconds", str(seconds), *cold)
    # Where the evaluation data lies is this machine's own affair.
    timed["against"]["file"] = Path(timed["against"]["file"]).name
    (artifact,) = compiled["artifacts"]
    return {
        "network": network,
        "target": artifact["target"],
        "macs": compiled["macs"],
        **{key: artifact[key] for key in ("code_bytes", "weights_bytes", "arena_bytes")},
        "compile_s": compiled["seconds"],
        **{key: timed[key] for key in ("latency_us", "against", "ratio_median", "ratio_min", "cold")},
    }


def networks(wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that are MLPerf Tiny's and whose file is there."""
    folder = data_root() / "mlperf_tiny"
    return [n for n in wanted if n in TINY and (folder / f"{TINY[n]['int8']}.tflite").is_file()]


def _lepton(*arguments: str) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "lepton"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"lepton {arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
