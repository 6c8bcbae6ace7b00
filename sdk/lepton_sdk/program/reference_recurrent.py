"""Reference rules of Lstm and Gru."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_sdk.program import arithmetic_sequence as arithmetic
from lepton_sdk.program.arithmetic import requantise
from lepton_sdk.program.operations import Operation
from lepton_sdk.program.recurrent import Gru, Lstm, integer_constants
from lepton_sdk.program.rule import Array, Rule, Values
from lepton_sdk.program.tensors import TensorId, Tensors


def _steps(op: Lstm | Gru, t: Tensors) -> range:
    count = t[op.x].shape[0]
    return range(count - 1, -1, -1) if op.reverse else range(count)


def _state(
    name: TensorId | None, v: Values, shape: tuple[int, ...], like: Array | np.dtype[np.generic]
) -> Array:
    return np.zeros(shape, like) if name is None else v[name]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)) in x's own type."""
    e = np.exp(-np.abs(x))
    y: Array = np.where(x < 0, e, 1).astype(x.dtype) / (1 + e)
    return y


def _lstm(op: Lstm, v: Values, t: Tensors) -> tuple[Array, ...]:
    return _lstm_float(op, v, t) if t[op.y].dtype == "float32" else _lstm_int8(op, v, t)


def lstm_sequence(
    x: Array,
    weight: Array,
    recurrent: Array,
    bias: Array,
    h: Array | None = None,
    c: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    """float32 hidden states and cells after every step, [T, N, H] each; operands as Lstm has them."""
    steps, batch, _ = x.shape
    units = recurrent.shape[1]
    y, cells = (np.zeros((steps, batch, units), np.float32) for _ in range(2))
    h = np.zeros((batch, units), np.float32) if h is None else h
    c = np.zeros((batch, units), np.float32) if c is None else c
    for step in range(steps)[:: -1 if reverse else 1]:
        i, f, g, o = np.split(x[step] @ weight.T + h @ recurrent.T + bias, 4, axis=1)
        c = cells[step] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = y[step] = sigmoid(o) * np.tanh(c)
    return y, cells


def _lstm_float(op: Lstm, v: Values, t: Tensors) -> tuple[Array, ...]:
    h, c = (None if name is None else v[name] for name in (op.initial_h, op.initial_c))
    y, cells = lstm_sequence(v[op.x], v[op.weight], v[op.recurrent], v[op.bias], h, c, op.reverse)
    return y, cells[0 if op.reverse else -1]


def _products(name: TensorId, weight: TensorId, x: Array, v: Values, t: Tensors, rows: slice) -> Array:
    """float32 of the exact sums Σ (x − zx)·w, [N, rows]."""
    centred = x.astype(np.float64) - t[name].zero_point
    return (centred @ v[weight][rows].astype(np.float64).T).astype(np.float32)


def _lstm_int8(op: Lstm, v: Values, t: Tensors) -> tuple[Array, ...]:
    m, recurrent_m, sigmoids, tanhs = (v[name] for name in integer_constants(op))
    y_tensor = t[op.y]
    y = np.zeros(y_tensor.shape, np.int8)
    bits = arithmetic.cell_bits(float(t[op.c].scale))
    hidden = arithmetic.lstm_hidden_multiplier(float(y_tensor.scale)), y_tensor.zero_point
    h = np.full(y.shape[1:], y_tensor.zero_point, np.int8) if op.initial_h is None else v[op.initial_h]
    c = _state(op.initial_c, v, y.shape[1:], np.dtype(np.int16)).astype(np.int64)
    everything = slice(None)
    for step in _steps(op, t):
        fixed = _products(op.x, op.weight, v[op.x][step], v, t, everything) * m + v[op.bias]
        moving = _products(op.y, op.recurrent, h, v, t, everything) * recurrent_m
        i, f, g, o = np.split(arithmetic.gate_steps(fixed + moving), 4, axis=1)
        gates = tuple(
            arithmetic.gate(p, table) for p, table in zip((i, f, g, o), (sigmoids, sigmoids, tanhs, sigmoids))
        )
        c, h = arithmetic.lstm_cell((gates[0], gates[1], gates[2], gates[3]), c, bits, hidden, tanhs)
        y[step] = h
    return y, c.astype(np.int16)


def _gru(op: Gru, v: Values, t: Tensors) -> tuple[Array, ...]:
    return _gru_float(op, v, t) if t[op.y].dtype == "float32" else _gru_int8(op, v, t)


def gru_sequence(
    x: Array,
    weight: Array,
    recurrent: Array,
    bias: Array,
    recurrent_bias: Array | None,
    h: Array | None = None,
    reverse: bool = False,
) -> Array:
    """float32 hidden states after every step, [T, N, H]; operands as Gru has them."""
    steps, batch, _ = x.shape
    units = recurrent.shape[1]
    y = np.zeros((steps, batch, units), np.float32)
    h = np.zeros((batch, units), np.float32) if h is None else h
    gates, news = recurrent[: 2 * units], recurrent[2 * units :]
    for step in range(steps)[:: -1 if reverse else 1]:
        fixed = x[step] @ weight.T + bias
        r, z = np.split(sigmoid(fixed[:, : 2 * units] + h @ gates.T), 2, axis=1)
        if recurrent_bias is None:
            moving = (r * h) @ news.T
        else:
            moving = r * (h @ news.T + recurrent_bias)
        n = np.tanh(fixed[:, 2 * units :] + moving)
        h = y[step] = n + z * (h - n)
    return y


def _gru_float(op: Gru, v: Values, t: Tensors) -> tuple[Array, ...]:
    bias, first = (None if name is None else v[name] for name in (op.recurrent_bias, op.initial_h))
    weights = (v[op.weight], v[op.recurrent], v[op.bias])
    return (gru_sequence(v[op.x], *weights, bias, first, op.reverse),)


def _gru_int8(op: Gru, v: Values, t: Tensors) -> tuple[Array, ...]:
    m, recurrent_m, sigmoids, tanhs = (v[name] for name in integer_constants(op))
    y_tensor = t[op.y]
    y = np.zeros(y_tensor.shape, np.int8)
    units, zero = y.shape[2], y_tensor.zero_point
    multiplier = np.asarray(arithmetic.gru_hidden_multiplier(float(y_tensor.scale)))
    gates, news, everything = slice(0, 2 * units), slice(2 * units, None), slice(None)
    state = _state(op.initial_h, v, y.shape[1:], np.dtype(np.int16)).astype(np.int64)
    h = requantise(state, multiplier, zero, -128, 127)
    for step in _steps(op, t):
        fixed = _products(op.x, op.weight, v[op.x][step], v, t, everything) * m + v[op.bias]
        moving = _products(op.y, op.recurrent, h, v, t, gates) * recurrent_m[gates]
        both = arithmetic.gate(arithmetic.gate_steps(fixed[:, gates] + moving), sigmoids)
        r, z = np.split(both, 2, axis=1)
        if op.recurrent_bias is None:
            left = arithmetic.shifted(r * (h.astype(np.int64) - zero), 15).astype(np.float64)
            sums = (left @ v[op.recurrent][news].astype(np.float64).T).astype(np.float32)
            new = fixed[:, news] + sums * recurrent_m[news]
        else:
            sums = _products(op.y, op.recurrent, h, v, t, news) * recurrent_m[news] + v[op.recurrent_bias]
            new = fixed[:, news] + (r.astype(np.float32) * np.float32(2.0**-15)) * sums
        n = arithmetic.gate(arithmetic.gate_steps(new), tanhs)
        state = arithmetic.gru_state(z, n, state)
        h = y[step] = requantise(state, multiplier, zero, -128, 127)
    return (y,)


RECURRENT_RULES: Mapping[type[Operation], Rule] = {Lstm: _lstm, Gru: _gru}
