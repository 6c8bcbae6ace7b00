"""If, Loop and Scan whose course constants decide, laid out as the nodes that run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.values import Scope, Value, attribute_values, constant, known_value
from lepton_compilers.passes.graph import Expr, shape
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

MOST_ROUNDS = 1_024
"""Repetitions of a loop, each of which becomes layers of its own."""

Walked = Callable[[Any, Scope, str], list[Value | None]]
"""(a graph, its inputs' values, what its layers' names begin with) to the values of its outputs."""


def laid_out(
    node: Any, inputs: Sequence[Value | None], opset: int, builder: Any, walked: Walked
) -> list[Value | None] | None:
    """The node's results; None where the model's input decides its course. walked: how bodies are run."""
    attributes = attribute_values(node)
    name = node.name or node.output[0]
    if node.op_type == "If":
        condition = inputs[0]
        if condition is None or condition.array is None:
            return None
        branch = attributes["then_branch" if bool(condition.array.reshape(-1)[0]) else "else_branch"]
        return walked(branch, {}, f"{name}/")
    if node.op_type == "Loop":
        return _loop(attributes["body"], inputs, name, builder, walked)
    return _scan(attributes, inputs, opset, name, builder, walked)


def _loop(
    body: Any, inputs: Sequence[Value | None], name: str, builder: Any, walked: Walked
) -> list[Value | None] | None:
    trips, condition = (inputs[i] if i < len(inputs) else None for i in (0, 1))
    if any(v is not None and v.array is None for v in (trips, condition)):
        return None
    rounds = (
        int(trips.array.reshape(-1)[0]) if trips is not None and trips.array is not None else MOST_ROUNDS + 1
    )
    goes_on = condition is None or bool(condition.array.reshape(-1)[0])  # type: ignore[union-attr]
    carried = list(inputs[2:])
    collected: list[list[Value]] = [[] for _ in body.output[1 + len(carried) :]]
    turn = 0
    while goes_on and turn < rounds:
        if turn >= MOST_ROUNDS:
            raise UnsupportedOperatorError(
                f"layer '{name}' (Loop) repeats more often than {MOST_ROUNDS} times, or without a bound"
            )
        names = [i.name for i in body.input]
        given = dict(
            zip(names, [known_value(np.array(turn, np.int64)), known_value(np.array(True)), *carried])
        )
        results = walked(body, given, f"{name}/{turn}/")
        if any(r is None for r in results):
            return None
        if results[0].array is None:  # type: ignore[union-attr]
            return None
        goes_on = bool(results[0].array.reshape(-1)[0])  # type: ignore[union-attr]
        carried = results[1 : 1 + len(carried)]
        for rows, result in zip(collected, results[1 + len(carried) :]):
            rows.append(result)  # type: ignore[arg-type]
        turn += 1
    if not turn and collected:
        return None
    return [*carried, *(_stacked(builder, rows, 0, name) for rows in collected)]


def _scan(
    attributes: dict[str, Any],
    inputs: Sequence[Value | None],
    opset: int,
    name: str,
    builder: Any,
    walked: Walked,
) -> list[Value | None] | None:
    body, count = attributes["body"], int(attributes["num_scan_inputs"])
    if opset < 9 or count < 1 or count > len(inputs) or any(v is None for v in inputs):
        return None
    carried, scanned = list(inputs[: len(inputs) - count]), list(inputs[len(inputs) - count :])
    n_out = len(body.output) - len(carried)
    in_axes = attributes.get("scan_input_axes") or [0] * count
    out_axes = attributes.get("scan_output_axes") or [0] * n_out
    backwards = attributes.get("scan_input_directions") or [0] * count
    out_backwards = attributes.get("scan_output_directions") or [0] * n_out
    rounds = scanned[0].shape[in_axes[0]]  # type: ignore[union-attr]
    if rounds > MOST_ROUNDS:
        raise UnsupportedOperatorError(
            f"layer '{name}' (Scan) repeats {rounds} times, more than {MOST_ROUNDS}"
        )
    if any(v is None or v.shape[a] != rounds for v, a in zip(scanned, in_axes)):
        raise BadInputError(f"the scanned inputs of layer '{name}' differ in length")
    collected: list[list[Value]] = [[] for _ in range(n_out)]
    for turn in range(rounds):
        parts = [
            _part(builder, v, axis, rounds - 1 - turn if back else turn, name)
            for v, axis, back in zip(scanned, in_axes, backwards)
        ]
        given = dict(zip([i.name for i in body.input], [*carried, *parts]))
        results = walked(body, given, f"{name}/{turn}/")
        if any(r is None for r in results):
            return None
        carried = results[: len(carried)]
        for rows, result in zip(collected, results[len(carried) :]):
            rows.append(result)  # type: ignore[arg-type]
    ordered = [rows[::-1] if back else rows for rows, back in zip(collected, out_backwards)]
    return [*carried, *(_stacked(builder, rows, axis, name) for rows, axis in zip(ordered, out_axes))]


def _part(builder: Any, value: Any, axis: int, index: int, name: str) -> Value:
    if value.array is not None:
        return known_value(np.take(value.array, index, axis))
    taken = relax.op.take(
        value.expr, constant(np.array(index, np.int64)), axis=axis % len(value.shape), mode="clip"
    )
    return Value(value.kind, expr=builder.emit(taken, name_hint=f"{name}/part"))


def _stacked(builder: Any, rows: list[Value], axis: int, name: str) -> Value:
    if all(row.array is not None for row in rows):
        return known_value(np.stack([row.array for row in rows], axis))  # type: ignore[misc]
    parts: list[Expr] = []
    for row in rows:
        expr = row.expr if row.expr is not None else constant(row.array)
        extents = list(shape(expr))
        place = axis % (len(extents) + 1)
        spread = relax.op.reshape(expr, [*extents[:place], 1, *extents[place:]])
        parts.append(builder.emit(spread, name_hint=f"{name}/row"))
    joined = relax.op.concat(parts, axis=axis % (len(shape(parts[0])))) if len(parts) > 1 else parts[0]
    return Value(rows[0].kind, expr=builder.emit(joined, name_hint=name))
