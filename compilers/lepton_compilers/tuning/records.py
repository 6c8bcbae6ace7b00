"""Measured tiles as a file: JSON, an entry a line in a fixed order, so that versions compare line by line.

An entry holds for one target, one kernel on one layer's shapes, and the text of the kernels' header: kernels
that were changed since make it stale. What is stale, for another target or no legal tile is left out by name,
never an error: a network compiles without it as well, only slower. Which tile a file gives depends on nothing
but its content.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_compilers.backends.cpu.plans.headers import HEADER_ORDER, kernel_header, ordered_headers
from lepton_compilers.backends.cpu.plans.tile_choice import Tile, TileChoice, TiledLayer, Tiles, TileUse
from lepton_targets.errors import BadInputError

FORMAT = "lepton-tuning"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """The best tile that was found for a layer.

    target: a row's name. tried: how many of the layer's tiles were, in their order. table: the tile that the
    layer would get without. latency_us, table_us: least times of both, measured in turns. kernels:
    kernels_digest of the header then. measured_on: the CPU as its system names it.
    """

    target: str
    layer: TiledLayer
    tile: Tile
    table: Tile
    tried: int
    latency_us: float
    table_us: float
    kernels: str
    measured_on: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, the key first."""
        rest = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        layer = rest.pop("layer")
        return {"target": rest.pop("target")} | dataclasses.asdict(layer) | rest


@dataclass(frozen=True, slots=True)
class Tuning:
    """Entries by target and layer."""

    entries: Mapping[tuple[str, TiledLayer], Entry] = dataclasses.field(default_factory=dict)

    def entry(self, target: str, layer: TiledLayer, tiles: Tiles) -> Entry | None:
        """What holds for the layer today."""
        entry = self.entries.get((target, layer))
        return entry if entry is not None and _stale(entry, tiles) is None else None

    def choice(self, target: str) -> TileChoice:
        """Tiles by these entries, the table's where there is none."""

        def choose(layer: TiledLayer, tiles: Tiles) -> Tile:
            entry = self.entry(target, layer, tiles)
            return tiles[0] if entry is None else entry.tile

        return choose

    def extended(self, entries: Iterable[Entry]) -> Tuning:
        """With these in addition, in place of what there was for their layers."""
        return Tuning({**self.entries, **{(e.target, e.layer): e for e in entries}})

    def left_out(self, target: str, uses: Sequence[TileUse]) -> list[str]:
        """Why entries don't hold: a sentence for each reason that concerns the target and these layers."""
        reasons: dict[str, int] = {}
        for use in uses:
            entry = self.entries.get((target, use.layer))
            if entry is not None and (reason := _stale(entry, use.tiles)) is not None:
                reasons[reason] = reasons.get(reason, 0) + 1
        others = sorted({name for name, _ in self.entries if name != target})
        here = [layer for name, layer in self.entries if name == target]
        if others and not here:
            reasons[f"measured for {', '.join(others)}, not for {target}"] = len(self.entries)
        if here and not {use.layer for use in uses}.intersection(here):
            reasons["measured for layers that this network lacks"] = len(here)
        return [f"{count} {'entry' if count == 1 else 'entries'}: {why}" for why, count in reasons.items()]

    def content(self) -> bytes:
        """The file."""
        ordered = [self.entries[key] for key in sorted(self.entries)]
        lines = [json.dumps(entry.to_json(), ensure_ascii=False) for entry in ordered]
        entries = ",\n".join(lines)
        return f'{{"format": "{FORMAT}", "version": {VERSION}, "entries": [\n{entries}\n]}}\n'.encode()


@functools.cache
def kernels_digest(header: str) -> str:
    """The first 16 hex digits of SHA-256 over a header and those it stands on, portable.h aside."""
    names = [name for name in ordered_headers([header]) if name != "portable.h" or header == name]
    return hashlib.sha256("".join(map(kernel_header, names)).encode()).hexdigest()[:16]


def _stale(entry: Entry, tiles: Tiles) -> str | None:
    if entry.kernels != kernels_digest(entry.layer.header):
        return f"the kernels of {entry.layer.header} have changed since they were measured"
    if entry.tile not in tiles:
        return f"{entry.layer.kernel} has no such tile for the layer"
    return None


def read_tuning(path: Path | str) -> Tuning:
    """The entries of a file. Raises BadInputError with what is wrong where it is not one, or a newer one."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInputError(
            f"cannot read the tuning file {path}: {error.strerror or error}",
            "make one with  --tune SECONDS",
        ) from None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BadInputError(
            f"{path} is no tuning file, or a damaged one: no JSON object with the format '{FORMAT}'",
            "make one with  --tune SECONDS --tuning ANOTHER.json",
        )
    version = value.get("version")
    if version != VERSION:
        raise BadInputError(
            f"{path} is a tuning file of version {version}; this compiler reads version {VERSION}",
            "update lepton-edge, or tune anew:  --tune SECONDS --tuning ANOTHER.json",
        )
    listed = value.get("entries")
    if not isinstance(listed, list):
        raise BadInputError(f"{path} is damaged: 'entries' is no list", "tune anew:  --tune SECONDS")
    entries = []
    for number, one in enumerate(listed):
        try:
            entries.append(_entry(one))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                f"{path} is damaged: entry {number} has no valid {error}", "tune anew:  --tune SECONDS"
            ) from None
    return Tuning().extended(entries)


def _entry(value: Any) -> Entry:
    """Raises KeyError or ValueError with a field's name, TypeError."""

    def typed(name: str, *kinds: type) -> Any:
        found = value[name]
        if type(found) not in kinds:
            raise ValueError(repr(name))
        return found

    def extents(name: str, least: int) -> tuple[int, ...]:
        found = typed(name, list)
        if not all(type(extent) is int and extent >= least for extent in found):
            raise ValueError(repr(name))
        return tuple(found)

    if not isinstance(value, dict):
        raise TypeError("form")
    layer = TiledLayer(
        kernel=typed("kernel", str),
        header=typed("header", str),
        x=extents("x", 1),
        weight=extents("weight", 1),
        y=extents("y", 1),
        stride=extents("stride", 1),
        dilation=extents("dilation", 1),
        padding=extents("padding", 0),
        adds=typed("adds", bool),
    )
    if layer.header not in HEADER_ORDER:
        raise ValueError("'header'")
    return Entry(
        typed("target", str),
        layer,
        extents("tile", 0),
        extents("table", 0),
        typed("tried", int),
        float(typed("latency_us", float, int)),
        float(typed("table_us", float, int)),
        typed("kernels", str),
        typed("measured_on", str),
    )
