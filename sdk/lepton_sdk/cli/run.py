"""`lepton run`: examples in, outputs out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lepton_sdk.cli.options import TARGET
from lepton_sdk.cli.output import counted, print_json, print_table, progress_bar, work_is_done

if TYPE_CHECKING:
    from lepton_sdk.session import Session


def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle, or a .tflite with --engine litert.")],
    source: Annotated[Path, typer.Option("--input", help="NPZ with an array of each input, or `features`.")],
    output: Annotated[Path | None, typer.Option(help="NPZ to write every output to.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="NPZ for every layer's result of the first batch, by the engine 'reference'."),
    ] = None,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
    target: Annotated[str | None, TARGET] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    key: Annotated[list[Path] | None, typer.Option(help="Trusted public key; requires a signature.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a model over the examples of a file."""
    from lepton_sdk.evaluate import run_examples
    from lepton_sdk.output_file import check_output
    from lepton_sdk.samples import examples_for, read_arrays
    from lepton_sdk.session import Session

    if output is not None:
        check_output(output, bundle, source, *(key or ()))
    if trace is not None:
        check_output(trace, bundle, source, output, *(key or ()))
    session = Session(bundle, engine=engine, threads=threads, trust=key, target=target)
    examples = examples_for(session.inputs, read_arrays(source))
    n = len(next(iter(examples.values())))
    traced: dict[str, np.ndarray] = {}
    if trace is not None:
        from lepton_sdk.trace import trace_examples

        traced = trace_examples(session, examples)
    with progress_bar("run", n, as_json) as progress:
        outputs = run_examples(session, examples, progress)
    told: dict[str, Any] | None = None
    if trace is not None:
        _write(trace, traced)
        told = _told(trace, session, traced, outputs)
    if output is not None:
        _write(output, outputs)
    # Without a file, what is printed is the work.
    with work_is_done() if output is not None else contextlib.nullcontext():
        if as_json:
            _print_json(session, engine, outputs, output, told)
        else:
            _print(session, outputs, output)
            if told is not None:
                print(
                    f"{trace}: {counted(told['layers'], 'layer')} of {counted(told['n'], 'example')} by the "
                    f"engine '{told['engine']}'; outputs of '{engine}' {_apart(told['max_difference'])}"
                )


def _told(
    path: Path, session: Session, traced: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What a trace holds, and how far the engine's outputs of the same examples are from it."""
    n = min(session.outputs[0].shape[0], len(outputs[session.outputs[0].name]))
    pairs = [(outputs[spec.name][:n], traced[spec.name][:n]) for spec in session.outputs]
    differences = [_difference(own, reference) for own, reference in pairs]
    return {
        "file": str(path),
        "engine": "reference",
        "n": n,
        "layers": len(traced) - len(session.inputs),
        "max_difference": None if None in differences else max(filter(None, differences), default=0.0),
    }


def _difference(own: np.ndarray, reference: np.ndarray) -> float | None:
    """The largest; None where something is NaN or infinite in one of them alone."""
    if np.array_equal(own, reference, equal_nan=own.dtype.kind == "f"):
        return 0.0
    largest = np.abs(own.astype(np.float64) - reference.astype(np.float64)).max()
    return float(largest) if np.isfinite(largest) else None


def _apart(difference: float | None) -> str:
    if difference is None:
        return "differ from it in what is NaN or infinite"
    return "are the same" if difference == 0 else f"differ from it by {difference:.2g} at most"


def _print_json(
    session: Session,
    engine: str,
    outputs: dict[str, np.ndarray],
    output: Path | None,
    traced: dict[str, Any] | None,
) -> None:
    first = outputs[session.outputs[0].name]
    report: dict[str, Any] = {"n": len(first), "engine": engine, "target": session.target, "outputs": {}}
    for name, array in outputs.items():
        report["outputs"][name] = {"shape": list(array.shape), "dtype": array.dtype.name}
    report["largest"] = [int(number) for number in first.reshape(len(first), -1).argmax(axis=1)]
    report["output_file"] = str(output) if output else None
    report["trace"] = traced
    print_json(report)


def _print(session: Session, outputs: dict[str, np.ndarray], output: Path | None) -> None:
    first = outputs[session.outputs[0].name]
    first = first.reshape(len(first), -1)
    classes = first.argmax(axis=1)
    labels = session.labels or ()
    rows = [
        (i, int(c), labels[c] if c < len(labels) else "", str(first[i, c]))
        for i, c in enumerate(classes[:20])
    ]
    print_table(("example", "largest", "label", "value"), rows)
    if len(first) > len(rows):
        print(f"… {len(first) - len(rows)} more; --output FILE.npz keeps all")
    if output is not None:
        print(f"{output}: {', '.join(outputs)}")


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import io

    from lepton_sdk.durable import write_durably

    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_durably(path, content.getvalue())
