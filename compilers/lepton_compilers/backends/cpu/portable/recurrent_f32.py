"""Rows of float32 Lstm and Gru: kernels/recurrent_f32.h.

What x gives the gates of all steps comes first, as rows by the target's own dense kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import PORTABLE_HEADER, Draft
from lepton_compilers.backends.cpu.lowering.rows import Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import float_bounds, typed
from lepton_compilers.backends.cpu.portable.recurrent_rows import Recurrent, Steps, recurrent_rows
from lepton_compilers.backends.cpu.weights.packing import float_columns, padded
from lepton_compilers.backends.cpu.weights.recurrent import by_panel, step_panels
from lepton_sdk.program import TensorId, Tensors
from lepton_sdk.program.recurrent import Gru, Lstm

HEADER = "recurrent_f32.h"
MOST_GATES_BYTES = 128 * 1024
"""Of what x gives the gates of a run of steps: it stays in the second-level cache beside the weights."""

FloatArray = npt.NDArray[np.float32]
RowProducts = Callable[[Draft, Place, FloatArray, FloatArray, Place, int], None]
"""(draft, x, weights [O, K], bias [O], y, rows): adds the call that makes rows [rows, O] of x [rows, K]."""


def accepts(op: Recurrent, t: Tensors) -> Answer:
    """Constant weights and biases."""
    answer = typed(t, "float32", op.x, op.weight, op.recurrent, op.bias, op.y)
    if isinstance(answer, No):
        return answer
    names = [op.weight, op.recurrent, op.bias]
    if isinstance(op, Gru) and op.recurrent_bias is not None:
        names.append(op.recurrent_bias)
    return when(all(t[name].value is not None for name in names), "recurrent layers need constant weights")


def portable_products(
    draft: Draft, x: Place, weight: FloatArray, bias: FloatArray, y: Place, rows: int
) -> None:
    """A 1 × 1 convolution whose pixels are the rows."""
    out, inner = weight.shape
    columns, start = draft.constant(float_columns(weight)), draft.constant(bias)
    shape = (1, rows, inner, 1, rows, out, 1, 1, 1, 1, 0, 0, 1, 1)
    draft.call("conv2d_float", x, columns, start, y, 1, *shape, *float_bounds(None))


def _constant(name: TensorId, draft: Draft) -> FloatArray:
    return np.asarray(draft.value(name), np.float32)


class _Layer:
    """What the calls for a run of steps share: extents, and the products that come before the recurrence."""

    def __init__(self, op: Recurrent, draft: Draft, products: RowProducts, header: str, gates: int) -> None:
        self.op, self.draft, self.products, self.header = op, draft, products, header
        self.steps, self.batch, self.inputs = draft.tensors[op.x].shape
        self.units = draft.tensors[op.y].shape[2]
        panels = blocks(self.units)
        weight = by_panel(_constant(op.weight, draft), gates).reshape(-1, self.inputs)
        self.weight = np.asarray(weight, np.float32)
        self.bias = np.asarray(by_panel(_constant(op.bias, draft), gates).reshape(-1), np.float32)
        self.x, self.y = draft.read(op.x), draft.write(op.y)
        self.step_bytes = self.batch * self.units * 4
        self.together = max(1, min(self.steps, MOST_GATES_BYTES // (self.batch * len(self.bias) * 4)))
        self.of_x = draft.scratch(self.together * self.batch * len(self.bias) * 4)
        self.scratch = draft.scratch(self.batch * 4 * panels * LANES * 4)

    def runs(self, first: Place) -> Iterator[tuple[Place, Place, int]]:
        """State before, y and number of every run of steps in order of time, once x's part is computed."""
        starts = range(0, self.steps, self.together)
        for begin in reversed(starts) if self.op.reverse else starts:
            count = min(self.together, self.steps - begin)
            x = self.x + begin * self.batch * self.inputs * 4
            self.draft.header = self.header
            self.products(self.draft, x, self.weight, self.bias, self.of_x, count * self.batch)
            self.draft.header = HEADER
            yield first, self.y + begin * self.step_bytes, count
            first = self.y + (begin if self.op.reverse else begin + count - 1) * self.step_bytes


def _lstm(op: Lstm, draft: Draft, products: RowProducts, header: str) -> Steps:
    """The cell lives in the place of its last value."""
    layer = _Layer(op, draft, products, header, gates=4)
    weights = draft.constant(step_panels(_constant(op.recurrent, draft), 4))
    has_h, c = int(op.initial_h is not None), draft.write(op.c)
    first = draft.constant(np.zeros(1, np.float32)) if op.initial_h is None else draft.read(op.initial_h)
    _start(op.initial_c, c, draft.tensors[op.c].nbytes, draft)
    for h, y, steps in layer.runs(first):
        extents = (steps, layer.batch, layer.batch, layer.units)
        places = (layer.of_x, weights, h, c, y, layer.scratch)
        yield partial(draft.call, "lstm_f32", *places, has_h, int(op.reverse), *extents)
        has_h = 1


def _start(name: TensorId | None, place: Place, nbytes: int, draft: Draft) -> None:
    first = draft.constant(np.zeros(nbytes, np.uint8)) if name is None else draft.read(name)
    draft.call("copy_bytes", first, place, nbytes)


def _gru(op: Gru, draft: Draft, products: RowProducts, header: str) -> Steps:
    """By the place of the reset."""
    layer, after = _Layer(op, draft, products, header, gates=3), int(op.recurrent_bias is not None)
    recurrent = _constant(op.recurrent, draft)
    if op.recurrent_bias is not None:
        weights = draft.constant(step_panels(recurrent, 3))
        bias = draft.constant(padded(_constant(op.recurrent_bias, draft), 0))
    else:
        before, new = recurrent[: 2 * layer.units], recurrent[2 * layer.units :]
        parts = [step_panels(before, 2).reshape(-1), step_panels(new, 1).reshape(-1)]
        weights, bias = draft.constant(np.concatenate(parts)), draft.constant(np.zeros(1, np.float32))
    zero = np.zeros(layer.step_bytes // 4, np.float32)
    first = draft.constant(zero) if op.initial_h is None else draft.read(op.initial_h)
    for h, y, steps in layer.runs(first):
        extents = (steps, layer.batch, layer.batch, layer.units)
        places = (layer.of_x, weights, bias, h, y, layer.scratch)
        yield partial(draft.call, "gru_f32", *places, after, int(op.reverse), *extents)


def lowerings(products: RowProducts, header: str) -> Rows:
    """The rows of a target whose products of rows, of `header`, are these."""

    def steps(op: Recurrent, draft: Draft) -> Steps:
        if isinstance(op, Lstm):
            return _lstm(op, draft, products, header)
        return _gru(op, draft, products, header)

    return recurrent_rows(accepts, steps, header)


LOWERINGS: Rows = lowerings(portable_products, PORTABLE_HEADER)
