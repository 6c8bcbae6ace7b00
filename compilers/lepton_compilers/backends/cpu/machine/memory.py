"""How fast one core of this machine reads each level of its memory, by a loop that does nothing else."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lepton_compilers.backends.cpu.codegen.toolchain import compile_c
from lepton_compilers.backends.cpu.plans.headers import kernel_header
from lepton_sdk.engines.memory import aligned_bytes
from lepton_targets.host import host

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_READ_AT_LEAST = 1 << 20
_STEP = 512
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """A cache, or the memory behind all caches. nbytes: what it holds; None for the memory."""

    name: str
    nbytes: int | None


def memory_levels(caches: Path = _CACHES) -> tuple[MemoryLevel, ...]:
    """The levels that data are read from, the nearest first, as Linux lists them for the first core."""
    found = {}
    for folder in sorted(caches.glob("index*")):
        if (folder / "type").read_text().strip() == "Instruction":
            continue
        size = (folder / "size").read_text().strip()
        nbytes = int(size.rstrip("KMG")) * _UNITS.get(size[-1], 1)
        found[int((folder / "level").read_text())] = nbytes
    levels = [MemoryLevel(f"L{level}", nbytes) for level, nbytes in sorted(found.items())]
    return (*levels, MemoryLevel("memory", None))


def read_call(levels: tuple[MemoryLevel, ...], level: MemoryLevel) -> tuple[Callable[[], object], int]:
    """A call that reads from one level of `levels` again and again, and the bytes that it reads.

    What it reads fills half of a cache; of the memory, four times what all caches hold.
    Raises UnavailableError where no target runs here, MissingExtraError without the C compiler.
    """
    largest = max((known.nbytes for known in levels if known.nbytes is not None), default=1 << 24)
    nbytes = 4 * largest if level.nbytes is None else level.nbytes // 2
    nbytes -= nbytes % _STEP
    rounds = max(1, _READ_AT_LEAST // nbytes)
    entry = f"""
__attribute__((visibility("default"))) void lepton_read(const uint8_t *x, uint8_t *y) {{
  read_memory(x, y, {nbytes}, {rounds});
}}
"""
    code = compile_c("\n".join([kernel_header("portable.h"), kernel_header("read.h"), entry]), host())
    # A file of its own: the loader takes a path it has seen for the library it has loaded.
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        loop = ctypes.CDLL(file.name).lepton_read
    loop.restype = None
    source, result = aligned_bytes(nbytes), aligned_bytes(64)
    source[:] = 1  # pages that nobody wrote would all be the same one
    places = (ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(result.ctypes.data))

    def call(held: object = (source, result)) -> None:
        loop(*places)

    return call, nbytes * rounds
