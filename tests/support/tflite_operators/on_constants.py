"""Networks whose shapes or weights constants decide on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_network import Graph, Node, Spec, constant, floats, network, options
from support.tflite_operators.forms import MAP

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions


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
