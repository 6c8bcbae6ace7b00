"""The form of a lowering table's rows, and how a row is chosen: the first instruction set that accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.cpu.lowering.assembly import describe
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.joined import Slice, slices
from lepton_compilers.backends.cpu.plans.layout import UNSIGNED, MapElements
from lepton_compilers.backends.cpu.plans.plan import Plan
from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice, by_table
from lepton_compilers.backends.cpu.rewrites.directions import both_directions
from lepton_compilers.backends.cpu.rewrites.fused import fuse
from lepton_compilers.backends.cpu.rewrites.origins import operation_numbers
from lepton_compilers.backends.cpu.rewrites.phases import in_phases
from lepton_compilers.backends.cpu.rewrites.spent_gradients import spent
from lepton_compilers.backends.cpu.rewrites.variable_weights import with_variable_weights
from lepton_compilers.backends.cpu.weights.packing import WeightBlob
from lepton_sdk.program import Function, Operation, Program, TensorId, Tensors
from lepton_sdk.program.bfloat16 import kept
from lepton_sdk.program.operations import Concat
from lepton_targets.errors import UnsupportedOperatorError


@dataclass(frozen=True, slots=True)
class Lowering:
    """One way to run one kind of operation.

    accepts(op, tensors): whether this form handles the operation's shapes, types and ranges.
    emit(op, draft): adds the kernel calls. header: the file under kernels/ that holds those kernels. joins:
    whether the operands are blocked maps that may lie in the result from when they are written.
    """

    accepts: Callable[[Any, Tensors], Answer]
    emit: Callable[[Any, Draft], None]
    header: str = "portable.h"
    joins: bool = False


Rows = Mapping[type[Operation], Sequence[Lowering]]
"""Rows by operation, the best first."""


def choose(op: Operation, tensors: Tensors, tables: Iterable[Rows]) -> Lowering | No:
    """The first row that accepts, or why none does."""
    reasons = []
    for table in tables:
        for lowering in table.get(type(op), ()):
            answer = lowering.accepts(op, tensors)
            if isinstance(answer, Yes):
                return lowering
            reasons.append(answer.reason)
    return No(
        "; ".join(dict.fromkeys(filter(None, reasons))) or f"there is no kernel for {type(op).__name__}"
    )


def plan_function(
    program: Program,
    function: str,
    tables: Sequence[Rows],
    weights: WeightBlob,
    variables: Mapping[TensorId, int],
    slack: tuple[int, int] = (0, 0),
    elements: MapElements = UNSIGNED,
    choice: TileChoice = by_table,
    bfloat16: bool = False,
) -> tuple[Plan, frozenset[str]]:
    """The kernel calls of one function and the headers they stand in.

    variables: byte offset of each in the block. slack: bytes before and after the arena that kernels read.
    elements: what blocked feature maps hold. choice: which tile a kernel gets. bfloat16: whether `tables`
    multiply float32 as such.
    Raises UnsupportedOperatorError that names the layer where no row of `tables` accepts an operation.
    """
    rounded: frozenset[TensorId] = frozenset()
    if bfloat16:
        rounded = kept(program.function(function), program.tensors, program.variable_ids)
    whole = program.function(function)
    program, body = planned_form(program, function, tables)
    plan, headers = plan_operations(
        program, body, tables, weights, variables, slack, elements, choice, rounded
    )
    numbers = operation_numbers(whole, body)
    layers = (
        replace(layer, operations=tuple(n for own in layer.operations for n in numbers[own]))
        for layer in plan.layers
    )
    return replace(plan, layers=tuple(layers)), headers


def planned_form(program: Program, function: str, tables: Sequence[Rows]) -> tuple[Program, Function]:
    """The function as it is planned, fused and with transposed convolutions in phases, and its program."""
    program = in_phases(program, function)

    def accepts(op: Operation) -> bool:
        return isinstance(choose(op, program.tensors, tables), Lowering)

    body = with_variable_weights(program.function(function), program.variable_ids, accepts)
    body = spent(body, accepts)
    body = both_directions(body, program.tensors, accepts)
    return program, fuse(body, program.tensors, accepts)


def plan_operations(
    program: Program,
    body: Function,
    tables: Sequence[Rows],
    weights: WeightBlob,
    variables: Mapping[TensorId, int],
    slack: tuple[int, int] = (0, 0),
    elements: MapElements = UNSIGNED,
    choice: TileChoice = by_table,
    rounded: frozenset[TensorId] = frozenset(),
) -> tuple[Plan, frozenset[str]]:
    """As plan_function, of a function in its planned form or of a part of one.

    rounded: the tensors kept as bfloat16.
    """

    def in_blocks(op: Concat) -> bool:
        row = choose(op, program.tensors, tables)
        return isinstance(row, Lowering) and row.joins and rounded.isdisjoint((*op.xs, op.y))

    def planned(joined: Mapping[TensorId, Slice]) -> tuple[Plan, frozenset[str]]:
        draft = Draft(program, body, weights, variables, elements, choice, rounded, joined)
        return _planned(draft, tables, slack)

    joined = slices(body, program.tensors, in_blocks)
    if not joined:
        return planned({})
    # A whole takes its place when its first part is written: where that holds more than copies did, copy.
    in_place, copied = planned(joined), planned({})
    return min(in_place, copied, key=lambda plan: plan[0].arena_bytes)


def _planned(draft: Draft, tables: Sequence[Rows], slack: tuple[int, int]) -> tuple[Plan, frozenset[str]]:
    headers = {"portable.h"}
    for step, op in enumerate(draft.function.operations):
        draft.step = step
        row = choose(op, draft.tensors, tables)
        if isinstance(row, No):
            layer = describe(op, draft.tensors)
            raise UnsupportedOperatorError(
                f"function '{draft.function.name}', step {step}: {layer} has no form here",
                row.reason,
            )
        draft.header = row.header
        row.emit(op, draft)
        headers |= {row.header, draft.header}
    return draft.finish(*slack), frozenset(headers)
