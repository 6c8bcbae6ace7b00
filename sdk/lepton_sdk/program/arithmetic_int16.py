"""The arithmetic of int16 activations with int8 weights (docs/arithmetic.md, int16).

Activations int16 in −32768 … 32767, zero point 0. Chosen so that LiteRT's int16×8 reference kernels, which
are all the int16 kernels that LiteRT has, are an independent oracle. Factors are computed in float64 once;
what runs is integer, but for one float64 product an output of Dense.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

LOW, HIGH = -32768, 32767
ACCUMULATOR_LIMIT = 2**47
"""An accumulator times a 15-bit multiplier stays far inside int64."""
LEFT_SHIFT_OF_SUM = 15
TABLE_STEPS = 512
"""Pieces of an interpolated table; it has one entry more."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A positive real: mantissa · 2^(exponent − 31), an integer mantissa in 2^30 … 2^31 − 1.

    A real too small to matter has mantissa 0.
    """

    mantissa: int
    exponent: int


def factor(real: float) -> Factor:
    """`real` (float64, ≥ 0) rounded half up to 31 bits."""
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * 2.0**31 + 0.5)
    if mantissa == 2**31:
        mantissa, exponent = mantissa // 2, exponent + 1
    return Factor(0, 0) if exponent < -31 else Factor(mantissa, exponent)


def _saturated(values: npt.NDArray[np.generic], low: int, high: int) -> Int16:
    saturated: Int16 = np.clip(values, low, high).astype(np.int16)
    return saturated


def fits(by: Factor, bits: int) -> bool:
    """Whether `scaled` stays in 32 bits for |x| ≤ 2^bits."""
    return bits + by.exponent <= 30


def scaled(x: Integers, by: Factor) -> Int64:
    """x · by in two roundings: half up to the mantissa's 31 bits, then half away from zero by the exponent.

    |x| · 2^max(exponent, 0) < 2^31.
    """
    high = ((x.astype(np.int64) << max(by.exponent, 0)) * by.mantissa + (1 << 30)) >> 31
    right = max(-by.exponent, 0)
    if right == 0:
        return high
    rest = high & ((1 << right) - 1)
    return (high >> right) + (rest > ((1 << right) - 1 >> 1) + (high < 0))


def requantise_multiplier(reals: npt.ArrayLike) -> Int32:
    """[2, C]: a 15-bit multiplier and a right shift for each real sx · sw[c] / sy (float64 [C])."""
    columns = []
    for real in np.atleast_1d(np.asarray(reals, np.float64)):
        f = factor(float(real))
        reduced = (f.mantissa + (1 << 15)) >> 16 if f.mantissa < 0x7FFF0000 else 0x7FFF
        columns.append((reduced, 15 - f.exponent))
    return np.array(columns, np.int32).T.copy()


def requantise(accumulator: Integers, multiplier: Int32, low: int = LOW, high: int = HIGH) -> Int16:
    """clamp((acc · m + 2^(s−1)) >> s); accumulator: int64, channels last, below 2^47; multiplier: [2, C]."""
    m, shift = multiplier.astype(np.int64)
    total = (accumulator.astype(np.int64) * m + (np.int64(1) << (shift - 1))) >> shift
    return _saturated(total, low, high)


def dense_multiplier(reals: npt.ArrayLike) -> Int64:
    """[C]: the bits of float64 sx · sw[c] / sy."""
    return np.atleast_1d(np.asarray(reals, np.float64)).view(np.int64).copy()


def requantise_dense(accumulator: Integers, multiplier: Int64, low: int = LOW, high: int = HIGH) -> Int16:
    """clamp(float64(acc) · r rounded half away from zero); accumulator: below 2^47; multiplier: [C]."""
    product = np.clip(accumulator.astype(np.float64) * multiplier.view(np.float64), -65536.0, 65536.0)
    whole = np.trunc(product)
    return _saturated(whole + np.trunc(2 * (product - whole)), low, high)


def sum_factors(a_scale: float, b_scale: float, y_scale: float) -> tuple[Factor, Factor, Factor]:
    """Factors of a, of b, and of their sum: both are brought to twice the larger scale, 15 bits up."""
    twice = 2.0 * max(a_scale, b_scale)
    return (
        factor(a_scale / twice),
        factor(b_scale / twice),
        factor(twice / (2.0**LEFT_SHIFT_OF_SUM * y_scale)),
    )


def add(
    a: Int16,
    b: Int16,
    factors: tuple[Factor, Factor, Factor],
    sign: int = 1,
    low: int = LOW,
    high: int = HIGH,
) -> Int16:
    """clamp(scaled(scaled(a · 2^15) ± scaled(b · 2^15))); sign −1 gives the difference."""
    of_a, of_b, of_sum = factors
    left = scaled(a.astype(np.int64) << LEFT_SHIFT_OF_SUM, of_a)
    right = scaled(b.astype(np.int64) << LEFT_SHIFT_OF_SUM, of_b)
    return _saturated(scaled(left + sign * right, of_sum), low, high)


def product_factor(a_scale: float, b_scale: float, y_scale: float) -> Factor:
    """float32(sa) · float32(sb) / float32(sy), each step rounded to float32, in that order."""
    return factor(float(np.float32(a_scale) * np.float32(b_scale) / np.float32(y_scale)))


def multiply(a: Int16, b: Int16, by: Factor, low: int = LOW, high: int = HIGH) -> Int16:
    """clamp(scaled(a · b))."""
    return _saturated(scaled(a.astype(np.int64) * b.astype(np.int64), by), low, high)


def requantise_factor(x_scale: float, y_scale: float) -> Factor:
    """sx / sy in float64: what stands between two quantisations of the same reals."""
    return factor(float(x_scale) / float(y_scale))


def mean_factor(x_scale: float, y_scale: float, count: int) -> Factor:
    """sx / sy / count: the mantissa of sx / sy, moved up as far as count has bits, divided by it and cut."""
    whole = requantise_factor(x_scale, y_scale)
    up = min(count.bit_length() - 1, 32, 31 + whole.exponent)
    return Factor((whole.mantissa << up) // count, whole.exponent - up)


def mean(total: Integers, by: Factor) -> Int16:
    """clamp(scaled(total)) of sums over the elements."""
    return _saturated(scaled(total, by), LOW, HIGH)


def other_numbers(x: Integers, x_zero: int, by: Factor, y_zero: int, low: int, high: int) -> Int64:
    """clamp(scaled(x − zx) + zy): the same reals in another quantisation, int8 or int16 on either side."""
    return np.clip(scaled(x.astype(np.int64) - x_zero, by) + y_zero, low, high)


def quantize(x: npt.NDArray[np.float32], scale: float) -> Int16:
    """clamp(rne(x · float32(1 / scale))), as int8's; NaN becomes zero."""
    with np.errstate(over="ignore"):  # infinity saturates as it should
        product = x * (np.float32(1) / np.float32(scale))
    product = np.where(np.isnan(product), np.float32(0), product)
    return _saturated(np.rint(product), LOW, HIGH)


