"""`lepton compile`."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import print_json, work_is_done
from lepton_sdk.output_file import check_output
from lepton_sdk.samples import read_arrays
from lepton_sdk.source_parameters import load as load_weights
from lepton_targets.errors import BadInputError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from lepton_compilers.passes.record import PassRecord
    from lepton_compilers.quantize.config import QuantizationConfig
    from lepton_compilers.quantize.sensitivity import Sensitivity
    from lepton_compilers.tuning.report import TuningReport
    from lepton_compilers.tuning.request import TuningRequest
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.program import Program
    from lepton_targets import Target


QUANTIZE = ("none", "int8", "int8x16")


def compile_command(
    model: Annotated[Path, typer.Argument(help="TFLite, ONNX or PyTorch (.pt2) file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Bundle to write, or folder of a C project.")
    ] = None,
    target: Annotated[
        str, typer.Option(help="Target names, separated by commas; see `lepton targets`.")
    ] = "host",
    quantize: Annotated[
        str,
        typer.Option(help="none, int8, or int8x16 (int16 activations). Float models stay float with none."),
    ] = "none",
    calibration: Annotated[
        Path | None, typer.Option(help="NPZ with samples of each input (or `features`), to quantise by.")
    ] = None,
    observer: Annotated[
        str, typer.Option(help="How ranges are chosen: min-max, moving-average, percentile, entropy or mse.")
    ] = "mse",
    equalise: Annotated[
        bool, typer.Option(help="Even out channels between neighbouring layers before quantising.")
    ] = True,
    bias_correction: Annotated[
        bool, typer.Option(help="Take the mean error of rounded weights out of the biases.")
    ] = True,
    int16_layers: Annotated[
        list[str] | None,
        typer.Option("--int16", help="A layer of an int8 network whose result is int16; may be given again."),
    ] = None,
    float_layers: Annotated[
        list[str] | None, typer.Option("--float", help="A layer that stays float32; may be given again.")
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32; or bf16: float layers multiply bfloat16 on targets that can, float32 elsewhere."
        ),
    ] = "float32",
    max_accuracy_drop: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Hold layers in int16, else float, until accuracy drops no more than: 0.01."
        ),
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Fix an input's shape: NAME=1,3,224,224.")] = None,
    trainable: Annotated[
        str | None,
        typer.Option(help="all, head, or parameter names separated by commas: adds training functions."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Examples in a training step.")] = 16,
    weights: Annotated[
        Path | None, typer.Option(help="Safetensors with parameters that replace the model's own, by name.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Text file with a class name a line.")] = None,
    sign: Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) to sign with.")] = None,
    tune: Annotated[
        float | None,
        typer.Option(help="Seconds to search for faster tiles, measured on this machine: 60."),
    ] = None,
    tuning: Annotated[
        Path | None,
        typer.Option(help="File of tiles that --tune found: read, and with --tune kept there."),
    ] = None,
    emit: Annotated[
        str,
        typer.Option(help="bundle, or c-project: a folder of C sources with a build file, for one target."),
    ] = "bundle",
    c_weights: Annotated[
        str, typer.Option(help="Weights of a C project: array, file, or auto (array up to 1 MiB).")
    ] = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="List the passes, their times, what each changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the program and each target's plan; generate nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile a trained network into a bundle for one or several targets."""
    if quantize not in QUANTIZE:
        raise UsageError(f"--quantize is '{quantize}'; accepted: {', '.join(QUANTIZE)}")
    quantising = quantize != "none"
    if output is None and not dry_run:
        raise UsageError("no file to write", "name one with  -o MODEL.lep, or look only with  --dry-run")
    if emit not in ("bundle", "c-project"):
        raise UsageError(f"--emit is '{emit}'; accepted: bundle, c-project")
    if emit == "c-project" and sign is not None:
        raise UsageError("--sign signs bundles; a C project carries no signature")
    if dry_run and tune is not None:
        raise UsageError("--tune measures code, and --dry-run generates none", "leave one of them out")
    if output is not None and emit == "c-project":
        from lepton_compilers.c_project.export import export, one_cpu, project_folder

        project_folder(output)
    elif output is not None:
        check_output(output, model, calibration, weights, labels, sign)
    if sign is not None:
        from lepton_sdk.bundle.signing import load_signing_key

        load_signing_key(sign)
    from lepton_compilers.importers.source import read_model, source_format

    content = read_model(model)
    import_tvm(source_format(content))
    from lepton_compilers.compilation import build_program, chosen_targets, compile
    from lepton_compilers.precision import checked_precision, precisions_by_target
    from lepton_compilers.quantize.config import QuantizationConfig

    if quantising and calibration is None and source_format(content) != "tflite":
        raise UsageError(
            f"--quantize {quantize} needs samples to measure ranges on",
            "give some with  --calibration samples.npz  (32 to 200 inputs, as the model will see them)",
        )
    checked_precision(precision)
    config = QuantizationConfig(
        activations="int16" if quantize == "int8x16" else "int8",
        observer=observer,  # type: ignore[arg-type]
        equalise=equalise,
        bias_correction=bias_correction,
        int16_layers=tuple(int16_layers or ()),
        float_layers=tuple(float_layers or ()),
    )
    for flag, named in (("--float", float_layers), ("--int16", int16_layers)):
        if named and not quantising:
            raise UsageError(
                f"{flag} names layers of a quantised network, but nothing is quantised",
                "add  --quantize int8",
            )
    if max_accuracy_drop is not None and (not quantising or calibration is None):
        raise UsageError(
            "--max-accuracy-drop compares int8 with float on labelled samples",
            "add  --quantize int8 --calibration samples.npz  (with an array 'labels')",
        )
    passes: list[PassRecord] = []
    names = [name.strip() for name in target.split(",") if name.strip()]
    start = time.perf_counter()
    shapes = dict(named_shape(text) for text in shape or ()) or None
    table: Sensitivity | None = None
    if max_accuracy_drop is not None and calibration is not None:
        loaded = load_weights(weights) if weights else None
        table = _sensitivity(content, config, read_arrays(calibration), max_accuracy_drop, shapes, loaded)
        config = dataclasses.replace(
            config,
            int16_layers=(*config.int16_layers, *table.int16_layers),
            float_layers=(*config.float_layers, *table.float_layers),
        )
        if not as_json:
            print(table.show())
    searched: dict[str, Any] = {"sensitivity": dataclasses.asdict(table)} if table else {}
    told: list[TuningReport] = []
    with _progress(as_json) as report:
        arguments: dict[str, Any] = {
            "quantization": config if quantising else None,
            "calibration": read_arrays(calibration) if calibration else None,
            "shapes": shapes,
            "trainable": _trainable(trainable),
            "batch": batch,
            "weights": load_weights(weights) if weights else None,
            "explain": passes,
            "report": report,
        }
        if output is None or dry_run:
            rows = chosen_targets(names)
            request = _tuning_request(tune, tuning, rows, output)
            program = build_program(content, **arguments)
            precisions = precisions_by_target(program, rows, precision, tuned=request is not None)
        elif emit == "c-project":
            cpu = one_cpu(chosen_targets(names))
            arguments |= {"labels": _lines(labels) if labels else (), "weights_as": c_weights}
            arguments |= {"request": _tuning_request(tune, tuning, (cpu,), output), "tuned": told}
            arguments["precision"] = precision
            files = export(model, content, cpu, output, **arguments)
        else:
            class_names = _lines(labels) if labels else None
            bundle = compile(
                model,
                names,
                output=output,
                labels=class_names,
                signing_key=sign,
                precision=precision,
                sensitivity=searched.get("sensitivity"),
                tune=tune,
                tuning=tuning,
                tuned=told,
                **arguments,
            )
    if output is None or dry_run:
        _print_plans(program, rows, precisions, request, passes if explain else None, as_json, searched)
        return
    if told:
        searched["tuning"] = [one.to_json() for one in told]
    if told and not as_json:
        print("\n".join(one.show() for one in told))
    if emit == "c-project":
        _print_project(output, files, passes if explain else (), as_json, searched)
        return
    summary = _summary(bundle, output, time.perf_counter() - start)
    with work_is_done():
        if as_json:
            print_json(summary | searched | ({"passes": [_pass_entry(p) for p in passes]} if explain else {}))
        else:
            _print_summary(summary, output, passes if explain else ())


