"""Networks of int8 operators, of the operators between uint8 and the rest, and of int8 run in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_network import Spec, constant, floats
from support.tflite_operators.forms import BINARY, EVERY, MAP, UNARY, Form, one_operator
from support.tflite_operators.movement import add_moves

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions


INT8_VERSIONS = {"ABS": 2, "ELU": 1, "EXP": 2, "GELU": 2, "HARD_SWISH": 1, "LEAKY_RELU": 2, "LOG": 2}
INT8_FUNCTIONS = (
    "ABS",
    "ELU",
    "EXP",
    "GELU",
    "HARD_SWISH",
    "LEAKY_RELU",
    "LOG",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
)


def int8_networks() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of int8 operators whose bytes LiteRT defines, by name."""
    rng = np.random.default_rng(1)

    def held(name: str, shape: tuple[int, ...], scale: float = 0.05, zero: int = -7) -> Spec:
        return Spec(name, shape, scales=(float(np.float32(scale)),), zero_point=zero)

    def values(shape: tuple[int, ...]) -> Array:
        return rng.integers(-128, 128, shape).astype(np.int8)

    made: dict[str, tuple[bytes, tuple[Array, ...]]] = {}
    for name in INT8_FUNCTIONS:
        for trial in range(4):
            scale, zero = 2.0 ** rng.uniform(-7, -2), int(rng.integers(-128, 128))
            x = held("x", EVERY.shape, scale, -128 if name == "LOG" else zero)
            ratio = 2.0 ** rng.uniform(-1, 1)
            y = held("y", EVERY.shape, scale * ratio, int(rng.integers(-128, 128)))
            form = Form(UNARY[name].kind, UNARY[name].fields, INT8_VERSIONS.get(name, 1))
            made[f"{name} {trial}"] = (one_operator(name, form, [x], y), (EVERY,))
    for name, scale, zero in (("LOGISTIC", 1 / 256, -128), ("TANH", 1 / 128, 0)):
        content = one_operator(
            name, Form(version=2), [held("x", EVERY.shape)], held("y", EVERY.shape, scale, zero)
        )
        made[name] = (content, (EVERY,))
    for name in ("MAXIMUM", "MINIMUM"):
        content = one_operator(
            name, Form(BINARY[name].kind, None, 2), [held("a", MAP), held("b", MAP)], held("y", MAP)
        )
        made[name] = (content, (values(MAP), values(MAP)))
    for trial in range(3):
        slopes = constant("slopes", values((1, 1, 8)), [0.004], 0, trial * 3)
        scale = 2.0 ** rng.uniform(-6, -3)
        y = held("y", MAP, scale * 2.0 ** rng.uniform(-1, 1), int(rng.integers(-60, 60)))
        made[f"PRELU {trial}"] = (
            one_operator("PRELU", Form(), [held("x", MAP, scale), slopes], y),
            (values(MAP),),
        )
    add_moves(made, held, values)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        for axes, keep in (((1, 2), True), ((3,), False), ((2,), False), ((0, 2), False), ((1, 2, 3), True)):
            kept = tuple(1 if i in axes else n for i, n in enumerate(MAP) if keep or i not in axes)
            for equal in (True, False):
                if name.startswith("REDUCE") and not equal:
                    continue
                count = int(np.prod([MAP[axis] for axis in axes]))
                scale = 0.05 if equal else 0.031 if name == "MEAN" else 0.05 * count / 3
                form = Form(s.ReducerOptionsT, {"keepDims": keep}, 2)
                inputs = [held("x", MAP), constant("axes", np.array(axes, np.int32))]
                y = held("y", kept, scale, -7 if equal else 5)
                made[f"{name} {axes} {scale:.3f}"] = (one_operator(name, form, inputs, y), (values(MAP),))
    for name, size in (("RESIZE_BILINEAR", (9, 7)), ("RESIZE_NEAREST_NEIGHBOR", (11, 3))):
        title = "ResizeBilinear" if "BILINEAR" in name else "ResizeNearestNeighbor"
        for align, half in ((False, False), (True, False), (False, True)):
            form = Form(getattr(s, f"{title}OptionsT"), {"alignCorners": align, "halfPixelCenters": half}, 3)
            inputs = [held("x", MAP), constant("size", np.array(size, np.int32))]
            content = one_operator(name, form, inputs, held("y", (1, *size, 8)))
            made[f"{name} {'aligned' * align}{'half' * half}"] = (content, (values(MAP),))
    for name, kind in (("ARG_MAX", s.ArgMaxOptionsT), ("ARG_MIN", s.ArgMinOptionsT)):
        form = Form(kind, {"outputType": s.TensorType.INT32}, 2)
        inputs = [held("x", MAP), constant("axis", np.array(-1, np.int32))]
        content = one_operator(name, form, inputs, Spec("y", MAP[:3], np.int32))
        made[name] = (content, (rng.integers(-3, 3, MAP).astype(np.int8),))
    for padding, out, stride, kernel in (
        ("SAME", (12, 8), 2, 3),
        ("VALID", (13, 9), 2, 3),
        ("SAME", (11, 7), 2, 4),
        ("VALID", (19, 13), 3, 2),
    ):
        for channel_scales in (True, False):
            scales = rng.uniform(0.002, 0.02, 5 if channel_scales else 1).astype(np.float32)
            weight = rng.integers(-127, 128, (5, kernel, kernel, 8)).astype(np.int8)
            bias = rng.integers(-3000, 3000, 5).astype(np.int32)
            fields = {"strideH": stride, "strideW": stride, "padding": getattr(s.Padding, padding)}
            inputs = [
                constant("shape", np.array([1, *out, 5], np.int32)),
                constant("w", weight, [float(v) for v in scales]),
                held("x", MAP),
                constant("b", bias, [float(np.float32(0.05) * v) for v in scales]),
            ]
            content = one_operator(
                "TRANSPOSE_CONV",
                Form(s.TransposeConvOptionsT, fields, 3),
                inputs,
                held("y", (1, *out, 5), 0.2, 3),
            )
            label = f"TRANSPOSE_CONV {padding} {out} {'channels' * channel_scales}"
            made[label] = (content, (values(MAP),))
    three = (2, 3, 8)
    weight = constant("w", rng.integers(-127, 128, (5, 8)).astype(np.int8), [0.01])
    bias = constant(
        "b", rng.integers(-900, 900, 5).astype(np.int32), [float(np.float32(0.05) * np.float32(0.01))]
    )
    form = Form(s.FullyConnectedOptionsT, {"keepNumDims": True}, 5)
    content = one_operator(
        "FULLY_CONNECTED", form, [held("x", three), weight, bias], held("y", (2, 3, 5), 0.06, 9)
    )
    made["FULLY_CONNECTED rank 3"] = (content, (values(three),))
    for dilation, groups in ((2, 1), (1, 2)):
        scales = rng.uniform(0.002, 0.02, 6).astype(np.float32)
        weight = rng.integers(-127, 128, (6, 3, 3, 8 // groups)).astype(np.int8)
        fields = {"strideH": 1, "strideW": 1, "padding": s.Padding.SAME}
        fields |= {"dilationHFactor": dilation, "dilationWFactor": dilation}
        inputs = [
            held("x", MAP),
            constant("w", weight, [float(v) for v in scales]),
            constant("b", np.zeros(6, np.int32), [float(np.float32(0.05) * v) for v in scales]),
        ]
        content = one_operator(
            "CONV_2D", Form(s.Conv2DOptionsT, fields, 5), inputs, held("y", (1, 6, 4, 6), 0.2, 3)
        )
        made[f"CONV_2D dilation {dilation}, groups {groups}"] = (content, (values(MAP),))
    return made


def byte_networks() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of the operators between uint8 and the rest, by name."""
    every = np.arange(256).astype(np.uint8).reshape(1, 8, 4, 8)
    as_bytes = Spec("b", every.shape, np.uint8, (float(np.float32(0.05)),), 121)
    signed = Spec("s", every.shape, np.int8, (float(np.float32(0.05)),), -7)
    real = floats("f", every.shape)
    quantize, dequantize = Form(s.QuantizeOptionsT), Form(s.DequantizeOptionsT, None, 2)
    reals = np.linspace(-9, 9, 256).astype(np.float32).reshape(every.shape)
    return {
        "to int8": (one_operator("QUANTIZE", quantize, [as_bytes], signed), (every,)),
        "to uint8": (one_operator("QUANTIZE", quantize, [signed], as_bytes), (EVERY,)),
        "to float32": (one_operator("DEQUANTIZE", dequantize, [as_bytes], real), (every,)),
        "from float32": (one_operator("QUANTIZE", quantize, [real], as_bytes), (reals,)),
    }


def int8_in_float() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of int8 operators without an int8 form here: LiteRT's bytes are met within a step."""
    rng = np.random.default_rng(11)

    def held(name: str, scale: float, zero: int) -> Spec:
        return Spec(name, MAP, scales=(float(np.float32(scale)),), zero_point=zero)

    def values(low: int = -128) -> Array:
        return rng.integers(low, 128, MAP).astype(np.int8)

    difference = Form(s.SquaredDifferenceOptionsT, None, 2)
    normalised = Form(s.L2NormOptionsT, None, 2)
    pair = [held("a", 0.05, 3), held("b", 0.04, -7)]
    made = {
        "SQUARED_DIFFERENCE": (
            one_operator("SQUARED_DIFFERENCE", difference, pair, held("y", 0.4, -128)),
            (values(), values()),
        ),
        "DIV": (
            one_operator("DIV", Form(s.DivOptionsT, None, 2), pair, held("y", 0.05, 1)),
            # LiteRT gives the least integer for nothing divided by something.
            (values(4), values(20)),
        ),
        "L2_NORMALIZATION": (
            one_operator("L2_NORMALIZATION", normalised, pair[:1], held("y", 1 / 128, 0)),
            (values(),),
        ),
        "LOG_SOFTMAX": (
            one_operator("LOG_SOFTMAX", Form(version=2), pair[:1], held("y", 16 / 256, 127)),
            (values(),),
        ),
    }
    for name in ("GREATER", "LESS_EQUAL"):
        title = "".join(word.capitalize() for word in name.split("_"))
        form = Form(getattr(s, f"{title}OptionsT"), None, 2)
        made[name] = (one_operator(name, form, pair, Spec("y", MAP, np.bool_)), (values(), values()))
    return made
