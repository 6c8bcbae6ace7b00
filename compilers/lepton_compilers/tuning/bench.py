"""One layer with several tiles, compiled in one unit and timed in turns, as it would run inside its network.

What packs and unpacks maps is left out. Weights are read from copies that together take what the network's
do: a layer that is timed alone would find its own in the nearest cache, and inside the network it does not.
"""

from __future__ import annotations

import ctypes
import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lepton_compilers.backends.cpu.codegen.tir import c_source, symbol
from lepton_compilers.backends.cpu.codegen.toolchain import compile_c
from lepton_compilers.backends.cpu.instruction_sets import instruction_set
from lepton_compilers.backends.cpu.lowering.rows import plan_operations
from lepton_compilers.backends.cpu.plans.layout import FLOATS
from lepton_compilers.backends.cpu.plans.plan import Plan, Space
from lepton_compilers.backends.cpu.plans.tile_choice import Tile, TileChoice, TiledLayer, Tiles
from lepton_compilers.backends.cpu.weights.packing import WeightBlob
from lepton_compilers.tuning.layers import TunableLayer
from lepton_sdk.engines import library
from lepton_sdk.engines.memory import aligned_bytes
from lepton_sdk.program import Function
from lepton_targets import Cpu

SAMPLE_SECONDS = 100e-6
"""Short: of many samples some then fall between what else the machine does."""
MOST_COPIES_BYTES = 96 << 20

_REPEAT = """
typedef int lepton_entry(
    void *, const void *, void *, const void *const *, void *const *, const lepton_parallel *);
__attribute__((visibility("default"))) void lepton_repeat(
    lepton_entry *run, void *const *a, int times, int copies, ptrdiff_t copy_bytes, int *copy) {
  for (int i = 0; i < times; i++) {
    const void *weights = (const uint8_t *)a[1] + *copy * copy_bytes;
    run(a[0], weights, 0, (const void *const *)a[2], (void *const *)a[3], 0);
    *copy = (*copy + 1) % copies;
  }
}
"""


class Bench(Protocol):
    """A layer's tiles, ready to be timed."""

    def times(self, which: Sequence[int], rounds: int) -> list[list[float]]:
        """µs a call of those tiles, by their place in the list, `rounds` samples each, all in turns."""


def network_weight_bytes(plans: Sequence[Plan]) -> int:
    """What the weights that a network's calls read take."""
    held = {b.name: b.nbytes for plan in plans for b in plan.buffers.values() if b.space is Space.WEIGHTS}
    return sum(held.values())


class LayerBench:
    """Raises LeptonError where the C compiler refuses."""

    def __init__(self, tunable: TunableLayer, tiles: Tiles, cpu: Cpu, weight_bytes: int) -> None:
        """weight_bytes: of the whole network."""
        weights, plans = WeightBlob(), []
        headers: set[str] = set()
        for number, tile in enumerate(tiles):
            plan, needed = _layer_plan(tunable, tile, cpu, f"tile{number}", weights)
            plans.append(plan)
            headers |= needed
        code = compile_c(c_source(plans, headers) + _REPEAT, cpu)
        self._library = library.load(code, f"a layer for {cpu.name}")
        self._repeat = self._library.lepton_repeat
        self._repeat.restype = None
        self._entries = [getattr(self._library, symbol(plan.function)) for plan in plans]
        self._arena = _filled(max(plan.arena_bytes for plan in plans))
        blob = weights.content()
        each = len(blob) + -len(blob) % 64
        layer_bytes = max(network_weight_bytes(plans[:1]), 1)
        self._copies = max(min(weight_bytes // layer_bytes, MOST_COPIES_BYTES // each), 1)
        self._copy_bytes = each
        self._weights = aligned_bytes(each * self._copies)
        for copy in range(self._copies):
            self._weights[copy * each : copy * each + len(blob)] = np.frombuffer(blob, np.uint8)
        function, tensors = _function(tunable, ""), tunable.program.tensors
        self._ends = [
            [_filled(tensors[n].nbytes) for n in names] for names in (function.inputs, function.outputs)
        ]
        self._pointers = [
            (ctypes.c_void_p * len(ends))(*(e.ctypes.data for e in ends)) for ends in self._ends
        ]
        addresses = (self._arena.ctypes.data, self._weights.ctypes.data)
        self._arguments = (ctypes.c_void_p * 4)(*addresses, *map(ctypes.addressof, self._pointers))
        self._copy = ctypes.c_int(0)
        self._calls = [self._calibrated(number) for number in range(len(tiles))]

    def times(self, which: Sequence[int], rounds: int) -> list[list[float]]:
        """See Bench."""
        taken: list[list[float]] = [[] for _ in which]
        for _ in range(rounds):
            for place, number in enumerate(which):
                calls = self._calls[number]
                taken[place].append(self._seconds(number, calls) / calls * 1e6)
        return taken

    def _calibrated(self, number: int) -> int:
        self._seconds(number, 1)
        return max(int(SAMPLE_SECONDS / max(min(self._seconds(number, 1) for _ in range(3)), 1e-7)), 1)

    def _seconds(self, number: int, calls: int) -> float:
        start = time.perf_counter()
        self._repeat(
            self._entries[number],
            self._arguments,
            ctypes.c_int(calls),
            ctypes.c_int(self._copies),
            ctypes.c_ssize_t(self._copy_bytes),
            ctypes.byref(self._copy),
        )
        return time.perf_counter() - start


def _filled(nbytes: int) -> np.ndarray:
    """Bytes that are ordinary numbers, whatever their type: not zeros, nothing that floats are slow with."""
    block = aligned_bytes(nbytes + 64)
    values = np.random.default_rng(0).uniform(0.5, 1.5, len(block) // 4 + 1).astype(np.float32)
    block[:] = values.view(np.uint8)[: len(block)]
    return block


def _function(tunable: TunableLayer, name: str) -> Function:
    """The one operation as a function; what is computed before it comes as inputs."""
    op, program = tunable.operation, tunable.program
    known = {n for n in op.inputs if program.tensors[n].value is not None}
    return Function(name, tuple(dict.fromkeys(n for n in op.inputs if n not in known)), op.outputs, (op,))


def _layer_plan(
    tunable: TunableLayer, tile: Tile, cpu: Cpu, name: str, weights: WeightBlob
) -> tuple[Plan, frozenset[str]]:
    isa, body = instruction_set(cpu.isa), _function(tunable, name)
    choice = only(tunable.layer, tile)
    plan, headers = plan_operations(
        tunable.program, body, isa.tables, weights, {}, isa.slack, isa.elements, choice
    )
    converting = {kernel for maps in (FLOATS, isa.elements) for kernel in (maps.pack, maps.unpack)}
    calls = tuple(call for call in plan.calls if call.kernel not in converting)
    return dataclasses.replace(plan, calls=calls), headers


def only(layer: TiledLayer, tile: Tile) -> TileChoice:
    """`tile` for that layer, the table's for others."""
    return lambda asked, tiles: tile if asked == layer and tile in tiles else tiles[0]
