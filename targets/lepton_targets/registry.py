"""Targets by name."""

from __future__ import annotations

from lepton_targets.cpus import CPUS, Cpu
from lepton_targets.errors import UnavailableError, UsageError, nearest
from lepton_targets.fpgas import FPGAS, FpgaBoard
from lepton_targets.gpus import GPUS, Gpu
from lepton_targets.host import host
from lepton_targets.microcontrollers import MICROCONTROLLERS, Microcontroller

Target = Cpu | Microcontroller | Gpu | FpgaBoard


def targets() -> tuple[Target, ...]:
    """Every row, CPUs first."""
    return (*CPUS, *MICROCONTROLLERS, *GPUS, *FPGAS)


def target_names() -> tuple[str, ...]:
    """Names that `get_target` knows; `host` is this machine's own row."""
    return ("host", *(target.name for target in targets()))


def get_target(name: str) -> Target:
    """The row of that name. Raises UsageError that lists near names for an unknown one."""
    if name == "host":
        return host()
    for target in targets():
        if target.name == name:
            return target
    raise UsageError(
        f"unknown target '{name}'{nearest(name, target_names())}",
        f"known: {', '.join(target_names())}",
    )


def available_target(name: str) -> Target:
    """The row of that name. Raises UnavailableError for one that this version can't compile for."""
    target = get_target(name)
    if not target.available:
        raise UnavailableError(
            f"target '{name}' ({target.title}, {target.kind}) is not available in this version",
            f"available: {', '.join(row.name for row in targets() if row.available)}",
        )
    return target
