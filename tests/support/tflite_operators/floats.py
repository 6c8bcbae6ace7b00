"""Networks of float operators, and of those on whole numbers and truth values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_network import Spec, constant, floats
from support.tflite_operators.forms import BINARY, COMPARISONS, MAP, UNARY, Form, one_operator
from support.tflite_operators.movement import add_moves

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions

PLAIN = Form()


def float_networks() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of float operators, and of those on whole numbers and truth values, by name."""
    rng = np.random.default_rng(0)

    def real(shape: tuple[int, ...], form: Form = PLAIN) -> Array:
        return rng.uniform(form.low, form.high, shape).astype(np.float32)

    made: dict[str, tuple[bytes, tuple[Array, ...]]] = {}
    for name, form in UNARY.items():
        content = one_operator(name, form, [floats("x", MAP)], floats("y", MAP))
        made[name] = (content, (real(MAP, form),))
    approximate = Form(s.GeluOptionsT, {"approximate": True})
    content = one_operator("GELU", approximate, [floats("x", MAP)], floats("y", MAP))
    made["GELU approximate"] = (content, (real(MAP),))
    for name, form in BINARY.items():
        small = MAP[3:] if name in ("ADD", "MUL", "MAXIMUM") else (1, 1, 8) if name == "PRELU" else MAP
        inputs = [floats("a", MAP), floats("b", small)]
        content = one_operator(name, form, inputs, floats("y", MAP))
        made[name] = (content, (real(MAP, form), real(small, form)))
    for name in COMPARISONS:
        kind = {"EQUAL": "Equal", "NOT_EQUAL": "NotEqual", "LESS": "Less", "LESS_EQUAL": "LessEqual"}
        title = kind.get(name) or "".join(word.capitalize() for word in name.split("_"))
        form = Form(getattr(s, f"{title}OptionsT"))
        inputs = [floats("a", MAP), floats("b", MAP)]
        content = one_operator(name, form, inputs, Spec("y", MAP, np.bool_))
        arrays = tuple(rng.integers(-2, 3, MAP).astype(np.float32) for _ in "ab")
        made[name] = (content, arrays)
    truths = [Spec(name, MAP, np.bool_) for name in "ab"]
    for name, kind in (("LOGICAL_AND", s.LogicalAndOptionsT), ("LOGICAL_OR", s.LogicalOrOptionsT)):
        content = one_operator(name, Form(kind), truths, Spec("y", MAP, np.bool_))
        made[name] = (content, tuple(rng.integers(0, 2, MAP).astype(np.bool_) for _ in "ab"))
    content = one_operator("LOGICAL_NOT", Form(s.LogicalNotOptionsT), truths[:1], Spec("y", MAP, np.bool_))
    made["LOGICAL_NOT"] = (content, (rng.integers(0, 2, MAP).astype(np.bool_),))
    for name, kind in (("SELECT", s.SelectOptionsT), ("SELECT_V2", s.SelectV2OptionsT)):
        inputs = [Spec("c", MAP, np.bool_), floats("a", MAP), floats("b", MAP)]
        content = one_operator(name, Form(kind), inputs, floats("y", MAP))
        made[name] = (content, (rng.integers(0, 2, MAP).astype(np.bool_), real(MAP), real(MAP)))
    cast = Form(s.CastOptionsT, {"inDataType": s.TensorType.FLOAT32, "outDataType": s.TensorType.INT32})
    content = one_operator("CAST", cast, [floats("x", MAP)], Spec("y", MAP, np.int32))
    made["CAST"] = (content, (real(MAP, Form(low=-90, high=90)),))
    for turned in (False, True):
        a, b = (2, 3, 5), (2, 7, 5) if turned else (2, 5, 7)
        form = Form(s.BatchMatMulOptionsT, {"adjX": False, "adjY": turned})
        content = one_operator("BATCH_MATMUL", form, [floats("a", a), floats("b", b)], floats("y", (2, 3, 7)))
        made[f"BATCH_MATMUL{' turned' * turned}"] = (content, (real(a), real(b)))
    add_moves(made, lambda name, shape: floats(name, shape), real)
    _add_vision(made, rng, real)
    return made


