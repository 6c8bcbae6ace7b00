"""Everything a report says, as one value. `as_json` is the same for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.report.fidelity import LayerFidelity, Progress, measure
from lepton_compilers.report.judgement import Judgement, judge
from lepton_compilers.report.remedies import remedies
from lepton_compilers.report.structure import (
    FloatLayer,
    Layer,
    TargetSize,
    float_layers,
    layers,
    target_sizes,
)
from lepton_compilers.report.timing import Timing
from lepton_sdk.bundle import TensorSpec
from lepton_sdk.evaluate import run_examples, scores
from lepton_sdk.metrics import class_count
from lepton_sdk.program import Program
from lepton_sdk.samples import examples_for, labels_of
from lepton_targets.errors import BadInputError

if TYPE_CHECKING:
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.session import Session

Array = npt.NDArray[Any]


WITH_SOURCE = 200
"""Examples to measure layers on, unless more are asked for."""


@dataclass(frozen=True, slots=True)
class FloatSource:
    """The float network that a bundle is measured against. nbytes: of its file."""

    program: Program
    nbytes: int
    same_file: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a bundle. `fidelity` is empty without a float source; `judgement` None without data,
    `timing` where it was not measured.

    source_bytes: size of the float source's file. same_source: whether the bundle was compiled from it.
    """

    name: str
    kind: str
    digest: str
    bytes: int
    source_format: str
    compiler: str
    options: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    weights_bytes: int
    targets: tuple[TargetSize, ...]
    layers: tuple[Layer, ...]
    float_layers: tuple[FloatLayer, ...]
    source_bytes: int | None
    same_source: bool | None
    examples: int
    fidelity: tuple[LayerFidelity, ...]
    judgement: Judgement | None
    remedies: tuple[str, ...]
    timing: Timing | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values under the fields' names."""
        return dataclasses.asdict(self)


def build(
    bundle: Bundle,
    *,
    session: Session | None = None,
    arrays: Mapping[str, Array] | None = None,
    source: FloatSource | None = None,
    max_examples: int | None = None,
    timing: Timing | None = None,
    progress: Progress = lambda done: None,
) -> Report:
    """The report of a bundle.

    session, arrays: judge it on these examples (and `labels`, where they are among them), the first
    max_examples of them. source: with arrays, measure each layer too; the reference executor runs for that,
    so without max_examples it stops at WITH_SOURCE. timing: its layers' on this machine. progress: told the
    examples measured. Raises BadInputError for data that does not fit, or a source whose batch is more than
    one.
    """
    program, manifest = bundle.program(), bundle.manifest
    rows = layers(program)
    in_float = float_layers(program, manifest.provenance.options)
    fidelity: tuple[LayerFidelity, ...] = ()
    judgement = None
    if session is not None and arrays is not None:
        limit = max_examples or (WITH_SOURCE if source else None)
        examples = examples_for(session.inputs, arrays)
        n_classes = class_count(math.prod(session.outputs[0].shape[1:]))
        labels = labels_of(arrays, len(next(iter(examples.values()))), n_classes)
        examples = _first(examples, limit)
        ranked = scores(session, run_examples(session, examples))
        float_scores = None
        if source is not None:
            real = _first(_source_examples(source.program, session, arrays), limit)
            fidelity, float_scores = measure(
                program, source.program, examples, real, equalised=_equalised(bundle), progress=progress
            )
        names = tuple(manifest.labels or ())
        judgement = judge(ranked, None if labels is None else labels[:limit], float_scores, names)
    quantised = any(row.dtype in ("int8", "int16") for row in rows)
    return Report(
        manifest.name,
        manifest.kind,
        bundle.digest,
        bundle.nbytes,
        manifest.model.source_format,
        manifest.provenance.compiler,
        dict(manifest.provenance.options),
        tuple(map(str, manifest.functions["infer"].inputs)),
        tuple(map(str, manifest.functions["infer"].outputs)),
        program.macs(),
        sum(tensor.nbytes for tensor in program.constants()),
        target_sizes(bundle),
        rows,
        in_float,
        source.nbytes if source else None,
        source.same_file if source else None,
        judgement.n if judgement else 0,
        fidelity,
        judgement,
        remedies(program, fidelity, in_float, judgement, quantised),
        timing,
    )


def _equalised(bundle: Bundle) -> bool:
    quantization = bundle.manifest.provenance.options.get("quantization")
    return isinstance(quantization, Mapping) and bool(quantization.get("equalise"))


def _first(examples: Mapping[str, Array], limit: int | None) -> dict[str, Array]:
    return {name: array[:limit] for name, array in examples.items()}


def _source_examples(source: Program, session: Session, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same examples as the float source takes them; its inputs may have other names."""
    tensors = [source.tensors[name] for name in source.function().inputs]
    if len(tensors) != len(session.inputs):
        raise BadInputError(
            f"the float source has {len(tensors)} inputs, the bundle {len(session.inputs)}",
            "give the model that the bundle was compiled from",
        )
    for tensor in tensors:
        if tensor.shape[:1] != (1,):
            raise BadInputError(
                f"the float source's input '{tensor.name}' has shape {list(tensor.shape)}; a batch of one "
                "is needed",
                "fix it with  --shape NAME=1,…",
            )
    named = dict(arrays)
    for own, tensor in zip(session.inputs, tensors):
        for suffix in ("", "_scale", "_zero_point"):
            if own.name + suffix in arrays:
                named[tensor.name + suffix] = arrays[own.name + suffix]
        key = tensor.name if tensor.name in named else "features"
        q = own.quantization
        # Bytes for an int8 input mean what that input's scale says.
        if key in named and named[key].dtype.name == own.dtype != tensor.dtype and q is not None:
            named.setdefault(f"{key}_scale", np.array(q.scales[0]))
            named.setdefault(f"{key}_zero_point", np.array(q.zero_point))
    specs = tuple(TensorSpec(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors)
    return examples_for(specs, named)
