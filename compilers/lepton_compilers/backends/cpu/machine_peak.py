"""What one core of this machine can multiply and accumulate, measured by a loop that does nothing else."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable

import numpy as np

from lepton_compilers.backends.cpu.signatures import kernel_header
from lepton_compilers.backends.cpu.toolchain import compile_c
from lepton_targets import CPUS, Isa
from lepton_targets.host import runs_here

ROUNDS = 2000
MACS_A_ROUND = {"int8": 16 * 64, "float32": 16 * 16}
"""Of kernels/peak.h: sixteen vectors of 64 bytes."""

_ISAS = (Isa.AVX512_VNNI, Isa.AVX512_VBMI)


def peak_call(target: str, dtype: str) -> tuple[Callable[[], object], int] | None:
    """A call that runs the loop once, some 5 µs to 10 µs, and its multiply-accumulates.

    None where there is no loop for the target's instruction set or the type, or this machine can't run it.
    Raises MissingExtraError without the C compiler.
    """
    row = next((cpu for cpu in CPUS if cpu.name == target), None)
    if row is None or row.isa not in _ISAS or dtype not in MACS_A_ROUND or not runs_here(row):
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

    return call, ROUNDS * MACS_A_ROUND[dtype]
