"""Everything a compilation made, written as one bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_compilers.artifact import Artifact
from lepton_compilers.golden import Vector, tolerances
from lepton_sdk import __version__, bundle, steps
from lepton_sdk.bundle import manifest as m
from lepton_sdk.program import Program, Tensor, serialize
from lepton_sdk.program.operations import Dequantize, Quantize

_ALIGNMENT = 64


def pack(
    path: Path,
    program: Program,
    artifacts: Sequence[Artifact],
    vectors: tuple[Vector, ...],
    *,
    name: str,
    source: m.ModelSource,
    options: Mapping[str, Any],
    labels: tuple[str, ...] | None = None,
    signing_key: Path | None = None,
) -> bundle.Bundle:
    """Write the bundle durably and open it. Equal arguments give equal bytes, the signature aside."""
    golden, records = _golden_segment(program, vectors)
    segments: dict[str, bytes] = {"program": serialize.dump(program), "golden": golden}
    entries = []
    for artifact in artifacts:
        if artifact.steps:
            segments[m.steps_segment(artifact.target)] = steps.dump(artifact.steps)
        code = f"code.{artifact.target}"
        segments[code] = artifact.code
        weights, block = None, None
        if artifact.weights:
            weights = _shared(segments, f"weights.{artifact.target}", artifact.weights)
        if artifact.variables is not None:
            segment = _shared(segments, f"variables.{artifact.target}", artifact.variables.initial)
            block = m.VariableBlock(segment, len(artifact.variables.initial), artifact.variables.offsets)
        functions = {n: m.EntryPoint(f.symbol, f.arena_bytes) for n, f in artifact.functions.items()}
        entries.append(m.Artifact(artifact.target, code, weights, functions, block))
    manifest = m.Manifest(
        name=name,
        kind=kind(program),
        model=source,
        provenance=m.Provenance(f"lepton-edge {__version__}", _tvm_version(), options),
        functions=_interfaces(program, vectors),
        artifacts=tuple(entries),
        golden=records,
        variables=tuple(
            m.VariableSpec(
                v.tensor,
                program.tensors[v.tensor].shape,
                program.tensors[v.tensor].dtype,
                v.trainable,
                v.source_name,
                v.source_axes,
                v.source_shape,
            )
            for v in program.variables
        ),
        labels=labels,
    )
    bundle.write_bundle(path, manifest, segments, signing_key)
    return bundle.Bundle.open(path)


def _shared(segments: dict[str, bytes], name: str, content: bytes) -> str:
    """Name of the segment with that content: an earlier target's where its layout gave the same bytes."""
    kind = name.partition(".")[0]
    for other, held in segments.items():
        if other.partition(".")[0] == kind and held == content:
            return other
    segments[name] = content
    return name


def kind(program: Program) -> str:
    """`int8`, `int8x16` (int16 activations), `float32` or `mixed`, by the operations of `infer`.

    Quantising at the ends does not count.
    """
    types = {
        program.tensors[name].dtype
        for op in program.function().operations
        if not isinstance(op, Quantize | Dequantize)
        for name in op.outputs
    }
    if types == {"float32"}:
        return "float32"
    if "float32" in types or {"int8", "int16"} <= types:
        return "mixed"
    return "int8x16" if "int16" in types else "int8"


def tensor_spec(tensor: Tensor, tolerance: float | None = None) -> m.TensorSpec:
    """An input or output as the manifest states it."""
    q = tensor.quantization
    quantization = m.Quantization(q.scales, q.zero_point, q.axis) if q else None
    return m.TensorSpec(tensor.name, tensor.shape, tensor.dtype, quantization, tolerance)


def _interfaces(program: Program, vectors: tuple[Vector, ...]) -> dict[str, m.FunctionInterface]:
    result = {}
    for function in program.functions.values():
        allowed = tolerances(program, function.name, vectors)
        result[function.name] = m.FunctionInterface(
            tuple(tensor_spec(program.tensors[n]) for n in function.inputs),
            tuple(tensor_spec(program.tensors[n], allowed[n]) for n in function.outputs),
        )
    return result


def _golden_segment(
    program: Program, vectors: tuple[Vector, ...]
) -> tuple[bytes, tuple[m.GoldenRecord, ...]]:
    blob = bytearray()

    def place(content: bytes) -> tuple[int, int]:
        blob.extend(bytes(-len(blob) % _ALIGNMENT))
        blob.extend(content)
        return len(blob) - len(content), len(content)

    records = []
    for vector in vectors:
        function = program.function(vector.function)
        inputs = {n: place(a.tobytes()) for n, a in zip(function.inputs, vector.inputs, strict=True)}
        outputs = {n: place(a.tobytes()) for n, a in zip(function.outputs, vector.outputs, strict=True)}
        records.append(m.GoldenRecord(vector.function, "golden", inputs, outputs))
    return bytes(blob), tuple(records)


def _tvm_version() -> str:
    import importlib.metadata

    return importlib.metadata.version("apache-tvm")
