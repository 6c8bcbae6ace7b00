"""TFLite operators of vision heads: transposed convolution, resizing, reductions, indices, detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tflite
from tvm import relax

from lepton_compilers.importers.tflite.flexbuffer import FlexValue, flexbuffer_map
from lepton_compilers.importers.tflite.layer import Layer
from lepton_compilers.passes.graph import Expr, value

Results = Expr | tuple[Expr, ...]
Converter = Callable[[Layer], Results]


def _transposed_convolution(layer: Layer) -> Expr:
    options = layer.options(tflite.TransposeConvOptions)
    stride = (int(options.StrideH()), int(options.StrideW()))
    _, height, width, channels = layer.integers(0, "output extents")
    n, h, w, _ = layer.shape(2)
    weight = layer.constant(1)
    if weight is None:
        raise layer.refuse("weights that depend on the input's values")
    out, kh, kw, _ = weight.shape
    if (n, channels) != (layer.result_shape()[0] if layer.result_shape() else n, out):
        raise layer.refuse(f"{out} kernels for {channels} output channels")
    reach = ((h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw)
    spare = [whole - asked for whole, asked in zip(reach, (height, width))]
    before = [0, 0]
    if options.Padding() == tflite.Padding.SAME:
        before = [max(cut, 0) // 2 for cut in spare]
    top, left = before
    bottom, right = spare[0] - top, spare[1] - left
    call = relax.op.nn.conv2d_transpose(
        layer.real(2),
        _kernels(layer),
        strides=stride,
        padding=(top, left, max(bottom, 0), max(right, 0)),
        output_padding=(max(-bottom, 0), max(-right, 0)),
        data_layout="NHWC",
        kernel_layout="IOHW",
    )
    result = layer.emit(call)
    if layer.has(3):
        result = layer.emit(relax.op.add(result, layer.bias(3, 2, 1)))
    code = options.FusedActivationFunction() if hasattr(options, "FusedActivationFunction") else 0
    return layer.quantised(layer.activated(result, code))


def _kernels(layer: Layer) -> Expr:
    """OHWI as IOHW, dequantised where it is int8."""
    stored = layer.constant(1)
    assert stored is not None
    turned = relax.const(np.ascontiguousarray(stored.transpose(3, 0, 1, 2)))
    held = layer.inputs[1].qnn_params
    if held is None:
        return turned
    if not layer.is_int8(2):
        scale = value(held["scale"]).astype(np.float32).reshape(-1, 1, 1, 1)
        real = ((stored.astype(np.float32)) * scale).astype(np.float32)
        return relax.const(np.ascontiguousarray(real.transpose(3, 0, 1, 2)))
    return layer.emit(relax.op.dequantize(turned, held["scale"], held["zero_point"], axis=1))


def _resize(options_kind: type, method: str) -> Converter:
    def convert(layer: Layer) -> Expr:
        options = layer.options(options_kind)
        size = layer.integers(1, "extents")
        align, half = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
        mode = "align_corners" if align else "half_pixel" if half else "asymmetric"
        rounding = "round_prefer_ceil" if align or half else "floor"
        return layer.quantised(
            relax.op.image.resize2d(
                layer.real(0),
                list(size),
                layout="NHWC",
                method=method,
                coordinate_transformation_mode=mode,
                rounding_method=rounding if method == "nearest_neighbor" else "",
            )
        )

    return convert


def _reduction(reduce: Callable[..., Expr]) -> Converter:
    def convert(layer: Layer) -> Expr:
        keep = bool(layer.options(tflite.ReducerOptions).KeepDims())
        axes = layer.axes(1, len(layer.shape(0)))
        if not axes:
            return layer.quantised(layer.real(0))
        return layer.quantised(reduce(layer.real(0), axis=list(axes), keepdims=keep))

    return convert


def _arg(find: Callable[..., Expr], options_kind: type) -> Converter:
    def convert(layer: Layer) -> Expr:
        (axis,) = layer.axes(1, len(layer.shape(0)))
        index = layer.emit(find(layer.real(0), axis=axis))
        return index if layer.result_dtype() == "int64" else relax.op.astype(index, layer.result_dtype())

    return convert


def _detections(layer: Layer) -> tuple[Expr, ...]:
    """TFLite_Detection_PostProcess: boxes from anchors, then non-maximum suppression."""
    given = flexbuffer_map(layer.op.CustomOptionsAsNumpy().tobytes())
    boxes, scores, anchors = (layer.real(i) for i in range(3))
    known = layer.constant(2)
    if known is None:
        raise layer.refuse("anchors that depend on the input's values")
    if layer.is_int8(2):
        scale, zero = layer.numbers(2)
        known = (known.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    anchors = relax.const(np.ascontiguousarray(known.astype(np.float32)))
    batch, _, coordinates = layer.shape(0)
    if batch != 1 or coordinates < 4:
        raise layer.refuse(f"boxes {layer.shape(0)}; [1, anchors, 4] are supported")
    classes = _whole(layer, given, "num_classes")
    detections = _whole(layer, given, "max_detections")
    per_class = int(given.get("detections_per_class", 100))
    each = int(given.get("max_classes_per_detection", 1))
    regular = int(bool(given.get("use_regular_nms", False)))
    integers = relax.const(np.array([detections, each, per_class, regular, classes], np.int32))
    reals = [float(given[f"{axis}_scale"]) for axis in "yxhw"]
    thresholds = [float(given.get("nms_score_threshold", 0.0)), float(given.get("nms_iou_threshold", 0.5))]
    numbers = relax.const(np.array([*thresholds, *reals], np.float32))
    rows = detections * each
    results = [((1, rows, 4), "float32"), ((1, rows), "float32"), ((1, rows), "float32"), ((1,), "float32")]
    found = layer.emit(layer.typed("detections", (boxes, scores, anchors, integers, numbers), *results))
    return tuple(layer.emit(relax.TupleGetItem(found, i)) for i in range(4))


def _whole(layer: Layer, given: Mapping[str, FlexValue], name: str) -> int:
    if name not in given or int(given[name]) < 1:
        raise layer.refuse(f"its option '{name}' is {given.get(name)}; a positive integer is needed")
    return int(given[name])


VISION: Mapping[str, Converter] = {
    "ARG_MAX": _arg(relax.op.argmax, tflite.ArgMaxOptions),
    "ARG_MIN": _arg(relax.op.argmin, tflite.ArgMinOptions),
    "MEAN": _reduction(relax.op.mean),
    "REDUCE_MAX": _reduction(relax.op.max),
    "REDUCE_MIN": _reduction(relax.op.min),
    "REDUCE_PROD": _reduction(relax.op.prod),
    "RESIZE_BILINEAR": _resize(tflite.ResizeBilinearOptions, "linear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize(tflite.ResizeNearestNeighborOptions, "nearest_neighbor"),
    "SUM": _reduction(relax.op.sum),
    "TRANSPOSE_CONV": _transposed_convolution,
}
CUSTOM: Mapping[str, Converter] = {"TFLite_Detection_PostProcess": _detections}
"""Operators that carry a name of their own."""
