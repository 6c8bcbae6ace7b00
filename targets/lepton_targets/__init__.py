"""Facts about hardware, and the errors everyone shares. This package knows nothing else of the project.

cpus.py               CPUs by instruction set, and how to cross-compile for and emulate each
microcontrollers.py   cores and boards without an operating system
gpus.py, fpgas.py     GPUs by programming interface; FPGA boards and their resources
host.py               which row this machine is
errors.py             the tree under LeptonError

Names are imported when first used: a device that runs a model reads one of these tables, not all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Not by name: importing the file of that name later would put the module in the function's place.
from lepton_targets.host import features, host

if TYPE_CHECKING:
    from lepton_targets.cpus import CPUS, Cpu, Isa
    from lepton_targets.errors import LeptonError
    from lepton_targets.fpgas import FPGAS, FpgaBoard
    from lepton_targets.gpus import GPUS, Gpu
    from lepton_targets.microcontrollers import MICROCONTROLLERS, Microcontroller
    from lepton_targets.registry import Target, available_target, get_target, target_names, targets

_HOMES = {
    "CPUS": "cpus",
    "Cpu": "cpus",
    "FPGAS": "fpgas",
    "FpgaBoard": "fpgas",
    "GPUS": "gpus",
    "Gpu": "gpus",
    "Isa": "cpus",
    "LeptonError": "errors",
    "MICROCONTROLLERS": "microcontrollers",
    "Microcontroller": "microcontrollers",
    "Target": "registry",
    "available_target": "registry",
    "get_target": "registry",
    "target_names": "registry",
    "targets": "registry",
}

__all__ = [
    "CPUS",
    "FPGAS",
    "GPUS",
    "MICROCONTROLLERS",
    "Cpu",
    "FpgaBoard",
    "Gpu",
    "Isa",
    "LeptonError",
    "Microcontroller",
    "Target",
    "available_target",
    "features",
    "get_target",
    "host",
    "target_names",
    "targets",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lepton_targets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lepton_targets.{_HOMES[name]}"), name)
