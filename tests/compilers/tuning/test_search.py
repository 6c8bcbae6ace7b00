"""The search without a compiler: benches that answer from a table, a clock that they move on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lepton_compilers.backends.cpu.plans.tile_choice import Tile, TiledLayer, Tiles
from lepton_compilers.tuning.layers import TunableLayer
from lepton_compilers.tuning.search import Found, Search, faster
from lepton_sdk.program import Function, Program, Tensor
from lepton_sdk.program.operations import Relu

OPERATION = Relu("x", "y")
PROGRAM = Program(
    {"infer": Function("infer", ("x",), ("y",), (OPERATION,))},
    {name: Tensor(name, (1,), "float32") for name in ("x", "y")},
)
TILES: Tiles = tuple((n, 1) for n in range(16, 4, -1))


def layer(width: int, tiles: Tiles = TILES, kernel: str = "conv") -> TunableLayer:
    shape = (1, 1, width, 16)
    named = TiledLayer(kernel, "h", shape, shape, shape, (1, 1), (1, 1), (0, 0, 0, 0), False)
    return TunableLayer(named, tiles, PROGRAM, OPERATION, 1, width)


class Machine:
    """Tiles take `us` (1 where none is named) and `seconds` to compile; `noise`: a sample's, in turn."""

    def __init__(self, us: Mapping[Tile, float], seconds: float = 1.0, noise: Sequence[float] = (1.0,)):
        self.us, self.seconds, self.noise = us, seconds, noise
        self.now = 0.0
        self.opened: list[tuple[int, Tiles]] = []

    def open(self, tunable: TunableLayer, tiles: Tiles) -> Machine.Bench:
        self.now += self.seconds * len(tiles)
        self.opened.append((tunable.cost, tiles))
        return Machine.Bench(self, tiles)

    class Bench:
        def __init__(self, machine: Machine, tiles: Tiles):
            self.machine, self.tiles = machine, tiles

        def times(self, which: Sequence[int], rounds: int) -> list[list[float]]:
            noise = self.machine.noise
            least = [self.machine.us.get(self.tiles[number], 1.0) for number in which]
            return [[us * noise[i % len(noise)] for i in range(rounds)] for us in least]


def searched(machine: Machine, seconds: float, *layers: TunableLayer) -> Search:
    search = Search([Found(one, one.tiles[0]) for one in layers], seconds, lambda: machine.now)
    search.run(machine.open)
    return search


def test_the_fastest_tile_wins_whenever_it_is_tried() -> None:
    for best in TILES[1:]:
        (found,) = searched(Machine({best: 0.9}), 1000, layer(1)).found
        assert (found.tile, found.tried) == (best, len(TILES))
        assert (found.latency_us, found.table_us) == (0.9, 1.0)


@pytest.mark.parametrize("gain", [0.0, 0.01, 0.019])
def test_a_gain_that_noise_could_make_changes_nothing(gain: float) -> None:
    (found,) = searched(Machine({TILES[3]: 1 - gain}), 1000, layer(1)).found
    assert found.tile == TILES[0]


def test_one_lucky_sample_is_no_gain() -> None:
    steady, lucky = [1.0] * 20, [0.9] + [1.0] * 19
    assert not faster(lucky, steady)
    assert faster([0.9] * 20, steady)


@pytest.mark.parametrize("seconds", [0.0, 3.0, 20.0, 47.0, 60.0])
def test_time_bounds_the_search_and_the_most_expensive_layer_comes_first(seconds: float) -> None:
    machine = Machine({TILES[1]: 0.5})
    search = searched(machine, seconds, layer(9), layer(4), layer(1))
    assert machine.now <= seconds
    assert search.stopped
    costs = [cost for cost, _ in machine.opened]
    assert costs[:3] == [9, 4, 1][: len(costs)]
    if seconds == 0:
        assert not machine.opened
        assert [found.latency_us for found in search.found] == [None] * 3


def test_a_layer_that_is_slow_to_compile_leaves_time_to_the_others() -> None:
    machine = Machine({}, seconds=0.1)
    search = searched(machine, 1000, layer(9), layer(4, TILES[:2], "row"))
    assert not search.stopped
    assert search.tiles_tried == len(TILES)
    # Each turn compiles what it compares to as well.
    assert all(tiles[0] == TILES[0] for _, tiles in machine.opened)


def test_a_search_goes_on_where_an_earlier_one_stopped() -> None:
    machine, one = Machine({TILES[2]: 0.8, TILES[9]: 0.5}), layer(1)
    search = Search([Found(one, TILES[2], 5, 0.8, 1.0)], 1000, lambda: machine.now)
    search.run(machine.open)
    tried = {tile for _, tiles in machine.opened for tile in tiles}
    assert tried == {TILES[0], TILES[2], *TILES[5:]}
    assert search.found[0].tile == TILES[9]


def test_an_interrupted_search_keeps_every_whole_turn() -> None:
    machine = Machine({TILES[1]: 0.5})

    def interrupted(tunable: TunableLayer, tiles: Tiles) -> Machine.Bench:
        if len(machine.opened) == 2:
            raise KeyboardInterrupt
        return machine.open(tunable, tiles)

    search = Search([Found(layer(w), TILES[0]) for w in (9, 4, 1)], 1000, lambda: machine.now)
    with pytest.raises(KeyboardInterrupt):
        search.run(interrupted)
    first, second, third = search.found
    assert first.tile == second.tile == TILES[1]
    assert (first.latency_us, first.table_us) == (0.5, 1.0)
    assert third == Found(layer(1), TILES[0])
    assert search.tiles_tried == first.tried + second.tried - 2
