"""Which tiles are tried within the time, and which one has won.

Layers come in turns, the most expensive first; at each turn some tiles of one are compiled and timed beside
the best one so far. How many depends on how long that kernel took to compile before. The fastest of a turn is
then timed again, and must be faster than the best so far by more than what noise makes of equal ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lepton_compilers.backends.cpu.plans.tile_choice import Tile, Tiles
from lepton_compilers.tuning.bench import Bench
from lepton_compilers.tuning.layers import TunableLayer

SCREENING_ROUNDS, CONFIRMING_ROUNDS = 15, 60
LEAST_GAIN = 0.02
"""Of the best tile's time; what a second measurement of the same tile differs by is below it."""
TURN_SECONDS = 3.0
FIRST_GUESS_SECONDS = 1.0
"""To compile and time one tile, before any was."""
MOST_TILES_A_TURN = 8
LONGER = 1.5
"""What a tile may take of the longest time before."""

Open = Callable[[TunableLayer, Tiles], Bench]


@dataclass(frozen=True, slots=True)
class Found:
    """A layer's best tile so far. tried: tiles in their order; latency_us, table_us: None before any."""

    tunable: TunableLayer
    tile: Tile
    tried: int = 1
    latency_us: float | None = None
    table_us: float | None = None

    @property
    def table(self) -> Tile:
        """The tile without tuning."""
        return self.tunable.tiles[0]


@dataclass(slots=True)
class Search:
    """found: in the order of the layers; whole at any moment, also where `run` is interrupted.

    stopped: whether tiles were left when time was up.
    """

    found: list[Found]
    seconds: float
    clock: Callable[[], float]
    stopped: bool = False
    tiles_tried: int = 0
    _pace: dict[str, float] = field(default_factory=dict)

    def run(self, opened: Open, progress: Callable[[Search, float], None] = lambda search, s: None) -> None:
        """Try tiles until all are or time is up. progress: told the seconds that have passed."""
        begun = self.clock()
        while waiting := [n for n, found in enumerate(self.found) if found.tried < len(found.tunable.tiles)]:
            turns = 0
            for number in waiting:
                spent = self.clock() - begun
                progress(self, spent)
                count = self._tiles_of_a_turn(self.found[number], self.seconds - spent)
                if count:
                    turns += 1
                    self.found[number] = self._turn(self.found[number], count, opened)
            if not turns:
                self.stopped = True
                return
        progress(self, self.clock() - begun)

    def _tiles_of_a_turn(self, found: Found, left: float) -> int:
        """As many as fit into a turn and into the time that is left, with what they are compared to."""
        pace = self._pace.get(found.tunable.layer.kernel, FIRST_GUESS_SECONDS)
        beside = 1 if found.tile == found.table else 2
        fitting = min(MOST_TILES_A_TURN, max(int(TURN_SECONDS / pace) - beside, 1))
        left /= LONGER
        if left < (beside + 1) * pace:
            return 0
        return min(fitting, int(left / pace) - beside, len(found.tunable.tiles) - found.tried)

    def _turn(self, found: Found, count: int, opened: Open) -> Found:
        begun, tunable = self.clock(), found.tunable
        new = tunable.tiles[found.tried : found.tried + count]
        tiles = tuple(dict.fromkeys((found.table, found.tile, *new)))
        bench = opened(tunable, tiles)
        least = [min(taken) for taken in bench.times(range(len(tiles)), SCREENING_ROUNDS)]
        held, fastest = tiles.index(found.tile), min(range(len(tiles)), key=least.__getitem__)
        result = replace(found, tried=found.tried + count)
        if found.latency_us is None:
            result = replace(result, table_us=least[0], latency_us=least[0])
        doubtful = held != 0 and least[held] > least[0] * (1 - LEAST_GAIN)
        if doubtful or least[fastest] < least[held] * (1 - LEAST_GAIN):
            result = _confirmed(result, tiles, list(dict.fromkeys((0, held, fastest))), bench)
        self.tiles_tried += count
        pace = (self.clock() - begun) / len(tiles)
        self._pace[tunable.layer.kernel] = max(pace, self._pace.get(tunable.layer.kernel, 0.0))
        return result


def _confirmed(found: Found, tiles: Tiles, which: Sequence[int], bench: Bench) -> Found:
    """After the table's, the best so far and the fastest were timed again; each must beat those before it."""
    times = bench.times(which, CONFIRMING_ROUNDS)
    tile, best = tiles[0], times[0]
    for number, taken in zip(which[1:], times[1:], strict=True):
        if faster(taken, best):
            tile, best = tiles[number], taken
    return replace(found, tile=tile, latency_us=min(best), table_us=min(times[0]))


def faster(new: Sequence[float], old: Sequence[float]) -> bool:
    """Whether samples taken in turns tell a gain from noise: at their least, and in most pairs."""
    pairs = statistics.median(a / b for a, b in zip(new, old, strict=True))
    return min(new) < min(old) * (1 - LEAST_GAIN) and pairs < 1 - LEAST_GAIN / 2
