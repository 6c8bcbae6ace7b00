"""`lepton eval`: how right, and how like another model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lepton_sdk.cli.options import TARGET
from lepton_sdk.cli.output import print_json, print_table, progress_bar
from lepton_targets.errors import BadInputError, UsageError, nearest

if TYPE_CHECKING:
    from lepton_sdk.session import Session


PEERS = {"litert": "litert", "lepton": "native"}
"""What `--against NAME:FILE` may name, and the engine that opens its file."""


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Bundle, or a .tflite with --engine litert.")],
    data: Annotated[Path, typer.Option(help="NPZ with an array of each input (or `features`) and `labels`.")],
    metrics: Annotated[
        str,
        typer.Option(
            help="accuracy, top5, precision, recall, f1, roc_auc, confusion_matrix, per_class, roc_curve; "
            "separated by commas."
        ),
    ] = "accuracy",
    against: Annotated[
        str | None,
        typer.Option(help="litert:FILE.tflite or lepton:FILE.lep: compare every output with it."),
    ] = None,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
    target: Annotated[str | None, TARGET] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    key: Annotated[list[Path] | None, typer.Option(help="Trusted public key; requires signatures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a model on labelled examples; with --against, compare it with another model or runtime."""
    from lepton_sdk.evaluate import compare, run_examples, scores
    from lepton_sdk.metrics import accuracy, choose, class_count
    from lepton_sdk.samples import examples_for, labels_of, read_arrays
    from lepton_sdk.session import Session

    chosen = choose(metrics)
    session = Session(bundle, engine=engine, threads=threads, target=target, trust=key)
    arrays = read_arrays(data)
    peer, other = "", None
    if against is not None:
        peer, peer_file = _peer(against)
        # Another bundle runs as this one does; LiteRT's is no engine for bundles.
        peer_engine = engine if peer == "lepton" and engine == "reference" else PEERS[peer]
        # Another format carries no signature.
        trust = key if peer == "lepton" else None
        other = Session(peer_file, engine=peer_engine, threads=threads, trust=trust)
    examples = examples_for(session.inputs, arrays)
    n = len(next(iter(examples.values())))
    labels = labels_of(arrays, n, class_count(math.prod(session.outputs[0].shape[1:])))
    if labels is None and other is None:
        raise BadInputError(
            f"{data} has no 'labels', so there is nothing to evaluate", "or compare with --against"
        )
    their_examples = {}
    if other is not None:
        try:
            their_examples = examples_for(other.inputs, _for_peer(session, other, arrays))
        except BadInputError as error:
            raise BadInputError(f"{other.path}: {error.message}", *error.details) from None
    with progress_bar("eval", n, as_json) as progress:
        outputs = run_examples(session, examples, progress)
    ranked = scores(session, outputs)
    report: dict[str, Any] = {"n": n, "engine": engine, "target": session.target}
    for name, metric in chosen.items():
        report[name] = None if labels is None else metric(ranked, labels)
    if other is not None:
        with progress_bar("against", n, as_json) as progress:
            others = run_examples(other, their_examples, progress)
        report["against"] = {
            "name": peer,
            "accuracy": None if labels is None else accuracy(scores(other, others), labels),
            **compare(session, outputs, other, others).as_dict(),
        }
    if as_json:
        print_json(report)
    else:
        _print(report, session.labels or ())


def _print(report: Mapping[str, Any], names: Sequence[str]) -> None:
    from lepton_sdk.metrics import TABLES

    apart = {"against", *TABLES}
    print_table(("figure", "value"), _rows({k: v for k, v in report.items() if k not in apart}))
    if report.get("per_class"):
        rows = report["per_class"]
        columns = tuple(rows[0])
        cells = [(_named(row["class"], names), *list(row.values())[1:]) for row in rows]
        print_table(columns, cells, title="\nper class")
    if report.get("confusion_matrix"):
        matrix = report["confusion_matrix"]
        cells = [(_named(number, names), *row) for number, row in enumerate(matrix)]
        print_table(("is \\ taken for", *map(str, range(len(matrix)))), cells, title="\nconfusion matrix")
    if report.get("roc_curve"):
        columns = ("class", "area", "corners")
        cells = [(_named(c["class"], names), c["area"], len(c["thresholds"])) for c in report["roc_curve"]]
        print_table(columns, cells, title="\nROC curves (corners: --json, or lepton report)")
    if "against" in report:
        others = dict(report["against"])
        title = f"\nagainst {others.pop('name')}"
        print_table(("figure", "value"), _rows(others), title=title)


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Those that there are: without labels there is no accuracy, between floats and integers no step."""
    return [(name, value) for name, value in figures.items() if value is not None]


def _named(number: int, names: Sequence[str]) -> str:
    return f"{number} {names[number]}" if number < len(names) else str(number)


def _for_peer(session: Session, other: Session, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under the other model's names too: two compilers of one file may name inputs differently.

    Integers that are the session's own mean what its input says they mean, so that another scale or a float
    model gets the same real numbers.
    """
    from lepton_sdk.samples import FEATURES

    named = dict(arrays)
    for own, theirs in zip(session.inputs, other.inputs):
        key = own.name if own.name in arrays else FEATURES
        if key not in arrays:
            continue
        stated = {suffix: arrays.get(key + suffix) for suffix in ("_scale", "_zero_point")}
        own_integers = arrays[key].dtype == own.dtype and arrays[key].dtype.kind in "iu"
        if stated["_scale"] is None and own_integers and own.quantization is not None:
            means = own.quantization
            stated = {"_scale": np.array(means.scales), "_zero_point": np.array(means.zero_point)}
        named[theirs.name] = arrays[key]
        named |= {theirs.name + suffix: value for suffix, value in stated.items() if value is not None}
    return named


def _peer(text: str) -> tuple[str, str]:
    """(name, file) of `--against`."""
    name, _, path = text.partition(":")
    if name not in PEERS or not path:
        accepted = "litert:FILE.tflite, lepton:FILE.lep"
        raise UsageError(f"--against is '{text}'{nearest(name, PEERS)}; accepted: {accepted}")
    return name, path
