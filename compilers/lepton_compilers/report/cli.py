"""`lepton report`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import counted, print_json, progress_bar
from lepton_targets.errors import UsageError

if TYPE_CHECKING:
    from lepton_compilers.report.report import FloatSource
    from lepton_sdk.bundle import Bundle


def report(
    bundle: Annotated[Path, typer.Argument(help="Bundle to report on.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file to write.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="NPZ with an array of each input (or `features`), and `labels` where there are any."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The float model the bundle comes from: measures every layer against it."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Safetensors the bundle was compiled with, if it was (--weights).")
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(help="Fix an input's shape of --model: NAME=1,3,224,224.")
    ] = None,
    max_examples: Annotated[
        int | None, typer.Option(min=1, help="Use the first N examples; all, but 200 with --model.")
    ] = None,
    measure: Annotated[
        float | None,
        typer.Option(min=0.01, help="Seconds to measure each layer's time on this machine; not without."),
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the bundle: native or reference.")] = "native",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report where a bundle's size, work and accuracy go: one HTML file that needs nothing else."""
    if output is None and not as_json:
        raise UsageError("nothing to write", "name a page with  -o report.html, or print  --json")
    if model is not None and data is None:
        raise UsageError("--model needs examples to measure layers on", "give some with  --data examples.npz")
    if model is None and (weights is not None or shape):
        raise UsageError("--weights and --shape belong to --model", "name the float model with  --model FILE")
    from lepton_compilers.report.page import page
    from lepton_compilers.report.report import WITH_SOURCE, build
    from lepton_compilers.report.timing import timed
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.durable import write_durably
    from lepton_sdk.output_file import check_output
    from lepton_sdk.samples import read_arrays
    from lepton_sdk.session import Session

    if output is not None:
        check_output(output, bundle, data, model, weights)
    opened = Bundle.open(bundle)
    arrays = read_arrays(data) if data else None
    source = _source(opened, model, weights, shape or ()) if model else None
    judged = Session(opened, engine=engine) if arrays is not None else None
    timing = timed(judged or Session(opened, engine=engine), measure) if measure is not None else None
    with progress_bar("report", max_examples or WITH_SOURCE, as_json or source is None) as progress:
        found = build(
            opened,
            session=judged,
            arrays=arrays,
            source=source,
            max_examples=max_examples,
            timing=timing,
            progress=progress,
        )
    if output is not None:
        write_durably(output, page(found).encode())
    if as_json:
        print_json(found.as_json())
    else:
        layers, n = counted(len(found.layers), "layer"), len(found.remedies)
        print(f"{output}: {found.name}, {layers}, {n or 'no'} {'remedy' if n == 1 else 'remedies'}")
        for text in found.remedies:
            print(f"  {text}")


def _source(bundle: Bundle, model: Path, weights: Path | None, shapes: Any) -> FloatSource:
    from lepton_compilers.cli import import_tvm, named_shape
    from lepton_compilers.importers.source import read_model, source_format
    from lepton_compilers.report.report import FloatSource
    from lepton_sdk.source_parameters import load

    content = read_model(model)
    import_tvm(source_format(content))
    from lepton_compilers.compilation import build_program

    recorded = bundle.manifest.provenance.options.get("shapes") or {}
    fixed = {name: tuple(extents) for name, extents in recorded.items()} | dict(map(named_shape, shapes))
    program = build_program(content, shapes=fixed or None, weights=load(weights) if weights else None)
    same = hashlib.sha256(content).hexdigest() == bundle.manifest.model.source_sha256
    return FloatSource(program, len(content), same)
