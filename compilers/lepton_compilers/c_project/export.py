"""From a model file to a C project: what `lepton compile --emit c-project` does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lepton_targets import Cpu, Target
from lepton_targets.errors import UsageError

if TYPE_CHECKING:
    from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice
    from lepton_compilers.quantize.config import QuantizationConfig
    from lepton_compilers.tuning.report import TuningReport
    from lepton_compilers.tuning.request import TuningRequest


def one_cpu(rows: Sequence[Target]) -> Cpu:
    """The one CPU that a project is for. Raises UsageError for several, or for something else."""
    if len(rows) != 1 or not isinstance(rows[0], Cpu):
        raise UsageError(
            f"a C project is for one CPU; asked for {', '.join(row.name for row in rows)}",
            "name one with  --target;  a bundle holds several",
        )
    return rows[0]


def export(
    model: Path,
    content: bytes,
    cpu: Cpu,
    folder: Path,
    *,
    labels: Sequence[str] = (),
    weights_as: str = "auto",
    report: Callable[[str], None] = lambda step: None,
    calibration: Mapping[str, npt.NDArray[Any]] | None = None,
    quantization: QuantizationConfig | None = None,
    request: TuningRequest | None = None,
    tuned: list[TuningReport] | None = None,
    precision: str = "float32",
    **program_options: Any,
) -> list[Path]:
    """Write the project; returns its files. request: for tiles. Others as for `lepton_compilers.compile`."""
    from lepton_compilers.backends.cpu import c_sources
    from lepton_compilers.backends.cpu.plans.tile_choice import by_table
    from lepton_compilers.c_project import project_files
    from lepton_compilers.c_project.folder import write_project
    from lepton_compilers.c_project.identity import ModelIdentity, c_identifier
    from lepton_compilers.compilation import GOLDEN_VECTORS, build_program, check_labels
    from lepton_compilers.golden import golden_vectors
    from lepton_compilers.pack import tensor_spec
    from lepton_compilers.precision import precisions_by_target
    from lepton_sdk.program.bfloat16 import spelled_out
    from lepton_sdk.samples import examples_for

    options = {"calibration": calibration, "quantization": quantization, **program_options}
    program = build_program(content, report=report, **options)
    if labels:
        check_labels(program, labels)
    identity = ModelIdentity(c_identifier(model.stem), hashlib.sha256(content).hexdigest(), tuple(labels))
    precisions = precisions_by_target(program, [cpu], precision, tuned=request is not None)
    report(f"generate code for {cpu.name}")
    choice: TileChoice = by_table
    if request is not None:
        _, told, request = request.lower(program, cpu, report)
        choice = request.choice(cpu)
        if tuned is not None:
            tuned.append(told)
    sources = c_sources(program, cpu, identity.name, choice, precisions[cpu.name])
    report("run the reference executor")
    inputs = tuple(tensor_spec(program.tensors[name]) for name in program.function().inputs)
    samples = examples_for(inputs, calibration) if calibration else None
    rounded = spelled_out(program) if precision == "bf16" else None
    vectors = golden_vectors(program, samples, GOLDEN_VECTORS, rounded)
    files = project_files(program, cpu, sources, vectors, identity, weights_as)
    write_project(folder, files)
    return [folder / path for path in files]
