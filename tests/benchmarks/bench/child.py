"""Each measurement in a fresh process, bound to its cores before anything starts threads.

What a runtime leaves behind (threads, caches of code, memory) can't touch the next measurement, and one that
crashes takes only itself along. `python -m benchmarks.bench.child` reads what to do as JSON and answers so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench.machine import OthersWork

LIMIT_SECONDS = 600


class ChildFailed(Exception):
    """A measurement that gave no result; the message is the process's last line."""


def in_child(kind: str, cores: list[int] | None, **arguments: Any) -> dict[str, Any]:
    """What `kind` measures, by a process on `cores` (anywhere for None). Raises ChildFailed."""
    asked = json.dumps({"kind": kind, "cores": cores, "arguments": arguments}, default=str)
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores) if cores else 1)}
    command = [sys.executable, "-m", "benchmarks.bench.child"]
    try:
        done = subprocess.run(
            command, input=asked, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"no result within {LIMIT_SECONDS} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ChildFailed(f"exit {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _answer(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if kind == "limits":
        from benchmarks.bench import limits

        return limits.measured(**arguments)
    if kind == "build":
        from benchmarks.bench import build

        calibration = arguments.pop("calibration")
        paths = {name: Path(arguments.pop(name)) for name in ("model", "output")}
        return build.built(calibration=calibration and Path(calibration), **paths, **arguments)
    if kind == "inference":
        from benchmarks.bench import inference

        return inference.measured(**arguments)
    if kind == "training":
        from benchmarks.bench import training

        return training.measured(**arguments)
    raise ValueError(f"nothing is measured as '{kind}'")


def main() -> None:
    """Read one request from the standard input, write one line of JSON."""
    asked = json.load(sys.stdin)
    if asked["cores"]:
        os.sched_setaffinity(0, asked["cores"])
    others = OthersWork()
    answer = _answer(asked["kind"], asked["arguments"])
    answer["others_cores"] = round(others.cores(), 2)
    print(json.dumps(answer), flush=True)
    # Some runtimes crash when they are taken down; what was measured is already out.
    os._exit(0)


if __name__ == "__main__":
    main()
