"""What `make instructions` keeps of the committed counts when it counts some of them anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import instructions
from benchmarks.instructions import merged, page


def row(network: str, target: str, count: int, litert: int | None = None) -> dict[str, Any]:
    return {
        "network": network,
        "target": target,
        "macs": 100,
        "instructions": count,
        "instructions_a_mac": count / 100,
        "counted_by": "callgrind",
        "litert_instructions": litert,
        "ratio": None if litert is None else round(count / litert, 3),
    }


def test_rows_of_other_targets_stay_and_the_order_is_the_tables() -> None:
    earlier = [row("AD", "riscv64", 3), row("KWS", "cortex-a53", 5)]
    found = merged(earlier, [row("AD", "x86-64-avx2", 7), row("KWS", "cortex-a53", 9)])
    assert [(r["network"], r["target"], r["instructions"]) for r in found] == [
        ("KWS", "cortex-a53", 9),
        ("AD", "x86-64-avx2", 7),
        ("AD", "riscv64", 3),
    ]
    assert merged(found, []) == found


def test_a_count_of_litert_stays_where_only_ours_is_new() -> None:
    (found,) = merged([row("AD", "cortex-a53", 50, 100)], [row("AD", "cortex-a53", 40)])
    assert (found["litert_instructions"], found["ratio"]) == (100, 0.4)
    (found,) = merged([found], [row("AD", "cortex-a53", 40, 80)])
    assert (found["litert_instructions"], found["ratio"]) == (80, 0.5)


def test_what_was_counted_before_an_interruption_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counting(*given: Any) -> Any:
        yield row("KWS", "riscv64", 4)
        raise KeyboardInterrupt

    monkeypatch.setattr(instructions, "measure", counting)
    monkeypatch.setattr(sys, "argv", ["instructions", "--targets", "riscv64", "--output", str(tmp_path)])
    kept = row("KWS", "cortex-a53", 5, 10)
    (tmp_path / "instructions.json").write_text(json.dumps([kept]))
    with pytest.raises(KeyboardInterrupt):
        instructions.main()
    rows = json.loads((tmp_path / "instructions.json").read_text())
    assert rows == [kept, row("KWS", "riscv64", 4)]
    assert (tmp_path / "INSTRUCTIONS.md").read_text() == page(rows)
