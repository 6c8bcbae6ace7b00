"""This machine: its name, its cores, those this process may use, and who else uses them."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

BUSY_CORES = 0.2
"""Cores that other processes may keep busy before a figure is marked."""


def processor() -> str:
    """The CPU's name as Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def described() -> dict[str, Any]:
    """Processor, cores of the machine, those this run may use, Python, the load before it."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable_cores": sorted(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cores_for(threads: int) -> list[int] | None:
    """The last `threads` of the cores that this process may use (the first one serves most interrupts)."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-threads:] if threads <= len(usable) else None


class OthersWork:
    """How many cores other processes kept busy since it was made."""

    def __init__(self) -> None:
        self._begin = (time.perf_counter(), _busy_seconds(), _own_seconds())

    def cores(self) -> float:
        """Mean over the time, on all of the machine's cores; 0 where Linux does not tell."""
        wall, busy, own = (
            now - then
            for now, then in zip((time.perf_counter(), _busy_seconds(), _own_seconds()), self._begin)
        )
        return max(0.0, busy - own) / wall if busy else 0.0


def _busy_seconds() -> float:
    """What all cores have worked since the machine started, stolen time counted in."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(value) for value in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in own)
