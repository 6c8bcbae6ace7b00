"""Golden vectors: inputs and the reference's outputs, which a device reproduces before it trusts a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Program, Tensor, TensorId
from lepton_sdk.program.float_kernel import FloatKernel
from lepton_sdk.program.operations import (
    Add,
    ClampTo,
    Concat,
    Dequantize,
    MaxPool2d,
    Mul,
    Operation,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Sub,
    Transpose,
)
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.state import Assign
from lepton_sdk.program.training import SoftmaxCrossEntropy
from lepton_sdk.program.vision import (
    Maximum,
    Minimum,
    MirrorPad,
    Prelu,
    ReduceMax,
    ReduceMin,
    ResizeNearest,
)

Array = npt.NDArray[Any]

# Float operations whose results are the same bits whatever the order of execution: each result is one
# rounding of its inputs, or none.
_EXACT_IN_FLOAT: tuple[type[Operation], ...] = (
    Add,
    ClampTo,
    Concat,
    Dequantize,
    MaxPool2d,
    Maximum,
    Minimum,
    MirrorPad,
    Mul,
    Pad,
    Prelu,
    Quantize,
    ReduceMax,
    ReduceMin,
    Relu,
    Reshape,
    ResizeNearest,
    Sub,
    Transpose,
)
# fmt: off
_EXACT_KERNELS = frozenset((
    "relax.abs", "relax.broadcast_to", "relax.ceil", "relax.clip", "relax.concat", "relax.equal",
    "relax.expand_dims", "relax.flip", "relax.floor", "relax.gather_elements", "relax.gather_nd",
    "relax.greater", "relax.greater_equal", "relax.isfinite", "relax.isinf", "relax.isnan", "relax.less",
    "relax.less_equal", "relax.logical_and", "relax.logical_not", "relax.logical_or", "relax.logical_xor",
    "relax.max", "relax.maximum", "relax.min", "relax.minimum", "relax.negative", "relax.nn.pad",
    "relax.not_equal", "relax.one_hot", "relax.permute_dims", "relax.repeat", "relax.reshape",
    "relax.round", "relax.sign", "relax.split", "relax.squeeze", "relax.stack", "relax.strided_slice",
    "relax.take", "relax.tile", "relax.tril", "relax.triu", "relax.trunc", "relax.where",
))
# fmt: on
"""Kernels that only choose, move, compare or round what they read."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One call of a function and what must come of it, arrays in the function's order.

    rounding: by output, how far off a target may be that multiplies less precisely, as measured here.
    """

    function: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    rounding: tuple[float, ...] = ()


def golden_vectors(
    program: Program, samples: Mapping[str, Array] | None, count: int, rounded: Program | None = None
) -> tuple[Vector, ...]:
    """`count` vectors for every function that changes no variable but state, which is reset before each.

    samples: arrays [n, …] by input name to draw from first; synthetic inputs fill the rest. rounded: the
    program with less precise products (lepton_sdk.program.bfloat16), where a target computes them so.
    """
    vectors = []
    for function in program.functions.values():
        if any(op.updates and not isinstance(op, Assign) for op in function.operations):
            continue
        classes = _classes(program, function.name)
        for index in range(count):
            inputs = tuple(
                _input(program.tensors[name], samples or {}, index, classes.get(name))
                for name in function.inputs
            )
            outputs = Reference(program).run(inputs, function.name)
            rounding: tuple[float, ...] = ()
            if rounded is not None:
                found = Reference(rounded).run(inputs, function.name)
                rounding = tuple(_largest_difference(*pair) for pair in zip(outputs, found, strict=True))
            results = tuple(np.ascontiguousarray(y) for y in outputs)
            vectors.append(Vector(function.name, inputs, results, rounding))
    return tuple(vectors)


def _largest_difference(a: Array, b: Array) -> float:
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(apart[np.isfinite(apart)].max(initial=0.0))


def tolerances(program: Program, function: str, vectors: tuple[Vector, ...]) -> dict[TensorId, float | None]:
    """Largest absolute difference to allow each output; None where every bit is defined.

    Bits are undefined behind float sums, whose order is the target's own: there it is 1e-4 of the largest
    golden value (at least 1e-4), or one step of a quantised tensor; to either comes twice what less precise
    products change on the golden vectors.
    """
    inexact: set[TensorId] = set()
    for op in program.function(function).operations:
        floats = any(program.tensors[name].dtype.startswith("float") for name in op.outputs)
        if (floats and not _exact(op)) or inexact.intersection(op.inputs):
            inexact.update(op.outputs)
    result: dict[TensorId, float | None] = {}
    for position, name in enumerate(program.function(function).outputs):
        own = [v for v in vectors if v.function == function]
        peaks = [float(np.abs(v.outputs[position]).max()) for v in own]
        rounding = 2 * max((v.rounding[position] for v in own if v.rounding), default=0.0)
        if name not in inexact:
            result[name] = None
        elif program.tensors[name].dtype.startswith("float"):
            result[name] = 1e-4 * max([1.0, *peaks]) + rounding
        else:
            result[name] = 1.0 + rounding
    return result


def _exact(op: Operation) -> bool:
    if isinstance(op, FloatKernel):
        return op.operator in _EXACT_KERNELS
    return isinstance(op, _EXACT_IN_FLOAT)


def _classes(program: Program, function: str) -> dict[TensorId, int]:
    """Number of classes behind every label input of a function."""
    return {
        op.labels: program.tensors[op.logits].shape[1]
        for op in program.function(function).operations
        if isinstance(op, SoftmaxCrossEntropy)
    }


def _input(tensor: Tensor, samples: Mapping[str, Array], index: int, classes: int | None) -> Array:
    if classes is not None:
        return np.array([(index + row) % classes for row in range(tensor.size)], tensor.dtype)
    if tensor.name in samples and tensor.shape:
        source = samples[tensor.name].reshape(-1, *tensor.shape[1:])
        if len(source) >= tensor.shape[0]:
            rows = (np.arange(tensor.shape[0]) + index * tensor.shape[0]) % len(source)
            return np.ascontiguousarray(source[rows], tensor.dtype)
    return _synthetic(tensor, index)


def _synthetic(tensor: Tensor, index: int) -> Array:
    """Even indices: a smooth wave over the range, like a natural signal; odd ones: noise over all of it."""
    random = np.random.default_rng(1000 + index)
    wave = np.sin(np.linspace(index, index + 9.0, tensor.size)).reshape(tensor.shape)
    if tensor.dtype.startswith("float"):
        return np.asarray(wave if index % 2 == 0 else random.normal(size=tensor.shape), tensor.dtype)
    if tensor.dtype == "bool":
        return np.asarray(wave > 0 if index % 2 == 0 else random.random(tensor.shape) < 0.5)
    limits = np.iinfo(tensor.dtype)
    low, high = max(limits.min, -128), min(limits.max, 127 if limits.min < 0 else 255)
    if index % 2 == 0:
        return np.rint((low + high) / 2 + wave * (high - low) / 2).astype(tensor.dtype)
    return random.integers(low, high + 1, tensor.shape).astype(tensor.dtype)
