"""One-operator TFLite networks by name, float32 and int8: what the importer is held to against LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_layers import layer
from support.tflite_network import Graph, Node, Spec, constant, floats, network, options

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


def _network(name: str, form: Form, inputs: Sequence[Spec], outputs: Spec | Sequence[Spec]) -> bytes:
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


def float_networks() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of float operators, and of those on whole numbers and truth values, by name."""
    rng = np.random.default_rng(0)

    def real(shape: tuple[int, ...], form: Form = Form()) -> Array:
        return rng.uniform(form.low, form.high, shape).astype(np.float32)

    made: dict[str, tuple[bytes, tuple[Array, ...]]] = {}
    for name, form in UNARY.items():
        content = _network(name, form, [floats("x", MAP)], floats("y", MAP))
        made[name] = (content, (real(MAP, form),))
    approximate = Form(s.GeluOptionsT, {"approximate": True})
    content = _network("GELU", approximate, [floats("x", MAP)], floats("y", MAP))
    made["GELU approximate"] = (content, (real(MAP),))
    for name, form in BINARY.items():
        small = MAP[3:] if name in ("ADD", "MUL", "MAXIMUM") else (1, 1, 8) if name == "PRELU" else MAP
        inputs = [floats("a", MAP), floats("b", small)]
        content = _network(name, form, inputs, floats("y", MAP))
        made[name] = (content, (real(MAP, form), real(small, form)))
    for name in COMPARISONS:
        kind = {"EQUAL": "Equal", "NOT_EQUAL": "NotEqual", "LESS": "Less", "LESS_EQUAL": "LessEqual"}
        title = kind.get(name) or "".join(word.capitalize() for word in name.split("_"))
        form = Form(getattr(s, f"{title}OptionsT"))
        inputs = [floats("a", MAP), floats("b", MAP)]
        content = _network(name, form, inputs, Spec("y", MAP, np.bool_))
        arrays = tuple(rng.integers(-2, 3, MAP).astype(np.float32) for _ in "ab")
        made[name] = (content, arrays)
    truths = [Spec(name, MAP, np.bool_) for name in "ab"]
    for name, kind in (("LOGICAL_AND", s.LogicalAndOptionsT), ("LOGICAL_OR", s.LogicalOrOptionsT)):
        content = _network(name, Form(kind), truths, Spec("y", MAP, np.bool_))
        made[name] = (content, tuple(rng.integers(0, 2, MAP).astype(np.bool_) for _ in "ab"))
    content = _network("LOGICAL_NOT", Form(s.LogicalNotOptionsT), truths[:1], Spec("y", MAP, np.bool_))
    made["LOGICAL_NOT"] = (content, (rng.integers(0, 2, MAP).astype(np.bool_),))
    for name, kind in (("SELECT", s.SelectOptionsT), ("SELECT_V2", s.SelectV2OptionsT)):
        inputs = [Spec("c", MAP, np.bool_), floats("a", MAP), floats("b", MAP)]
        content = _network(name, Form(kind), inputs, floats("y", MAP))
        made[name] = (content, (rng.integers(0, 2, MAP).astype(np.bool_), real(MAP), real(MAP)))
    cast = Form(s.CastOptionsT, {"inDataType": s.TensorType.FLOAT32, "outDataType": s.TensorType.INT32})
    content = _network("CAST", cast, [floats("x", MAP)], Spec("y", MAP, np.int32))
    made["CAST"] = (content, (real(MAP, Form(low=-90, high=90)),))
    for turned in (False, True):
        a, b = (2, 3, 5), (2, 7, 5) if turned else (2, 5, 7)
        form = Form(s.BatchMatMulOptionsT, {"adjX": False, "adjY": turned})
        content = _network("BATCH_MATMUL", form, [floats("a", a), floats("b", b)], floats("y", (2, 3, 7)))
        made[f"BATCH_MATMUL{' turned' * turned}"] = (content, (real(a), real(b)))
    _add_moves(made, lambda name, shape: floats(name, shape), real)
    _add_vision(made, rng, real)
    return made


Numbered = Callable[[str, tuple[int, ...]], Spec]