def _tuning_request(
    tune: float | None, tuning: Path | None, rows: Sequence[Target], output: Path | None
) -> TuningRequest | None:
    if tune is None and tuning is None:
        return None
    from lepton_compilers.tuning.request import beside, tuning_request

    return tuning_request(tune, beside(output) if tuning is None and output else tuning, rows)


def _print_project(
    folder: Path,
    files: Sequence[Path],
    passes: Sequence[PassRecord],
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    with work_is_done():
        if as_json:
            listed = [{"path": str(f.relative_to(folder)), "bytes": f.stat().st_size} for f in files]
            print_json({"folder": folder.name, "files": listed} | searched)
            return
        _print_passes(passes)
        print(f"{folder}: {len(files)} files; build it:  cmake -S {folder} -B {folder}/build")


def _print_summary(summary: dict[str, Any], output: Path, passes: Sequence[PassRecord]) -> None:
    _print_passes(passes)
    sizes = ", ".join(
        f"{a['target']}{_multiplying(a)} {a['code_bytes'] + a['weights_bytes']:,} B"
        for a in summary["artifacts"]
    )
    print(
        f"{output}: {summary['kind']}, {summary['macs']:,} MACs, {summary['bytes']:,} B "
        f"({sizes}) in {summary['seconds']:.1f} s"
    )


def _multiplying(artifact: Mapping[str, Any]) -> str:
    return "" if artifact["precision"] is None else f" in {artifact['precision']}"


def _sensitivity(
    content: bytes,
    config: QuantizationConfig,
    samples: dict[str, Any],
    max_drop: float,
    shapes: dict[str, tuple[int, ...]] | None,
    weights: dict[str, Any] | None,
) -> Sensitivity:
    from lepton_compilers.importers.source import import_model
    from lepton_compilers.passes.pipeline import front_half, run_passes
    from lepton_compilers.quantize.sensitivity import search

    module = import_model(content, shapes=shapes, weights=weights)
    return search(run_passes(module, front_half(None, None)), config, samples, max_drop)


def _print_plans(
    program: Program,
    rows: Sequence[Target],
    precisions: Mapping[str, str],
    request: TuningRequest | None,
    passes: Sequence[PassRecord] | None,
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    from lepton_compilers.backends import backend_for
    from lepton_sdk.program.table import show

    # Only CPUs have tiles, so only their back end takes a choice.
    chosen = [() if request is None else (request.known.choice(row.name),) for row in rows]
    estimates = [
        backend_for(row).estimate(program, row, *choice, precision=precisions[row.name])
        for row, choice in zip(rows, chosen, strict=True)
    ]
    if as_json:
        fields: dict[str, Any] = {"estimates": [dataclasses.asdict(estimate) for estimate in estimates]}
        print_json(
            fields | searched | ({"passes": [_pass_entry(p) for p in passes]} if passes is not None else {})
        )
        return
    if passes is not None:
        _print_passes(passes)
    print(show(program))
    for estimate in estimates:
        print(f"\n{estimate.target}: {estimate.weights_bytes:,} bytes of weights")
        for text in estimate.plan.values():
            print(text)


def _print_passes(passes: Sequence[PassRecord]) -> None:
    for record in passes:
        print(f"  {record.name:<20} {record.seconds * 1e3:8.1f} ms  {record.change}")


def _summary(bundle: Bundle, output: Path, seconds: float) -> dict[str, Any]:
    manifest = bundle.manifest
    size = {segment.name: segment.bytes for segment in manifest.segments}
    return {
        "bundle": output.name,
        "digest": bundle.digest,
        "name": manifest.name,
        "kind": manifest.kind,
        "functions": list(manifest.functions),
        "macs": bundle.program().macs(),
        "bytes": output.stat().st_size,
        "artifacts": [
            {
                "target": a.target,
                "precision": manifest.precision(a.target),
                "code_bytes": size[a.code],
                "weights_bytes": size[a.weights] if a.weights else 0,
                "arena_bytes": max(f.arena_bytes for f in a.functions.values()),
            }
            for a in manifest.artifacts
        ],
        "seconds": round(seconds, 3),
    }


def _pass_entry(record: PassRecord) -> dict[str, Any]:
    return {"name": record.name, "seconds": record.seconds, "change": record.change}


class _progress:
    """A line on the terminal that names the step under way; silent with --json or without a terminal."""

    def __init__(self, silent: bool) -> None:
        self._status: Any = None
        if not silent and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("compile")

    def __enter__(self) -> Any:
        if self._status is None:
            return lambda step: None
        self._status.start()
        return self._status.update

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def import_tvm(source_format: str) -> None:
    """Import TVM, and PyTorch beside it for PyTorch's models alone.

    TVM's FFI loads PyTorch where it is installed: seconds for nothing with a model of another format.
    """
    alone = source_format != "torch" and "torch" not in sys.modules
    if alone:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("lepton compile", "compile", str(error)) from error
    finally:
        if alone:
            del sys.modules["torch"]


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"cannot read {path} as text: {error}") from error


def named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and extents of `NAME=1,3,224,224`. Raises UsageError."""
    match = re.fullmatch(r"(.+)=(\d+(?:,\d+)*)", text)
    if match is None:
        raise UsageError(f"--shape is '{text}'; accepted: NAME=1,3,224,224")
    return match[1], tuple(int(extent) for extent in match[2].split(","))


def _trainable(text: str | None) -> str | list[str] | None:
    if text is None or text in ("all", "head"):
        return text
    return [name for name in text.split(",") if name]
