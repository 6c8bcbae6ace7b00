"""What sums of products can reach, from the weights: proof that 32 bits hold them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
from lepton_sdk.program import Tensors
from lepton_sdk.program.operations import Conv2d, Dense, DepthwiseConv2d, GroupedConv2d

INT32 = 2**31 - 1


def accumulator_bounds(
    op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, t: Tensors
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Least and greatest Σ (x − zx)·w + bias of every output channel, int64 [C]; weights are constant."""
    value = t[op.weight].value
    assert value is not None
    weight = np.asarray(value, np.int8)
    axes = (0, 1) if isinstance(op, DepthwiseConv2d) else tuple(range(1, weight.ndim))
    positive = np.maximum(weight, 0).sum(axes, dtype=np.int64)
    negative = np.minimum(weight, 0).sum(axes, dtype=np.int64)
    low, high = -128 - t[op.x].zero_point, 127 - t[op.x].zero_point
    bias = t[op.bias].value if op.bias else None
    start = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
    return positive * low + negative * high + start, positive * high + negative * low + start


def accumulator_fits(op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, t: Tensors) -> Answer:
    """Yes where every sum and the bias fit in int32."""
    if op.bias is not None and t[op.bias].value is None:
        return No("int8 products need a constant bias")
    low, high = accumulator_bounds(op, t)
    reach = int(max(high.max(), -low.min()))
    return when(reach <= INT32, f"sums that reach {reach}; an int32 accumulator holds {INT32}")


def leaves_int32(op: Conv2d | DepthwiseConv2d | GroupedConv2d | Dense, t: Tensors) -> bool:
    """Whether a scaled sum can be too large for a conversion from float32 to int32."""
    assert op.multiplier is not None
    multiplier = t[op.multiplier].value
    assert multiplier is not None
    low, high = accumulator_bounds(op, t)
    return bool((np.maximum(high, -low) * multiplier.astype(np.float64)).max() >= 2.0**30)
