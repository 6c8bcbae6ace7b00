"""`lepton eval`: how right, and how like another runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import print_json, print_table, progress_bar
from lepton_targets.errors import BadInputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from lepton_sdk.session import Session


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Bundle, or a .tflite with --engine litert.")],
    data: Annotated[Path, typer.Option(help="NPZ with an array of each input (or `features`) and `labels`.")],
    metrics: Annotated[
        str, typer.Option(help="accuracy, top5, precision, recall, f1; separated by commas.")
    ] = "accuracy",
    against: Annotated[
        str | None, typer.Option(help="litert:FILE.tflite: compare every output with it.")
    ] = None,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a model on labelled examples; with --against, compare it with another runtime."""
    from lepton_sdk.evaluate import compare, run_examples, scores
    from lepton_sdk.metrics import accuracy, choose
    from lepton_sdk.samples import examples_for, labels_of, read_arrays
    from lepton_sdk.session import Session

    chosen = choose(metrics)
    session = Session(bundle, engine=engine, threads=threads)
    arrays = read_arrays(data)
    other = Session(_peer_file(against), engine="litert", threads=threads) if against else None
    examples = examples_for(session.inputs, arrays)
    n = len(next(iter(examples.values())))
    labels = labels_of(arrays, n)
    if labels is None and other is None:
        raise BadInputError(
            f"{data} has no 'labels', so there is nothing to evaluate", "or compare with --against"
        )
    with progress_bar("eval", n, as_json) as progress:
        outputs = run_examples(session, examples, progress)
    ranked = scores(session, outputs)
    report: dict[str, Any] = {"n": n, "engine": engine, "target": session.target}
    for name, metric in chosen.items():
        report[name] = None if labels is None else metric(ranked, labels)
    if other is not None:
        their_examples = examples_for(other.inputs, _for_peer(session, other, arrays))
        with progress_bar("against", n, as_json) as progress:
            others = run_examples(other, their_examples, progress)
        report["against"] = {
            "name": "litert",
            "accuracy": None if labels is None else accuracy(scores(other, others), labels),
            **compare(session, outputs, other, others).as_dict(),
        }
    if as_json:
        print_json(report)
        return
    print_table(("figure", "value"), [(k, v) for k, v in report.items() if k != "against"])
    if other is not None:
        print_table(("against litert", "value"), list(report["against"].items())[1:])


def _for_peer(session: Session, other: Session, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under the other model's names too: two compilers of one file may name inputs differently."""
    named = dict(arrays)
    for own, theirs in zip(session.inputs, other.inputs):
        for suffix in ("", "_scale", "_zero_point"):
            if own.name + suffix in arrays:
                named[theirs.name + suffix] = arrays[own.name + suffix]
    return named


def _peer_file(text: str) -> str:
    name, _, path = text.partition(":")
    if name != "litert" or not path:
        raise UsageError(f"--against is '{text}'; accepted: litert:FILE.tflite")
    return path
