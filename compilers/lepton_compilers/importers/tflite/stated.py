"""What a TFLite file states about its tensors beside what its operators make of them: both must agree.

LiteRT computes shapes anew and does not look at the zero points of weights and biases. A file in which they
contradict each other is damaged, and nothing that could be computed from it would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tflite

from lepton_compilers.passes.graph import Expr, shape
from lepton_targets.errors import BadInputError

RANGES = {
    tflite.TensorType.INT8: (-128, 127),
    tflite.TensorType.UINT8: (0, 255),
    tflite.TensorType.INT16: (-32768, 32767),
}
WITHOUT_OFFSET = (tflite.TensorType.INT32, tflite.TensorType.INT64)


def check_zero_points(layer: str, operands: Sequence[Any]) -> None:
    """Raises BadInputError for a zero point outside of its type, and for any of integers that are sums."""
    for operand in operands:
        # An optional operand that is left out has no tensor.
        if int(operand.tensor_idx) < 0:
            continue
        quantization = operand.tensor.Quantization()
        if quantization is None or not quantization.ZeroPointLength():
            continue
        kind = operand.tensor.Type()
        zeros = np.atleast_1d(quantization.ZeroPointAsNumpy())
        low, high = RANGES.get(kind, (0, 0) if kind in WITHOUT_OFFSET else (-(2**31), 2**31))
        wrong = zeros[(zeros < low) | (zeros > high)]
        if wrong.size:
            raise BadInputError(
                f"layer '{layer}': a tensor has the zero point {wrong[0]}",
                f"accepted for its type: {low} … {high}; the model is damaged",
            )


def check_shape(layer: str, tensor: Any, computed: Expr) -> None:
    """Raises BadInputError where the operands give a result another shape than the file states.

    A file may state none, and an extent that it leaves open as −1 or 0.
    """
    if not tensor.ShapeLength():
        return
    stated, found = [int(n) for n in tensor.ShapeAsNumpy()], list(shape(computed))
    if len(stated) != len(found) or any(a != b for a, b in zip(stated, found) if a > 0):
        raise BadInputError(
            f"layer '{layer}' gives {found}, the file states {stated}; the model is damaged",
            "convert it anew with the shapes that its inputs have",
        )
