"""What tuning tells in the end, for one target: for programs as plain values, for people as lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_compilers.backends.cpu.plans.tile_choice import TileUse
from lepton_compilers.tuning.search import Found
from lepton_compilers.tuning.tune import Tuned
from lepton_sdk.cli.output import counted

MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class TuningReport:
    """uses: every tile that was chosen for the target's code. left_out: why entries of the file don't hold.

    file: name of the file that was read or written, None where there is none. tuned: None where the file was
    only read.
    """

    target: str
    file: str | None
    uses: tuple[TileUse, ...]
    left_out: tuple[str, ...]
    tuned: Tuned | None

    @property
    def changed(self) -> tuple[TileUse, ...]:
        """Those that are not the table's."""
        return tuple(use for use in self.uses if use.chosen != use.tiles[0])

    def to_json(self) -> dict[str, Any]:
        """Plain values with stable keys; the search's are there only where there was one."""
        known: dict[str, Any] = {
            "target": self.target,
            "file": self.file,
            "tiles_changed": len(self.changed),
            "left_out": list(self.left_out),
        }
        t = self.tuned
        if t is None:
            return known
        return known | {
            "seconds": round(t.seconds, 3),
            "layers": t.layers,
            "layers_tried": len(t.found),
            "tiles_tried": t.tiles_tried,
            "stopped_by_time": t.stopped,
            "tried": [_tried(found) for found in t.found],
            "network": t.network.to_json() if t.network is not None else None,
            "kept": t.kept,
        }

    def show(self) -> str:
        """Some lines."""
        t = self.tuned
        instead = "the table's tiles stand in" if t is None else "left out"
        lines = [f"{self.target}: {why}; {instead}" for why in self.left_out]
        if t is None:
            lines.append(f"{self.target}: {len(self.changed)} of {len(self.uses)} tiles by {self.file}")
            return "\n".join(lines)
        won = sorted((f for f in t.found if f.tile != f.table), key=_ratio)
        lines.append(self._searched(t, len(won)) if t.found else f"{self.target}: {self._untried(t)}")
        lines += [
            f"  {f.tunable.layer}: {_tile(f.table)} → {_tile(f.tile)}, {_ratio(f):.2f} of its time"
            for f in won[:MOST_LINES]
        ]
        if len(won) > MOST_LINES:
            lines.append(f"  and {len(won) - MOST_LINES} more")
        if (n := t.network) is not None:
            lines.append(
                f"  whole network, in turns: {n.table.min:.1f} → {n.tuned.min:.1f} µs at least "
                f"({n.ratio_min:.3f}), {n.table.median:.1f} → {n.tuned.median:.1f} µs in the middle "
                f"({n.ratio_median:.3f}); " + _difference(n.max_difference)
            )
        if not t.kept:
            lines.append("  not kept: what is faster alone is not faster in the network")
        if t.found and self.file is not None:
            more = "; the same command goes on from there" if t.stopped else ""
            lines.append(f"  kept in {self.file}: compile by it with  --tuning{more}")
        return "\n".join(lines)

    def _searched(self, t: Tuned, won: int) -> str:
        return (
            f"{t.target}: {counted(t.tiles_tried, 'tile')} of {counted(len(t.found), 'layer')} tried in "
            f"{t.seconds:.0f} s, {counted(won, 'layer')} with a faster one"
            + (", more are left to try" if t.stopped else "")
        )

    def _untried(self, t: Tuned) -> str:
        kept = f"{self.file} holds what it held" if self.file is not None else "no tuning file was written"
        if t.stopped:
            why = "--tune was too short, for compiling the network again is part of it"
        else:
            why = "all tiles were tried before" if t.layers else "no layer has several tiles"
        return f"nothing was tried: {why}; {kept}"


def _difference(largest: float) -> str:
    return "equal bytes" if largest == 0 else f"results differ by {largest:.1e} at most, rounding"


def _tile(tile: Sequence[int]) -> str:
    return "×".join(map(str, tile))


def _ratio(found: Found) -> float:
    assert found.latency_us is not None
    assert found.table_us is not None
    return found.latency_us / found.table_us


def _tried(found: Found) -> dict[str, Any]:
    return dataclasses.asdict(found.tunable.layer) | {
        "uses": found.tunable.uses,
        "tiles": len(found.tunable.tiles),
        "tried": found.tried,
        "table": list(found.table),
        "tile": list(found.tile),
        "table_us": found.table_us,
        "latency_us": found.latency_us,
        "ratio": _ratio(found),
    }
