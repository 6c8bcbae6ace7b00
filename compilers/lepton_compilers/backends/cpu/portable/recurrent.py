"""Rows of int8 Lstm and Gru: kernels/recurrent.h."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from lepton_compilers.backends.answers import Answer, No, Yes, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import typed
from lepton_compilers.backends.cpu.portable.recurrent_rows import Recurrent, Steps, recurrent_rows
from lepton_compilers.backends.cpu.weights.packing import Array, float_bits, padded
from lepton_compilers.backends.cpu.weights.ranges import INT32
from lepton_compilers.backends.cpu.weights.recurrent import by_panel, four_panels
from lepton_sdk.program import TensorId, Tensors, arithmetic_sequence
from lepton_sdk.program.recurrent import Gru, Lstm, integer_constants

HEADER = "recurrent.h"
MOST_GATES_BYTES = 128 * 1024
"""Of what x gives the gates of a run of steps: it stays in the second-level cache beside the weights."""


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


def _constant(name: TensorId | None, draft: Draft) -> Array:
    value = draft.value(name or "")
    assert value is not None  # accepted
    return value


class _Products:
    """Constants of rows of int8 by weights [gates · units, K]: weights, their sums, multipliers."""

    def __init__(self, weight: Array, multiplier: Array, gates: int, draft: Draft) -> None:
        self.weight = draft.constant(four_panels(weight, gates))
        self.sums = draft.constant(by_panel(weight.sum(axis=1, dtype=np.int32), gates))
        self.multiplier = draft.constant(by_panel(multiplier, gates))

    @property
    def places(self) -> tuple[Place, Place, Place]:
        """As kernels take them."""
        return self.weight, self.sums, self.multiplier


class _Layer:
    """What the calls for a run of steps share: extents, and the products that come before the recurrence."""

    def __init__(self, op: Recurrent, draft: Draft, gates: int) -> None:
        self.op, self.draft, self.gates = op, draft, gates
        self.steps, self.batch, self.inputs = draft.tensors[op.x].shape
        self.units = draft.tensors[op.y].shape[2]
        self.panels = blocks(self.units)
        multiplier = _constant(op.multiplier, draft)
        self.products = _Products(_constant(op.weight, draft), multiplier, gates, draft)
        self.bias = draft.constant(by_panel(_constant(op.bias, draft), gates))
        self.x, self.y = draft.read(op.x), draft.write(op.y)
        row_bytes = gates * self.panels * LANES * 4
        self.together = max(1, min(self.steps, MOST_GATES_BYTES // (self.batch * row_bytes)))
        self.of_x = draft.scratch(self.together * self.batch * row_bytes)
        self.scratch = draft.scratch(self.batch * 4 * self.panels * LANES * 4)

    def runs(self, first: Place) -> Iterator[tuple[Place, Place, int]]:
        """State before, y and number of every run of steps in order of time, once x's part is computed."""
        zero, size = self.draft.tensors[self.op.x].zero_point, self.batch * self.units
        starts = range(0, self.steps, self.together)
        for begin in reversed(starts) if self.op.reverse else starts:
            count = min(self.together, self.steps - begin)
            places = (self.x + begin * self.batch * self.inputs, *self.products.places, self.bias, self.of_x)
            extents = (count * self.batch, self.inputs, self.panels, self.gates, zero)
            self.draft.call("gate_products_int8", *places, *extents)
            yield first, self.y + begin * size, count
            first = self.y + (begin if self.op.reverse else begin + count - 1) * size


def _lstm(op: Lstm, draft: Draft) -> Steps:
    """The cell lives in the place of its last value."""
    t, layer = draft.tensors, _Layer(op, draft, gates=4)
    multiplier = _constant(op.recurrent_multiplier, draft)
    products = _Products(_constant(op.recurrent, draft), multiplier, 4, draft)
    tables = [draft.read(name) for name in integer_constants(op)[2:]]
    first = draft.constant(np.zeros(1, np.int8)) if op.initial_h is None else draft.read(op.initial_h)
    has_h, c = int(op.initial_h is not None), draft.write(op.c)
    _start(op.initial_c, c, t[op.c].nbytes, draft)
    hidden = float_bits(float(arithmetic_sequence.lstm_hidden_multiplier(float(t[op.y].scale))))
    numbers = (t[op.y].zero_point, hidden, arithmetic_sequence.cell_bits(float(t[op.c].scale)))
    for h, y, steps in layer.runs(first):
        places = (layer.of_x, *products.places, *tables, h, c, y, layer.scratch)
        extents = (steps, layer.batch, layer.batch, layer.units)
        yield partial(draft.call, "lstm_int8", *places, has_h, int(op.reverse), *extents, *numbers)
        has_h = 1


def _start(name: TensorId | None, place: Place, nbytes: int, draft: Draft) -> None:
    first = draft.constant(np.zeros(nbytes, np.uint8)) if name is None else draft.read(name)
    draft.call("copy_bytes", first, place, nbytes)


def _gru(op: Gru, draft: Draft) -> Steps:
    """The state of 16 bits is scratch; y holds what of it int8 can."""
    t, layer, after = draft.tensors, _Layer(op, draft, gates=3), int(op.recurrent_bias is not None)
    recurrent, multiplier = _constant(op.recurrent, draft), _constant(op.recurrent_multiplier, draft)
    units = layer.units
    if op.recurrent_bias is not None:
        products = _Products(recurrent, multiplier, 3, draft)
        bias = draft.constant(padded(_constant(op.recurrent_bias, draft), 0))
        nothing = draft.constant(np.zeros(1, np.float32))
        new = (nothing, nothing)
    else:
        products = _Products(recurrent[: 2 * units], multiplier[: 2 * units], 2, draft)
        columns = np.ascontiguousarray(padded(recurrent[2 * units :], 0).T)
        new = draft.constant(columns), draft.constant(multiplier[2 * units :])
        bias = draft.constant(np.zeros(1, np.float32))
    tables = [draft.read(name) for name in integer_constants(op)[2:]]
    size = layer.batch * units
    state, before = draft.scratch(size * 2), draft.scratch(size)
    _start(op.initial_h, state, size * 2, draft)
    hidden = float_bits(float(arithmetic_sequence.gru_hidden_multiplier(float(t[op.y].scale))))
    for _, y, steps in layer.runs(before):
        places = (layer.of_x, *products.places, bias, *new, *tables, state, before, y, layer.scratch)
        extents = (steps, layer.batch, layer.batch, units)
        numbers = (t[op.y].zero_point, hidden)
        yield partial(draft.call, "gru_int8", *places, after, int(op.reverse), *extents, *numbers)


def _steps(op: Recurrent, draft: Draft) -> Steps:
    return _lstm(op, draft) if isinstance(op, Lstm) else _gru(op, draft)


def _accepts(op: Recurrent, t: Tensors) -> Answer:
    return _int8_lstm(op, t) if isinstance(op, Lstm) else _int8(op, t)


LOWERINGS: Rows = recurrent_rows(_accepts, _steps, HEADER)
