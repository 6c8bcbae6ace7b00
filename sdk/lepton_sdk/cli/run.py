"""`lepton run`: examples in, outputs out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lepton_sdk.cli.output import print_json, print_table, progress_bar, work_is_done

if TYPE_CHECKING:
    from lepton_sdk.session import Session


def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle, or a .tflite with --engine litert.")],
    source: Annotated[Path, typer.Option("--input", help="NPZ with an array of each input, or `features`.")],
    output: Annotated[Path | None, typer.Option(help="NPZ to write every output to.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="NPZ for every layer's result of the first batch, by the reference.")
    ] = None,
    engine: Annotated[str, typer.Option(help="native, reference or litert.")] = "native",
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
    session = Session(bundle, engine=engine, threads=threads, trust=key)
    examples = examples_for(session.inputs, read_arrays(source))
    n = len(next(iter(examples.values())))
    with progress_bar("run", n, as_json) as progress:
        outputs = run_examples(session, examples, progress)
    if trace is not None:
        from lepton_sdk.trace import trace_examples

        _write(trace, trace_examples(session, examples))
    if output is not None:
        _write(output, outputs)
    # Without a file, what is printed is the work.
    with work_is_done() if output is not None else contextlib.nullcontext():
        if as_json:
            _print_json(session, engine, outputs, output)
        else:
            _print(session, outputs, output)


def _print_json(session: Session, engine: str, outputs: dict[str, np.ndarray], output: Path | None) -> None:
    first = outputs[session.outputs[0].name]
    report: dict[str, Any] = {"n": len(first), "engine": engine, "target": session.target, "outputs": {}}
    for name, array in outputs.items():
        report["outputs"][name] = {"shape": list(array.shape), "dtype": array.dtype.name}
    report["largest"] = [int(number) for number in first.reshape(len(first), -1).argmax(axis=1)]
    report["output_file"] = str(output) if output else None
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
