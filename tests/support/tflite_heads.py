"""TFLite networks of several layers: detector heads, streaming models, blocks of MobileNet v3."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s
from flatbuffers import flexbuffers

from support.tflite_network import Graph, Node, Spec, constant, floats, network, options

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions


def anchors(rng: np.random.Generator, count: int) -> Array:
    """Centres all over the image, sizes from a tenth to a half; [count, 4]."""
    centres, sizes = rng.uniform(0, 1, (count, 2)), rng.uniform(0.1, 0.5, (count, 2))
    return np.concatenate([centres, sizes], axis=1).astype(np.float32)


def post_processing(
    encoded: Spec,
    scores: Spec,
    boxes: Array,
    n_classes: int,
    *,
    detections: int = 10,
    each: int = 1,
    regular: bool = False,
    per_class: int = 100,
) -> Node:
    """TFLite_Detection_PostProcess with its options as the converter writes them."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", detections)
        builder.Int("max_classes_per_detection", each)
        builder.Int("detections_per_class", per_class)
        builder.Bool("use_regular_nms", regular)
        builder.Float("nms_score_threshold", 0.3)
        builder.Float("nms_iou_threshold", 0.5)
        builder.Int("num_classes", n_classes)
        for name, scale in (("y", 10.0), ("x", 10.0), ("h", 5.0), ("w", 5.0)):
            builder.Float(f"{name}_scale", scale)
    rows = detections * each
    outputs = [
        floats("boxes", (1, rows, 4)),
        floats("classes", (1, rows)),
        floats("best", (1, rows)),
        floats("count", (1,)),
    ]
    return Node(
        OPS.CUSTOM,
        [encoded, scores, constant("anchors", boxes)],
        outputs,
        custom="TFLite_Detection_PostProcess",
        custom_options=bytes(builder.Finish()),
    )


def post_processing_alone(count: int, n_classes: int, **how: Any) -> bytes:
    """The custom operator as a network: encoded boxes and scores in, detections out."""
    encoded, scores = floats("encoded", (1, count, 4)), floats("scores", (1, count, n_classes + 1))
    node = post_processing(encoded, scores, anchors(np.random.default_rng(count), count), n_classes, **how)
    return network(Graph([encoded, scores], node.outputs, [node]))


