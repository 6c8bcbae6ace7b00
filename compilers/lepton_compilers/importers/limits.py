"""What each source operator asks of its layer beyond being listed: for refusals and docs/operators.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ONNX_LIMITS: Mapping[str, str] = {
    "BatchNormalization": "not with --trainable",
    "BitCast": "types of one width, no halves",
    "CenterCropPad": "a constant shape",
    "Col2Im": "constant shapes",
    "Conv": "1 to 3 axes; typed, and int8, where 2-D with constant weights",
    "ConvTranspose": "1 to 3 axes",
    "CumProd": "a constant axis",
    "CumSum": "a constant axis",
    "DFT": "up to 4096 elements, a constant length",
    "Det": "float32, float64",
    "Dropout": "inference",
    "Expand": "a constant shape",
    "GRU": "constant weights, default activations, full sequences",
    "GridSample": "4 or 5 axes, float32",
    "LSTM": "constant weights, default activations, no peepholes, full sequences",
    "LRN": "up to 64 channels",
    "LpPool": "windows of up to 1024 places",
    "MaxUnpool": "a constant output shape",
    "NonMaxSuppression": "constant thresholds; rows of -1 behind those chosen, up to the most there can be",
    "OneHot": "a constant depth",
    "Pad": "constant widths",
    "QuantizeLinear": "int8, uint8, int16, uint16, int32",
    "RNN": "constant weights; Tanh, Relu, Sigmoid",
    "Range": "constants",
    "Reshape": "a target known from the input shapes",
    "Resize": "constant scales or sizes",
    "RoiAlign": "float32",
    "STFT": "up to 4096 elements, constant step and length",
    "Slice": "constant bounds",
    "Split": "constant sizes",
    "Squeeze": "constant axes",
    "Tile": "constant repeats",
    "TopK": "a constant k",
    "Trilu": "a constant diagonal",
    "Unsqueeze": "constant axes",
    "Upsample": "constant scales",
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
    "gru": "steps of their own where trained",
    "lstm": "steps of their own where trained or projected",
    "pad": "no cutting off by widths below zero",
    "quantize_per_channel": "constants",
    "quantize_per_tensor": "int8, uint8; fixed scales",
    "upsample_bilinear2d": "not antialiased; factors that give whole extents",
    "upsample_nearest2d": "factors that give whole extents",
}


def listed(operators: Iterable[str], limits: Mapping[str, str]) -> str:
    """'Add, Softmax (last axis), …'."""
    return ", ".join(f"{name} ({limits[name]})" if limits.get(name) else name for name in operators)
