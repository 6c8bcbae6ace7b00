"""`lepton demo`: tells the story as it goes, ends with a table, or with one JSON object as the last line."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from lepton_sdk.cli.output import print_json, print_table
from lepton_targets.errors import CheckFailedError


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Work in this new folder and leave everything there to look at.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Train, compile, improve on 4 devices and roll out, on handwritten digits, all on this machine."""
    from lepton_fleet.demo.story import Outcome, run_demo

    start = time.monotonic()

    def tell(line: str) -> None:
        print(
            f"[{time.monotonic() - start:5.1f} s] {line}",
            file=sys.stderr if as_json else sys.stdout,
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="lepton-demo-") as temporary:
        root = Path(temporary)
        if keep is not None:
            keep.mkdir(parents=True)
            root = keep.resolve()
        outcome: Outcome = run_demo(root, tell)
    if as_json:
        print_json(dataclasses.asdict(outcome))
    else:
        by_round = ", ".join(f"{value:.1%}" for value in outcome.accuracy_by_round)
        print_table(
            ("", "result"),
            [
                ("int8 accuracy before", f"{outcome.accuracy_before:.1%}"),
                ("float accuracy by round", by_round),
                ("int8 accuracy after", f"{outcome.accuracy_after:.1%}"),
                ("updates sent / counted / lost",
                 f"{outcome.updates_sent} / {outcome.updates_counted} / {outcome.updates_lost}"),
                ("devices confirmed / rolled back",
                 f"{outcome.rollout['confirmed']} / {outcome.rollout['rolled_back']}"),
                ("latency, median", f"{outcome.latency_us:.1f} µs"),
                ("time", f"{outcome.seconds:.0f} s"),
            ],
        )  # fmt: skip
    if failures := outcome.failures():
        raise CheckFailedError("the demo's outcome is not what it must be", *failures)
