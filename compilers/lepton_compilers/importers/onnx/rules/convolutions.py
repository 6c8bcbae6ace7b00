"""Convolutions, transposed and deformed ones too."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tvm import relax

from lepton_compilers.importers.onnx.rules.movement import reshaped
from lepton_compilers.importers.onnx.rules.windows import LETTERS, MOST_PLACES, counts, sliding_axes, window
from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, shape
from lepton_targets.errors import BadInputError

op = relax.op

CONVOLUTIONS = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}
TRANSPOSED = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose, 3: op.nn.conv3d_transpose}


def convolved(n: Node, x: Expr, weight: Expr, bias: Expr | None) -> Expr:
    """Convolution as the node's attributes say."""
    size, axes = shape(x)[2:], sliding_axes(n)
    if len(shape(weight)) != axes + 2:
        raise BadInputError(
            f"layer '{n.name}' has weights of {len(shape(weight))} axes on a map of {axes + 2}"
        )
    w = window(n, shape(weight)[2:], size)
    groups = int(n.attribute("group", 1))
    if groups < 1 or shape(x)[1] != shape(weight)[1] * groups or shape(weight)[0] % groups:
        raise BadInputError(
            f"layer '{n.name}' has weights {shape(weight)} in {groups} groups on {shape(x)[1]} channels"
        )
    y = CONVOLUTIONS[axes](
        x, weight, strides=list(w.stride), padding=w.padding, dilation=list(w.dilation), groups=groups
    )
    return y if bias is None else op.add(n.emit(y), channelwise(n, bias, axes))


def channelwise(n: Node, vector: Expr, axes: int) -> Expr:
    """A number a channel, stretched over the map's axes."""
    return n.emit(reshaped(n, vector, [1, math.prod(shape(vector)), *[1] * axes]))


def _conv(n: Node) -> Result:
    return convolved(n, n[0], n[1], n[2] if n.has(2) else None)


def _conv_transpose(n: Node) -> Result:
    axes, x, weight = sliding_axes(n), n[0], n[1]
    size, kernel = n.shape()[2:], shape(weight)[2:]
    stride = [int(s) for s in n.attribute("strides", [1] * axes)]
    dilation = [int(d) for d in n.attribute("dilations", [1] * axes)]
    extra = [int(e) for e in n.attribute("output_padding", [0] * axes)]
    pads = [int(p) for p in n.attribute("pads", [0] * (2 * axes))]
    groups = int(n.attribute("group", 1))
    if len(kernel) != axes or not len(stride) == len(dilation) == len(extra) == axes or len(pads) != 2 * axes:
        raise BadInputError(
            f"layer '{n.name}' (ConvTranspose) slides over {axes} axes with attributes of others"
        )
    if min((*stride, *dilation, groups)) < 1 or min((*extra, *pads)) < 0:
        raise BadInputError(
            f"layer '{n.name}' (ConvTranspose) has strides, dilations, groups or pads out of range"
        )
    full = [(e - 1) * s + (k - 1) * d + 1 + o for e, s, k, d, o in zip(size, stride, kernel, dilation, extra)]
    auto, wanted = str(n.attribute("auto_pad", "NOTSET")), n.attribute("output_shape", None)
    if wanted is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = (
            [int(w) for w in wanted][-axes:] if wanted is not None else [e * s for e, s in zip(size, stride)]
        )
        total = [f - w for f, w in zip(full, wanted)]
        extra = [o + max(-t, 0) for o, t in zip(extra, total)]
        total = [max(t, 0) for t in total]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        # Where all is said by the output's shape, the odd row goes first, unless SAME_UPPER is asked for.
        pads = [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
    elif auto == "VALID":
        pads = [0] * (2 * axes)
    n.sized([n.shape()[0], shape(weight)[1] * groups, *full], n.kind())
    # Where output_padding reaches beyond the stride, zeros are added behind.
    beyond = [max(o - s + 1, 0) for o, s in zip(extra, stride)]
    y = (
        TRANSPOSED[axes](
            x,
            weight,
            strides=stride,
            padding=[0] * (2 * axes),
            output_padding=[o - b for o, b in zip(extra, beyond)],
            dilation=dilation,
            groups=groups,
            data_layout="NC" + LETTERS[axes],
            kernel_layout="IO" + LETTERS[axes],
        )
        if any(beyond)
        else TRANSPOSED[axes](
            x,
            weight,
            strides=stride,
            padding=pads,
            output_padding=extra,
            dilation=dilation,
            groups=groups,
            data_layout="NC" + LETTERS[axes],
            kernel_layout="IO" + LETTERS[axes],
        )
    )
    if any(beyond):
        y = n.emit(y)
        y = n.emit(op.nn.pad(y, [0, 0, 0, 0, *(w for b in beyond for w in (0, b))]))
        for i in range(axes):
            end = shape(y)[2 + i] - pads[axes + i]
            y = n.emit(op.strided_slice(y, [2 + i], [pads[i]], [end]))
    return y if not n.has(2) else op.add(n.emit(y), channelwise(n, n[2], axes))


def _deformable(n: Node) -> Result:
    """Every place of the window is sampled at its own offset, then multiplied as in a convolution."""
    x, weight, offset = n[0], n[1], n[2]
    batch, channels, height, width = n.shape()
    out, inner, kh, kw = n.shape(1)
    groups, sets = int(n.attribute("group", 1)), int(n.attribute("offset_group", 1))
    w = window(n, [kh, kw], [height, width])
    rows, columns = counts(w, [height, width], False)
    if channels % sets or inner * groups != channels or kh * kw > MOST_PLACES:
        raise n.refused(f"has {sets} sets of offsets and {groups} groups on {channels} channels")
    extents = (batch, channels, kh * kw, rows, columns)
    geometry = [kh, kw, *w.stride, *w.dilation, w.before[0], w.before[1], sets]
    xs = [x, offset, *([n[4]] if n.has(4) else [])]
    sampled = n.own("deformed_windows", xs, extents, n.kind(), geometry=geometry)
    parts = []
    each = out // groups
    for g in range(groups):
        part = sampled
        if groups > 1:
            part = n.emit(op.strided_slice(sampled, [1], [g * inner], [(g + 1) * inner]))
        part = n.emit(op.reshape(part, [batch, inner * kh * kw, rows * columns]))
        kernels = weight
        if groups > 1:
            kernels = n.emit(op.strided_slice(weight, [0], [g * each], [(g + 1) * each]))
        kernels = n.emit(op.reshape(kernels, [each, inner * kh * kw]))
        parts.append(n.emit(op.matmul(kernels, part)))
    y = parts[0] if len(parts) == 1 else n.emit(op.concat(parts, 1))
    y = n.emit(op.reshape(y, [batch, out, rows, columns]))
    return op.add(y, channelwise(n, n[3], 2)) if n.has(3) else y


RULES: Mapping[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deformable,
}
