"""The loop that shows what a core can read: a call for every level, the levels as Linux lists them."""

from __future__ import annotations

from pathlib import Path

from lepton_compilers.backends.cpu.machine.memory import MemoryLevel, memory_levels, read_call
from lepton_sdk.benchmark import measure


def cache(folder: Path, level: int, kind: str, size: str) -> None:
    index = folder / f"index{len(list(folder.iterdir()))}"
    index.mkdir()
    for name, text in (("level", str(level)), ("type", kind), ("size", size)):
        (index / name).write_text(text + "\n")


def test_levels_are_those_that_hold_data(tmp_path: Path) -> None:
    cache(tmp_path, 1, "Data", "48K")
    cache(tmp_path, 1, "Instruction", "32K")
    cache(tmp_path, 3, "Unified", "32M")
    cache(tmp_path, 2, "Unified", "1024K")
    assert memory_levels(tmp_path) == (
        MemoryLevel("L1", 48 << 10),
        MemoryLevel("L2", 1 << 20),
        MemoryLevel("L3", 32 << 20),
        MemoryLevel("memory", None),
    )


def test_a_machine_that_lists_no_cache_has_memory(tmp_path: Path) -> None:
    assert memory_levels(tmp_path) == (MemoryLevel("memory", None),)


def test_a_loop_reads_as_much_as_it_says() -> None:
    levels = (MemoryLevel("L1", 32 << 10), MemoryLevel("memory", None))
    for level in levels:
        call, nbytes = read_call(levels, level)
        assert nbytes >= 1 << 17
        (latency,) = measure([call], 0.02)
        # 10 MB a second would be wrong, as would be what no core can do: four vectors of 64 bytes a cycle.
        assert 10e6 < nbytes / (latency.min * 1e-6) < 4 * 64 * 6e9
