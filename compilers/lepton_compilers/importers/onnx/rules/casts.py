"""Changes of element type."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper
from tvm import relax

from lepton_compilers.importers.onnx.values import HALVES, Converter, Node, Result, Value, carrier
from lepton_compilers.passes.graph import dtype, shape
from lepton_compilers.passes.own_operators import own_call
from lepton_sdk.program.tensors import DTYPES

op = relax.op


def element_kind(element: int) -> str:
    """numpy's name of an ONNX element type."""
    return str(helper.tensor_dtype_to_np_dtype(element).name)


def cast(n: Node, value: Value, kind: str) -> Value:
    """The value in another element type. Raises UnsupportedOperatorError for types no target computes."""
    if carrier(kind) not in DTYPES or carrier(value.kind) not in DTYPES:
        strange = kind if carrier(kind) not in DTYPES else value.kind
        raise n.refused(f"has the element type {strange}, which no target computes")
    x = n.tensor(value)
    if kind in HALVES and value.kind != kind:
        wide = x if dtype(x) == "float32" else n.emit(op.astype(x, "float32"))
        return Value(kind, expr=n.emit(rounded_to(wide, kind)))
    if dtype(x) == carrier(kind):
        return Value(kind, expr=x)
    if kind == "bool":
        return Value(kind, expr=n.emit(op.not_equal(x, n.scalar(0, dtype(x)))))
    return Value(kind, expr=n.emit(op.astype(x, carrier(kind))))


def rounded_to(x: object, kind: str) -> object:
    """float32 with only the values that a half has."""
    return own_call(f"round_{kind}", [x], [(shape(x), "float32")])


def _cast(n: Node) -> Result:
    return cast(n, n.value(), element_kind(int(n.attribute("to", 0))))


def _cast_like(n: Node) -> Result:
    return cast(n, n.value(), n.value(1).kind)


def _bit_cast(n: Node) -> Result:
    """The bytes stay; halves are none of ours to look into."""
    value, kind = n.value(), element_kind(int(n.attribute("to", 0)))
    if value.kind in HALVES or kind in HALVES or kind not in DTYPES or value.kind not in DTYPES:
        raise n.refused(f"reads {value.kind} as {kind}", "types that targets compute, no halves")
    if np.dtype(value.kind).itemsize != np.dtype(kind).itemsize:
        raise n.refused(f"reads {value.kind} as {kind}", "types of one width")
    return n.own("bit_cast", [n[0]], shape(n[0]), kind, to=kind)


RULES: Mapping[str, Converter] = {"BitCast": _bit_cast, "Cast": _cast, "CastLike": _cast_like}
