"""The front half in one call: model file → Program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lepton_compilers.passes.record import PassRecord
from lepton_sdk.program import Program
from lepton_targets.errors import UsageError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lepton_compilers.quantize.config import QuantizationConfig

Arrays = Mapping[str, npt.NDArray[Any]]


def program_from(
    model: Path | str | bytes | ExportedProgram,
    *,
    quantization: QuantizationConfig | None = None,
    calibration: Arrays | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    trainable: bool = False,
    weights: Arrays | None = None,
    explain: list[PassRecord] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Program:
    """The Program of a TFLite, ONNX or PyTorch model, with one function, `infer`.

    quantization: makes a float model int8, with ranges from `calibration` (arrays [n, …] by input name;
    a model that is int8 already stays as it is). shapes: of inputs the file leaves open. trainable: float
    parameters become variables by their source names. weights: arrays that replace the model's parameters.
    explain: collects a PassRecord for the import, each pass and the last step. progress: called with the
    runs of calibration samples done and their number, several a sample.

    Raises BadInputError, UnsupportedOperatorError, UsageError.
    """
    if trainable and quantization is not None:
        raise UsageError("a program is either trainable in float32 or quantised to int8")

    from lepton_compilers.importers.source import import_model, read_model
    from lepton_compilers.integerize import integerize
    from lepton_compilers.pipeline import front_half, run_passes
    from lepton_compilers.simplify.run import simplify

    content = read_model(model)
    start = time.perf_counter()
    module = import_model(content, shapes=shapes, trainable=trainable, weights=weights)
    if explain is not None:
        explain.append(PassRecord("import", time.perf_counter() - start, f"{len(content)} bytes read"))
    module = run_passes(module, front_half(quantization, calibration, progress), explain)
    start = time.perf_counter()
    program = integerize(module)
    if explain is not None:
        count = len(program.function().operations)
        explain.append(PassRecord("integerize", time.perf_counter() - start, f"{count} operations"))
    return simplify(program, explain)
