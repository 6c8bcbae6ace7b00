"""Pools: windows that slide, gathered ones where no operation slides them, and whole maps."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import relax

from lepton_compilers.importers.onnx.rules.gathered_windows import gathered_average, max_pool_with_places
from lepton_compilers.importers.onnx.rules.windows import cut_to_fit, rounds_up, sliding_axes, window
from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_targets.errors import BadInputError

op = relax.op

MAX_POOLS = {1: op.nn.max_pool1d, 2: op.nn.max_pool2d, 3: op.nn.max_pool3d}
AVERAGE_POOLS = {1: op.nn.avg_pool1d, 2: op.nn.avg_pool2d, 3: op.nn.avg_pool3d}


def _kernel(n: Node) -> list[int]:
    kernel = n.attribute("kernel_shape", None)
    if kernel is None:
        raise BadInputError(f"layer '{n.name}' ({n.operator}) has no kernel_shape")
    return [int(k) for k in kernel]


def _max_pool(n: Node) -> Result:
    if len(n.wanted) > 1 and n.wanted[1]:
        return max_pool_with_places(n)
    axes = sliding_axes(n)
    w = window(n, _kernel(n), n.shape()[2:])
    ceil = rounds_up(n)
    w = cut_to_fit(w, n.shape()[2:]) if ceil else w
    return MAX_POOLS[axes](
        n[0],
        pool_size=list(w.kernel),
        strides=list(w.stride),
        padding=w.padding,
        dilation=list(w.dilation),
        ceil_mode=ceil,
    )


def _average_pool(n: Node) -> Result:
    axes = sliding_axes(n)
    w = window(n, _kernel(n), n.shape()[2:])
    ceil = rounds_up(n)
    w = cut_to_fit(w, n.shape()[2:]) if ceil else w
    counted = bool(n.attribute("count_include_pad", 0))
    if any(d != 1 for d in w.dilation) or (ceil and axes == 3) or (ceil and counted):
        return gathered_average(n, w, ceil, counted)
    return AVERAGE_POOLS[axes](
        n[0],
        pool_size=list(w.kernel),
        strides=list(w.stride),
        padding=w.padding,
        dilation=list(w.dilation),
        ceil_mode=ceil,
        count_include_pad=counted,
    )


def _global(mean: bool) -> Converter:
    def rule(n: Node) -> Result:
        axes = list(range(2, len(n.shape())))
        reduce = op.mean if mean else op.max
        return reduce(n[0], axis=axes, keepdims=True)

    return rule


RULES: Mapping[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global(mean=True),
    "GlobalMaxPool": _global(mean=False),
    "MaxPool": _max_pool,
}
