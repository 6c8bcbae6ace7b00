"""Which operations of a function those of its planned form carry out."""

from __future__ import annotations

from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_compilers.backends.cpu.rewrites.variable_weights import VariableConv2d
from lepton_sdk.program import Function, Operation, TensorId


def operation_numbers(function: Function, planned: Function) -> list[tuple[int, ...]]:
    """For each operation of a function's planned form, those of the function that it carries out, in part.

    What makes a tensor that the function does not have, as the phases of a transposed convolution, works for
    the next operation that makes one.
    """
    numbers = {name: n for n, op in enumerate(function.operations) for name in _results(op)}
    found: list[tuple[int, ...]] = []
    later: tuple[int, ...] = ()
    for op in reversed(planned.operations):
        own = tuple(dict.fromkeys(numbers[name] for name in _results(op) if name in numbers))
        later = own or later
        found.append(later)
    return found[::-1]


def _results(op: Operation) -> tuple[TensorId, ...]:
    inner = (op.conv.y,) if isinstance(op, ConvAdd | VariableConv2d) else ()
    return (*inner, *op.outputs, *op.updates)
