"""A convolution of which only parts are read computes those parts: causal padding cut off again, gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from lepton_compilers.passes.graph import (
    ADD,
    CONV2D,
    Expr,
    Graph,
    Var,
    integers,
    is_constant,
    is_var,
    operands,
    operator,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite

STRIDED_SLICE = "relax.strided_slice"
Range = tuple[int, int]


def cut_convolutions(module: Any) -> Any:
    """slice(conv(x)) is a convolution with less padding, or with some of the output channels.

    After to_nhwc, which brings a slice of a map next to its layer; before canonicalise. Padding of a whole
    kernel's reach whose surplus is cut off behind it (a causal layer, as temporal convolutional networks are
    written) costs no products, and a split into gates no copies. Where a part needs fewer places than a
    window has padding, or parts overlap, the layer and its slices stay.
    """
    graph = Graph(module["main"])
    readers: dict[Var, list[Expr]] = {}
    for binding in graph.bindings:
        for x in operands(binding.value):
            readers.setdefault(graph.resolve(x), []).append(binding)
    results = {graph.resolve(var) for var in graph.results}

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        if operator(old) != STRIDED_SLICE or not is_var(old.args[0]):
            return None
        source = rewriter.graph.resolve(old.args[0])
        conv, bias = _layer(rewriter.graph, source)
        if conv is None or source in results:
            return None
        parts = [_ranges(binding.value) for binding in readers[source]]
        if any(part is None for part in parts):
            return None
        wanted = sum(int(np.prod([last - first for first, last in part])) for part in parts if part)
        if wanted > int(np.prod(shape(source))):
            return None
        ranges = _ranges(old)
        return None if ranges is None else _cut(rewriter, var, conv, bias, ranges)

    return rewrite(module, visit)


def _layer(graph: Graph, source: Var) -> tuple[Expr | None, Expr | None]:
    """The convolution that a variable is, and its constant bias, where nothing else reads it without that."""
    definition, bias = graph.definition(source), None
    if operator(definition) == ADD and is_var(definition.args[0]) and is_constant(definition.args[1]):
        bias, inner = definition.args[1], graph.resolve(definition.args[0])
        if graph.uses(inner) != 1 or value(bias).size not in (1, shape(source)[-1]):
            return None, None
        definition = graph.definition(inner)
    plain = operator(definition) == CONV2D and str(definition.attrs.data_layout) == "NHWC"
    return (definition, bias) if plain else (None, None)


def _ranges(call: Expr) -> list[Range] | None:
    """First and last + 1 along every axis of a slice; None of what is none, or takes steps."""
    if operator(call) != STRIDED_SLICE:
        return None
    extents = shape(call.args[0])
    axes, first, last, *steps = [[int(n.value) for n in part.fields] for part in call.args[1:]]
    if any(step != 1 for step in (steps[0] if steps else ())):
        return None
    ranges = [(0, n) for n in extents]
    for axis, begin, end in zip(axes, first, last):
        n = extents[axis]
        places = range(n)[begin:end]
        ranges[axis] = (places.start, places.stop)
    return ranges


def _cut(rewriter: Rewriter, var: Var, conv: Expr, bias: Expr | None, ranges: list[Range]) -> Expr | None:
    """The convolution that computes these ranges of rows, columns and channels; None where there is none."""
    a, x, weight = conv.attrs, conv.args[0], rewriter.mapped(conv.args[1])
    layout, groups = str(a.kernel_layout), int(a.groups)
    if ranges[0] != (0, shape(x)[0]) or layout not in ("HWIO", "HWOI"):
        return None
    before, after = [], []
    padding = integers(a.padding)
    for axis, extent, tap, stride, dilation in zip(
        (0, 1), shape(x)[1:3], shape(weight)[:2], integers(a.strides), integers(a.dilation)
    ):
        first, last = ranges[1 + axis]
        reach = (tap - 1) * dilation + 1
        before.append(padding[axis] - first * stride)
        last_place = (last - first - 1) * stride + reach
        # What a stride leaves unread behind the last window counts for no padding.
        after.append(max(last_place - extent - before[-1], 0))
        if before[-1] < 0 or (extent + before[-1] + after[-1] - reach) // stride + 1 != last - first:
            return None
    first, last = ranges[3]
    if (first, last) != (0, shape(weight)[3] if layout == "HWIO" else shape(weight)[2]):
        if not is_constant(weight) or layout != "HWIO" or groups != 1:
            return None
        weight = relax.const(np.ascontiguousarray(value(weight)[..., first:last]))
    cut = relax.op.nn.conv2d(
        rewriter.mapped(x),
        weight,
        strides=integers(a.strides),
        padding=[*before, *after],
        dilation=integers(a.dilation),
        groups=groups,
        data_layout="NHWC",
        kernel_layout=layout,
    )
    if bias is None:
        return cut
    held = value(bias)
    if held.size > 1:
        held = np.ascontiguousarray(held[..., first:last])
    return relax.op.add(rewriter.emit(cut, f"{var.name}/cut"), relax.const(held))
