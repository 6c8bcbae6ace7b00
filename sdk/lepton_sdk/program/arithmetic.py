"""The integer arithmetic, number 1: what every target computes, byte for byte (docs/arithmetic.md).

Everything here is plain IEEE float32 and exact integers: no fused multiply-add, no wider intermediate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


def _saturated(values: npt.NDArray[np.integer], low: int, high: int) -> Int8:
    saturated: Int8 = np.clip(values, low, high).astype(np.int8)
    return saturated


def requantise_multiplier(x_scale: float, weight_scales: npt.ArrayLike, y_scale: float) -> Float32:
    """float32(sx) · float32(sw[c]) / float32(sy), each step rounded to float32, in that order. Shape [C]."""
    weight = np.asarray(weight_scales, np.float32)
    return np.asarray(np.float32(x_scale) * weight / np.float32(y_scale), np.float32)


def requantise(
    accumulator: npt.NDArray[np.integer], multiplier: Float32, zero_point: int, low: int, high: int
) -> Int8:
    """clamp(rne(float32(acc) · m) + zero point): round half to even over the reals, then saturate.

    accumulator: exact int32 values, channels last; multiplier: float32 [C] or scalar.
    """
    product = accumulator.astype(np.float32) * multiplier
    # The clamp before the sum keeps huge products exact; ±2^20 is beyond every int8 result.
    rounded = np.rint(np.clip(product, -1048576.0, 1048576.0)).astype(np.int32)
    return _saturated(rounded + zero_point, low, high)


def add_multipliers(a_scale: float, b_scale: float, y_scale: float) -> tuple[int, int, int]:
    """(ma, mb, shift) of the residual sum: 21-bit integer ratios under a common shift.

    ra = sa/sy and rb = sb/sy in float32; shift = 127 + 20 − exponent_bits(max(ra, rb)).
    """
    ra = np.float32(a_scale) / np.float32(y_scale)
    rb = np.float32(b_scale) / np.float32(y_scale)
    exponent_bits = int(np.asarray(max(ra, rb), np.float32).view(np.uint32)) >> 23
    shift = 127 + 20 - exponent_bits
    return int(np.rint(np.ldexp(float(ra), shift))), int(np.rint(np.ldexp(float(rb), shift))), shift


def add(
    a: Int8, b: Int8, zeros: tuple[int, int, int], multipliers: tuple[int, int, int], low: int, high: int
) -> Int8:
    """clamp(((a·ma + b·mb − za·ma − zb·mb + 2^(shift−1)) >> shift) + zy); zeros are (za, zb, zy).

    A difference is the sum with −mb for mb.
    """
    (za, zb, zy), (ma, mb, shift) = zeros, multipliers
    total = a.astype(np.int64) * ma + b.astype(np.int64) * mb - za * ma - zb * mb + (1 << (shift - 1))
    return _saturated((total >> shift) + zy, low, high)


def multiply(a: Int8, b: Int8, zeros: tuple[int, int, int], multiplier: Float32, low: int, high: int) -> Int8:
    """clamp(rne(float32((a − za)·(b − zb)) · m) + zy); zeros are (za, zb, zy), m the scalar of two scales."""
    za, zb, zy = zeros
    product = (a.astype(np.int32) - za) * (b.astype(np.int32) - zb)
    return requantise(product, multiplier, zy, low, high)


def rounded_mean(
    total: npt.NDArray[np.integer], count: npt.NDArray[np.integer] | int
) -> npt.NDArray[np.int64]:
    """total / count rounded half away from zero."""
    total, half = total.astype(np.int64), np.asarray(count, np.int64) // 2
    return np.where(total > 0, (total + half) // count, -((-total + half) // count))


def softmax_table(x_scale: float) -> Float32:
    """T[i] = float32(exp(float64(float32(sx) · float32(i − 255)))), i in 0 … 255. Shape [256]."""
    steps = np.float32(x_scale) * np.arange(-255, 1).astype(np.float32)
    return np.exp(steps.astype(np.float64)).astype(np.float32)


def softmax(x: Int8, table: Float32) -> Int8:
    """int8 softmax over the last axis at scale 1/256, zero point −128, in float32 in index order."""
    index = x.astype(np.int32) + 128
    weights = table[255 - index.max(axis=-1, keepdims=True) + index]
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    for i in range(x.shape[-1]):
        total = total + weights[..., i : i + 1]
    inverse = np.float32(1) / (total * np.float32(1 / 256))
    return _saturated((weights * inverse + np.float32(0.5)).astype(np.int32) - 128, -128, 127)


def quantize(x: Float32, scale: float, zero_point: int) -> Int8:
    """clamp(rne(x · float32(1 / scale)) + zero point); NaN becomes the zero point."""
    with np.errstate(over="ignore"):  # infinity saturates as it should
        product = x * (np.float32(1) / np.float32(scale))
    product = np.where(np.isnan(product), np.float32(0), product)
    rounded = np.rint(np.clip(product, -1048576.0, 1048576.0)).astype(np.int32)
    return _saturated(rounded + zero_point, -128, 127)


def dequantize(x: Int8, scale: float, zero_point: int) -> Float32:
    """float32(x − zero point) · scale."""
    real: Float32 = (x.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)
    return real