def _add_moves(
    made: dict[str, tuple[bytes, tuple[Array, ...]]], tensor: Numbered, values: Callable[..., Array]
) -> None:
    """Operators that move elements, over tensors of whatever type `tensor` makes."""

    def add(
        name: str, form: Form, inputs: Sequence[Spec], outputs: Any, *shapes: tuple[int, ...], label: str = ""
    ) -> None:
        content = _network(name, form, inputs, outputs)
        made[label or name] = (content, tuple(values(shape) for shape in shapes))

    x = tensor("x", MAP)

    def whole(name: str, *numbers: int) -> Spec:
        return constant(name, np.array(numbers, np.int32))

    add(
        "SLICE",
        Form(version=2),
        [x, whole("b", 0, 1, 0, 2), whole("n", 1, 3, -1, 5)],
        tensor("y", (1, 3, 4, 5)),
        MAP,
    )
    strided = Form(s.StridedSliceOptionsT, {"beginMask": 1, "endMask": 5, "shrinkAxisMask": 8}, 2)
    lists = [whole("b", 0, 1, 1, 2), whole("e", 0, 6, 0, 3), whole("s", 1, 2, 1, 1)]
    add("STRIDED_SLICE", strided, [x, *lists], tensor("y", (1, 3, 3)), MAP)
    halves = [tensor("y0", (1, 6, 4, 4)), tensor("y1", (1, 6, 4, 4))]
    add(
        "SPLIT",
        Form(s.SplitOptionsT, {"numSplits": 2}, 2),
        [constant("axis", np.array(3, np.int32)), x],
        halves,
        MAP,
    )
    uneven = [tensor("y0", (1, 2, 4, 8)), tensor("y1", (1, 4, 4, 8))]
    axis = constant("axis", np.array(1, np.int32))
    add("SPLIT_V", Form(s.SplitVOptionsT, {"numSplits": 2}, 2), [x, whole("sizes", 2, 4), axis], uneven, MAP)
    pair = [tensor("a", (6, 8)), tensor("b", (6, 8))]
    add(
        "PACK",
        Form(s.PackOptionsT, {"valuesCount": 2, "axis": 1}, 2),
        pair,
        tensor("y", (6, 2, 8)),
        (6, 8),
        (6, 8),
    )
    parts = [tensor(f"y{i}", (1, 6, 8)) for i in range(4)]
    add("UNPACK", Form(s.UnpackOptionsT, {"num": 4, "axis": 2}, 2), [x], parts, MAP)
    joined = [tensor("a", MAP), tensor("b", (1, 6, 4, 3))]
    add(
        "CONCATENATION",
        Form(s.ConcatenationOptionsT, {"axis": -1}),
        joined,
        tensor("y", (1, 6, 4, 11)),
        MAP,
        (1, 6, 4, 3),
    )
    add(
        "GATHER",
        Form(s.GatherOptionsT, {"axis": 3}, 2),
        [x, whole("i", 7, 0, 3)],
        tensor("y", (1, 6, 4, 3)),
        MAP,
    )
    add("TILE", Form(version=2), [x, whole("m", 1, 2, 1, 3)], tensor("y", (1, 12, 4, 24)), MAP)
    add(
        "TRANSPOSE",
        Form(s.TransposeOptionsT, None, 2),
        [x, whole("p", 0, 3, 1, 2)],
        tensor("y", (1, 8, 6, 4)),
        MAP,
    )
    add("RESHAPE", Form(s.ReshapeOptionsT), [x, whole("shape", 1, -1)], tensor("y", (1, 192)), MAP)
    add("SQUEEZE", Form(s.SqueezeOptionsT, {"squeezeDims": [0]}), [x], tensor("y", (6, 4, 8)), MAP)
    add("EXPAND_DIMS", Form(s.ExpandDimsOptionsT), [x, whole("axis", 1)], tensor("y", (1, 1, 6, 4, 8)), MAP)
    add(
        "PAD",
        Form(s.PadOptionsT, None, 2),
        [x, constant("w", np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))],
        tensor("y", (1, 9, 7, 8)),
        MAP,
    )
    for mode, name in ((0, "reflect"), (1, "symmetric")):
        widths = constant("w", np.array([[0, 0], [2, 3], [1, 0], [0, 2]], np.int32))
        form = Form(s.MirrorPadOptionsT, {"mode": mode}, 2)
        add("MIRROR_PAD", form, [x, widths], tensor("y", (1, 11, 5, 10)), MAP, label=f"MIRROR_PAD {name}")
    add(
        "SPACE_TO_DEPTH",
        Form(s.SpaceToDepthOptionsT, {"blockSize": 2}, 2),
        [x],
        tensor("y", (1, 3, 2, 32)),
        MAP,
    )
    add(
        "DEPTH_TO_SPACE",
        Form(s.DepthToSpaceOptionsT, {"blockSize": 2}, 2),
        [x],
        tensor("y", (1, 12, 8, 2)),
        MAP,
    )
    block, crops = whole("block", 2, 2), constant("crops", np.array([[0, 1], [1, 0]], np.int32))
    add(
        "BATCH_TO_SPACE_ND",
        Form(s.BatchToSpaceNDOptionsT, None, 2),
        [tensor("x", (4, 3, 2, 8)), block, crops],
        tensor("y", (1, 5, 3, 8)),
        (4, 3, 2, 8),
    )
    widths = constant("widths", np.array([[0, 2], [2, 0]], np.int32))
    add(
        "SPACE_TO_BATCH_ND",
        Form(s.SpaceToBatchNDOptionsT, None, 2),
        [x, block, widths],
        tensor("y", (4, 4, 3, 8)),
        MAP,
    )


