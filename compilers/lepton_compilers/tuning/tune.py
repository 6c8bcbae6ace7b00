"""The tuning of one program for one CPU, which is this machine's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends import cpu as backend
from lepton_compilers.backends.cpu.tile_choice import TileUse
from lepton_compilers.tuning.bench import LayerBench, network_weight_bytes
from lepton_compilers.tuning.layers import TunableLayer, tunable_layers
from lepton_compilers.tuning.network import Comparison, compare
from lepton_compilers.tuning.progress import Progress
from lepton_compilers.tuning.records import Entry, Tuning, kernels_digest
from lepton_compilers.tuning.search import Found, Search
from lepton_sdk.program import Program
from lepton_targets import Cpu
from lepton_targets.errors import UnavailableError
from lepton_targets.host import model_name, runs_here

COMPARING_SECONDS = 2.0
"""At most, and no more than an eighth of the time."""
LONGER = 1.25
"""What a second compilation may take of the first one's time."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning gave. tuning: all entries, those that were there before too; artifact: compiled with them.

    layers: that have several tiles; found: those of them that were tried now. network: None where no layer
    has another tile than the table's. kept: whether the winners stay, being faster in the network as well.
    """

    target: str
    tuning: Tuning
    artifact: Artifact
    layers: int
    found: tuple[Found, ...]
    tiles_tried: int
    stopped: bool
    network: Comparison | None
    kept: bool
    seconds: float


def tune(
    program: Program,
    cpu: Cpu,
    seconds: float,
    known: Tuning,
    progress: Callable[[Progress], None] = lambda shown: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Search tiles for about `seconds` beyond one plain compilation; what `known` settled is not tried again.

    Raises UnavailableError where this machine does not run code for `cpu`.
    """
    check_runs_here(cpu)
    started = clock()
    table = backend.lower(program, cpu)
    compiled = clock()
    # The network is compiled once more with the winners, and both are compared.
    comparing = min(COMPARING_SECONDS, seconds / 8)
    seconds_left = seconds - (compiled - started) * LONGER - comparing
    layers = tunable_layers(program, cpu)
    search = Search([_resumed(one, known, cpu) for one in layers], max(seconds_left, 0.0), clock)
    before = [found.tried for found in search.found]
    weight_bytes = network_weight_bytes([backend.plan(program, cpu, name) for name in program.functions])

    def shown(search: Search, spent: float) -> None:
        done = sum(found.tried == len(found.tunable.tiles) for found in search.found)
        better = sum(found.tile != found.table for found in search.found)
        progress(Progress(spent, search.seconds, done, len(layers), better))

    search.run(lambda one, tiles: LayerBench(one, tiles, cpu, weight_bytes), shown)
    found = [one for one, tried in zip(search.found, before, strict=True) if one.tried > tried]
    entries = [_entry(one, cpu) for one in found]
    tuning, artifact, network, kept = known.extended(entries), table, None, True
    if any(use.chosen != use.tiles[0] for use in tile_uses(program, cpu, tuning)):
        artifact = backend.lower(program, cpu, tuning.choice(cpu.name))
        network = compare(program, table, artifact, comparing)
        kept = network.ratio_min < 1
        if not kept:
            # Alone they won: the next search may try them again.
            tuning = known.extended(entry for entry in entries if entry.tile == entry.table)
            artifact = backend.lower(program, cpu, tuning.choice(cpu.name))
    return Tuned(
        target=cpu.name,
        tuning=tuning,
        artifact=artifact,
        layers=len(layers),
        found=tuple(found),
        tiles_tried=search.tiles_tried,
        stopped=search.stopped,
        network=network,
        kept=kept,
        seconds=clock() - compiled,
    )


def check_runs_here(cpu: Cpu) -> None:
    """Raises UnavailableError where this machine does not run code for `cpu`."""
    if not runs_here(cpu):
        raise UnavailableError(
            f"{cpu.name} can't be tuned here: this machine does not run its code",
            "tune on a machine that does, and give the file it writes here:  --tuning FILE",
        )


def tile_uses(program: Program, cpu: Cpu, tuning: Tuning) -> list[TileUse]:
    """Every choice of a tile that compiling with the entries makes."""
    choice = tuning.choice(cpu.name)
    return [use for name in program.functions for use in backend.plan(program, cpu, name, choice).tiles]


def _resumed(tunable: TunableLayer, known: Tuning, cpu: Cpu) -> Found:
    entry = known.entry(cpu.name, tunable.layer, tunable.tiles)
    if entry is None or entry.table != tunable.tiles[0]:
        return Found(tunable, tunable.tiles[0])
    tried = min(max(entry.tried, 1), len(tunable.tiles))
    return Found(tunable, entry.tile, tried, entry.latency_us, entry.table_us)


def _entry(found: Found, cpu: Cpu) -> Entry:
    assert found.latency_us is not None
    assert found.table_us is not None
    return Entry(
        target=cpu.name,
        layer=found.tunable.layer,
        tile=found.tile,
        table=found.table,
        tried=found.tried,
        latency_us=float(f"{found.latency_us:.3g}"),
        table_us=float(f"{found.table_us:.3g}"),
        kernels=kernels_digest(found.tunable.layer.header),
        measured_on=model_name(),
    )
