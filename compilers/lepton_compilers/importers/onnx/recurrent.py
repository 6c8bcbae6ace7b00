"""ONNX LSTM, GRU and RNN as calls of whole sequences, in the order of gates that the Program has.

A direction is one call of `lepton.lstm` or `lepton.gru`, named `…_reverse` where it walks backwards
(integerize/recurrent.py says of what). An RNN is its steps, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, is_constant, shape, value
from lepton_targets.errors import UnsupportedOperatorError

Array = npt.NDArray[Any]
Emit = Callable[[Expr], Expr]

GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where ONNX keeps our gates: its order is i, o, f, c; z, r, h."""
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
RNN_FUNCTIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "tanh": relax.op.tanh,
    "relu": relax.op.nn.relu,
    "sigmoid": relax.op.sigmoid,
}


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction's constants, [gates · units, …], in our order of gates; first states or None."""

    weight: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Array
    first: tuple[Expr | None, ...]
    reverse: bool


def recurrent_layer(
    kind: str, name: str, inputs: Sequence[Expr | None], attributes: Mapping[str, Any], emit: Emit
) -> tuple[Expr, ...]:
    """Y [T, D, N, H], Y_h [D, N, H] and of an LSTM Y_c [D, N, H]; with layout=1, N comes first.

    inputs: X, W, R, B, sequence_lens, initial_h, initial_c, P as ONNX has them; absent ones are None or left
    out. Raises UnsupportedOperatorError for forms that have no operation, naming the layer.
    """
    given = [inputs[i] if i < len(inputs) else None for i in range(8)]
    layer = f"layer '{name}' ({kind})"
    batch_first = bool(attributes.get("layout", 0))
    x = given[0]
    assert x is not None  # ONNX demands it
    if batch_first:
        x = emit(relax.op.permute_dims(x, [1, 0, 2]))
    _check(kind, layer, given, attributes, shape(x))
    directions = _directions(kind, layer, given, attributes, batch_first, emit)
    results = [_run(kind, x, direction, attributes, emit) for direction in directions]
    return tuple(_joined(parts, i, batch_first, emit) for i, parts in enumerate(zip(*results, strict=True)))


def _check(
    kind: str, layer: str, given: list[Expr | None], attributes: Mapping[str, Any], extents: tuple[int, ...]
) -> None:
    lengths = given[4]
    if lengths is not None and not (is_constant(lengths) and (value(lengths) == extents[0]).all()):
        raise UnsupportedOperatorError(f"{layer} has sequence_lens; sequences of full length are supported")
    if given[7] is not None:
        raise UnsupportedOperatorError(f"{layer} has peepholes; the plain cell is supported")
    if float(attributes.get("clip", 0.0)) or int(attributes.get("input_forget", 0)):
        raise UnsupportedOperatorError(f"{layer} has clip or input_forget; the plain cell is supported")
    for index, what in ((1, "W"), (2, "R"), (3, "B")):
        expr = given[index]
        if expr is not None and not is_constant(expr):
            raise UnsupportedOperatorError(f"{layer} computes its {what}; constant weights are supported")


def _functions(kind: str, layer: str, attributes: Mapping[str, Any], count: int) -> list[str]:
    """Activations in lower case; LSTM and GRU have those that their cells are defined with."""
    named = attributes.get("activations") or []
    functions = [(n.decode() if isinstance(n, bytes) else str(n)).lower() for n in named]
    expected = ACTIVATIONS[kind] * count
    known = set(RNN_FUNCTIONS) if kind == "RNN" else set()
    if functions and tuple(functions) != expected and not (known and set(functions) <= known):
        raise UnsupportedOperatorError(
            f"{layer} has activations {', '.join(functions)}",
            f"supported: {', '.join(sorted(known) or ACTIVATIONS[kind])}",
        )
    return functions or list(expected)


def _directions(
    kind: str,
    layer: str,
    given: list[Expr | None],
    attributes: Mapping[str, Any],
    batch_first: bool,
    emit: Emit,
) -> list[_Direction]:
    direction = attributes.get("direction", "forward")
    direction = direction.decode() if isinstance(direction, bytes) else str(direction)
    reverses = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}.get(direction)
    if reverses is None or given[1] is None or given[2] is None:
        raise UnsupportedOperatorError(f"{layer} has direction '{direction}'")
    _functions(kind, layer, attributes, len(reverses))
    weight, recurrent = value(given[1]), value(given[2])
    units, gates = recurrent.shape[2], len(GATES[kind])
    bias = np.zeros((len(reverses), 2 * gates * units), np.float32) if given[3] is None else value(given[3])
    found = []
    for i, reverse in enumerate(reverses):
        first = tuple(_first(given[k], i, batch_first, emit) for k in (5, 6))
        halves = np.split(bias[i], 2)
        parts = (weight[i], recurrent[i], *halves)
        w, r, b, rb = (_by_gate(part, kind, units) for part in parts)
        found.append(_Direction(w, r, b, rb, first, reverse))
    return found


def _by_gate(array: Array, kind: str, units: int) -> Array:
    """Rows in our order of gates."""
    rows = array.reshape(-1, units, *array.shape[1:])[list(GATES[kind])]
    return np.ascontiguousarray(rows.reshape(array.shape).astype(np.float32))


