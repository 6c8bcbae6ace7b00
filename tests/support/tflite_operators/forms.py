"""An operator with its options, and networks of one operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_layers import layer
from support.tflite_network import Spec, options

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions


MAP = (1, 6, 4, 8)


@dataclass(frozen=True)
class Form:
    """An operator's options and what surrounds it. low, high: the range of float inputs."""

    kind: Any = None
    fields: Mapping[str, Any] | None = None
    version: int = 1
    low: float = -4.0
    high: float = 4.0

    def made(self) -> tuple[Any, int]:
        """(options, their type in the schema)."""
        if self.kind is None:
            return None, OPTIONS.NONE
        return options(self.kind, **(self.fields or {})), getattr(OPTIONS, self.kind.__name__[:-1])


def one_operator(name: str, form: Form, inputs: Sequence[Spec], outputs: Spec | Sequence[Spec]) -> bytes:
    """A file of one operator, by its name in the schema."""
    made, made_type = form.made()
    return layer(getattr(OPS, name), made, made_type, inputs, outputs, form.version)


UNARY: Mapping[str, Form] = {
    "ABS": Form(),
    "CEIL": Form(),
    "COS": Form(),
    "ELU": Form(),
    "EXP": Form(),
    "FLOOR": Form(),
    "GELU": Form(s.GeluOptionsT),
    "HARD_SWISH": Form(),
    "LEAKY_RELU": Form(s.LeakyReluOptionsT, {"alpha": 0.2}),
    "LOG": Form(low=0.01),
    "LOGISTIC": Form(),
    "NEG": Form(),
    "RELU": Form(),
    "RELU6": Form(low=-9, high=9),
    "RELU_0_TO_1": Form(),
    "RELU_N1_TO_1": Form(),
    "ROUND": Form(),
    "RSQRT": Form(low=0.01),
    "SIGN": Form(),
    "SIN": Form(),
    "SOFTMAX": Form(s.SoftmaxOptionsT, {"beta": 1.0}),
    "SQRT": Form(low=0.0),
    "SQUARE": Form(),
    "TANH": Form(),
    "L2_NORMALIZATION": Form(s.L2NormOptionsT),
    "LOG_SOFTMAX": Form(),
}
BINARY: Mapping[str, Form] = {
    "ADD": Form(s.AddOptionsT),
    "DIV": Form(s.DivOptionsT, low=0.5),
    "FLOOR_DIV": Form(low=0.5, version=1),
    "FLOOR_MOD": Form(low=0.5),
    "MAXIMUM": Form(s.MaximumMinimumOptionsT),
    "MINIMUM": Form(s.MaximumMinimumOptionsT),
    "MUL": Form(s.MulOptionsT),
    "POW": Form(s.PowOptionsT, low=0.1),
    "PRELU": Form(),
    "SQUARED_DIFFERENCE": Form(s.SquaredDifferenceOptionsT),
    "SUB": Form(s.SubOptionsT),
}
COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")


EVERY = np.arange(-128, 128).astype(np.int8).reshape(1, 8, 4, 8)
