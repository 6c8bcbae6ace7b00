"""What the first inference costs a fresh process, beyond `import numpy`.

Run as a script by a bare interpreter (`lepton bench --cold` does it): prints one JSON object. Nothing of
the SDK may be loaded before the clock starts, so this file imports nothing of it at the top.
"""

from __future__ import annotations

import sys
import time
from typing import Any


def _resident_mb() -> float:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def measure(path: str, engine: str, target: str, trust: list[str]) -> dict[str, Any]:
    """Milliseconds and megabytes for numpy, then to the first result; then microseconds a call costs."""
    begin = time.perf_counter()
    rss_begin = _resident_mb()
    import numpy as np

    numpy_done = time.perf_counter()
    rss_numpy = _resident_mb()

    from lepton_sdk.session import Session

    session = Session(path, engine=engine, trust=trust or None, target=target or None)
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.inputs}
    session.run(inputs)
    first = time.perf_counter()
    rss_first = _resident_mb()

    from lepton_sdk.overheads import call_overheads

    run, run_into = call_overheads(session)
    return {
        "first_inference_ms": (first - numpy_done) * 1e3,
        "rss_mb": rss_first - rss_numpy,
        "call_overhead_us": run.median,
        "run_into_overhead_us": run_into.median,
        "numpy_import_ms": (numpy_done - begin) * 1e3,
        "numpy_rss_mb": rss_numpy - rss_begin,
    }


if __name__ == "__main__":
    path, engine, target, *keys = sys.argv[1:]
    figures = measure(path, engine, target, keys)
    import json

    sys.stdout.write(json.dumps(figures) + "\n")
