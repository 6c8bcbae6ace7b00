"""PyTorch's convolutions, pools and pads → Relax, where TVM's converters take less or mean something else.

ceil_mode, counted padding and 'same' become widths in numbers, which is all that a Program knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import relax

from lepton_compilers.importers.torch.layers import Node, Rule, TorchLayers
from lepton_compilers.passes.graph import Expr, shape


def average_pool(layers: TorchLayers, node: Node) -> Expr:
    """avg_pool2d. Zeros that count are padded before; where windows reach further, nothing counts."""
    x, size, stride, padding, _, counted, divisor = layers.arguments(node, [], 0, False, True, None)
    if divisor is not None:
        raise layers.refused(node, f"divides by {divisor} instead of the window's size")
    _check_batch(layers, node, x, 4)
    rows, columns = _each(padding, 2)
    widths = [rows, columns]
    if counted and any(widths):
        x = layers.emit(relax.op.nn.pad(x, [0, 0, 0, 0, rows, rows, columns, columns]))
        widths = [0, 0]
    return _pool(node, relax.op.nn.avg_pool2d, x, size, stride, widths, [1, 1])


def max_pool(layers: TorchLayers, node: Node) -> Expr:
    """max_pool2d."""
    x, size, stride, padding, dilation, _ = layers.arguments(node, [], 0, 1, False)
    _check_batch(layers, node, x, 4)
    return _pool(node, relax.op.nn.max_pool2d, x, size, stride, _each(padding, 2), _each(dilation, 2))


def max_pool_with_places(layers: TorchLayers, node: Node) -> tuple[Expr, None]:
    """max_pool2d_with_indices, whose second result is nobody's."""
    return max_pool(layers, node), None


def _pool(
    node: Node,
    pool: Callable[..., Expr],
    x: Expr,
    size: Any,
    stride: Any,
    before: Sequence[int],
    dilation: Sequence[int],
) -> Expr:
    """ceil_mode is padding below and right, as far as the result that PyTorch gives reaches."""
    size = _each(size, 2)
    stride = _each(stride, 2) if stride else size
    wanted = result_shape(node)[2:]
    after = []
    for axis in (0, 1):
        reach = (wanted[axis] - 1) * stride[axis] + (size[axis] - 1) * dilation[axis] + 1
        after.append(max(before[axis], reach - shape(x)[2 + axis] - before[axis]))
    return pool(
        x,
        pool_size=size,
        strides=stride,
        padding=[*before, *after],
        dilation=list(dilation),
        layout="NCHW",
    )


def adaptive_mean(layers: TorchLayers, node: Node) -> Expr:
    """adaptive_avg_pool1d and 2d: a mean over axes, a pool of equal windows, or TVM's own."""
    found = _adaptive(layers, node, relax.op.mean, relax.op.nn.avg_pool2d)
    if found is not None:
        return found
    two = len(result_shape(node)) == 4
    return layers._adaptive_avg_pool2d(node) if two else layers._adaptive_avg_pool1d(node)


def adaptive_maximum(layers: TorchLayers, node: Node) -> tuple[Expr, None]:
    """adaptive_max_pool2d, whose second result is nobody's."""
    found = _adaptive(layers, node, relax.op.max, relax.op.nn.max_pool2d)
    if found is None:
        given, wanted = shape(layers.env[node.args[0]]), result_shape(node)
        raise layers.refused(node, f"pools {given} to {wanted} by windows of several sizes")
    return found, None


