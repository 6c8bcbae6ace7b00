"""Which row of the CPU table this machine is."""

from __future__ import annotations

import functools
import platform

from lepton_targets.cpus import CPUS, Cpu
from lepton_targets.errors import UnavailableError

_MACHINES = {"amd64": "x86_64", "AMD64": "x86_64", "arm64": "aarch64", "armv8l": "armv7l"}


def machine() -> str:
    """This machine's architecture as Linux names it."""
    name = platform.machine()
    return _MACHINES.get(name, name)


@functools.cache
def features() -> frozenset[str]:
    """CPU features that Linux lists; empty where it lists none.

    `flags` on x86, `Features` on Arm; on RISC-V the letters and names of `isa`, as rv64imafdcv_zba_zbb.
    """
    try:
        with open("/proc/cpuinfo") as listing:
            lines = listing.read().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
        if name.strip() == "isa":
            letters, *names = value.strip().removeprefix("rv64").split("_")
            return frozenset([*letters, *names])
    return frozenset()


def runs_here(cpu: Cpu) -> bool:
    """Whether this machine executes code compiled for `cpu`."""
    return cpu.machine == machine() and set(cpu.features) <= features()


@functools.cache
def host() -> Cpu:
    """The best row that this machine executes. Raises UnavailableError where there is none."""
    runnable = [cpu for cpu in CPUS if runs_here(cpu)]
    if not runnable:
        raise UnavailableError(
            f"no target runs on this machine ({machine()})",
            f"known: {', '.join(cpu.name for cpu in CPUS)}",
            "the reference engine runs everywhere: --engine reference",
        )
    return runnable[-1]


@functools.cache
def model_name() -> str:
    """This CPU as Linux names it (`model name` in /proc/cpuinfo); the architecture where it does not."""
    try:
        with open("/proc/cpuinfo") as listing:
            for line in listing:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return machine()
