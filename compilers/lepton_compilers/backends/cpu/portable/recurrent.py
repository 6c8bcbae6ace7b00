"""Rows of int8 Lstm and Gru: kernels/recurrent.h."""

from __future__ import annotations

import numpy as np

from lepton_compilers.backends.answers import Answer, No, Yes, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_compilers.backends.cpu.weights.ranges import INT32
from lepton_sdk.program import TensorId, Tensors, arithmetic_sequence
from lepton_sdk.program.recurrent import Gru, Lstm, integer_constants

HEADER = "recurrent.h"
Recurrent = Lstm | Gru


def _int8(op: Recurrent, t: Tensors) -> Answer:
    answer = typed(t, "int8", op.x, op.weight, op.recurrent, op.y)
    if isinstance(answer, No):
        return answer
    if None in (op.multiplier, op.recurrent_multiplier, op.sigmoid, op.tanh):
        return No("the int8 form needs multipliers and tables")
    if t[op.weight].value is None or t[op.recurrent].value is None:
        return No("recurrent layers need constant weights")
    reach = max(_reach(op.weight, op.x, t), _reach(op.recurrent, op.y, t))
    return when(reach <= INT32, f"sums that reach {reach}; an int32 accumulator holds {INT32}")


def _reach(weight: TensorId, x: TensorId, t: Tensors) -> int:
    rows = np.abs(np.asarray(t[weight].value, np.int64)).sum(axis=1)
    return int(rows.max()) * max(127 - t[x].zero_point, t[x].zero_point + 128)


def _int8_lstm(op: Lstm, t: Tensors) -> Answer:
    answer = _int8(op, t)
    if isinstance(answer, No):
        return answer
    try:
        arithmetic_sequence.cell_bits(float(t[op.c].scale))
    except ValueError as error:
        return No(str(error))
    return Yes()


def _columns(weight: TensorId, draft: Draft) -> Place:
    """Weights by input, so that neighbouring gates lie side by side."""
    value = draft.value(weight)
    assert value is not None  # accepted
    return draft.constant(np.ascontiguousarray(value.T))


def _extents(op: Recurrent, t: Tensors) -> tuple[int, int, int, int]:
    """T, N, I, H."""
    steps, batch, inputs = t[op.x].shape
    return steps, batch, inputs, t[op.y].shape[2]


def _first(name: TensorId | None, size: int, dtype: str, draft: Draft) -> Place:
    return draft.constant(np.zeros(size, dtype)) if name is None else draft.read(name)


def emit_lstm_int8(op: Lstm, draft: Draft) -> None:
    """The cell lives in the place of its last value."""
    t = draft.tensors
    steps, batch, inputs, units = _extents(op, t)
    weights = draft.read(op.x), _columns(op.weight, draft), _columns(op.recurrent, draft)
    places = [*weights, *(draft.read(name) for name in (op.bias, *integer_constants(op)))]
    h = draft.constant(np.zeros(1, np.int8)) if op.initial_h is None else draft.read(op.initial_h)
    first = _first(op.initial_c, batch * units, "int16", draft)
    c, y, gates = draft.write(op.c), draft.write(op.y), draft.scratch(3 * 4 * units * 4)
    draft.call("copy_bytes", first, c, t[op.c].nbytes)
    hidden = float_bits(float(arithmetic_sequence.lstm_hidden_multiplier(float(t[op.y].scale))))
    bits = arithmetic_sequence.cell_bits(float(t[op.c].scale))
    numbers = (t[op.x].zero_point, t[op.y].zero_point, hidden, bits)
    flags = (int(op.initial_h is not None), int(op.reverse))
    draft.call("lstm_int8", *places, h, c, y, gates, *flags, steps, batch, inputs, units, *numbers)


def _recurrent_bias(op: Gru, draft: Draft) -> tuple[Place, int]:
    """The new state's recurrent bias, and whether the reset comes after the product."""
    if op.recurrent_bias is None:
        return draft.constant(np.zeros(1, np.float32)), 0
    return draft.read(op.recurrent_bias), 1


def emit_gru_int8(op: Gru, draft: Draft) -> None:
    """The state of 16 bits is scratch; y holds what of it int8 can."""
    t = draft.tensors
    steps, batch, inputs, units = _extents(op, t)
    weights = [draft.read(op.x), _columns(op.weight, draft), _columns(op.recurrent, draft)]
    weights.append(draft.read(op.bias))
    recurrent_bias, after = _recurrent_bias(op, draft)
    held = [draft.read(name) for name in integer_constants(op)]
    first = _first(op.initial_h, batch * units, "int16", draft)
    y, state = draft.write(op.y), draft.scratch(batch * units * 2)
    scratch = (
        state,
        draft.scratch(batch * units),
        y,
        draft.scratch(2 * 3 * units * 4),
        draft.scratch(units * 2),
    )
    draft.call("copy_bytes", first, state, batch * units * 2)
    hidden = float_bits(float(arithmetic_sequence.gru_hidden_multiplier(float(t[op.y].scale))))
    numbers = (t[op.x].zero_point, t[op.y].zero_point, hidden)
    flags = (after, int(op.reverse))
    extents = (steps, batch, inputs, units)
    draft.call("gru_int8", *weights, recurrent_bias, *held, *scratch, *flags, *extents, *numbers)


LOWERINGS: Rows = {
    Lstm: (Lowering(_int8_lstm, emit_lstm_int8, HEADER),),
    Gru: (Lowering(_int8, emit_gru_int8, HEADER),),
}