def _add_vision(
    made: dict[str, tuple[bytes, tuple[Array, ...]]], rng: np.random.Generator, real: Callable[..., Array]
) -> None:
    x = floats("x", MAP)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for axes, keep in (((1, 2), True), ((3,), False), ((0, 2), False), ((1, 2, 3), True)):
            kept = tuple(1 if i in axes else n for i, n in enumerate(MAP) if keep or i not in axes)
            form = Form(s.ReducerOptionsT, {"keepDims": keep})
            content = _network(name, form, [x, constant("axes", np.array(axes, np.int32))], floats("y", kept))
            made[f"{name} {axes}"] = (content, (real(MAP, Form(low=0.8, high=1.2)),))
    for name, size in (("RESIZE_BILINEAR", (9, 7)), ("RESIZE_NEAREST_NEIGHBOR", (11, 3))):
        title = "ResizeBilinear" if "BILINEAR" in name else "ResizeNearestNeighbor"
        for align, half in ((False, False), (True, False), (False, True)):
            fields = {"alignCorners": align, "halfPixelCenters": half}
            form = Form(getattr(s, f"{title}OptionsT"), fields, 3)
            inputs = [x, constant("size", np.array(size, np.int32))]
            content = _network(name, form, inputs, floats("y", (1, *size, 8)))
            made[f"{name} {'aligned' * align}{'half' * half}"] = (content, (real(MAP),))
    for name in ("ARG_MAX", "ARG_MIN"):
        kind = s.ArgMaxOptionsT if name == "ARG_MAX" else s.ArgMinOptionsT
        for dtype, code in ((np.int32, s.TensorType.INT32), (np.int64, s.TensorType.INT64)):
            form = Form(kind, {"outputType": code})
            inputs = [x, constant("axis", np.array(3, np.int32))]
            content = _network(name, form, inputs, Spec("y", MAP[:3], dtype))
            made[f"{name} {np.dtype(dtype).name}"] = (content, (rng.integers(-3, 3, MAP).astype(np.float32),))
    weight = constant("w", rng.normal(size=(5, 3, 3, 8)).astype(np.float32))
    shape, bias = constant("shape", np.array([1, 12, 8, 5], np.int32)), constant("b", real((5,)))
    form = Form(s.TransposeConvOptionsT, {"strideH": 2, "strideW": 2, "padding": s.Padding.SAME}, 3)
    content = _network("TRANSPOSE_CONV", form, [shape, weight, x, bias], floats("y", (1, 12, 8, 5)))
    made["TRANSPOSE_CONV"] = (content, (real(MAP),))
    padded = [
        x,
        constant("w", np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32)),
        constant("v", np.array([2.5], np.float32)),
    ]
    made["PADV2"] = (
        _network("PADV2", Form(s.PadV2OptionsT), padded, floats("y", (1, 7, 6, 8))),
        (real(MAP),),
    )
    both = [floats("values", (1, 6, 4, 3)), Spec("indices", (1, 6, 4, 3), np.int32)]
    k = constant("k", np.array(3, np.int32))
    made["TOPK_V2"] = (_network("TOPK_V2", Form(s.TopKV2OptionsT), [x, k], both), (real(MAP),))
    three = (2, 3, 8)
    fields = {"keepNumDims": True, "fusedActivationFunction": s.ActivationFunctionType.RELU}
    dense = [
        floats("x", three),
        constant("w", rng.normal(size=(5, 8)).astype(np.float32)),
        constant("b", real((5,))),
    ]
    content = _network(
        "FULLY_CONNECTED", Form(s.FullyConnectedOptionsT, fields, 5), dense, floats("y", (2, 3, 5))
    )
    made["FULLY_CONNECTED rank 3"] = (content, (real(three),))


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
EVERY = np.arange(-128, 128).astype(np.int8).reshape(1, 8, 4, 8)


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
            made[f"{name} {trial}"] = (_network(name, form, [x], y), (EVERY,))
    for name, scale, zero in (("LOGISTIC", 1 / 256, -128), ("TANH", 1 / 128, 0)):
        content = _network(
            name, Form(version=2), [held("x", EVERY.shape)], held("y", EVERY.shape, scale, zero)
        )
        made[name] = (content, (EVERY,))
    for name in ("MAXIMUM", "MINIMUM"):
        content = _network(
            name, Form(BINARY[name].kind, None, 2), [held("a", MAP), held("b", MAP)], held("y", MAP)
        )
        made[name] = (content, (values(MAP), values(MAP)))
    for trial in range(3):
        slopes = constant("slopes", values((1, 1, 8)), [0.004], 0, trial * 3)
        scale = 2.0 ** rng.uniform(-6, -3)
        y = held("y", MAP, scale * 2.0 ** rng.uniform(-1, 1), int(rng.integers(-60, 60)))
        made[f"PRELU {trial}"] = (
            _network("PRELU", Form(), [held("x", MAP, scale), slopes], y),
            (values(MAP),),
        )
    _add_moves(made, held, values)
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
                made[f"{name} {axes} {scale:.3f}"] = (_network(name, form, inputs, y), (values(MAP),))
    for name, size in (("RESIZE_BILINEAR", (9, 7)), ("RESIZE_NEAREST_NEIGHBOR", (11, 3))):
        title = "ResizeBilinear" if "BILINEAR" in name else "ResizeNearestNeighbor"
        for align, half in ((False, False), (True, False), (False, True)):
            form = Form(getattr(s, f"{title}OptionsT"), {"alignCorners": align, "halfPixelCenters": half}, 3)
            inputs = [held("x", MAP), constant("size", np.array(size, np.int32))]
            content = _network(name, form, inputs, held("y", (1, *size, 8)))
            made[f"{name} {'aligned' * align}{'half' * half}"] = (content, (values(MAP),))
    for name, kind in (("ARG_MAX", s.ArgMaxOptionsT), ("ARG_MIN", s.ArgMinOptionsT)):
        form = Form(kind, {"outputType": s.TensorType.INT32}, 2)
        inputs = [held("x", MAP), constant("axis", np.array(-1, np.int32))]
        content = _network(name, form, inputs, Spec("y", MAP[:3], np.int32))
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
            content = _network(
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
    content = _network(
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
        content = _network(
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
        "to int8": (_network("QUANTIZE", quantize, [as_bytes], signed), (every,)),
        "to uint8": (_network("QUANTIZE", quantize, [signed], as_bytes), (EVERY,)),
        "to float32": (_network("DEQUANTIZE", dequantize, [as_bytes], real), (every,)),
        "from float32": (_network("QUANTIZE", quantize, [real], as_bytes), (reals,)),
    }


def computed_shape() -> tuple[bytes, tuple[Array, ...]]:
    """What Keras writes for Flatten (shape, first extent, pack, reshape), then more that shapes decide."""
    x = floats("x", MAP)
    four, one, two = (Spec(n, e, np.int32) for n, e in (("s", (4,)), ("b", ()), ("t", (2,))))
    flat, filled, total = floats("flat", (1, 192)), floats("filled", (1, 192)), floats("total", (1, 192))
    wide, turned = floats("wide", (3, 192)), floats("turned", (3, 192))

    def whole(name: str, *numbers: int) -> Spec:
        return constant(name, np.array(numbers, np.int32))

    shape = Node(
        OPS.SHAPE, [x], [four], options(s.ShapeOptionsT, outType=s.TensorType.INT32), OPTIONS.ShapeOptions
    )
    strided = options(s.StridedSliceOptionsT, shrinkAxisMask=1)
    lists = [whole("begin", 0), whole("end", 1), whole("stride", 1)]
    first = Node(OPS.STRIDED_SLICE, [four, *lists], [one], strided, OPTIONS.StridedSliceOptions)
    rest = constant("rest", np.array(192, np.int32))
    pack = Node(OPS.PACK, [one, rest], [two], options(s.PackOptionsT, valuesCount=2), OPTIONS.PackOptions)
    reshape = Node(OPS.RESHAPE, [x, two], [flat], options(s.ReshapeOptionsT), OPTIONS.ReshapeOptions)
    value = constant("value", np.array(0.5, np.float32))
    fill = Node(OPS.FILL, [two, value], [filled], options(s.FillOptionsT), OPTIONS.FillOptions)
    add = Node(OPS.ADD_N, [flat, filled, flat], [total], options(s.AddNOptionsT), OPTIONS.AddNOptions)
    extents = whole("extents", 3, 192)
    broadcast = Node(OPS.BROADCAST_TO, [total, extents], [wide], version=2)
    reverse = Node(
        OPS.REVERSE_V2,
        [wide, whole("axis", 1)],
        [turned],
        options(s.ReverseV2OptionsT),
        OPTIONS.ReverseV2Options,
    )
    nodes = [shape, first, pack, reshape, fill, add, broadcast, reverse]
    return network(Graph([x], [turned], nodes)), (
        np.random.default_rng(9).normal(size=MAP).astype(np.float32),
    )


def float16_weights() -> tuple[bytes, tuple[Array, ...]]:
    """What the converter writes for float16: constants through DEQUANTIZE, the layer in float32."""
    rng, x, y = np.random.default_rng(8), floats("x", MAP), floats("y", (1, 6, 4, 5))
    stored = [
        constant("w16", rng.normal(size=(5, 3, 3, 8)).astype(np.float16)),
        constant("b16", rng.normal(size=5).astype(np.float16)),
    ]
    real = [floats("w", (5, 3, 3, 8)), floats("b", (5,))]
    fields = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    made = options(s.Conv2DOptionsT, padding=s.Padding.SAME, **fields)
    widen = [
        Node(OPS.DEQUANTIZE, [a], [b], options(s.DequantizeOptionsT), OPTIONS.DequantizeOptions, 3)
        for a, b in zip(stored, real)
    ]
    conv = Node(OPS.CONV_2D, [x, *real], [y], made, OPTIONS.Conv2DOptions)
    return network(Graph([x], [y], [*widen, conv])), (rng.normal(size=MAP).astype(np.float32),)


def int8_in_float() -> dict[str, tuple[bytes, tuple[Array, ...]]]:
    """(file, inputs) of int8 operators without an int8 form here: LiteRT's bytes are met within a step."""
    rng = np.random.default_rng(11)

    def held(name: str, scale: float, zero: int) -> Spec:
        return Spec(name, MAP, scales=(float(np.float32(scale)),), zero_point=zero)

    def values(low: int = -128) -> Array:
        return rng.integers(low, 128, MAP).astype(np.int8)

    difference = Form(s.SquaredDifferenceOptionsT, None, 2)
    pair = [held("a", 0.05, 3), held("b", 0.04, -7)]
    made = {
        "SQUARED_DIFFERENCE": (
            _network("SQUARED_DIFFERENCE", difference, pair, held("y", 0.4, -128)),
            (values(), values()),
        ),
        "DIV": (
            _network("DIV", Form(s.DivOptionsT, None, 2), pair, held("y", 0.05, 1)),
            # LiteRT gives the least integer for nothing divided by something.
            (values(4), values(20)),
        ),
        "L2_NORMALIZATION": (
            _network("L2_NORMALIZATION", Form(s.L2NormOptionsT, None, 2), pair[:1], held("y", 1 / 128, 0)),
            (values(),),
        ),
        "LOG_SOFTMAX": (
            _network("LOG_SOFTMAX", Form(version=2), pair[:1], held("y", 16 / 256, 127)),
            (values(),),
        ),
    }
    for name in ("GREATER", "LESS_EQUAL"):
        title = "".join(word.capitalize() for word in name.split("_"))
        form = Form(getattr(s, f"{title}OptionsT"), None, 2)
        made[name] = (_network(name, form, pair, Spec("y", MAP, np.bool_)), (values(), values()))
    return made
