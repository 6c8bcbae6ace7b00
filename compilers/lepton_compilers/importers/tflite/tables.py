"""int8 functions of one variable as LiteRT computes them: 256 values each, for a Table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.arithmetic_vision import fixed_point, rounding_shift, scaled

Array = npt.NDArray[np.float64]
Table = npt.NDArray[np.int8]
EVERY = np.arange(-128, 128, dtype=np.int64)
LONG_GELU = math.sqrt(2 / math.pi)

FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "COS": np.cos,
    "ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "EXP": np.exp,
    "FLOOR": np.floor,
    "GELU": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "GELU_TANH": lambda x: 0.5 * x * (1 + np.tanh(LONG_GELU * (x + 0.044715 * x**3))),
    "LOG": np.log,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "NEG": np.negative,
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "ROUND": np.rint,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SIGN": np.sign,
    "SIN": np.sin,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "TANH": np.tanh,
}
"""What each operator means on the reals, float64."""

Numbers = tuple[float, int]
"""A tensor's scale and zero point."""


def _int8(values: npt.NDArray[np.generic]) -> Table:
    held: Table = np.clip(values, -128, 127).astype(np.int8)
    return held


def _half_away(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    held: npt.NDArray[Any] = np.sign(values) * np.floor(np.abs(values) + 0.5)
    return held


def function_table(name: str, x: Numbers, y: Numbers) -> Table:
    """clamp(round(f((q − zx) · sx) / sy) + zy), half away from zero; ELU half to even with zy inside.

    Where f is not defined (the logarithm of nothing) the nearest end of the range stands.
    Source: TensorFlow Lite's LUTPopulate; XNNPACK's look-up tables for ELU.
    """
    with np.errstate(all="ignore"):
        real = FUNCTIONS[name](np.asarray((EVERY - x[1]) * x[0], np.float64))
    real = np.nan_to_num(real, nan=-1e30, posinf=1e30, neginf=-1e30).astype(np.float64)
    if name == "ELU":
        return _int8(np.rint(real / y[0] + y[1]))
    return _int8(_half_away(np.clip(real / y[0], -1e6, 1e6)) + y[1])


def leaky_relu_table(alpha: float, x: Numbers, y: Numbers) -> Table:
    """Slopes with 8 bits after the point. Source: XNNPACK's qs8-vlrelu."""
    positive = np.float32(x[0]) / np.float32(y[0])
    slopes = [int(np.rint(np.float32(256) * s)) for s in (positive, positive * np.float32(alpha))]
    centred = EVERY - x[1]
    steps = centred * np.where(centred >= 0, slopes[0], slopes[1])
    return _int8((steps + (y[1] << 8) + 0x80) >> 8)


def rescaled_table(x: Numbers, y: Numbers, low: float = -math.inf, high: float = math.inf) -> Table:
    """The same reals, bounded, in other numbers. Source: TensorFlow Lite's MultiplyByQuantizedMultiplier."""
    steps = scaled(EVERY - x[1], *fixed_point(x[0] / y[0])) + y[1]
    ends = [y[1] + _half_away(np.asarray(end / np.float32(y[0]))) for end in (low, high)]
    return _int8(np.clip(steps, *ends))


def abs_table(x: Numbers, y: Numbers) -> Table:
    """Source: TensorFlow Lite's AbsEvalQuantized."""
    return _int8(scaled(np.abs(EVERY - x[1]), *fixed_point(x[0] / y[0])) + y[1])


def hard_swish_table(x: Numbers, y: Numbers) -> Table:
    """x · relu6(x + 3) / 6 in 16-bit fixed point. Source: TensorFlow Lite's HardSwish kernel."""
    fine = np.float32(1 / 128) * np.float32(x[0])
    to_output, output_shift = _halved(float(fine / np.float32(y[0])))
    to_gate, gate_shift = _halved(float(fine / (np.float32(3) / np.float32(32768))))
    centred = (EVERY - x[1]) << 7
    value = _rounded_high_half(centred, to_output)
    gate = centred
    if gate_shift > 0:
        gate = _int16(gate << (gate_shift - 1))
    gate = _rounded_high_half(gate, to_gate)
    if gate_shift > 0:
        gate = _int16(gate << 1)
    gate = rounding_shift(gate, max(-gate_shift, 0))
    gate = (gate + (1 << 15)) >> 1
    product = gate * value
    high = np.sign(product) * (np.abs(product) >> 15)
    shifted = rounding_shift(high, max(-output_shift, 0)) << max(output_shift, 0)
    return _int8(shifted + y[1])


def _halved(real: float) -> tuple[int, int]:
    """(16-bit multiplier, shift) of a ratio."""
    multiplier, shift = fixed_point(real)
    return (32767 if multiplier >= 2**31 - 1 - (1 << 15) else (multiplier + (1 << 15)) >> 16), shift


def _int16(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.clip(values, -32768, 32767)


def _rounded_high_half(values: npt.NDArray[np.int64], multiplier: int) -> npt.NDArray[np.int64]:
    """gemmlowp's SaturatingRoundingDoublingHighMul of 16 bits."""
    product = values * multiplier
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return _int16(np.sign(nudged) * (np.abs(nudged) >> 15))
