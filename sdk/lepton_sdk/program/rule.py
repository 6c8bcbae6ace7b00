"""What a reference rule is, and the view of a map that every sliding rule reads through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.tensors import Padding, TensorId, Tensors

Array = npt.NDArray[Any]
Values = Mapping[TensorId, Array]
Rule = Callable[[Any, Values, Tensors], tuple[Array, ...]]
"""(operation, values so far, tensors) → the operation's outputs, then its updated variables."""


def windows(
    x: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int],
    fill: float,
) -> Array:
    """View [N, OH, OW, C, KH, KW] of every window of an NHWC array, the border filled with `fill`."""
    border = ((0, 0), (padding.top, padding.bottom), (padding.left, padding.right), (0, 0))
    padded = np.pad(x, border, constant_values=fill)
    reach = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
