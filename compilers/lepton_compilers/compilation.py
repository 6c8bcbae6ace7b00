"""The whole way: model file → Program → an artifact for each target → bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.importers.source import read_model, source_format
from lepton_sdk.cli.output import counted
from lepton_sdk.output_file import check_output
from lepton_sdk.program import Program
from lepton_targets import Cpu, Target, available_target
from lepton_targets.errors import BadInputError, UsageError, nearest

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lepton_compilers.quantize.config import QuantizationConfig
    from lepton_compilers.tuning.report import TuningReport
    from lepton_sdk.bundle import Bundle

Array = npt.NDArray[Any]
Report = Callable[[str], None]

GOLDEN_VECTORS = 4
TRAINING_BATCH = 16


def compile(
    model: Path | str | ExportedProgram,
    target: str | Sequence[str] = "host",
    *,
    output: Path | str | None = None,
    quantization: QuantizationConfig | None = None,
    calibration: Mapping[str, Array] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    trainable: str | Sequence[str] | None = None,
    batch: int = TRAINING_BATCH,
    weights: Mapping[str, Array] | None = None,
    labels: Sequence[str] | None = None,
    signing_key: Path | str | None = None,
    precision: str = "float32",
    sensitivity: Mapping[str, Any] | None = None,
    tune: float | None = None,
    tuning: Path | str | None = None,
    tuned: list[TuningReport] | None = None,
    explain: list[Any] | None = None,
    report: Report = lambda step: None,
) -> Bundle:
    """Compile a model for one or several targets.

    model: a TFLite, ONNX or .pt2 file, or PyTorch's ExportedProgram.
    quantization: makes a float model int8 with `calibration` (arrays [n, …] by input name); a quantised model
    stays as it is. sensitivity: plain values that say how layers were chosen for int16 and float
    (quantize/sensitivity.py); the bundle keeps them for its report. trainable: "all", "head" (the last dense
    layer) or parameter names: adds the functions `train` and `evaluate` at `batch`. weights: parameters that
    replace the model's own, by source name. precision: "bf16" lets targets whose CPUs can multiply float32 as
    bfloat16; the others compute in float32 (docs/arithmetic.md).
    tune: seconds to search for faster tiles by measurement, on this machine and for it. tuning: the file that
    holds what such a search found: read, and with `tune` also written; without it MODEL.tuning.json beside
    MODEL.lep. tuned: receives a report a target (lepton_compilers/tuning/).
    output: where the bundle goes; without it the bundle lives in memory only as long as it is open.
    report: called with the name of each step. Raises LeptonError with what was found and what to do.
    """
    path, chosen = Path(model) if isinstance(model, str | Path) else None, chosen_targets(target)
    # What can't be written or signed in the end is told before the work.
    if output is not None:
        check_output(output, path, signing_key)
    if signing_key is not None:
        from lepton_sdk.bundle.signing import load_signing_key

        load_signing_key(signing_key)
    content = read_model(model)
    request = None
    if tune is not None or tuning is not None:
        from lepton_compilers.tuning.request import beside, tiles_sha256, tuning_request

        file = beside(Path(output)) if tuning is None and output is not None else tuning
        request = tuning_request(tune, file, chosen, path, output, signing_key)

    from lepton_compilers.backends import backend_for
    from lepton_compilers.golden import golden_vectors
    from lepton_compilers.pack import pack, tensor_spec
    from lepton_compilers.precision import checked_precision, precisions_by_target
    from lepton_sdk.bundle import ModelSource
    from lepton_sdk.program.bfloat16 import spelled_out
    from lepton_sdk.samples import examples_for

    checked_precision(precision)
    program = build_program(
        content,
        quantization=quantization,
        calibration=calibration,
        shapes=shapes,
        trainable=trainable,
        batch=batch,
        weights=weights,
        explain=explain,
        report=report,
    )
    if labels is not None:
        check_labels(program, labels)
    precisions = precisions_by_target(program, chosen, precision, tuned=request is not None)
    artifacts, told = [], []
    for row in chosen:
        report(f"generate code for {row.name}")
        if request is None:
            artifacts.append(backend_for(row).lower(program, row, precision=precisions[row.name]))
            continue
        assert isinstance(row, Cpu)
        artifact, one, request = request.lower(program, row, report)
        artifacts.append(artifact)
        told.append(one)
    if tuned is not None:
        tuned.extend(told)
    report("run the reference executor")
    inputs = tuple(tensor_spec(program.tensors[name]) for name in program.function().inputs)
    samples = examples_for(inputs, calibration) if calibration else None
    rounded = spelled_out(program) if precision == "bf16" else None
    vectors = golden_vectors(program, samples, GOLDEN_VECTORS, rounded)
    options: dict[str, Any] = {
        "targets": [row.name for row in chosen],
        "quantization": dataclasses.asdict(quantization) if quantization else None,
        "calibration_sha256": arrays_sha256(calibration) if quantization and calibration else None,
        "sensitivity": sensitivity,
        "shapes": {name: list(shape) for name, shape in shapes.items()} if shapes else None,
        "trainable": trainable if trainable is None or isinstance(trainable, str) else list(trainable),
        "batch": batch if trainable is not None else None,
        "weights_sha256": arrays_sha256(weights) if weights else None,
        "precision": precisions if precision != "float32" else None,
    }
    if request is not None:
        options["tiles_sha256"] = tiles_sha256(told)
    report("pack")
    with tempfile.TemporaryDirectory() as folder:
        return pack(
            Path(output) if output else Path(folder) / "bundle.lep",
            program,
            artifacts,
            vectors,
            name=path.stem if path else "model",
            source=ModelSource(source_format(content), hashlib.sha256(content).hexdigest()),
            options=options,
            labels=tuple(labels) if labels else None,
            signing_key=Path(signing_key) if signing_key else None,
        )


def build_program(
    content: bytes,
    *,
    quantization: QuantizationConfig | None = None,
    calibration: Mapping[str, Array] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    trainable: str | Sequence[str] | None = None,
    batch: int = TRAINING_BATCH,
    weights: Mapping[str, Array] | None = None,
    explain: list[Any] | None = None,
    report: Report = lambda step: None,
) -> Program:
    """The Program that a model file becomes, training functions included; arguments as for `compile`."""
    if trainable is not None and quantization is not None:
        raise UsageError(
            "a bundle is either trained in float32 or quantised to int8",
            "compile two bundles of the one model: --trainable for training, --quantize int8 for inference",
        )
    from lepton_compilers.front import program_from

    report("import")
    program = program_from(
        content,
        quantization=quantization,
        calibration=calibration,
        shapes=shapes,
        trainable=trainable is not None,
        weights=weights,
        explain=explain,
        progress=lambda done, total: report(f"quantise: {done:,} of {total:,} runs of a sample"),
    )
    if calibration is not None and quantization is None:
        from lepton_compilers.pack import kind

        if kind(program) == "float32":
            raise UsageError(
                "calibration samples were given, and a float model stays float without quantising",
                "add  --quantize int8  to make it int8, or leave  --calibration  out",
            )
    if trainable is None:
        return program
    if not any(variable.trainable for variable in program.variables):
        raise BadInputError(
            "the model has no float parameters to train",
            "an int8 model's weights are fixed; train its float source, then --quantize int8",
        )
    from lepton_compilers.differentiate import differentiate

    report("differentiate")
    return differentiate(select_trainable(program, trainable), batch=batch)


def chosen_targets(names: str | Sequence[str]) -> tuple[Target, ...]:
    """The named rows, each once. Raises UsageError for unknown or no names, UnavailableError."""
    given = (names,) if isinstance(names, str) else tuple(names)
    rows = {row.name: row for row in map(available_target, given)}
    if not rows:
        raise UsageError("no target was named", "see  lepton targets")
    return tuple(rows.values())


def check_labels(program: Program, labels: Sequence[str]) -> None:
    """Raises BadInputError unless there is a name for every class that the first output tells apart.

    One score alone may have one name or two (no and yes); outputs that are no row of scores any number.
    """
    output = program.tensors[program.function().outputs[0]]
    scores = output.shape[-1] if output.shape else 0
    if math.prod(output.shape[1:]) != scores:
        return
    if len(labels) not in ((1, 2) if scores == 1 else (scores,)):
        raise BadInputError(
            f"there {'is 1 label' if len(labels) == 1 else f'are {len(labels)} labels'}, "
            f"and the model's output {output.name} has {counted(scores, 'score')}",
            "give a name for each, a line each, in the output's order",
        )


def select_trainable(program: Program, which: str | Sequence[str]) -> Program:
    """The program with only the wanted parameters left as variables; the others become constants.

    which: "all", "head" (weight and bias of the last dense layer) or the parameters' source names. State
    stays. Raises UsageError for an unknown name.
    """
    from lepton_sdk.program.operations import Dense

    if which == "all":
        return program
    if which == "head":
        dense = [op for op in program.function().operations if isinstance(op, Dense)]
        if not dense:
            raise UsageError("the model has no dense layer to train as its head")
        wanted = {name for name in (dense[-1].weight, dense[-1].bias) if name}
    else:
        names = (which,) if isinstance(which, str) else tuple(which)
        by_source = {v.source_name: v.tensor for v in program.variables if v.source_name}
        for name in names:
            if name not in by_source:
                raise UsageError(
                    f"the model has no parameter '{name}'{nearest(name, by_source)}",
                    f"parameters: {', '.join(by_source)}",
                )
        wanted = {by_source[name] for name in names}
    kept = tuple(v for v in program.variables if v.tensor in wanted or not v.trainable)
    return Program(program.functions, program.tensors, kept)


def arrays_sha256(arrays: Mapping[str, Array]) -> str:
    """Hash over names, types, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
