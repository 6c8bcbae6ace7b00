"""The tuning of one program for one CPU, which is this machine's."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends import cpu as backend
from lepton_compilers.backends.cpu.plans.tile_choice import TileUse
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
    keep: Callable[[Tuning], None] = lambda tuning: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Search tiles for about `seconds` beyond one plain compilation; what `known` settled is not tried again.

    keep: given all entries whenever there are more, for who stops the search to find them: winners that
    were not compared in the network yet.
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
    kept_tiles = 0

    def tried_now() -> list[Found]:
        return [one for one, tried in zip(search.found, before, strict=True) if one.tried > tried]

    def shown(search: Search, spent: float) -> None:
        nonlocal kept_tiles
        done = sum(found.tried == len(found.tunable.tiles) for found in search.found)
        better = sum(found.tile != found.table for found in search.found)
        progress(Progress(spent, search.seconds, done, len(layers), better))
        if search.tiles_tried > kept_tiles:
            kept_tiles = search.tiles_tried
            keep(known.extended(_entry(one, cpu) for one in tried_now()))

    search.run(lambda one, tiles: LayerBench(one, tiles, cpu, weight_bytes), shown)
    entries = [_entry(one, cpu) for one in tried_now()]
    tuning, artifact, network, kept = _judged(program, cpu, table, known, entries, comparing)
    return Tuned(
        target=cpu.name,
        tuning=tuning,
        artifact=artifact,
        layers=len(layers),
        found=tuple(tried_now()),
        tiles_tried=search.tiles_tried,
        stopped=search.stopped,
        network=network,
        kept=kept,
        seconds=clock() - compiled,
    )


def _judged(
    program: Program, cpu: Cpu, table: Artifact, known: Tuning, entries: Sequence[Entry], seconds: float
) -> tuple[Tuning, Artifact, Comparison | None, bool]:
    """The entries that stay, the network by them, how it compares with all winners, whether all stay.

    seconds: of a comparison with the table's tiles, which a set of winners must be faster than: all of them,
    else those that were known (an interrupted search leaves some that were not compared), else none.
    """
    # Alone they won: a later search may try them again.
    losing = [entry for entry in entries if entry.tile == entry.table]
    first: Comparison | None = None
    for tuning in (known.extended(entries), known.extended(losing)):
        uses = tile_uses(program, cpu, tuning)
        if all(use.chosen == use.tiles[0] for use in uses):
            return tuning, table, first, first is None
        artifact = backend.lower(program, cpu, tuning.choice(cpu.name))
        network = compare(program, table, artifact, seconds)
        if network.ratio_min < 1:
            return tuning, artifact, first or network, first is None
        first = first or network
        changed = {use.layer for use in uses if use.chosen != use.tiles[0]}
    again = (
        dataclasses.replace(e, tile=e.table, tried=1, latency_us=e.table_us)
        for (target, layer), e in tuning.entries.items()
        if target == cpu.name and layer in changed
    )
    return tuning.extended(again), table, first, False


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
