"""Facts about hardware, and the errors everyone shares. This package knows nothing else of the project.

cpus.py               CPUs by instruction set, and how to cross-compile for and emulate each
microcontrollers.py   cores and boards without an operating system
gpus.py, fpgas.py     GPUs by programming interface; FPGA boards and their resources
host.py               which row this machine is
errors.py             the tree under LeptonError
"""

from __future__ import annotations

from lepton_targets.cpus import CPUS, Cpu, Isa
from lepton_targets.errors import LeptonError
from lepton_targets.fpgas import FPGAS, FpgaBoard
from lepton_targets.gpus import GPUS, Gpu
from lepton_targets.host import features, host
from lepton_targets.microcontrollers import MICROCONTROLLERS, Microcontroller
from lepton_targets.registry import Target, available_cpu, get_target, target_names, targets

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
    "available_cpu",
    "features",
    "get_target",
    "host",
    "target_names",
    "targets",
]
