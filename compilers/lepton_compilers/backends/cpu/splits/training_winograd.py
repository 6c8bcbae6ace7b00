"""Cuts of training_winograd.h: convolutions into runs of tiles, gradients of weights into groups of images.

The groups stand in the plan already: their sums lie apart, and are added in one order.
"""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.layout import LANES
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, along

_PARTS = 4
_MACS_A_NS = 300
_MOVED_A_NS = 5
_TRANSFORMED_A_NS = 30


def _macs(a: Arguments) -> int:
    return a["oh"] * a["ow"] * a["c"] * a["o"] * a["k"] ** 2


def convolution(a: Arguments, buffers: Buffers) -> Cut:
    """Runs of tiles, each with a scratch of its own."""
    together, tiles = a["together"], a["end"]
    runs = -(-tiles // together)
    units = min(runs, _PARTS)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin, end = first * runs // units, (first + count) * runs // units
        return a.changed(begin=begin * together, end=min(end * together, tiles))

    m = 7 - a["k"]
    ns = tiles * m * m * a["c"] * a["o"] * a["k"] ** 2 / _MACS_A_NS
    scratch = buffers[a.place("scratch").buffer].nbytes
    return Cut(units, ns, part, scratch=("scratch", scratch))


def products(a: Arguments, buffers: Buffers) -> Cut:
    """One group of images."""
    scratch = buffers[a.place("scratch").buffer].nbytes
    ns = a["images"] * _macs(a) / _MACS_A_NS
    return Cut(1, ns, lambda first, count: a.changed(), scratch=("scratch", scratch))


def taps(a: Arguments, buffers: Buffers) -> Cut:
    """Panels of output channels."""
    inner, out, width = a["in"], a["out"], a["nv"] * LANES

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * width
        return a.changed(out=count * width, w_=begin * 4, y_=begin * inner * 4)

    return Cut(out // width, 36 * inner * out / _TRANSFORMED_A_NS, part)


RULES: Mapping[str, Rule] = {
    "winograd_training": convolution,
    "winograd_products": products,
    "winograd_taps": taps,
    "winograd_weights": along(
        "o",
        lambda a: {"sums_": a["c"] * 4, "dw_": a["k"] ** 2 * a["c"] * 4},
        lambda a: a["runs"] * 36 * a["c"] * a["o"] / _MOVED_A_NS,
    ),
}
