"""int16×8 layers of TFLite: int64 biases spelled in Relax; forms that LiteRT computes otherwise, refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from tvm import relax

from lepton_targets.errors import BadInputError, UnsupportedOperatorError

LOW_BITS = 24
"""An int64 bias is two int32 ones: the low bits, and the rest at a scale 2^24 times as large."""
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
TYPES = {code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)}


def dequantised_int64(values: npt.NDArray[np.int64], scale: Any, axis: int, name: str) -> Any:
    """The sum of two dequantised int32 constants that stands for int64 ones (integerize/known.py reads it).

    Relax has no dequantize of int64. Raises BadInputError for values beyond 2^54.
    """
    high, low = values >> LOW_BITS, values & ((1 << LOW_BITS) - 1)
    if np.abs(high).max() >= 2**30:
        raise BadInputError(
            f"bias '{name}' reaches {int(values[np.abs(high).argmax()])}; 2^54 is the limit",
            "a channel whose weights are all zero has no scale for its bias: quantise the model anew",
        )
    zero, above = relax.const(0, "int32"), relax.const(scale.value.numpy() * np.float32(2**LOW_BITS))
    parts = [
        relax.op.dequantize(relax.const(part.astype(np.int32)), scale=s, zero_point=zero, axis=axis)
        for part, s in ((high, above), (low, scale))
    ]
    return relax.op.add(*parts)


def check_int16(code: str, layer: str, op: Any, inputs: list[Any], output: Any) -> None:
    """Raises UnsupportedOperatorError for int16 layers whose bytes LiteRT computes in another way.

    inputs, output: the frontend's tensor wrappers of operator `code`.
    """
    if not inputs or inputs[0].tensor.Type() != tflite.TensorType.INT16:
        return
    if code in WEIGHTED:
        kinds = [TYPES[t.tensor.Type()] for t in inputs[1:] if t.tensor_idx != -1]
        if kinds[0] != "INT8" or kinds[1:2] not in ([], ["INT64"]):
            raise UnsupportedOperatorError(
                f"layer '{layer}' ({code}) has int16 activations and {', '.join(kinds)} weights and bias",
                "int16 activations take int8 weights and an int64 bias; quantise the model anew as 16x8",
            )
    elif code in ("ADD", "SUB") and _asks_for_powers_of_two(code, op):
        scales = [t.qnn_params["scale"].value.numpy().item() for t in (*inputs, output)]
        if all(math.frexp(scale)[0] == 0.5 for scale in scales):
            raise UnsupportedOperatorError(
                f"layer '{layer}' ({code}) adds int16 at scales that are powers of two and says so",
                "write pot_scale_int16 = false, as converters do since 2021, or give it other scales",
            )


def _asks_for_powers_of_two(code: str, op: Any) -> bool:
    options = tflite.AddOptions() if code == "ADD" else tflite.SubOptions()
    table = op.BuiltinOptions()
    if table is None:
        return True
    options.Init(table.Bytes, table.Pos)
    return bool(options.PotScaleInt16())