def _adaptive(layers: TorchLayers, node: Node, reduce: Callable[..., Expr], pool: Any) -> Expr | None:
    x, wanted = layers.env[node.args[0]], result_shape(node)
    given = shape(x)
    axes = [axis for axis in range(len(given)) if given[axis] != wanted[axis]]
    if not axes:
        return x
    if all(wanted[axis] == 1 for axis in axes):
        return reduce(x, axes, keepdims=True)
    if any(n % m for n, m in zip(given, wanted)):
        return None
    window = [n // m for n, m in zip(given[2:], wanted[2:])]
    if len(given) == 3:
        row = layers.emit(relax.op.expand_dims(x, 2))
        pooled = layers.emit(pool(row, pool_size=[1, *window], strides=[1, *window], layout="NCHW"))
        return relax.op.squeeze(pooled, [2])
    return pool(x, pool_size=window, strides=window, layout="NCHW") if len(given) == 4 else None


def convolution(layers: TorchLayers, node: Node) -> Expr:
    """conv1d and conv2d, with padding in numbers or by name; of 'same' an odd width goes to the end."""
    x, weight, bias, stride, padding, dilation, groups = layers.arguments(node, None, 1, 0, 1, 1)
    window = shape(weight)[2:]
    _check_batch(layers, node, x, len(window) + 2)
    steps = _each(dilation, len(window))
    if isinstance(padding, str):
        total = [step * (extent - 1) * (padding == "same") for extent, step in zip(window, steps)]
        padding = [n // 2 for n in total] + [n - n // 2 for n in total]
    convert = layers._conv1d_impl if len(window) == 1 else layers._conv2d_impl
    return convert(x, weight, bias, stride, padding, steps, groups)


def pad(layers: TorchLayers, node: Node) -> Expr:
    """pad and constant_pad_nd, which may also cut places off in PyTorch."""
    if min(node.args[1], default=0) < 0:
        raise layers.refused(node, f"cuts places off by padding of {list(node.args[1])}")
    return layers._pad(node) if node.target.__name__ == "pad.default" else layers._constant_pad_nd(node)


def resize(layers: TorchLayers, node: Node) -> Expr:
    """upsample_nearest2d and upsample_bilinear2d; of a factor that cuts extents short PyTorch makes more."""
    nearest = "nearest" in node.target.__name__
    x, _, *corners, factors = layers.arguments(node, None)
    given, wanted = shape(x)[2:], result_shape(node)[2:]
    if factors is not None and any(n * f != m for n, f, m in zip(given, factors, wanted)):
        raise layers.refused(node, f"resizes {given} by {factors} to {wanted}; whole extents are supported")
    mode = "asymmetric" if nearest else "align_corners" if corners[0] else "half_pixel"
    resized = relax.op.image.resize2d(
        layers.emit(relax.op.permute_dims(x, [0, 2, 3, 1])),
        wanted,
        layout="NHWC",
        method="nearest_neighbor" if nearest else "linear",
        coordinate_transformation_mode=mode,
        rounding_method="floor" if nearest else "",
    )
    return relax.op.permute_dims(layers.emit(resized), [0, 3, 1, 2])


def result_shape(node: Node) -> tuple[int, ...]:
    """The shape that PyTorch gives a node's first result."""
    found = node.meta["val"]
    return tuple(int(n) for n in (found[0] if isinstance(found, tuple | list) else found).shape)


def _check_batch(layers: TorchLayers, node: Node, x: Expr, rank: int) -> None:
    if len(shape(x)) != rank:
        raise layers.refused(node, f"reads {shape(x)} without a batch; {rank} axes are supported")


def _each(given: Any, count: int) -> list[int]:
    """As many integers as axes."""
    values = [int(n) for n in given] if isinstance(given, list | tuple) else [int(given)]
    return values * count if len(values) == 1 else values


RULES: Mapping[str, Rule] = {
    "adaptive_avg_pool1d.default": adaptive_mean,
    "adaptive_avg_pool2d.default": adaptive_mean,
    "_adaptive_avg_pool2d.default": adaptive_mean,
    "adaptive_max_pool2d.default": adaptive_maximum,
    "avg_pool2d.default": average_pool,
    "max_pool2d.default": max_pool,
    "max_pool2d_with_indices.default": max_pool_with_places,
    **dict.fromkeys(("conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding"), convolution),
    "pad.default": pad,
    "constant_pad_nd.default": pad,
    "upsample_bilinear2d.vec": resize,
    "upsample_nearest2d.vec": resize,
}
