"""Weights and biases of int8 and int16 layers, and the proof that no accumulator overflows."""

from __future__ import annotations

import numpy as np

from lepton_compilers.integerize.known import Array, Known
from lepton_sdk.program import Quantization
from lepton_sdk.program.arithmetic_int16 import ACCUMULATOR_LIMIT
from lepton_targets.errors import BadInputError

BIAS_SCALE_TOLERANCE = 1e-4
"""Relative: exporters compute sx · sw in other orders and precisions."""


def int32_bias(layer: str, bias: Known | None, scales: Array) -> Array | None:
    """The bias as int32 at scale sx · sw[c] (float32, [C]).

    A dequantised int32 bias at that scale keeps its integers; one at another scale, or a float one, is
    rounded to it. Raises BadInputError where it leaves int32.
    """
    if bias is None:
        return None
    if bias.values.dtype == np.int32 and bias.scales is not None and bias.zero == 0:
        given = np.broadcast_to(bias.scales, scales.shape)
        if np.allclose(given, scales, rtol=BIAS_SCALE_TOLERANCE, atol=0):
            return np.broadcast_to(bias.values, scales.shape)
    numbers = np.rint(np.broadcast_to(bias.real, scales.shape) / scales.astype(np.float64))
    worst = int(np.argmax(np.abs(numbers)))
    if not np.abs(numbers[worst]) < 2**31:
        raise BadInputError(
            f"layer '{layer}', channel {worst}: its bias {bias.real.reshape(-1)[worst]:g} is "
            f"{numbers[worst]:.3g} steps of its accumulator, int32 holds {2**31 - 1}",
            "its weights are tiny beside its bias: quantise it with wider weights, or keep it float",
        )
    return numbers.astype(np.int32)


def int64_bias(layer: str, bias: Known | None, scales: Array) -> Array | None:
    """The bias of an int16 layer as int64 at scale sx · sw[c] (float64, [C]).

    An int64 bias keeps its integers, as LiteRT does whatever scale it states; a float one is rounded.
    Raises BadInputError where an accumulator could not hold it.
    """
    if bias is None:
        return None
    if bias.values.dtype == np.int64 and bias.scales is not None:
        numbers = np.broadcast_to(bias.values, scales.shape)
    else:
        numbers = np.rint(np.broadcast_to(bias.real, scales.shape) / scales)
    worst = int(np.argmax(np.abs(numbers)))
    if not abs(float(numbers[worst])) < ACCUMULATOR_LIMIT:
        raise BadInputError(
            f"layer '{layer}', channel {worst}: its bias is {float(numbers[worst]):.3g} steps of its "
            f"accumulator; an int16 layer holds {ACCUMULATOR_LIMIT}",
            "its weights are tiny beside its bias: quantise it with wider weights, or keep it float",
        )
    return numbers.astype(np.int64)


def check_wide_weights(layer: str, weight: Array, bias: Array | None) -> None:
    """Refuse weights of −128, and accumulators that a multiplier could take out of int64.

    weight: int8 [C, …]; bias: int64 [C].
    """
    rows = weight.reshape(weight.shape[0], -1).astype(np.int64)
    _refuse_least(layer, rows)
    bound = np.abs(rows).sum(axis=1) * 2**15 + (0 if bias is None else np.abs(bias))
    worst = int(np.argmax(bound))
    if bound[worst] >= ACCUMULATOR_LIMIT:
        raise BadInputError(
            f"layer '{layer}', channel {worst}: its accumulator can reach {int(bound[worst])}; "
            f"an int16 layer holds {ACCUMULATOR_LIMIT}",
            "split the layer, or keep it float",
        )


def _refuse_least(layer: str, rows: Array) -> None:
    found = (rows == -128).any(axis=1)
    if found.any():
        raise BadInputError(
            f"layer '{layer}', channel {int(found.argmax())}: a weight is −128; weights lie in −127 … 127 "
            f"({int(found.sum())} of {len(found)} channels have such weights, not all of their numbers even)",
            "export with narrow-range weights: narrow_range=True in TensorFlow, quant_min=-127 in PyTorch",
            "or compile the float model with  --quantize int8",
        )


def halved_channels(weight: Array, bias: Array | None, scales: Array) -> tuple[Array, Array | None, Array]:
    """Channels with a weight of −128 whose weights and bias are all even, as halves at twice the scale.

    weight: int8 [C, …]; bias: [C] in steps of the accumulator; scales: float32 [C]. Exact: the accumulator
    is half as large and its multiplier twice, both by a power of two, so each product keeps its bits. What
    can't be halved stays, for `check_weights` to refuse (docs/decisions/020).
    """
    rows = weight.reshape(weight.shape[0], -1)
    even = (rows % 2 == 0).all(axis=1) & (True if bias is None else bias % 2 == 0)
    halved = (rows == -128).any(axis=1) & even
    if not halved.any():
        return weight, bias, scales
    divisor = np.where(halved, 2, 1)
    narrow = (weight // divisor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
    offset = None if bias is None else (bias // divisor).astype(bias.dtype)
    return narrow, offset, scales * divisor.astype(scales.dtype)


def check_weights(layer: str, weight: Array, bias: Array | None, x: Quantization) -> None:
    """Refuse weights of −128, and accumulators that int32 may not hold.

    weight: int8 [C, …]; bias: int32 [C]. Every partial sum, in any order, is bounded by
    Σ|w| · max|x − zx| + |bias|, with max|x − zx| ≤ 255.
    """
    rows = weight.reshape(weight.shape[0], -1).astype(np.int64)
    _refuse_least(layer, rows)
    reach = max(127 - x.zero_point, x.zero_point + 128)
    bound = np.abs(rows).sum(axis=1) * reach + (0 if bias is None else np.abs(bias.astype(np.int64)))
    worst = int(np.argmax(bound))
    if bound[worst] >= 2**31:
        raise BadInputError(
            f"layer '{layer}', channel {worst}: its accumulator can reach {int(bound[worst])}, "
            f"int32 holds {2**31 - 1}",
            f"the sum runs over {rows.shape[1]} products; split the layer, or keep it float",
        )
