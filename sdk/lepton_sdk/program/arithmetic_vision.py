"""The integer arithmetic of the vision operations, byte for byte (docs/arithmetic.md). As arithmetic.py."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.arithmetic import Float32, Int8

Int64 = npt.NDArray[np.int64]
RESIZE_ONE = 2048
"""The weight that stands for 1 in an int8 resize: 11 bits after the point."""


def reduce_constants(
    x_scale: float, x_zero: int, y_scale: float, y_zero: int, count: int, mean: bool
) -> tuple[np.float32, np.float32]:
    """(multiplier, bias) of an int8 sum or mean over `count` elements, float32, each step rounded.

    m = sx / sy, of a mean times (1 / count); bias = zy − (count · zx) · m.
    """
    m = np.float32(x_scale) / np.float32(y_scale)
    if mean:
        m = m * (np.float32(1) / np.float32(count))
    return m, np.float32(y_zero) - np.float32(count * x_zero) * m


def reduce_requantise(total: npt.NDArray[np.integer], multiplier: np.float32, bias: np.float32) -> Int8:
    """clamp(rne(float32(Σ x) · m + bias)): sum of the raw int8 values, product and sum rounded apart."""
    real = total.astype(np.float32) * multiplier + bias
    rounded: Int8 = np.clip(np.rint(real), -128, 127).astype(np.int8)
    return rounded


def bilinear(corners: tuple[Int8, Int8, Int8, Int8], across: Int64, down: Int64) -> Int8:
    """Between top left, top right, bottom left, bottom right; weights of the second in 0 … 2048.

    top = tl·2^11 + (tr − tl)·across, bottom likewise; q = (top·2^11 + (bottom − top)·down + 2^21) >> 22.
    """
    tl, tr, bl, br = (corner.astype(np.int64) for corner in corners)
    top = tl * RESIZE_ONE + (tr - tl) * across
    bottom = bl * RESIZE_ONE + (br - bl) * across
    between: Int8 = ((top * RESIZE_ONE + (bottom - top) * down + (1 << 21)) >> 22).astype(np.int8)
    return between


def fixed_point(real: float) -> tuple[int, int]:
    """(multiplier, shift): real ≈ multiplier · 2^(shift − 31), multiplier in 2^30 … 2^31 − 1.

    Rounded half away from zero. Source: TensorFlow Lite's QuantizeMultiplier.
    """
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def scaled(values: Int64, multiplier: int, shift: int) -> Int64:
    """values · multiplier · 2^(shift − 31), rounded twice: half up at 2^31, half away from zero at the shift.

    Source: gemmlowp's SaturatingRoundingDoublingHighMul and RoundingDivideByPOT.
    """
    left, right = max(shift, 0), max(-shift, 0)
    product = (values << left) * np.int64(multiplier)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(nudged) * (np.abs(nudged) >> 31)
    return rounding_shift(high, right)


def rounding_shift(values: Int64, right: int) -> Int64:
    """values / 2^right, rounded half away from zero."""
    if right == 0:
        return values
    mask = (1 << right) - 1
    up = (values & mask) > (mask >> 1) + (values < 0)
    return (values >> right) + up


def prelu_constants(x_scale: float, slope_scale: float, y_scale: float) -> tuple[int, int, int, int]:
    """(multiplier, shift) where x ≥ 0, then where x < 0; ratios in float64 of the float32 scales."""
    sx, sb, sy = (float(np.float32(s)) for s in (x_scale, slope_scale, y_scale))
    return (*fixed_point(sx / sy), *fixed_point(sx * sb / sy))


def prelu(x: Int8, slopes: Int8, zeros: tuple[int, int, int], constants: tuple[int, int, int, int]) -> Int8:
    """int8 PReLU; zeros are (zx, zb, zy), constants those of prelu_constants."""
    zx, zb, zy = zeros
    centred = x.astype(np.int64) - zx
    positive = scaled(centred, *constants[:2])
    negative = scaled(centred * (slopes.astype(np.int64) - zb), *constants[2:])
    held: Int8 = np.clip(np.where(centred >= 0, positive, negative) + zy, -128, 127).astype(np.int8)
    return held


def lerp(corners: tuple[Float32, Float32, Float32, Float32], across: Float32, down: Float32) -> Float32:
    """The float32 form of `bilinear`; weights in 0 … 1."""
    tl, tr, bl, br = corners
    top = tl + (tr - tl) * across
    between: Float32 = top + ((bl + (br - bl) * across) - top) * down
    return between
