"""Reference rules of the training operations: float32 gradients, the loss and the update, on numpy.

A sliding product is undone tap by tap: each place of the kernel reads or writes one strided view of the
padded map, so that stride, padding and dilation are slices and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lepton_sdk.program.operations import Operation
from lepton_sdk.program.rule import Array, Rule, Values, windows
from lepton_sdk.program.tensors import Padding, Tensors
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

Pair = tuple[int, int]


def _taps(
    padded: Array, size: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, Array]]:
    """(ky, kx, view [N, OH, OW, C]) for every place of a kernel: what it sees while it slides."""
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, x = ky * dilation[0], kx * dilation[1]
            rows = slice(y, y + (size[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(x, x + (size[1] - 1) * stride[1] + 1, stride[1])
            yield ky, kx, padded[:, rows, columns]


def _bordered(shape: tuple[int, ...], padding: Padding) -> Array:
    """Zeros in the shape of a feature map [N, H, W, C] with its border."""
    n, h, w, channels = shape
    return np.zeros(
        (n, h + padding.top + padding.bottom, w + padding.left + padding.right, channels), np.float32
    )


def _inner(padded: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    """The feature map inside its border."""
    return np.ascontiguousarray(
        padded[:, padding.top : padding.top + shape[1], padding.left : padding.left + shape[2]]
    )


def _conv2d_grad_input(op: Conv2dGradInput, v: Values, t: Tensors) -> tuple[Array, ...]:
    dy, weight, shape = v[op.dy], v[op.weight], t[op.dx].shape
    padded = _bordered(shape, op.padding)
    for ky, kx, place in _taps(padded, dy.shape[1:3], weight.shape[1:3], op.stride, op.dilation):
        place += dy @ weight[:, ky, kx]
    return (_inner(padded, shape, op.padding),)


def _conv2d_grad_weight(op: Conv2dGradWeight, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, dy = v[op.x], v[op.dy]
    out, kh, kw, channels = t[op.dweight].shape
    columns = windows(x, (kh, kw), op.stride, op.padding, op.dilation, 0).transpose(0, 1, 2, 4, 5, 3)
    sums = dy.reshape(-1, out).T @ columns.reshape(-1, kh * kw * channels)
    return (sums.reshape(out, kh, kw, channels),)


def _depthwise_grad_input(op: DepthwiseConv2dGradInput, v: Values, t: Tensors) -> tuple[Array, ...]:
    dy, weight, shape = v[op.dy], v[op.weight], t[op.dx].shape
    padded, channels = _bordered(shape, op.padding), shape[3]
    for ky, kx, place in _taps(padded, dy.shape[1:3], weight.shape[:2], op.stride, op.dilation):
        place += (dy * weight[ky, kx]).reshape(*dy.shape[:3], channels, -1).sum(axis=4)
    return (_inner(padded, shape, op.padding),)


def _depthwise_grad_weight(op: DepthwiseConv2dGradWeight, v: Values, t: Tensors) -> tuple[Array, ...]:
    dy = v[op.dy]
    kh, kw, out = t[op.dweight].shape
    x = np.repeat(v[op.x], out // v[op.x].shape[3], axis=3)
    columns = windows(x, (kh, kw), op.stride, op.padding, op.dilation, 0)
    return (np.einsum("nhwcij,nhwc->ijc", columns, dy),)


def _dense_grad_input(op: DenseGradInput, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.dy] @ v[op.weight],)


def _dense_grad_weight(op: DenseGradWeight, v: Values, t: Tensors) -> tuple[Array, ...]:
    return (v[op.dy].T @ v[op.x],)


def _bias_grad(op: BiasGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    dy = v[op.dy]
    return (dy.reshape(-1, dy.shape[-1]).sum(axis=0),)


def _relu_grad(op: ReluGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    y = v[op.y]
    passes = y > np.float32(op.minimum)
    if op.maximum is not None:
        passes &= y < np.float32(op.maximum)
    return (np.where(passes, v[op.dy], np.float32(0)),)


def _max_pool_grad(op: MaxPool2dGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    x, dy = v[op.x], v[op.dy]
    view = windows(x, op.kernel, op.stride, op.padding, (1, 1), -np.inf)
    winner = view.reshape(*view.shape[:4], -1).argmax(axis=4)
    padded = _bordered(x.shape, op.padding)
    for ky, kx, place in _taps(padded, dy.shape[1:3], op.kernel, op.stride, (1, 1)):
        place += np.where(winner == ky * op.kernel[1] + kx, dy, np.float32(0))
    return (_inner(padded, x.shape, op.padding),)


def _average_pool_grad(op: AveragePool2dGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    dy, shape = v[op.dy], t[op.dx].shape
    ones = np.ones((1, *shape[1:3], 1), np.float32)
    count = windows(ones, op.kernel, op.stride, op.padding, (1, 1), 0).sum(axis=(4, 5))
    share = dy * (np.float32(1) / count)
    padded = _bordered(shape, op.padding)
    for _, _, place in _taps(padded, dy.shape[1:3], op.kernel, op.stride, (1, 1)):
        place += share
    return (_inner(padded, shape, op.padding),)


def _pad_grad(op: PadGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    inside = tuple(slice(before, before + n) for before, n in zip(op.before, t[op.dx].shape))
    return (np.ascontiguousarray(v[op.dy][inside]),)


def _unmasked(labels: Array, classes: int) -> tuple[Array, np.float32]:
    """Which rows count, and how many they are (at least 1, so that it can divide)."""
    rows = (labels >= 0) & (labels < classes)
    return rows, np.float32(max(int(rows.sum()), 1))


def _softmax_cross_entropy(op: SoftmaxCrossEntropy, v: Values, t: Tensors) -> tuple[Array, ...]:
    logits, labels = v[op.logits], v[op.labels]
    rows, count = _unmasked(labels, logits.shape[1])
    centred = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(centred)
    sums = weights.sum(axis=1, keepdims=True)
    chosen = np.take_along_axis(centred, np.where(rows, labels, 0)[:, None].astype(np.int64), axis=1)
    losses = np.where(rows, (np.log(sums) - chosen)[:, 0], np.float32(0))
    return np.atleast_1d(losses.sum(dtype=np.float32) / count), weights / sums


def _softmax_cross_entropy_grad(op: SoftmaxCrossEntropyGrad, v: Values, t: Tensors) -> tuple[Array, ...]:
    probabilities, labels = v[op.probabilities], v[op.labels]
    rows, count = _unmasked(labels, probabilities.shape[1])
    wanted = labels[:, None] == np.arange(probabilities.shape[1], dtype=labels.dtype)
    difference = (probabilities - wanted.astype(np.float32)) * (np.float32(1) / count)
    return (np.where(rows[:, None], difference, np.float32(0)),)


def _sgd_momentum(op: SgdMomentum, v: Values, t: Tensors) -> tuple[Array, ...]:
    velocity = v[op.momentum] * v[op.velocity] + v[op.gradient]
    return v[op.parameter] - v[op.learning_rate] * velocity, velocity


TRAINING_RULES: Mapping[type[Operation], Rule] = {
    Conv2dGradInput: _conv2d_grad_input,
    Conv2dGradWeight: _conv2d_grad_weight,
    DepthwiseConv2dGradInput: _depthwise_grad_input,
    DepthwiseConv2dGradWeight: _depthwise_grad_weight,
    DenseGradInput: _dense_grad_input,
    DenseGradWeight: _dense_grad_weight,
    BiasGrad: _bias_grad,
    ReluGrad: _relu_grad,
    MaxPool2dGrad: _max_pool_grad,
    AveragePool2dGrad: _average_pool_grad,
    PadGrad: _pad_grad,
    SoftmaxCrossEntropy: _softmax_cross_entropy,
    SoftmaxCrossEntropyGrad: _softmax_cross_entropy_grad,
    SgdMomentum: _sgd_momentum,
}
