"""The integer arithmetic of sequence models, part of arithmetic number 1 (docs/arithmetic.md).

As in arithmetic.py: exact integers and plain IEEE float32 in the order written, square roots included.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.arithmetic import Float32, Int8, requantise

Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]

GATE_STEPS = 4096
"""Steps a unit of what a gate's function reads: int16 spans −8 … 8."""
TABLE_STEP = 128
"""int16 values between two neighbours of a table; 513 entries span int16."""
UNIT = 32768
"""Steps a unit of what a gate gives."""
LARGEST_CELL_BITS = 12
"""A cell has 2^0 to 2^12 steps a unit."""
SMALLEST_FLOAT32 = 2.0**-126


def layer_norm_epsilon(epsilon: float, count: int, x_scale: float) -> np.float32:
    """epsilon in units of count² · variance of the integers: float32(epsilon · count² / sx²), above zero."""
    return np.float32(max(epsilon * count * count / float(x_scale) ** 2, SMALLEST_FLOAT32))


def layer_norm(
    x: Int8,
    gain: Float32,
    offset: Float32,
    epsilon: np.float32,
    zeros: tuple[int, int],
    centred: bool,
) -> Int8:
    """Rows [R, N] normalised: d = N·x − Σx, v = N·Σx² − (Σx)², then clamp(rne((d · r) · gain + offset) + zy).

    r = 1 / sqrt(float32(v) + epsilon). Not centred: x − zx for x, and 0 for Σx. zeros are (zx, zy).
    """
    zx, zy = zeros
    values = x.astype(np.int64) - (0 if centred else zx)
    count = x.shape[-1]
    total = values.sum(axis=-1, keepdims=True) if centred else np.zeros((1, 1), np.int64)
    spread = count * (values**2).sum(axis=-1, keepdims=True) - total**2
    inverse = np.float32(1) / np.sqrt(spread.astype(np.float32) + epsilon)
    scaled = (count * values - total).astype(np.float32) * inverse * gain + offset
    return _rounded(scaled, zy)


def _rounded(real: Float32, zero_point: int) -> Int8:
    rounded = np.rint(np.clip(real, -1048576.0, 1048576.0)).astype(np.int32)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


def gate_table(function: str) -> Int16:
    """min(rint(32768 · function(p / 4096)), 32767) at p = −32768, −32640 … 32768. Shape [513], int16."""
    points = np.arange(-UNIT, UNIT + 1, TABLE_STEP) / GATE_STEPS
    real = np.tanh(points) if function == "tanh" else 1 / (1 + np.exp(-points))
    return np.minimum(np.rint(real * UNIT), UNIT - 1).astype(np.int16)


def gate(p: Int64, table: Int16) -> Int64:
    """T[k] + (((T[k + 1] − T[k]) · rest + 64) >> 7), k and rest of p + 32768 by 128; p lies in int16."""
    index = p + UNIT
    k, rest = index >> 7, index & (TABLE_STEP - 1)
    low, high = table[k].astype(np.int64), table[k + 1].astype(np.int64)
    between: Int64 = low + (((high - low) * rest + TABLE_STEP // 2) >> 7)
    return between


def gate_steps(real: Float32) -> Int64:
    """clamp(rne(real), −32768, 32767): what a gate's function reads, in steps of 1/4096."""
    return np.clip(np.rint(np.clip(real, -1048576.0, 1048576.0)), -UNIT, UNIT - 1).astype(np.int64)


def gate_multiplier(x_scale: float, weight_scales: npt.ArrayLike) -> Float32:
    """float32(sx) · float32(sw[row]) · 4096, each step rounded to float32. Shape [rows]."""
    weight = np.asarray(weight_scales, np.float32)
    return np.asarray(np.float32(x_scale) * weight * np.float32(GATE_STEPS), np.float32)


def cell_bits(scale: float) -> int:
    """n of a cell's scale 2^−n. Raises ValueError for any other scale."""
    bits = -math.log2(scale)
    if bits != int(bits) or not 0 <= bits <= LARGEST_CELL_BITS:
        raise ValueError(f"a cell's scale is 2^−n, n in 0 … {LARGEST_CELL_BITS}; found {scale!r}")
    return int(bits)


def shifted(value: Int64, bits: int) -> Int64:
    """value / 2^bits rounded half up; bits are at least 1."""
    return (value + (1 << (bits - 1))) >> bits


def lstm_cell(
    gates: tuple[Int64, Int64, Int64, Int64], c: Int64, bits: int, hidden: tuple[np.float32, int], tanh: Int16
) -> tuple[Int64, Int8]:
    """The next cell (int16 values at 2^−bits) and hidden state, from i, f, g, o in steps of 1/32768.

    c' = clamp(shifted(f·c, 15) + shifted(i·g, 30 − bits), int16)
    h  = requantise(o · tanh(clamp(c' · 2^(12 − bits), int16)), multiplier, zero point); hidden is that pair.
    """
    i, f, g, o = gates
    c = np.clip(shifted(f * c, 15) + shifted(i * g, 30 - bits), -UNIT, UNIT - 1)
    read = np.clip(c << (LARGEST_CELL_BITS - bits), -UNIT, UNIT - 1)
    return c, requantise(o * gate(read, tanh), np.asarray(hidden[0]), hidden[1], -128, 127)


def lstm_hidden_multiplier(scale: float) -> np.float32:
    """float32(2^−30 / sh): from o · tanh(c) to the hidden state's steps."""
    return np.float32(2.0**-30 / float(scale))


def gru_hidden_multiplier(scale: float) -> np.float32:
    """float32(2^−15 / sh): from the state of 16 bits to the hidden state's steps."""
    return np.float32(2.0**-15 / float(scale))


def gru_state(z: Int64, n: Int64, state: Int64) -> Int64:
    """s + shifted((32768 − z) · (n − s), 15): int16 in steps of 1/32768."""
    after: Int64 = np.clip(state + shifted((UNIT - z) * (n - state), 15), -UNIT, UNIT - 1)
    return after
