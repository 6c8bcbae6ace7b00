"""`lepton aggregator run`: runs a federated job's rounds, and tells of each step."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lepton_sdk.cli.output import print_json

aggregator = typer.Typer(help="The server side of federated rounds.", no_args_is_help=True)


@aggregator.callback()
def _aggregator() -> None:
    """The server side of federated rounds."""


@aggregator.command()
def run(
    config: Annotated[Path, typer.Option("--config", help="TOML file of the aggregator.")],
    allow: Annotated[
        Path | None, typer.Option("--allow", help="Folder of device keys, *.pub.pem; read as it changes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
) -> None:
    """Run the job's rounds and end. Killed at any moment, the same command goes on where it stood.

    Events: ready, unknown_device (once each: it is not enrolled), round_selecting, round_open,
    chunks_needed, update_counted, update_rejected, device_failed, round_closed, round_committed,
    round_abandoned, finished. Every key of the file: examples/aggregator.toml.
    """
    from lepton_fleet.aggregator import Aggregator
    from lepton_fleet.aggregator_config import read_aggregator_config
    from lepton_fleet.evaluation import held_out_evaluation

    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = read_aggregator_config(config, allow)
    evaluate = None
    if settings.evaluation is not None:
        files = settings.evaluation
        evaluate = held_out_evaluation(files.bundle, files.data, engine=files.engine, trust=files.trust)

    def tell(name: str, fields: Mapping[str, Any]) -> None:
        if as_json:
            print_json({"event": name, **fields})
        elif name != "chunks_needed":
            print(f"{name} " + " ".join(f"{key}={value}" for key, value in fields.items()))
        sys.stdout.flush()

    job = Aggregator(
        settings.job,
        settings.transport,
        settings.identity,
        allow=settings.allow,
        strategy=settings.strategy,
        evaluate=evaluate,
        on_event=tell,
    )
    try:
        for _ in job.run(settings.connect_timeout_s):
            pass
    finally:
        job.close()