def table_of(function: Callable[[float], float], low: float, high: float, unit: float) -> Int16:
    """int16 [513] for `interpolated`: the function at 512 even steps over low … high, in units of `unit`.

    Each entry gives up half of the error that a straight line would make in the middle of its piece.
    """
    step = (high - low) / TABLE_STEPS
    entries = []
    for i in range(TABLE_STEPS):
        here, middle, after = (function(low + i * step + part) / unit for part in (0.0, step / 2, step))
        straight = _rounded((after + _rounded(here)) / 2)
        entries.append(_rounded(here) - _rounded((straight - _rounded(middle)) / 2))
    entries.append(_rounded(function(high) / unit))
    return _saturated(np.array(entries), LOW, HIGH)


def _rounded(value: float) -> float:
    """Half away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def interpolated(x: Int16, table: Int16) -> Int16:
    """table[i] + (((table[i + 1] − table[i]) · f + 64) >> 7), i = 256 + (x >> 7), f the low 7 bits of x."""
    wide, entries = x.astype(np.int32), table.astype(np.int32)
    index, fraction = 256 + (wide >> 7), wide & 0x7F
    base = entries[index]
    line: Int16 = (base + (((entries[index + 1] - base) * fraction + 64) >> 7)).astype(np.int16)
    return line


def softmax_tables() -> Int16:
    """[2, 513]: e^v over −10 … 0, and 1 / (1 + v) over 0 … 1, both in units of 2^−15."""
    exponential = table_of(math.exp, -10.0, 0.0, 2.0**-15)
    return np.stack([exponential, table_of(lambda v: 1 / (1 + v), 0.0, 1.0, 2.0**-15)])


def softmax_factor(x_scale: float) -> Factor:
    """From steps of x to steps of the exponential's table."""
    return factor(float(np.float32(x_scale)) / (10.0 / 65535.0))