class Int8Network:
    """An int8 network layer by layer: random weights, scales that keep most values inside int8."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.x = self.held("x", shape, 0.03, 2)
        self.nodes: list[Node] = []

    def held(self, name: str, shape: tuple[int, ...], scale: float, zero: int) -> Spec:
        """An int8 tensor."""
        return Spec(name, shape, scales=(float(np.float32(scale)),), zero_point=zero)

    def add(
        self, builtin: int, inputs: list[Spec], y: Spec, made: Any = None, kind: str = "", version: int = 1
    ) -> Spec:
        """One operator with one result."""
        made_type = getattr(OPTIONS, kind) if kind else OPTIONS.NONE
        self.nodes.append(Node(builtin, inputs, [y], made, made_type, version))
        return y

    def convolution(
        self,
        x: Spec,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: int = s.ActivationFunctionType.NONE,
        numbers: tuple[float, int] | None = None,
    ) -> Spec:
        """Padding SAME; `numbers` of the result, by default fitted to the sums' spread."""
        name, inner = f"conv{len(self.nodes)}", x.shape[3]
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, inner)
        scales = self.rng.uniform(0.003, 0.01, channels).astype(np.float32)
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        products = kernel * kernel * (1 if depthwise else inner)
        spread = 73 * 0.006 * 74 * x.scales[0] * np.sqrt(products) / 40
        scale, zero = numbers or (spread, -128 if activation else 3)
        side = [-(-n // stride) for n in x.shape[1:3]]
        y = self.held(name, (1, *side, channels), scale, zero)
        common = {"strideH": stride, "strideW": stride, "padding": s.Padding.SAME}
        common |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": activation}
        if depthwise:
            made = options(s.DepthwiseConv2DOptionsT, depthMultiplier=1, **common)
            builtin, kind = OPS.DEPTHWISE_CONV_2D, "DepthwiseConv2DOptions"
        else:
            made = options(s.Conv2DOptionsT, **common)
            builtin, kind = OPS.CONV_2D, "Conv2DOptions"
        bias_scales = [float(np.float32(x.scales[0]) * scale) for scale in scales]
        inputs = [
            x,
            constant(f"{name}/w", weight, [float(v) for v in scales], 3 if depthwise else 0),
            constant(f"{name}/b", bias, bias_scales),
        ]
        return self.add(builtin, inputs, y, made, kind, 3)

    def reshape(self, x: Spec, shape: tuple[int, ...]) -> Spec:
        """The same bytes."""
        name = f"reshape{len(self.nodes)}"
        target = constant(f"{name}/shape", np.array(shape, np.int32))
        y = self.held(name, shape, x.scales[0], x.zero_point)
        return self.add(OPS.RESHAPE, [x, target], y, options(s.ReshapeOptionsT), "ReshapeOptions")

    def concatenation(self, parts: list[Spec], axis: int) -> Spec:
        """Parts of one quantisation."""
        extents = list(parts[0].shape)
        extents[axis] = sum(part.shape[axis] for part in parts)
        y = self.held(f"whole{len(self.nodes)}", tuple(extents), parts[0].scales[0], parts[0].zero_point)
        made = options(s.ConcatenationOptionsT, axis=axis)
        return self.add(OPS.CONCATENATION, parts, y, made, "ConcatenationOptions", 2)

    def dequantized(self, x: Spec, name: str) -> Spec:
        """float32."""
        made = options(s.DequantizeOptionsT)
        return self.add(OPS.DEQUANTIZE, [x], floats(name, x.shape), made, "DequantizeOptions", 2)

    def file(self, outputs: list[Spec]) -> bytes:
        """The TFLite file."""
        return network(Graph([self.x], outputs, self.nodes))


def ssd_network(n_classes: int = 4) -> bytes:
    """An int8 backbone, box and class heads on two maps, anchors, logistic scores, float post-processing."""
    relu6, each = s.ActivationFunctionType.RELU6, 3
    made = Int8Network((1, 32, 32, 3))
    x = made.convolution(made.x, 16, stride=2, activation=relu6)
    x = made.convolution(made.convolution(x, 16, depthwise=True, activation=relu6), 24, 1, activation=relu6)
    first = made.convolution(x, 24, depthwise=True, stride=2, activation=relu6)
    second = made.convolution(
        made.convolution(first, 32, 1, activation=relu6), 32, stride=2, activation=relu6
    )
    boxes, scores = [], []
    for features in (first, second):
        _, h, w, _ = features.shape
        box = made.convolution(features, each * 4, 1, numbers=(0.02, 0))
        boxes.append(made.reshape(box, (1, h * w * each, 4)))
        score = made.convolution(features, each * (n_classes + 1), 3, numbers=(0.1, 0))
        scores.append(made.reshape(score, (1, h * w * each, n_classes + 1)))
    encoded, classes = made.concatenation(boxes, 1), made.concatenation(scores, 1)
    likely = made.held("likely", classes.shape, 1 / 256, -128)
    made.add(OPS.LOGISTIC, [classes], likely, version=2)
    real = made.dequantized(encoded, "encoded"), made.dequantized(likely, "scores")
    node = post_processing(*real, anchors(made.rng, encoded.shape[1]), n_classes, detections=20)
    made.nodes.append(node)
    return made.file([*node.outputs])


def mobilenet_v3_block() -> bytes:
    """Expand, depthwise 5 × 5, squeeze and excite, hard-swish, project and add: int8."""
    made = Int8Network((1, 14, 14, 24), seed=3)
    wide = made.convolution(made.x, 72, 1)
    swished = made.held("swished", wide.shape, wide.scales[0] * 0.6, -120)
    made.add(OPS.HARD_SWISH, [wide], swished, options(s.HardSwishOptionsT), "HardSwishOptions")
    deep = made.convolution(swished, 72, 5, depthwise=True)
    squeezed = made.held("squeezed", (1, 1, 1, 72), deep.scales[0] * 0.4, 1)
    axes = constant("axes", np.array([1, 2], np.int32))
    reducer = options(s.ReducerOptionsT, keepDims=True)
    made.add(OPS.MEAN, [deep, axes], squeezed, reducer, "ReducerOptions", 2)
    reduced = made.convolution(squeezed, 24, 1, activation=s.ActivationFunctionType.RELU)
    gate = made.convolution(reduced, 72, 1, numbers=(0.05, 0))
    three = Spec("three", (), scales=(3 / 127,), zero_point=0, value=np.array(127, np.int8))
    shifted = made.held("shifted", gate.shape, 6 / 255, -128)
    relu6 = options(s.AddOptionsT, fusedActivationFunction=s.ActivationFunctionType.RELU6)
    made.add(OPS.ADD, [gate, three], shifted, relu6, "AddOptions", 2)
    sixth = Spec("sixth", (), scales=(1 / 6 / 127,), zero_point=0, value=np.array(127, np.int8))
    share = made.held("share", gate.shape, 1 / 255, -128)
    made.add(OPS.MUL, [shifted, sixth], share, options(s.MulOptionsT), "MulOptions", 2)
    excited = made.held("excited", deep.shape, deep.scales[0], deep.zero_point)
    made.add(OPS.MUL, [deep, share], excited, options(s.MulOptionsT), "MulOptions", 2)
    projected = made.convolution(excited, 24, 1)
    y = made.held("y", made.x.shape, projected.scales[0] * 1.1, -5)
    made.add(OPS.ADD, [made.x, projected], y, options(s.AddOptionsT), "AddOptions", 2)
    return made.file([y])


def segmentation_head() -> bytes:
    """Features upsampled by a transposed convolution and by resizing, joined, a class a pixel: int8."""
    made = Int8Network((1, 6, 5, 16), seed=4)
    scales = made.rng.uniform(0.003, 0.01, 8).astype(np.float32)
    inputs = [
        constant("extents", np.array([1, 12, 10, 8], np.int32)),
        constant(
            "up/w", made.rng.integers(-127, 128, (8, 3, 3, 16)).astype(np.int8), [float(v) for v in scales]
        ),
        made.x,
    ]
    fields = {"strideH": 2, "strideW": 2, "padding": s.Padding.SAME}
    up = made.held("up", (1, 12, 10, 8), 0.05, 4)
    made.add(
        OPS.TRANSPOSE_CONV, inputs, up, options(s.TransposeConvOptionsT, **fields), "TransposeConvOptions", 3
    )
    side = made.convolution(made.x, 8, 1, numbers=(0.05, 4))
    stretched = made.held("stretched", (1, 12, 10, 8), 0.05, 4)
    half = options(s.ResizeBilinearOptionsT, halfPixelCenters=True)
    size = constant("size", np.array([12, 10], np.int32))
    made.add(OPS.RESIZE_BILINEAR, [side, size], stretched, half, "ResizeBilinearOptions", 3)
    logits = made.convolution(made.concatenation([up, stretched], 3), 5, 1)
    y = Spec("classes", (1, 12, 10), np.int32)
    made_arg = options(s.ArgMaxOptionsT, outputType=s.TensorType.INT32)
    axis = constant("axis", np.array(3, np.int32))
    made.add(OPS.ARG_MAX, [logits, axis], y, made_arg, "ArgMaxOptions", 2)
    return made.file([y, logits])


def streaming_network(int8: bool = True) -> bytes:
    """Eight frames of features kept between calls: the newest comes in, a dense layer reads all."""
    rng = np.random.default_rng(5)
    held = {"scales": (0.05,), "zero_point": 3} if int8 else {"dtype": np.float32}
    x, old = Spec("x", (1, 1, 4), **held), Spec("old", (1, 8, 4), **held)
    kept, now = Spec("kept", (1, 7, 4), **held), Spec("now", (1, 8, 4), **held)
    flat = Spec("flat", (1, 32), **held)
    handle, first_handle = Spec("handle", (), resource=True), Spec("first handle", (), resource=True)
    first = rng.integers(-20, 20, (1, 8, 4)).astype(np.int8 if int8 else np.float32)
    named = options(s.VarHandleOptionsT, sharedName="frames")
    once = options(s.CallOnceOptionsT, initSubgraphIndex=1)

    def whole(name: str, *numbers: int) -> Spec:
        return constant(name, np.array(numbers, np.int32))

    weight = rng.integers(-127, 128, (6, 32)).astype(np.int8)
    if int8:
        w, b = constant("w", weight, [0.01]), constant("b", np.zeros(6, np.int32), [0.05 * 0.01])
        y = Spec("y", (1, 6), scales=(0.2,), zero_point=-4)
    else:
        w, b = constant("w", (weight / 100).astype(np.float32)), constant("b", np.zeros(6, np.float32))
        y = floats("y", (1, 6))
    nodes = [
        Node(OPS.CALL_ONCE, [], [], once, OPTIONS.CallOnceOptions),
        Node(OPS.VAR_HANDLE, [], [handle], named, OPTIONS.VarHandleOptions),
        Node(
            OPS.READ_VARIABLE, [handle], [old], options(s.ReadVariableOptionsT), OPTIONS.ReadVariableOptions
        ),
        Node(
            OPS.SLICE,
            [old, whole("b0", 0, 1, 0), whole("n0", 1, 7, 4)],
            [kept],
            options(s.SliceOptionsT),
            OPTIONS.SliceOptions,
            2,
        ),
        Node(
            OPS.CONCATENATION,
            [kept, x],
            [now],
            options(s.ConcatenationOptionsT, axis=1),
            OPTIONS.ConcatenationOptions,
            2,
        ),
        Node(
            OPS.ASSIGN_VARIABLE,
            [handle, now],
            [],
            options(s.AssignVariableOptionsT),
            OPTIONS.AssignVariableOptions,
        ),
        Node(
            OPS.RESHAPE,
            [now, whole("flat/shape", 1, 32)],
            [flat],
            options(s.ReshapeOptionsT),
            OPTIONS.ReshapeOptions,
        ),
        Node(
            OPS.FULLY_CONNECTED,
            [flat, w, b],
            [y],
            options(s.FullyConnectedOptionsT),
            OPTIONS.FullyConnectedOptions,
            4,
        ),
    ]
    value = Spec(
        "first", first.shape, first.dtype, value=first, **({k: v for k, v in held.items() if k != "dtype"})
    )
    begin = [
        Node(OPS.VAR_HANDLE, [], [first_handle], named, OPTIONS.VarHandleOptions),
        Node(
            OPS.ASSIGN_VARIABLE,
            [first_handle, value],
            [],
            options(s.AssignVariableOptionsT),
            OPTIONS.AssignVariableOptions,
        ),
    ]
    return network(Graph([x], [y], nodes), Graph([], [], begin, "once"))


def sequence_lstm(
    batch: int = 2, steps: int = 5, inputs: int = 3, units: int = 7, time_major: bool = False
) -> bytes:
    """UNIDIRECTIONAL_SEQUENCE_LSTM in float32: four gates, states that live between calls."""
    rng = np.random.default_rng(6)
    x = floats("x", (steps, batch, inputs) if time_major else (batch, steps, inputs))
    y = floats("y", (*x.shape[:2], units))

    def given(name: str, *shape: int) -> Spec:
        return constant(name, (0.6 * rng.normal(size=shape)).astype(np.float32))

    weights = [given(f"w{gate}", units, inputs) for gate in "ifgo"]
    recurrent = [given(f"r{gate}", units, units) for gate in "ifgo"]
    biases = [given(f"b{gate}", units) for gate in "ifgo"]
    states = [Spec(name, (batch, units), np.float32, variable=True) for name in ("hidden", "cell")]
    operands = [x, *weights, *recurrent, *[None] * 3, *biases, None, None, *states, *[None] * 4]
    made = options(
        s.UnidirectionalSequenceLSTMOptionsT,
        fusedActivationFunction=s.ActivationFunctionType.TANH,
        timeMajor=time_major,
    )
    kind = OPTIONS.UnidirectionalSequenceLSTMOptions
    return network(Graph([x], [y], [Node(OPS.UNIDIRECTIONAL_SEQUENCE_LSTM, operands, [y], made, kind)]))


def float_detector(n_classes: int = 2) -> bytes:
    """A mirrored border, two heads of one convolution each, logistic scores, post-processing: float32."""
    rng, each = np.random.default_rng(7), 3
    x, padded = floats("x", (1, 4, 4, 8)), floats("padded", (1, 6, 6, 8))
    widths = constant("widths", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    mirror = options(s.MirrorPadOptionsT, mode=s.MirrorPadMode.SYMMETRIC)
    nodes = [Node(OPS.MIRROR_PAD, [x, widths], [padded], mirror, OPTIONS.MirrorPadOptions)]
    heads = []
    for name, per_anchor in (("encoded", 4), ("logits", n_classes + 1)):
        channels = each * per_anchor
        weight = constant(f"{name}/w", (rng.normal(size=(channels, 3, 3, 8)) / 6).astype(np.float32))
        bias = constant(f"{name}/b", rng.normal(size=channels).astype(np.float32))
        fields = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        made = options(s.Conv2DOptionsT, padding=s.Padding.VALID, **fields)
        y, flat = floats(f"{name}/map", (1, 4, 4, channels)), floats(name, (1, 16 * each, per_anchor))
        shape = constant(f"{name}/shape", np.array(flat.shape, np.int32))
        nodes.append(Node(OPS.CONV_2D, [padded, weight, bias], [y], made, OPTIONS.Conv2DOptions))
        nodes.append(
            Node(OPS.RESHAPE, [y, shape], [flat], options(s.ReshapeOptionsT), OPTIONS.ReshapeOptions)
        )
        heads.append(flat)
    scores = floats("scores", heads[1].shape)
    nodes.append(Node(OPS.LOGISTIC, [heads[1]], [scores]))
    node = post_processing(heads[0], scores, anchors(rng, 16 * each), n_classes)
    return network(Graph([x], node.outputs, [*nodes, node]))


def int8_sequence_lstm(steps: int = 6, inputs: int = 8, units: int = 12) -> bytes:
    """The fused LSTM as the converter quantises it: int8 hidden state, int16 cell of a power of two."""
    rng = np.random.default_rng(6)
    x_scale, input_scale, recurrent_scale, y = 0.02, 0.008, 0.006, {"scales": (1 / 128,)}
    x = Spec("x", (1, steps, inputs), scales=(x_scale,), zero_point=-3)
    result = Spec("y", (1, steps, units), **y)

    def weight(name: str, columns: int, scale: float) -> Spec:
        return constant(name, rng.integers(-127, 128, (units, columns)).astype(np.int8), [scale])

    weights = [weight(f"w{gate}", inputs, input_scale) for gate in "ifgo"]
    weights += [weight(f"r{gate}", units, recurrent_scale) for gate in "ifgo"]
    biases = [
        constant(f"b{gate}", rng.integers(-3000, 3000, units).astype(np.int32), [x_scale * input_scale])
        for gate in "ifgo"
    ]
    hidden = Spec("hidden", (1, units), variable=True, **y)
    cell = Spec("cell", (1, units), np.int16, (2.0**-11,), variable=True)
    between = [Spec(f"sums of {gate}", (1,), np.int16, (2.0**-12,)) for gate in "ifgo"]
    between.append(Spec("sums of hidden", (1,), **y))
    operands = [x, *weights, *[None] * 3, *biases, None, None, hidden, cell, *[None] * 4]
    tanh = s.ActivationFunctionType.TANH
    made = options(s.UnidirectionalSequenceLSTMOptionsT, fusedActivationFunction=tanh)
    kind, code = OPTIONS.UnidirectionalSequenceLSTMOptions, OPS.UNIDIRECTIONAL_SEQUENCE_LSTM
    return network(
        Graph([x], [result], [Node(code, operands, [result], made, kind, 3, intermediates=between)])
    )
