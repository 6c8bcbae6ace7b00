"""Which of PyTorch's operators are taken: as they are, or taken apart by PyTorch when the graph is traced."""

from __future__ import annotations

SUPPORTED = (
    *("_native_batch_norm_legit_no_training", "abs", "acos", "acosh", "adaptive_avg_pool1d"),
    *("adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "addmm", "amax", "amin", "any", "argmax", "asin"),
    *("asinh", "atan", "atan2", "atanh", "avg_pool2d", "avg_pool3d", "bitwise_and", "bitwise_not"),
    *(
        "bitwise_or",
        "bmm",
        "cat",
        "ceil",
        "clamp",
        "conv1d",
        "conv2d",
        "conv_transpose1d",
        "conv_transpose2d",
    ),
    *("convolution", "cos", "cosh", "cumprod", "cumsum", "dequantize_per_channel", "dequantize_per_tensor"),
    *("diagonal", "div", "elu", "embedding", "eq", "erf", "exp", "expand", "expm1", "flip", "floor", "fmod"),
    *("gather", "ge", "gelu", "group_norm", "gru", "gt", "hardsigmoid", "hardswish", "hardtanh", "index"),
    *("index_select", "instance_norm", "isnan", "layer_norm", "le", "leaky_relu", "linalg_vector_norm"),
    *(
        "linear",
        "log",
        "log10",
        "log1p",
        "log2",
        "log_softmax",
        "logical_and",
        "logical_not",
        "lstm",
        "lt",
        "matmul",
    ),
    *("max", "max_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices", "maximum", "mean", "min"),
    *("minimum", "mm", "mul", "ne", "neg", "pad", "permute", "pow", "prelu", "prod", "quantize_per_channel"),
    *("quantize_per_tensor", "reciprocal", "relu", "relu6", "remainder", "repeat", "round", "rsqrt"),
    *("scatter", "select", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "slice", "softmax", "sort"),
    *("split_with_sizes", "sqrt", "squeeze", "sub", "sum", "tan", "tanh", "topk", "trunc", "unsqueeze"),
    *("upsample_bilinear2d", "upsample_nearest2d", "var", "view", "where"),
)
"""Families: overloads and in-place forms belong to theirs."""

SILENT = frozenset(
    (
        *("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"),
        *("_to_copy", "_unsafe_view", "alias", "clone", "constant_pad_nd", "copy", "getitem", "sym_size"),
        *("arange", "full", "full_like", "scalar_tensor"),
    )
)
"""What tracing leaves beside them: checks, copies, other names of the same, and constants."""

TAKEN_APART = (
    *("addcdiv", "addcmul", "baddbmm", "batch_norm", "celu", "chunk", "cosine_similarity", "dropout"),
    *("einsum", "flatten", "glu", "gru_cell", "hardshrink", "logsigmoid", "logsumexp", "lerp"),
    *("lstm_cell", "masked_fill", "max_pool1d", "mish", "movedim", "MultiheadAttention", "nan_to_num"),
    *("normalize", "one_hot", "pixel_shuffle", "reshape", "rms_norm", "rnn_relu", "rnn_tanh", "roll"),
    *("scaled_dot_product_attention", "softplus", "softshrink", "split", "stack", "std", "tile"),
    *("TransformerEncoderLayer", "transpose", "tril", "triu", "unbind", "unflatten"),
)
"""Examples of what PyTorch writes in terms of the supported ones."""

WHOLE = frozenset(
    (
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "conv1d", "conv2d", "conv_transpose1d"),
        *("conv_transpose2d", "elu", "group_norm", "hardsigmoid", "hardswish", "hardtanh", "instance_norm"),
        *("layer_norm", "leaky_relu", "linear", "log_softmax", "matmul", "max_pool2d", "pad", "prelu"),
        *("relu6", "selu", "silu", "softmax"),
        *("upsample_bilinear2d", "upsample_nearest2d"),
    )
)
"""What PyTorch would take apart, and there is something better for."""

RECURRENT = ("gru.input", "lstm.input")
"""Overloads that run over a whole sequence."""

TRAINING_NORMS = ("_native_batch_norm_legit", "_native_batch_norm_legit_functional")

HARMLESS_TEXTS = frozenset(
    (
        *("UPLO", "approximate", "driver", "equation", "indexing", "interpolation", "mode", "norm", "ord"),
        *("padding", "padding_mode", "reduction", "rounding_mode", "side"),
    )
)
"""Arguments of operators that are text and say how to compute; other texts may name files."""


def spelt(target: object) -> str:
    """`aten.relu.default` of an operator, `getitem` of a Python function."""
    return str(target) if hasattr(target, "_schema") else str(getattr(target, "__name__", target))


def family(target: str) -> str:
    """`relu` of `aten.relu_.default`; `add` of `add`."""
    parts = target.split(".")
    name = parts[1] if len(parts) > 1 and parts[0] in ("aten", "quantized_decomposed") else parts[0]
    return name if name.startswith("__") else name.removesuffix("_")
