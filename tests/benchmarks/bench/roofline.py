"""The least time that a network can take on this machine, and which limit makes it so.

The model, layer by layer: a layer takes as long as its multiply-accumulates at the rate of the multiply
loop, or as long as reading its weights and its maps once at the rate of the level they come from, whichever
is longer; layers follow one another, and the call itself comes on top. (Williams and others, Roofline, 2009.)

Weights come from the nearest level that holds all of the network's weights and its largest maps, for every
inference passes over all of them; where the level before holds more than half of that, as much of them as it
holds comes from there. Maps come from the nearest level that holds what the layer touches, for the layer
before has just written them. What kernels do besides (rounding, borders, unused lanes, loops) has no place in
the model: it is the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MULTIPLIES, WEIGHTS, MAPS, CALL = "multiplies", "weights", "maps", "call"


@dataclass(frozen=True)
class Work:
    """What one layer does: multiply-accumulates of a type, bytes of weights and of maps that it touches."""

    dtype: str
    macs: float
    weights_bytes: int
    maps_bytes: int


@dataclass(frozen=True)
class Level:
    """A cache or the memory. nbytes: what it holds, None for the memory."""

    name: str
    nbytes: int | None
    bytes_a_us: float


@dataclass(frozen=True)
class Limits:
    """What one core was measured to do.

    macs_a_us: by type. levels: the nearest first, the last one the memory. call_us: an empty call.
    """

    macs_a_us: Mapping[str, float]
    levels: tuple[Level, ...]
    call_us: float

    def level(self, nbytes: int) -> Level:
        """The nearest level that holds so many bytes."""
        return next(one for one in self.levels if one.nbytes is None or nbytes <= one.nbytes)

    def us_a_byte(self, nbytes: int) -> float:
        """Of reading so many bytes over and over; a level more than half as large serves what it holds."""
        level = self.level(nbytes)
        before = self.levels[max(0, self.levels.index(level) - 1)]
        kept = (before.nbytes or 0) / nbytes if nbytes and before is not level else 0.0
        if kept <= 0.5:
            return 1.0 / level.bytes_a_us
        return kept / before.bytes_a_us + (1.0 - kept) / level.bytes_a_us

    def mostly_from(self, nbytes: int) -> Level:
        """The level that most of so many bytes come from when they are read over and over."""
        level = self.level(nbytes)
        before = self.levels[max(0, self.levels.index(level) - 1)]
        return before if before.nbytes is not None and 2 * before.nbytes > nbytes else level

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Limits:
        """As `limits.py` writes them."""
        levels = tuple(Level(one["name"], one["bytes"], one["bytes_a_us"]) for one in document["levels"])
        return cls(document["macs_a_us"], levels, document["call_us"])


@dataclass(frozen=True)
class Floor:
    """The least time in parts, microseconds, by the limit that each is due to; where weights and maps lie."""

    parts_us: Mapping[str, float]
    weights_level: str
    maps_level: str

    @property
    def total_us(self) -> float:
        """The least time."""
        return math.fsum(self.parts_us.values())

    def shares(self, latency_us: float) -> dict[str, float]:
        """Of a measured time, the share that each limit accounts for; `rest`: what none does."""
        parts = {name: part / latency_us for name, part in self.parts_us.items()}
        return {**parts, "rest": 1.0 - math.fsum(parts.values())}

    def binds(self, latency_us: float) -> str:
        """`weights from L2 81%`: the limit with the largest share; a larger rest is named before it."""
        shares = self.shares(latency_us)
        rest = shares.pop("rest")
        name = max(shares, key=lambda limit: shares[limit])
        text = f"{self.title(name)} {shares[name]:.0%}"
        return f"other work {rest:.0%}, {text}" if rest > shares[name] else text

    def title(self, limit: str) -> str:
        """The limit's name with the level that it speaks of."""
        levels = {WEIGHTS: self.weights_level, MAPS: self.maps_level}
        return f"{limit} from {levels[limit]}" if limit in levels else limit


def floor(layers: Sequence[Work], limits: Limits) -> Floor:
    """The least time of the layers in turn: a part for each limit that binds some layer, one for the call."""
    largest_map = max((layer.maps_bytes for layer in layers), default=0)
    together = sum(layer.weights_bytes for layer in layers) + largest_map
    us_a_byte = limits.us_a_byte(together)
    parts = dict.fromkeys((MULTIPLIES, WEIGHTS, MAPS), 0.0)
    from_levels: dict[str, float] = {}
    for layer in layers:
        maps = limits.level(layer.weights_bytes + layer.maps_bytes)
        products = layer.macs / limits.macs_a_us[layer.dtype] if layer.dtype in limits.macs_a_us else 0.0
        weights_us, maps_us = layer.weights_bytes * us_a_byte, layer.maps_bytes / maps.bytes_a_us
        if products >= weights_us + maps_us:
            parts[MULTIPLIES] += products
        else:
            parts[WEIGHTS] += weights_us
            parts[MAPS] += maps_us
            from_levels[maps.name] = from_levels.get(maps.name, 0.0) + maps_us
    slowest = max(from_levels, key=lambda name: from_levels[name], default=limits.levels[0].name)
    return Floor({**parts, CALL: limits.call_us}, limits.mostly_from(together).name, slowest)