def _first(states: Expr | None, direction: int, batch_first: bool, emit: Emit) -> Expr | None:
    """A direction's first state [N, H]; None for zeros."""
    if states is None or (is_constant(states) and not value(states).any()):
        return None
    axis = 1 if batch_first else 0
    extents = [n for i, n in enumerate(shape(states)) if i != axis]
    if is_constant(states):
        return relax.const(np.ascontiguousarray(np.take(value(states), direction, axis)))
    part = emit(relax.op.strided_slice(states, [axis], [direction], [direction + 1]))
    return emit(relax.op.reshape(part, extents))


def _run(kind: str, x: Expr, d: _Direction, attributes: Mapping[str, Any], emit: Emit) -> tuple[Expr, ...]:
    """y [T, N, H], the last hidden state and of an LSTM the last cell, [N, H]."""
    steps, batch, _ = shape(x)
    units = d.recurrent.shape[1]
    if kind == "RNN":
        functions = _functions(kind, "", attributes, 2 if len(attributes.get("activations") or []) > 1 else 1)
        y = _unrolled(x, d, RNN_FUNCTIONS[functions[-1 if d.reverse else 0]], emit)
        return y, _last(y, d, emit)
    zeros = relax.const(np.zeros((batch, units), np.float32))
    sequence = relax.TensorType((steps, batch, units), "float32")
    if kind == "LSTM":
        first = [zeros if state is None else state for state in d.first] if any(d.first) else []
        held = [relax.const(a) for a in (d.weight, d.recurrent, d.bias + d.recurrent_bias)]
        call = _called("lstm", d, [x, *held, *first], [sequence, relax.TensorType((batch, units), "float32")])
        both = emit(call)
        y, c = emit(relax.TupleGetItem(both, 0)), emit(relax.TupleGetItem(both, 1))
        return y, _last(y, d, emit), c
    after = bool(attributes.get("linear_before_reset", 0))
    bias = d.bias + d.recurrent_bias
    if after:
        bias[2 * units :] = d.bias[2 * units :]
    held = [relax.const(d.weight), relax.const(d.recurrent), relax.const(bias)]
    held += [relax.const(d.recurrent_bias[2 * units :])] if after else []
    first = [] if d.first[0] is None else [d.first[0]]
    y = emit(_called("gru" if after else "gru_reset_first", d, [x, *held, *first], [sequence]))
    return y, _last(y, d, emit)


def _called(name: str, d: _Direction, arguments: list[Expr], results: list[Any]) -> Expr:
    operation = f"lepton.{name}{'_reverse' if d.reverse else ''}"
    kind = results[0] if len(results) == 1 else results
    return relax.op.call_dps_packed(operation, relax.Tuple(arguments), kind)


def _unrolled(x: Expr, d: _Direction, function: Callable[[Expr], Expr], emit: Emit) -> Expr:
    """h ← f(W x + R h + b), a step at a time; the products of x in one."""
    steps, batch, _ = shape(x)
    units = d.recurrent.shape[1]
    fixed = emit(relax.op.matmul(x, relax.const(np.ascontiguousarray(d.weight.T))))
    fixed = emit(relax.op.add(fixed, relax.const(d.bias + d.recurrent_bias)))
    h = d.first[0]
    found: dict[int, Expr] = {}
    for step in reversed(range(steps)) if d.reverse else range(steps):
        total = emit(relax.op.strided_slice(fixed, [0], [step], [step + 1]))
        total = emit(relax.op.reshape(total, [batch, units]))
        if h is not None:
            moving = emit(relax.op.matmul(h, relax.const(np.ascontiguousarray(d.recurrent.T))))
            total = emit(relax.op.add(total, moving))
        h = emit(function(total))
        found[step] = emit(relax.op.reshape(h, [1, batch, units]))
    return emit(relax.op.concat([found[step] for step in range(steps)], 0))


def _last(y: Expr, d: _Direction, emit: Emit) -> Expr:
    """The hidden state after the direction's last step, [N, H]."""
    steps, batch, units = shape(y)
    at = 0 if d.reverse else steps - 1
    part = emit(relax.op.strided_slice(y, [0], [at], [at + 1]))
    return emit(relax.op.reshape(part, [batch, units]))


def _joined(parts: Sequence[Expr], index: int, batch_first: bool, emit: Emit) -> Expr:
    """One result of every direction, with ONNX's axis of directions."""
    axis = 1 if index == 0 else 0
    extents = [*shape(parts[0])[:axis], 1, *shape(parts[0])[axis:]]
    whole = [emit(relax.op.reshape(part, extents)) for part in parts]
    y = whole[0] if len(whole) == 1 else emit(relax.op.concat(whole, axis))
    if not batch_first:
        return y
    return emit(relax.op.permute_dims(y, [2, 0, 1, 3] if index == 0 else [1, 0, 2]))


def _layer(n: Node) -> Result:
    inputs = [n[place] if n.has(place) else None for place in range(len(n.inputs))]
    results = recurrent_layer(n.operator, n.name, inputs, n.attributes, n.emit)
    return results if len(n.wanted) > 1 else results[0]


RULES: Mapping[str, Converter] = dict.fromkeys(GATES, _layer)
