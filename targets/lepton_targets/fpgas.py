"""FPGA boards and the resources a core may use there. They wait for their back end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FpgaBoard:
    """A board. dsp, bram36, lut: what the device has in all (vendor's tables). flow: who packages for it."""

    name: str
    title: str
    device: str
    dsp: int
    bram36: int
    lut: int
    host: str
    flow: str
    kind: str = "fpga"
    available: bool = False


FPGAS: tuple[FpgaBoard, ...] = (
    FpgaBoard(
        "pynq-z2",
        "TUL PYNQ-Z2",
        device="xc7z020clg400-1",
        dsp=220,
        bram36=140,
        lut=53200,
        host="armv7",
        flow="vivado",
    ),
    FpgaBoard(
        "zedboard",
        "Avnet ZedBoard",
        device="xc7z020clg484-1",
        dsp=220,
        bram36=140,
        lut=53200,
        host="armv7",
        flow="vivado",
    ),
    FpgaBoard(
        "ultra96-v2",
        "Avnet Ultra96-V2",
        device="xczu3eg-sbva484-1-i",
        dsp=360,
        bram36=216,
        lut=70560,
        host="cortex-a53",
        flow="vivado",
    ),
    FpgaBoard(
        "kv260",
        "AMD Kria KV260",
        device="xck26-sfvc784-2LV-c",
        dsp=1248,
        bram36=144,
        lut=117120,
        host="cortex-a53",
        flow="vitis",
    ),
    FpgaBoard(
        "zcu104",
        "AMD ZCU104",
        device="xczu7ev-ffvc1156-2-e",
        dsp=1728,
        bram36=312,
        lut=230400,
        host="cortex-a53",
        flow="vitis",
    ),
)
