"""PyTorch in float64 as an oracle: the same network, loss and gradients, computed by another's code."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_sdk.program import Operation, Program
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Relu,
    Reshape,
    Transpose,
)
from lepton_sdk.program.training import SoftmaxCrossEntropy


def loss_and_gradients(
    program: Program, features: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of `evaluate` and its gradient for every trainable variable."""
    import torch

    values: dict[str, Any] = {
        name: torch.tensor(tensor.value.astype(np.float64))
        for name, tensor in program.tensors.items()
        if tensor.value is not None and tensor.dtype == "float32"
    }
    parameters = [variable.tensor for variable in program.variables if variable.trainable]
    for name in parameters:
        values[name].requires_grad_(True)
    body = program.function("evaluate")
    values[body.inputs[0]] = torch.tensor(features.astype(np.float64))
    loss: Any = None
    for op in body.operations:
        if isinstance(op, SoftmaxCrossEntropy):
            wanted = torch.tensor(labels.astype(np.int64))
            loss = torch.nn.functional.cross_entropy(values[op.logits], wanted, ignore_index=-1)
        else:
            values[op.outputs[0]] = _forward(op, values, program)
    loss.backward()
    return loss.item(), {name: values[name].grad.numpy() for name in parameters}


def _forward(op: Operation, v: dict[str, Any], program: Program) -> Any:
    import torch
    import torch.nn.functional as f

    def padded(x: Any, p: Any, value: float = 0.0) -> Any:
        return f.pad(x, (p.left, p.right, p.top, p.bottom), value=value)

    if isinstance(op, Conv2d):
        x = padded(v[op.x].permute(0, 3, 1, 2), op.padding)
        weight = v[op.weight].permute(0, 3, 1, 2)
        return f.conv2d(x, weight, v[op.bias], op.stride, 0, op.dilation).permute(0, 2, 3, 1)
    if isinstance(op, DepthwiseConv2d):
        x = padded(v[op.x].permute(0, 3, 1, 2), op.padding)
        weight = v[op.weight].permute(2, 0, 1)[:, None]
        y = f.conv2d(x, weight, v[op.bias], op.stride, 0, op.dilation, groups=x.shape[1])
        return y.permute(0, 2, 3, 1)
    if isinstance(op, Dense):
        return f.linear(v[op.x], v[op.weight], v[op.bias])
    if isinstance(op, Add):
        return v[op.a] + v[op.b]
    if isinstance(op, Relu):
        return f.relu(v[op.x]) if op.maximum is None else f.hardtanh(v[op.x], 0.0, op.maximum)
    if isinstance(op, ClampTo):
        return f.hardtanh(v[op.x], op.clamp.low, op.clamp.high)
    if isinstance(op, MaxPool2d):
        x = padded(v[op.x].permute(0, 3, 1, 2), op.padding, -torch.inf)
        return f.max_pool2d(x, op.kernel, op.stride).permute(0, 2, 3, 1)
    if isinstance(op, AveragePool2d):
        x = v[op.x].permute(0, 3, 1, 2)
        ones = torch.ones_like(x[:1, :1])
        area = op.kernel[0] * op.kernel[1]
        total = f.avg_pool2d(padded(x, op.padding), op.kernel, op.stride) * area
        count = f.avg_pool2d(padded(ones, op.padding), op.kernel, op.stride) * area
        return (total / count).permute(0, 2, 3, 1)
    if isinstance(op, Reshape):
        return v[op.x].reshape(program.tensors[op.y].shape)
    if isinstance(op, Transpose):
        return v[op.x].permute(op.axes)
    if isinstance(op, Pad):
        widths = [width for pair in reversed(tuple(zip(op.before, op.after))) for width in pair]
        return f.pad(v[op.x], widths, value=op.value)
    raise AssertionError(f"the oracle knows no {type(op).__name__}")
