"""What each source operator asks of its layer beyond being listed: for refusals and docs/operators.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ONNX_LIMITS: Mapping[str, str] = {
    "AveragePool": "2-D, no dilation, no ceil_mode where padding counts",
    "BatchNormalization": "inference, not with --trainable",
    "Clip": "constant bounds",
    "Conv": "2-D, constant weights",
    "DequantizeLinear": "int8, int32; per tensor, and per channel for weights",
    "Gemm": "constant B and C",
    "MatMul": "[N, I] by constant [I, O]",
    "MaxPool": "2-D, no dilation, one output",
    "Pad": "mode constant, constant widths, no axes",
    "QuantizeLinear": "int8 per tensor",
    "ReduceMean": "adjacent axes behind the first",
    "Reshape": "a target known from the input shapes",
    "Softmax": "last axis",
}
TFLITE_LIMITS: Mapping[str, str] = {
    "BATCH_TO_SPACE_ND": "constant blocks and crops",
    "BROADCAST_TO": "a constant shape",
    "CALL_ONCE": "constant first values of variables",
    "CONV_2D": "constant weights",
    "DEPTHWISE_CONV_2D": "constant weights",
    "EXPAND_DIMS": "a constant axis",
    "FILL": "a constant shape",
    "FULLY_CONNECTED": "constant weights",
    "GATHER": "no batch dimensions",
    "MIRROR_PAD": "constant widths",
    "PAD": "constant widths",
    "PADV2": "constant widths and fill",
    "RANGE": "constants",
    "RESHAPE": "a target known from the file",
    "RESIZE_BILINEAR": "a constant size",
    "RESIZE_NEAREST_NEIGHBOR": "a constant size",
    "SLICE": "constant begins and sizes",
    "SOFTMAX": "last axis; beta 1 where it is int8",
    "SPACE_TO_BATCH_ND": "constant blocks and paddings",
    "STRIDED_SLICE": "constant lists, positive strides, no new axes, no ellipsis",
    "TFLite_Detection_PostProcess": "batch 1, constant anchors",
    "TILE": "constant multiples",
    "TOPK_V2": "a constant count",
    "TRANSPOSE_CONV": "constant weights and extents",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "the plain cell of four gates; computed in float32",
}
TORCH_LIMITS: Mapping[str, str] = {
    "adaptive_max_pool2d": "extents that the output's divide",
    "avg_pool2d": "no divisor_override",
    "dequantize_per_channel": "constants of int8, uint8 or int32",
    "dequantize_per_tensor": "int8, uint8, int32; fixed scales",
    "pad": "no cutting off by widths below zero",
    "quantize_per_channel": "constants",
    "quantize_per_tensor": "int8, uint8; fixed scales",
    "upsample_bilinear2d": "not antialiased; factors that give whole extents",
    "upsample_nearest2d": "factors that give whole extents",
}


def listed(operators: Iterable[str], limits: Mapping[str, str]) -> str:
    """'Add, Softmax (last axis), …'."""
    return ", ".join(f"{name} ({limits[name]})" if limits.get(name) else name for name in operators)