def softmax(x: Int16, tables: Int16, by: Factor) -> Int16:
    """int16 softmax over the last axis at scale 2^−15."""
    wide = x.astype(np.int64)
    below = scaled(wide - wide.max(axis=-1, keepdims=True), by)
    exponentials = interpolated(_saturated(below + 32767, LOW, HIGH), tables[0]).astype(np.int64)
    total = exponentials.sum(axis=-1, keepdims=True)
    # The sum is shifted to 1 … 2 in units of 2^−16; what is above 1 selects its reciprocal.
    bits = np.frompyfunc(int.bit_length, 1, 1)(total.astype(object)).astype(np.int64)
    shifted = ((total << (31 - bits)) + (1 << 13)) >> 14
    above_one = _saturated(shifted - (1 << 15) - (1 << 16), LOW, HIGH)
    reciprocal = interpolated(above_one, tables[1]).astype(np.int64)
    shift = bits - 1
    q = (exponentials * reciprocal + (np.int64(1) << (shift - 1))) >> shift
    return _saturated(q, 0, HIGH)


def sigmoid_table() -> Int32:
    """int32 [256]: sigmoid(i / 24) in units of 2^−16, corrected by half of a straight line's error."""

    def sigmoid(steps: float) -> float:
        return 65536.0 / (1.0 + math.exp(-steps / 24.0))

    entries = [
        math.floor(here + (sigmoid(i + 0.5) - (here + sigmoid(i + 1)) / 2) / 2 + 0.5)
        for i in range(256)
        for here in (sigmoid(i),)
    ]
    entries[255] = 65535
    return np.array(entries, np.int32)


def sigmoid_multiplier(x_scale: float) -> tuple[int, int]:
    """(m, s): x · m >> s is x in steps of 1 / (3 · 2^12), of which a 24th, the table's step, has 512.

    m uses 15 bits. float32(sx) · 4096 · 3 in float64, cut to an integer once it is as large as that.
    """
    multiplier, shift = float(np.float32(x_scale)) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return int(multiplier), shift


def sigmoid(x: Int16, table: Int32, multiplier: tuple[int, int]) -> Int16:
    """1 / (1 + e^−x) at scale 2^−15."""
    steps, magnitude = _steps(x, multiplier)
    index, part = np.minimum(magnitude >> 9, 254), magnitude & 511
    line = (table[index].astype(np.int64) << 9) + part * (table[index + 1] - table[index])
    line = np.where(magnitude >> 9 >= 255, 0x7FFF << 10, line)
    return (np.where(steps >= 0, line + 512, (1 << 25) - line + 511) >> 10).astype(np.int16)


def tanh(x: Int16, table: Int32, multiplier: tuple[int, int]) -> Int16:
    """tanh x = 2 · sigmoid(2x) − 1 at scale 2^−15, from the same table read at twice the pace."""
    steps, magnitude = _steps(x, multiplier)
    index, part = np.minimum(magnitude >> 8, 254), magnitude & 255
    line = (table[index].astype(np.int64) << 8) + part * (table[index + 1] - table[index])
    line = np.where(magnitude >> 8 >= 255, 0xFFFF << 8, line)
    return (np.where(steps >= 0, line - (1 << 23) + 128, (1 << 23) - line + 127) >> 8).astype(np.int16)


def _steps(x: Int16, multiplier: tuple[int, int]) -> tuple[Int64, Int64]:
    m, shift = multiplier
    steps = (x.astype(np.int64) * m + ((1 << shift) >> 1)) >> shift
    return steps, np.abs(steps)
