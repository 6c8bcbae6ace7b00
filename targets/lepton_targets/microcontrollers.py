"""Microcontroller cores and the boards that carry them. They wait for their back end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Microcontroller:
    """A core or a board. flash_kib, ram_kib: None for a bare core; qemu: the machine that emulates it."""

    name: str
    title: str
    core: str
    isa: str
    has_fpu: bool
    flash_kib: int | None = None
    ram_kib: int | None = None
    qemu: str | None = None
    kind: str = "microcontroller"
    available: bool = False


MICROCONTROLLERS: tuple[Microcontroller, ...] = (
    Microcontroller("cortex-m0plus", "Arm Cortex-M0+", core="cortex-m0plus", isa="thumb", has_fpu=False),
    Microcontroller(
        "cortex-m4", "Arm Cortex-M4 with FPU and DSP", core="cortex-m4", isa="cortexm_dsp", has_fpu=True
    ),
    Microcontroller(
        "cortex-m7", "Arm Cortex-M7 with FPU and DSP", core="cortex-m7", isa="cortexm_dsp", has_fpu=True
    ),
    Microcontroller(
        "cortex-m55", "Arm Cortex-M55 with Helium", core="cortex-m55", isa="helium", has_fpu=True
    ),
    Microcontroller("rv32imc", "32-bit RISC-V, RV32IMC", core="rv32imc", isa="portable", has_fpu=False),
    Microcontroller(
        "mps2-an386",
        "Arm MPS2 with Cortex-M4",
        core="cortex-m4",
        isa="cortexm_dsp",
        has_fpu=True,
        flash_kib=4096,
        ram_kib=4096,
        qemu="mps2-an386",
    ),
    Microcontroller(
        "mps3-an547",
        "Arm MPS3 with Cortex-M55",
        core="cortex-m55",
        isa="helium",
        has_fpu=True,
        flash_kib=2048,
        ram_kib=4096,
        qemu="mps3-an547",
    ),
)
