"""The rows of training operations, float32: kernels/training_portable.h."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.layers import float_bounds, image_bytes, typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import TensorId, Tensors
from lepton_sdk.program.training import (
    AveragePool2dGrad,
    BiasGrad,
    Conv2dGradInput,
    Conv2dGradWeight,
    DenseGradInput,
    DenseGradWeight,
    DepthwiseConv2dGradInput,
    DepthwiseConv2dGradWeight,
    MaxPool2dGrad,
    PadGrad,
    ReluGrad,
    SgdMomentum,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)

MOST_GROUPS = 4
"""A batch's long sums fall into as many groups at most: threads take one each."""
LEAST_GROUPED = 1 << 14
"""Elements of a sum of columns."""
MOST_GROUPED_BYTES = 256 << 10
"""Of a gradient of weights: of larger ones, threads take output channels."""

Sliding = Conv2dGradInput | Conv2dGradWeight | DepthwiseConv2dGradInput | DepthwiseConv2dGradWeight


# What is accepted


def all_float(op: Any, t: Tensors) -> Answer:
    """Every tensor float32."""
    return typed(t, "float32", *op.inputs, *op.outputs)


def labelled(op: SoftmaxCrossEntropy | SoftmaxCrossEntropyGrad, t: Tensors) -> Answer:
    """float32 scores, int32 labels."""
    scores = [name for name in (*op.inputs, *op.outputs) if name != op.labels]
    answer = typed(t, "float32", *scores)
    return answer if isinstance(answer, No) else typed(t, "int32", op.labels)


def padded_float(op: PadGrad, t: Tensors) -> Answer:
    """float32, rank at most 6."""
    answer = all_float(op, t)
    return answer if isinstance(answer, No) else when(len(t[op.dx].shape) <= 6, "a rank above 6")


# What is emitted


def _window(op: Sliding, t: Tensors, x: TensorId, dy: TensorId, kernel: tuple[int, int]) -> tuple[int, ...]:
    """h, w, c, oh, ow, o, kh, kw, strides, paddings, dilations."""
    p = op.padding
    return (*t[x].shape[1:], *t[dy].shape[1:], *kernel, *op.stride, p.top, p.left, *op.dilation)


def _pool_window(op: MaxPool2dGrad | AveragePool2dGrad, t: Tensors) -> tuple[int, ...]:
    """h, w, c, oh, ow, kh, kw, strides, paddings."""
    p = op.padding
    return (*t[op.dx].shape[1:], *t[op.dy].shape[1:3], *op.kernel, *op.stride, p.top, p.left)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]


