"""Which operations of a function those of its planned form carry out."""

from __future__ import annotations

import dataclasses

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
    """What the operation gives, and what those give that it stands for: an operation of a plan holds them."""
    held = (getattr(op, field.name) for field in dataclasses.fields(op))
    inner = (name for one in held if isinstance(one, Operation) for name in _results(one))
    return (*inner, *op.outputs, *op.updates)
