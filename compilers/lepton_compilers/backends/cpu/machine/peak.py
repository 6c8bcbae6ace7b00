"""What one core of this machine can multiply and accumulate, measured by a loop that does nothing else."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from lepton_compilers.backends.cpu.codegen.toolchain import compile_c
from lepton_compilers.backends.cpu.plans.headers import kernel_header
from lepton_targets import CPUS, Isa
from lepton_targets.host import runs_here

ROUNDS = 2000
_WIDE, _NARROW = {"int8": 16 * 64, "float32": 16 * 16}, {"int8": 12 * 32, "float32": 12 * 8}
MACS_A_ROUND: Mapping[Isa, Mapping[str, int]] = {
    Isa.AVX2: _NARROW | {"int8": 12 * 16},
    Isa.AVX_VNNI: _NARROW,
    Isa.AVX512_VNNI: _WIDE,
    Isa.AVX512_VBMI: _WIDE,
    Isa.AVX512_BF16: _WIDE | {"bf16": 16 * 32},
}
"""Of kernels/peak.h: vectors times products of each; AVX2 multiplies bytes as int16."""


def peak_call(target: str, dtype: str) -> tuple[Callable[[], object], int] | None:
    """A call that runs the loop once, some 5 µs to 10 µs, and its multiply-accumulates.

    None where there is no loop for the target's instruction set or the type, or this machine can't run it.
    Raises MissingExtraError without the C compiler.
    """
    row = next((cpu for cpu in CPUS if cpu.name == target), None)
    macs = {} if row is None else MACS_A_ROUND.get(row.isa, {})
    if row is None or dtype not in macs or not runs_here(row):
        return None
    entry = f"""
__attribute__((visibility("default"))) void lepton_peak(uint8_t *y) {{ peak_{dtype}(y, {ROUNDS}); }}
"""
    code = compile_c("\n".join([kernel_header("portable.h"), kernel_header("peak.h"), entry]), row)
    # A file of its own: the loader takes a path it has seen for the library it has loaded.
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        loop = ctypes.CDLL(file.name).lepton_peak
    loop.restype = None
    held = np.zeros(64, np.uint8)
    address = ctypes.c_void_p(held.ctypes.data)

    def call(held: object = held) -> None:
        loop(address)

    return call, ROUNDS * macs[dtype]
