"""What a bundle holds: its layers, its sizes by target, its float parts. Needs no compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_sdk.bundle import Bundle
from lepton_sdk.program import Operation, Program
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dequantize,
    MaxPool2d,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Softmax,
    Transpose,
)
from lepton_sdk.program.sequence import Slice
from lepton_sdk.program.vision import VISION_OPERATIONS, MirrorPad, ReduceProd, ResizeNearest

_HAVE_INT8_FORMS = (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Relu,
    Reshape,
    Softmax,
    Transpose,
    *(kind for kind in VISION_OPERATIONS if kind is not ReduceProd),
)
_MOVES_ONLY = (Pad, MirrorPad, Reshape, ResizeNearest, Slice, Transpose, Concat)


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation of `infer`. reads: steps whose results it takes; −1 is an input of the function.

    weights_bytes: of the constants it reads, as the program holds them. scale, zero_point: of its result,
    None for real numbers and for a result with several scales.
    """

    step: int
    operation: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    reads: tuple[int, ...]
    macs: int
    weights_bytes: int
    output_bytes: int
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class TargetSize:
    """Bytes that one target's code takes in the bundle, and the working memory of `infer`.

    precision: how it multiplies float32, where that was asked for.
    """

    target: str
    code_bytes: int
    weights_bytes: int
    variables_bytes: int
    arena_bytes: int
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that computes in float32, and why."""

    step: int
    output: str
    operation: str
    reason: str


def layers(program: Program) -> tuple[Layer, ...]:
    """Every operation of `infer`, in order."""
    function, tensors = program.function(), program.tensors
    made = dict.fromkeys(function.inputs, -1)
    rows = []
    for step, op in enumerate(function.operations):
        result = tensors[(*op.outputs, *op.updates)[0]]
        q = result.quantization
        single = q is not None and len(q.scales) == 1
        rows.append(
            Layer(
                step,
                type(op).__name__,
                result.name,
                result.dtype,
                result.shape,
                tuple(dict.fromkeys(made[name] for name in op.inputs if name in made)),
                op.macs(tensors),
                sum(tensors[name].nbytes for name in dict.fromkeys(op.inputs) if tensors[name].constant),
                sum(tensors[name].nbytes for name in op.outputs),
                q.scale if q is not None and single else None,
                q.zero_point if q is not None and single else None,
            )
        )
        made.update(dict.fromkeys(op.outputs, step))
    return tuple(rows)


def target_sizes(bundle: Bundle) -> tuple[TargetSize, ...]:
    """A row for every artifact the manifest names."""
    nbytes = {segment.name: segment.bytes for segment in bundle.manifest.segments}
    return tuple(
        TargetSize(
            a.target,
            nbytes[a.code],
            nbytes[a.weights] if a.weights else 0,
            a.variables.bytes if a.variables else 0,
            a.functions["infer"].arena_bytes if "infer" in a.functions else 0,
            bundle.manifest.precision(a.target),
        )
        for a in bundle.manifest.artifacts
    )


def float_layers(program: Program, options: Mapping[str, Any]) -> tuple[FloatLayer, ...]:
    """What of `infer` stays float32. options: those that the bundle was compiled with.

    Quantize and Dequantize are no layers: they are where the float parts end.
    """
    tensors = program.tensors
    rows = []
    for step, op in enumerate(program.function().operations):
        if not op.outputs or isinstance(op, Quantize | Dequantize):
            continue
        if tensors[op.outputs[0]].dtype == "float32":
            rows.append(FloatLayer(step, op.outputs[0], type(op).__name__, _reason(op, program, options)))
    return tuple(rows)


def _reason(op: Operation, program: Program, options: Mapping[str, Any]) -> str:
    if program.variable_ids.intersection(op.inputs):
        return "its parameters are trained on the device, and training computes in float32"
    quantization = options.get("quantization")
    if quantization is None and not any(t.dtype in ("int8", "int16") for t in program.tensors.values()):
        return "the bundle was compiled without --quantize int8"
    wanted = quantization.get("float_layers") if isinstance(quantization, Mapping) else None
    if wanted and op.outputs[0] in wanted:
        return "it was asked for by name with --float"
    if isinstance(op, _MOVES_ONLY):
        return "it moves the numbers of a neighbour that is float32"
    if isinstance(op, _HAVE_INT8_FORMS):
        return "a neighbour is float32, or its attributes fit no int8 form (docs/arithmetic.md)"
    return f"{type(op).__name__} has no int8 form (docs/arithmetic.md)"
