"""From observed ranges to scales and zero points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Quantization

Array = npt.NDArray[Any]

SMALLEST_RANGE = 1e-6
"""A tensor that never leaves zero still needs a positive scale."""
BIAS_LIMIT = 2.0**30
"""Largest bias, in steps of its accumulator: leaves half of int32 to the products."""
WIDE_BIAS_LIMIT = 2.0**45
"""The same of an int16 layer, whose accumulator holds 2^47."""
SMALLEST_WEIGHT_SCALE = 1e-12
"""Scale of a channel whose weights and bias are zero."""


def activation_quantization(low: float, high: float) -> Quantization:
    """Asymmetric int8 over a range that holds zero: low is −128, high is 127, zero is an integer."""
    scale = np.float32(max(high - low, SMALLEST_RANGE) / 255)
    zero = int(np.clip(np.rint(-128 - low / float(scale)), -128, 127))
    return Quantization((float(scale),), zero)


def symmetric_quantization(low: float, high: float) -> Quantization:
    """Symmetric int16 over a range that holds zero: the end farther from zero is ±32767."""
    scale = np.float32(max(-low, high, SMALLEST_RANGE) / 32767)
    return Quantization((float(scale),))


def array_quantization(array: Array) -> Quantization:
    """The same over everything that an array of constants holds."""
    return activation_quantization(min(float(array.min()), 0.0), max(float(array.max()), 0.0))


def weight_scales(
    weight: Array, bias: Array | None, x_scale: float, per_channel: bool, bias_limit: float = BIAS_LIMIT
) -> Array:
    """Symmetric float32 scales that map weights [C, …] into −127 … 127. Shape [C].

    A channel whose weights are tiny beside its bias, or zero, gets a scale at which its bias still fits.
    """
    rows = np.abs(weight.reshape(weight.shape[0], -1).astype(np.float64))
    largest = rows.max(axis=1)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    scales = np.maximum(largest / 127, SMALLEST_WEIGHT_SCALE)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (x_scale * bias_limit))
    narrow: Array = scales.astype(np.float32)
    return narrow


def quantised_weight(weight: Array, scales: Array) -> Array:
    """int8 in −127 … 127 of weights [C, …], one scale a channel, rounded half to even."""
    spread = scales.astype(np.float64).reshape(-1, *([1] * (weight.ndim - 1)))
    return np.clip(np.rint(weight.astype(np.float64) / spread), -127, 127).astype(np.int8)
