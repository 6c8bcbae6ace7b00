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
    "CONV_2D": "constant weights",
    "DEPTHWISE_CONV_2D": "constant weights",
    "FULLY_CONNECTED": "constant weights",
    "MEAN": "adjacent axes behind the first",
    "PAD": "constant widths",
    "RESHAPE": "a constant target",
    "SOFTMAX": "last axis",
}


def listed(operators: Iterable[str], limits: Mapping[str, str]) -> str:
    """'Add, Softmax (last axis), …'."""
    return ", ".join(f"{name} ({limits[name]})" if limits.get(name) else name for name in operators)
