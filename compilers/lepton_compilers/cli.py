"""`lepton compile`."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_compilers.output_cli import Progress, print_plans, print_project, print_written
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
    from lepton_targets import Target


QUANTIZE = ("none", "int8", "int8x16")
C_WEIGHTS = ("auto", "array", "file")


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
    batch: Annotated[
        int | None, typer.Option(min=1, help="Examples in a training step, with --trainable; 16 without.")
    ] = None,
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
        str | None,
        typer.Option(help="Weights of a C project: array, file, or auto (array up to 1 MiB), the default."),
    ] = None,
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
    if c_weights not in (None, *C_WEIGHTS):
        raise UsageError(f"--c-weights is '{c_weights}'; accepted: {', '.join(C_WEIGHTS)}")
    if c_weights is not None and emit != "c-project":
        raise UsageError("--c-weights belongs to a C project", "add  --emit c-project,  or leave it out")
    if batch is not None and trainable is None:
        raise UsageError(
            "--batch is the number of examples in a training step, and nothing is to be trained",
            "add  --trainable all,  or leave it out; inference takes the model's own batch (--shape)",
        )
    if dry_run and tune is not None:
        raise UsageError("--tune measures code, and --dry-run generates none", "leave one of them out")
    if output is not None and emit == "c-project":
        from lepton_compilers.c_project.export import export, one_cpu
        from lepton_compilers.c_project.folder import project_folder

        project_folder(output)
    elif output is not None:
        check_output(output, model, calibration, weights, labels, sign)
    if sign is not None:
        from lepton_sdk.bundle.signing import load_signing_key

        load_signing_key(sign)
    from lepton_compilers.importers.source import read_model, source_format

    content = read_model(model)
    with Progress(as_json) as report:
        report("load the compiler")
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
        loaded, samples = load_weights(weights) if weights else None, read_arrays(calibration)
        with Progress(as_json) as report:
            table = _sensitivity(content, config, samples, max_accuracy_drop, shapes, loaded, report)
        config = dataclasses.replace(
            config,
            int16_layers=(*config.int16_layers, *table.int16_layers),
            float_layers=(*config.float_layers, *table.float_layers),
        )
        if not as_json:
            print(table.show())
    searched: dict[str, Any] = {"sensitivity": dataclasses.asdict(table)} if table else {}
    told: list[TuningReport] = []
    with Progress(as_json) as report:
        arguments: dict[str, Any] = {
            "quantization": config if quantising else None,
            "calibration": read_arrays(calibration) if calibration else None,
            "shapes": shapes,
            "trainable": _trainable(trainable),
            **({} if batch is None else {"batch": batch}),
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
            arguments |= {"labels": _lines(labels) if labels else (), "weights_as": c_weights or "auto"}
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
        print_plans(program, rows, precisions, request, passes if explain else None, as_json, searched)
        return
    if told:
        searched["tuning"] = [one.to_json() for one in told]
    if told and not as_json:
        print("\n".join(one.show() for one in told))
    if emit == "c-project":
        print_project(output, files, passes if explain else None, as_json, searched)
        return
    seconds = time.perf_counter() - start
    print_written(bundle, output, seconds, passes if explain else None, as_json, searched)


def _tuning_request(
    tune: float | None, tuning: Path | None, rows: Sequence[Target], output: Path | None
) -> TuningRequest | None:
    if tune is None and tuning is None:
        return None
    from lepton_compilers.tuning.request import beside, tuning_request

    return tuning_request(tune, beside(output) if tuning is None and output else tuning, rows)


def _sensitivity(
    content: bytes,
    config: QuantizationConfig,
    samples: dict[str, Any],
    max_drop: float,
    shapes: dict[str, tuple[int, ...]] | None,
    weights: dict[str, Any] | None,
    report: Callable[[str], None],
) -> Sensitivity:
    from lepton_compilers.importers.source import import_model
    from lepton_compilers.pipeline import front_half, run_passes
    from lepton_compilers.quantize.sensitivity import search

    report("import")
    module = import_model(content, shapes=shapes, weights=weights)
    return search(run_passes(module, front_half(None, None)), config, samples, max_drop, report)


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
        why = getattr(error, "strerror", None) or str(error)
        raise BadInputError(f"cannot read {path} as text: {why}") from error


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