def _add_vision(
    made: dict[str, tuple[bytes, tuple[Array, ...]]], rng: np.random.Generator, real: Callable[..., Array]
) -> None:
    x = floats("x", MAP)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for axes, keep in (((1, 2), True), ((3,), False), ((0, 2), False), ((1, 2, 3), True)):
            kept = tuple(1 if i in axes else n for i, n in enumerate(MAP) if keep or i not in axes)
            form = Form(s.ReducerOptionsT, {"keepDims": keep})
            content = one_operator(
                name, form, [x, constant("axes", np.array(axes, np.int32))], floats("y", kept)
            )
            made[f"{name} {axes}"] = (content, (real(MAP, Form(low=0.8, high=1.2)),))
    for name, size in (("RESIZE_BILINEAR", (9, 7)), ("RESIZE_NEAREST_NEIGHBOR", (11, 3))):
        title = "ResizeBilinear" if "BILINEAR" in name else "ResizeNearestNeighbor"
        for align, half in ((False, False), (True, False), (False, True)):
            fields = {"alignCorners": align, "halfPixelCenters": half}
            form = Form(getattr(s, f"{title}OptionsT"), fields, 3)
            inputs = [x, constant("size", np.array(size, np.int32))]
            content = one_operator(name, form, inputs, floats("y", (1, *size, 8)))
            made[f"{name} {'aligned' * align}{'half' * half}"] = (content, (real(MAP),))
    for name in ("ARG_MAX", "ARG_MIN"):
        kind = s.ArgMaxOptionsT if name == "ARG_MAX" else s.ArgMinOptionsT
        for dtype, code in ((np.int32, s.TensorType.INT32), (np.int64, s.TensorType.INT64)):
            form = Form(kind, {"outputType": code})
            inputs = [x, constant("axis", np.array(3, np.int32))]
            content = one_operator(name, form, inputs, Spec("y", MAP[:3], dtype))
            made[f"{name} {np.dtype(dtype).name}"] = (content, (rng.integers(-3, 3, MAP).astype(np.float32),))
    weight = constant("w", rng.normal(size=(5, 3, 3, 8)).astype(np.float32))
    shape, bias = constant("shape", np.array([1, 12, 8, 5], np.int32)), constant("b", real((5,)))
    form = Form(s.TransposeConvOptionsT, {"strideH": 2, "strideW": 2, "padding": s.Padding.SAME}, 3)
    content = one_operator("TRANSPOSE_CONV", form, [shape, weight, x, bias], floats("y", (1, 12, 8, 5)))
    made["TRANSPOSE_CONV"] = (content, (real(MAP),))
    padded = [
        x,
        constant("w", np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32)),
        constant("v", np.array([2.5], np.float32)),
    ]
    made["PADV2"] = (
        one_operator("PADV2", Form(s.PadV2OptionsT), padded, floats("y", (1, 7, 6, 8))),
        (real(MAP),),
    )
    both = [floats("values", (1, 6, 4, 3)), Spec("indices", (1, 6, 4, 3), np.int32)]
    k = constant("k", np.array(3, np.int32))
    made["TOPK_V2"] = (one_operator("TOPK_V2", Form(s.TopKV2OptionsT), [x, k], both), (real(MAP),))
    three = (2, 3, 8)
    fields = {"keepNumDims": True, "fusedActivationFunction": s.ActivationFunctionType.RELU}
    dense = [
        floats("x", three),
        constant("w", rng.normal(size=(5, 8)).astype(np.float32)),
        constant("b", real((5,))),
    ]
    content = one_operator(
        "FULLY_CONNECTED", Form(s.FullyConnectedOptionsT, fields, 5), dense, floats("y", (2, 3, 5))
    )
    made["FULLY_CONNECTED rank 3"] = (content, (real(three),))
