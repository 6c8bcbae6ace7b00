"""Rows of float32 operations whose products are bfloat16, kernels/avx512bf16.h: x86-64 with AVX512-BF16.

They stand before those of float32.py where the user allows them. What is rounded, and where:
lepton_sdk.program.bfloat16. Maps between such layers lie in memory as bfloat16; weights are rounded here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.blocked import float32
from lepton_compilers.backends.cpu.blocked.float32 import padded_bias
from lepton_compilers.backends.cpu.blocked.float32_forms import (
    adding,
    equal_maps,
    few_channels,
    pointwise,
    three_by_three,
)
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, Blocked, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import Products, float_bounds
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd, convolution
from lepton_compilers.backends.cpu.tiles.bfloat16 import (
    product_tile,
    tile_bytes,
    tiles_together,
    window_tile,
)
from lepton_compilers.backends.cpu.weights.packing import Array, bfloat16_panels
from lepton_sdk.program import Tensors
from lepton_sdk.program.bfloat16 import multiplies, rounded
from lepton_sdk.program.bfloat16_winograd import PLACES, transformed_weight, transforms
from lepton_sdk.program.operations import Add, Conv2d, Dense, GroupedConv2d

HEADER = "avx512bf16.h"
Convolution = Conv2d | ConvAdd


# What is accepted


def _multiplies(op: Products, t: Tensors) -> Answer:
    return when(multiplies(op, t), "products that stay float32")


def _rounding(form: Callable[[Conv2d, Tensors], Answer]) -> Callable[[Conv2d, Tensors], Answer]:
    """The same form, where its operands are rounded."""

    def accepts(op: Conv2d, t: Tensors) -> Answer:
        answer = form(op, t)
        return answer if isinstance(answer, No) else _multiplies(op, t)

    return accepts


def _transforms(op: Conv2d, t: Tensors) -> Answer:
    return when(transforms(op, t), "a map that is not transformed")


# What is emitted


def _weight(op: Products, draft: Draft) -> npt.NDArray[np.float32]:
    value = draft.value(op.weight)
    assert value is not None  # accepted
    return rounded(np.asarray(value, np.float32))


def _result(name: str, draft: Draft, over: Blocked | None = None) -> Blocked:
    """Where a map goes: as bfloat16 where it is kept so."""
    return draft.write_bfloat16(name, over) if name in draft.kept else draft.write_blocked(name, over)


def _convolve(
    kernel: str,
    op: Convolution,
    draft: Draft,
    source: Place,
    panels: Array,
    literals: tuple[int, ...],
    scratch_bytes: int = 0,
) -> None:
    """Call `kernel`, an image at a time; of a ConvAdd its form that adds, over the residual if that dies."""
    scratch = (draft.scratch(scratch_bytes),) if scratch_bytes else ()
    arguments = (source, draft.constant(panels), padded_bias(convolution(op), draft))
    images = draft.tensors[op.y].shape[0]
    if isinstance(op, Conv2d):
        y = _result(op.y, draft)
        target = y.place.stepping(y.image_bytes)
        last = (y.element_bytes, *float_bounds(op.clamp))
        draft.call(kernel, *arguments, target, *scratch, *literals, *last, times=images)
        return
    narrow = op.residual in draft.kept
    residual = draft.read_bfloat16(op.residual) if narrow else draft.read_blocked(op.residual)
    over = None
    # The kernel reads x around what it has written already: only another tensor may be overwritten.
    if op.residual != op.conv.x and narrow == (op.y in draft.kept):
        over = draft.overwritable_bfloat16(op.residual) if narrow else draft.overwritable(op.residual)
    y = _result(op.y, draft, over)
    maps = (residual.place.stepping(residual.image_bytes), y.place.stepping(y.image_bytes))
    bounds = (y.element_bytes, residual.element_bytes, *float_bounds(op.add.clamp))
    kernel = kernel.replace("_bf16", "_add_bf16")
    draft.call(kernel, *arguments, *maps, *scratch, *literals, *bounds, times=images)


def emit_few_channels(op: Convolution, draft: Draft) -> None:
    """Rows of a few channels with their border; a kernel row is one run of them."""
    conv = convolution(op)
    images, h, w, c = draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    weight, p = _weight(conv, draft), conv.padding
    kh, kw = weight.shape[1:3]
    wide, x = (p.left + w + p.right) * c, draft.read(conv.x)
    image_bytes = (h + p.top + p.bottom) * wide * 2
    rows = draft.scratch(image_bytes * images)
    draft.call("border_bf16", x, rows, images, h, w * c, p.top, p.bottom, p.left * c, p.right * c)
    mr, nv = product_tile(ow, blocks(o))
    steps = (conv.stride[1] * c, LANES, conv.dilation[0] * wide, conv.stride[0] * wide, LANES)
    panels = bfloat16_panels(weight.reshape(o, kh, kw * c, 1), nv)
    literals = (*steps, kh, 1, kw * c, oh, ow, o, mr, nv)
    _convolve("conv_bf16", op, draft, rows.stepping(image_bytes), panels, literals)


def emit_pointwise(op: Convolution, draft: Draft) -> None:
    """1 × 1: pixels in one row."""
    conv = convolution(op)
    x, o = draft.read_bfloat16(conv.x), draft.tensors[conv.y].shape[3]
    mr, nv = product_tile(x.pixels, blocks(o))
    panels = bfloat16_panels(_weight(conv, draft).reshape(o, 1, x.channels, 1), nv)
    source = x.place.stepping(x.image_bytes)
    _convolve("pointwise_bf16", op, draft, source, panels, (x.pixels, x.channels, o, mr, nv))


def emit_grouped_pointwise(op: GroupedConv2d, draft: Draft) -> None:
    """1 × 1 in groups: each panel of outputs reads the blocks that hold its groups' inputs."""
    x, weight, bias = draft.read_bfloat16(op.x), _weight(op, draft), padded_bias(op, draft)
    o, inner = weight.shape[0], weight.shape[3]
    each = o // (x.channels // inner)
    full = np.zeros((blocks(o) * LANES, x.channels), np.float32)
    for channel in range(o):
        first = channel // each * inner
        full[channel, first : first + inner] = weight[channel, 0, 0]
    mr, nv = product_tile(x.pixels, blocks(o))
    y, run = _result(op.y, draft), x.pixels * LANES
    for block in range(0, blocks(o), nv):
        begin, end = block * LANES, min((block + nv) * LANES, o)
        first = begin // each * inner // LANES * LANES
        last = ((end - 1) // each + 1) * inner
        part = full[begin : -(-end // LANES) * LANES, first:last]
        draft.call(
            "pointwise_bf16",
            (x.place + first // LANES * run * x.element_bytes).stepping(x.image_bytes),
            draft.constant(bfloat16_panels(part.reshape(len(part), 1, last - first, 1), nv)),
            bias + begin * 4,
            (y.place + block * run * y.element_bytes).stepping(y.image_bytes),
            *(x.pixels, last - first, len(part), mr, min(nv, blocks(len(part)))),
            *(y.element_bytes, *float_bounds(op.clamp)),
            times=x.images,
        )


def emit_conv3x3(op: Convolution, draft: Draft) -> None:
    """3 × 3: each input loaded once a kernel row for its three columns."""
    conv = convolution(op)
    x, (_, h, w, c) = draft.read_bfloat16(conv.x), draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    mr, nv = window_tile(ow, blocks(o))
    panels = bfloat16_panels(_weight(conv, draft).transpose(0, 1, 3, 2), nv)
    shape = (h, w, c, oh, ow, o, conv.stride[0], conv.padding.top, conv.padding.left, mr, nv)
    _convolve("conv3x3_bf16", op, draft, x.place.stepping(x.image_bytes), panels, shape)


def emit_winograd(op: Convolution, draft: Draft) -> None:
    """3 × 3 at stride 1 of many channels: tiles of 2 × 2, transformed and rounded; 16 products for 36."""
    conv = convolution(op)
    x, (_, h, w, c) = draft.read_bfloat16(conv.x), draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    value = draft.value(conv.weight)
    assert value is not None  # accepted
    tiles = -(-oh // 2) * -(-ow // 2)
    together = tiles_together(tiles, c)
    mr, nv = product_tile(together, blocks(o))
    weight = rounded(transformed_weight(np.asarray(value, np.float32)))
    panels = bfloat16_panels(weight.reshape(o, PLACES, c, 1), nv)
    literals = (h, w, c, oh, ow, o, conv.padding.top, conv.padding.left, together, mr, nv, 0, tiles)
    scratch = tile_bytes(c, nv) * together
    _convolve("winograd_bf16", op, draft, x.place.stepping(x.image_bytes), panels, literals, scratch)


def emit_conv2d(op: Convolution, draft: Draft) -> None:
    """Any kernel, stride and dilation, on a map with its border written out."""
    conv = convolution(op)
    x, h, w = float32.bordered(draft.read_bfloat16(conv.x), conv, draft)
    weight = _weight(conv, draft)
    o, kh, kw, c = weight.shape
    _, oh, ow, _ = draft.tensors[conv.y].shape
    mr, nv = product_tile(ow, blocks(o))
    row, (sh, sw), (dh, dw) = w * LANES, conv.stride, conv.dilation
    steps = (sw * LANES, dw * LANES, dh * row, sh * row, h * row)
    panels = bfloat16_panels(weight.reshape(o, kh * kw, c, 1), nv)
    literals = (*steps, kh, kw, c, oh, ow, o, mr, nv)
    _convolve("conv_bf16", op, draft, x.place.stepping(x.image_bytes), panels, literals)


def emit_dense(op: Dense, draft: Draft) -> None:
    """Dense rows, rounded."""
    (rows, inner), o = draft.tensors[op.x].shape, draft.tensors[op.y].shape[1]
    weight = _weight(op, draft).reshape(o, 1, inner, 1)
    narrow = draft.scratch(rows * inner * 2)
    draft.call("narrow_bf16", draft.read(op.x), narrow, rows * inner)
    bounds = float_bounds(op.clamp)
    if rows == 1:
        nv = min(blocks(o), 8)
        panels = draft.constant(bfloat16_panels(weight, nv))
        draft.call(
            "row_bf16", narrow, panels, padded_bias(op, draft), draft.write(op.y), inner, o, nv, *bounds
        )
        return
    mr, nv = product_tile(rows, blocks(o))
    panels, bias = draft.constant(bfloat16_panels(weight, nv)), padded_bias(op, draft)
    draft.call("dense_bf16", narrow, panels, bias, draft.write(op.y), rows, inner, inner, o, mr, nv, *bounds)


def emit_add(op: Add, draft: Draft) -> None:
    """A sum in float32, rounded where it is kept so."""
    float32.emit_add(op, draft)
    if op.y in draft.kept:
        draft.narrow(op.y)


_CONVOLUTIONS = (
    (_rounding(few_channels), emit_few_channels, HEADER),
    (_rounding(pointwise), emit_pointwise, HEADER),
    (_rounding(_transforms), emit_winograd, "avx512bf16_winograd.h"),
    (_rounding(three_by_three), emit_conv3x3, HEADER),
    (_multiplies, emit_conv2d, HEADER),
)

LOWERINGS: Rows = {
    Conv2d: tuple(Lowering(accepts, emit, header) for accepts, emit, header in _CONVOLUTIONS),
    ConvAdd: tuple(Lowering(adding(accepts), emit, header) for accepts, emit, header in _CONVOLUTIONS),
    GroupedConv2d: (Lowering(_multiplies, emit_grouped_pointwise, HEADER),),
    Dense: (Lowering(_multiplies, emit_dense, HEADER),),
    Add: (Lowering(equal_maps, emit_add, HEADER),),
}