def emit_conv2d_grad_input(op: Conv2dGradInput, draft: Draft) -> None:
    """At stride 1 a convolution of dy by the turned weights; otherwise a sum over the places that reach."""
    t = draft.tensors
    (images, h, w, c), (_, oh, ow, o) = t[op.dx].shape, t[op.dy].shape
    _, kh, kw, _ = t[op.weight].shape
    straight = op.stride == (1, 1)
    taps = draft.scratch(-(-c // 16) * 16 * kh * kw * o * 4)
    draft.call("pack_taps_float", draft.read(op.weight), taps, o, kh, kw, c, int(straight))
    dy = draft.read(op.dy).stepping(image_bytes(draft, op.dy))
    dx = draft.write(op.dx).stepping(image_bytes(draft, op.dx))
    if not straight:
        literals = _window(op, t, op.dx, op.dy, (kh, kw))
        draft.call("conv2d_grad_input_strided", dy, taps, dx, *literals, times=images)
        return
    (dh, dw), p = op.dilation, op.padding
    border = ((kh - 1) * dh - p.top, (kw - 1) * dw - p.left)
    turned = (oh, ow, o, h, w, c, kh, kw, 1, 1, *border, dh, dw)
    draft.call("conv2d_float", dy, taps, taps, dx, 0, *turned, *float_bounds(None), times=images)


def emit_conv2d_grad_weight(op: Conv2dGradWeight, draft: Draft) -> None:
    """Sums by groups of images, added in their order."""
    t = draft.tensors
    images, nbytes = t[op.x].shape[0], t[op.dweight].nbytes
    groups = math.gcd(images, MOST_GROUPS) if nbytes <= MOST_GROUPED_BYTES else 1
    literals = (images // groups, *_window(op, t, op.x, op.dy, _two(t[op.dweight].shape[1:3])))
    x, dy, dweight = draft.read(op.x), draft.read(op.dy), draft.write(op.dweight)
    if groups == 1:
        draft.call("conv2d_grad_weight", x, dy, dweight, *literals)
        return
    sums = draft.scratch(groups * nbytes)
    steps = (t[op.x].nbytes // groups, t[op.dy].nbytes // groups, nbytes)
    places = (place.stepping(step) for place, step in zip((x, dy, sums), steps))
    draft.call("conv2d_grad_weight", *places, *literals, times=groups)
    draft.call("add_runs", sums, dweight, groups, nbytes // 4)


def emit_depthwise_grad_input(op: DepthwiseConv2dGradInput, draft: Draft) -> None:
    """One call an image."""
    t = draft.tensors
    dy, weight = draft.read(op.dy).stepping(image_bytes(draft, op.dy)), draft.read(op.weight)
    dx = draft.write(op.dx).stepping(image_bytes(draft, op.dx))
    literals = _window(op, t, op.dx, op.dy, _two(t[op.weight].shape))
    draft.call("depthwise_grad_input", dy, weight, dx, *literals, times=t[op.dx].shape[0])


def emit_depthwise_grad_weight(op: DepthwiseConv2dGradWeight, draft: Draft) -> None:
    """One call for the batch."""
    t = draft.tensors
    x, dy = draft.read(op.x), draft.read(op.dy)
    literals = _window(op, t, op.x, op.dy, _two(t[op.dweight].shape))
    draft.call("depthwise_grad_weight", x, dy, draft.write(op.dweight), t[op.x].shape[0], *literals)


def emit_dense_grad_input(op: DenseGradInput, draft: Draft) -> None:
    """Rows of dy by the weights as they lie."""
    rows, inner = draft.tensors[op.dx].shape
    dy, weight = draft.read(op.dy), draft.read(op.weight)
    draft.call("dense_grad_input", dy, weight, draft.write(op.dx), rows, inner, draft.tensors[op.dy].shape[1])


def emit_dense_grad_weight(op: DenseGradWeight, draft: Draft) -> None:
    """Outer products summed over the rows."""
    out, inner = draft.tensors[op.dweight].shape
    x, dy = draft.read(op.x), draft.read(op.dy)
    rows = draft.tensors[op.x].shape[0]
    draft.call("dense_grad_weight", x, dy, draft.write(op.dweight), rows, inner, out)


def emit_bias_grad(op: BiasGrad, draft: Draft) -> None:
    """Sums of columns; of many rows in groups, whose sums are added in their order."""
    dy = draft.tensors[op.dy]
    channels = dy.shape[-1]
    rows = dy.size // channels
    groups = math.gcd(rows, MOST_GROUPS) if dy.size >= LEAST_GROUPED else 1
    source, target = draft.read(op.dy), draft.write(op.dbias)
    if groups == 1:
        draft.call("bias_grad", source, target, rows, channels)
        return
    sums, step = draft.scratch(groups * channels * 4), channels * 4
    each = source.stepping(dy.nbytes // groups)
    draft.call("bias_grad", each, sums.stepping(step), rows // groups, channels, times=groups)
    draft.call("add_runs", sums, target, groups, channels)


def emit_relu_grad(op: ReluGrad, draft: Draft) -> None:
    """Element by element, over dy where nothing reads it later."""
    dy, y = draft.read(op.dy), draft.read(op.y)
    bounds = (float_bits(op.minimum), float_bits(math.inf if op.maximum is None else op.maximum))
    dx = draft.write(op.dx, over=op.dy)
    draft.call("relu_grad", dy, y, dx, draft.tensors[op.dx].size, *bounds)


def emit_max_pool_grad(op: MaxPool2dGrad, draft: Draft) -> None:
    """One call an image."""
    dy = draft.read(op.dy).stepping(image_bytes(draft, op.dy))
    x = draft.read(op.x).stepping(image_bytes(draft, op.x))
    dx = draft.write(op.dx).stepping(image_bytes(draft, op.dx))
    images = draft.tensors[op.dx].shape[0]
    draft.call("max_pool_grad", dy, x, dx, *_pool_window(op, draft.tensors), times=images)


def emit_average_pool_grad(op: AveragePool2dGrad, draft: Draft) -> None:
    """One call an image."""
    dy = draft.read(op.dy).stepping(image_bytes(draft, op.dy))
    dx = draft.write(op.dx).stepping(image_bytes(draft, op.dx))
    images = draft.tensors[op.dx].shape[0]
    draft.call("average_pool_grad", dy, dx, *_pool_window(op, draft.tensors), times=images)


def emit_pad_grad(op: PadGrad, draft: Draft) -> None:
    """A transpose that moves no axis, from the first element inside the border."""
    outer, inner = draft.tensors[op.dy].shape, draft.tensors[op.dx].shape
    steps = [math.prod(outer[axis + 1 :]) for axis in range(len(outer))]
    corner = sum(before * step for before, step in zip(op.before, steps))
    size, missing = np.dtype(np.float32).itemsize, 6 - len(inner)
    source = draft.read(op.dy) + corner * size
    extents, strides = (*[1] * missing, *inner), (*[0] * missing, *steps)
    draft.call("transpose", source, draft.write(op.dx), size, *extents, *strides)


def emit_softmax_cross_entropy(op: SoftmaxCrossEntropy, draft: Draft) -> None:
    """Probabilities row by row, and the mean loss."""
    logits, labels = draft.read(op.logits), draft.read(op.labels)
    loss, probabilities = draft.write(op.loss), draft.write(op.probabilities)
    rows, classes = draft.tensors[op.logits].shape
    draft.call("softmax_cross_entropy", logits, labels, loss, probabilities, rows, classes)


def emit_softmax_cross_entropy_grad(op: SoftmaxCrossEntropyGrad, draft: Draft) -> None:
    """Element by element, over the probabilities where nothing reads them later."""
    probabilities, labels = draft.read(op.probabilities), draft.read(op.labels)
    dlogits = draft.write(op.dlogits, over=op.probabilities)
    rows, classes = draft.tensors[op.dlogits].shape
    draft.call("softmax_cross_entropy_grad", probabilities, labels, dlogits, rows, classes)


def emit_sgd_momentum(op: SgdMomentum, draft: Draft) -> None:
    """In the variables' block."""
    places = (op.parameter, op.velocity, op.gradient, op.learning_rate, op.momentum)
    size = draft.tensors[op.parameter].size
    draft.call("sgd_momentum", *(draft.read(name) for name in places), size)


_HEADER = "training_portable.h"

LOWERINGS: Rows = {
    Conv2dGradInput: (Lowering(all_float, emit_conv2d_grad_input, _HEADER),),
    Conv2dGradWeight: (Lowering(all_float, emit_conv2d_grad_weight, _HEADER),),
    DepthwiseConv2dGradInput: (Lowering(all_float, emit_depthwise_grad_input, _HEADER),),
    DepthwiseConv2dGradWeight: (Lowering(all_float, emit_depthwise_grad_weight, _HEADER),),
    DenseGradInput: (Lowering(all_float, emit_dense_grad_input, _HEADER),),
    DenseGradWeight: (Lowering(all_float, emit_dense_grad_weight, _HEADER),),
    BiasGrad: (Lowering(all_float, emit_bias_grad, _HEADER),),
    ReluGrad: (Lowering(all_float, emit_relu_grad, _HEADER),),
    MaxPool2dGrad: (Lowering(all_float, emit_max_pool_grad, _HEADER),),
    AveragePool2dGrad: (Lowering(all_float, emit_average_pool_grad, _HEADER),),
    PadGrad: (Lowering(padded_float, emit_pad_grad),),
    SoftmaxCrossEntropy: (Lowering(labelled, emit_softmax_cross_entropy, _HEADER),),
    SoftmaxCrossEntropyGrad: (Lowering(labelled, emit_softmax_cross_entropy_grad, _HEADER),),
    SgdMomentum: (Lowering(all_float, emit_sgd_momentum, _HEADER),),
}
