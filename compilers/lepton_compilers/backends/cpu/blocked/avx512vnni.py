"""The rows of x86-64 with AVX512-VNNI: int8 feature maps blocked by 16 channels, kernels/avx512vnni.h.

What has no row here runs in its portable form; the draft converts between the layouts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No
from lepton_compilers.backends.cpu.blocked.int8_forms import (
    adding,
    depthwise,
    depthwise3x3,
    few_channels,
    int8_add,
    int8_maps,
    pointwise,
    three_by_three,
)
from lepton_compilers.backends.cpu.blocked.joined_maps import JOINED
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, Blocked, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import (
    Products,
    add_constants,
    int8_products,
    int_bounds,
    mean_constants,
    pool_window,
    typed,
)
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd, convolution
from lepton_compilers.backends.cpu.tiles.avx512 import (
    dense_tiles,
    depthwise_tiles,
    matrix_tiles,
    pointwise_tiles,
    row_tiles,
    spatial_tiles,
)
from lepton_compilers.backends.cpu.weights.packing import (
    Array,
    depthwise_fours,
    depthwise_pairs,
    depthwise_quads,
    flattened_columns,
    padded,
    vnni_panels,
)
from lepton_compilers.backends.cpu.weights.ranges import leaves_int32
from lepton_sdk.program import Padding, Tensors
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Table,
)

HEADER = "avx512vnni.h"
MOST_ROW_TAPS = 9
"""Of a depthwise kernel row whose windows share what they read: more are more code than they save time."""

Int8Array = npt.NDArray[np.int8]


# What is emitted


def _unsigned_bounds(op: Products | Add | AveragePool2d | MaxPool2d | ClampTo) -> tuple[int, int]:
    low, high = int_bounds(op.clamp)
    return low + 128, high + 128


def _weight(op: Products, draft: Draft) -> Int8Array:
    weight = draft.value(op.weight)
    assert weight is not None  # accepted
    return np.asarray(weight, np.int8)


def _biases(op: Products, draft: Draft) -> Place:
    """Biases for u8 inputs, bias − (zx + 128)·Σw modulo 2^32, padded to 16 channels."""
    weight = _weight(op, draft)
    axes = (0, 1) if isinstance(op, DepthwiseConv2d) else tuple(range(1, weight.ndim))
    bias = draft.value(op.bias) if op.bias else None
    start = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
    total = start - (draft.tensors[op.x].zero_point + 128) * weight.sum(axes, dtype=np.int64)
    # The wrapped start is exact again once the sum is complete: the sum itself fits in int32.
    wrapped = (total & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return draft.constant(padded(wrapped, 0))


def _multipliers(op: Products, draft: Draft) -> npt.NDArray[np.float32]:
    """A multiplier for every channel."""
    multiplier = draft.value(op.multiplier or "")
    assert multiplier is not None  # accepted
    return np.broadcast_to(multiplier, draft.tensors[op.y].shape[-1:]).astype(np.float32)


def _sums(op: Products, draft: Draft) -> tuple[Place, Place]:
    """Biases and multipliers, both padded to 16 channels."""
    return _biases(op, draft), draft.constant(padded(_multipliers(op, draft), 0))


def _result(op: Products, draft: Draft) -> tuple[int, ...]:
    """zy, lo, hi, wide."""
    wide = int(leaves_int32(op, draft.tensors))
    return (draft.tensors[op.y].zero_point + 128, *_unsigned_bounds(op), wide)


def _bordered(op: Conv2d | DepthwiseConv2d, draft: Draft) -> tuple[Blocked, int, int]:
    """x with its border written out, and its rows and columns then."""
    x, p = draft.read_blocked(op.x), op.padding
    images, h, w, channels = draft.tensors[op.x].shape
    if not p:
        return x, h, w
    rows, columns = h + p.top + p.bottom, w + p.left + p.right
    grown = Blocked(Place(""), images, rows * columns, channels)
    grown = draft.map_of(grown)
    border = (h, w, p.top, p.bottom, p.left, p.right, draft.tensors[op.x].zero_point + 128)
    draft.call(
        "pad_map_u8",
        x.place.stepping(x.image_bytes),
        grown.place.stepping(grown.image_bytes),
        blocks(channels),
        *border,
        times=images,
    )
    return grown, rows, columns


def _skippable(padding: Padding, zero_point: int) -> bool:
    """Whether taps on the border may be left out: they add nothing, and there is one a side at most."""
    widest = max(padding.top, padding.bottom, padding.left, padding.right)
    return not padding or (zero_point == -128 and widest <= 1)


def _around(op: Conv2d | DepthwiseConv2d, draft: Draft) -> tuple[Blocked, int, int, Padding]:
    """x for a kernel that skips borders, written out where it can't; rows, columns, padding left to skip."""
    if _skippable(op.padding, draft.tensors[op.x].zero_point):
        _, h, w, _ = draft.tensors[op.x].shape
        return draft.read_blocked(op.x), h, w, op.padding
    return *_bordered(op, draft), Padding()


def _addition(op: Add, minuend: str, draft: Draft) -> tuple[int, ...]:
    """base, multipliers of `minuend` and of the other operand, shift, zy, lo, hi."""
    t = draft.tensors
    ma, mb, shift = add_constants(op, t)
    base = (1 << (shift - 1)) - (t[op.a].zero_point + 128) * ma - (t[op.b].zero_point + 128) * mb
    factors = (ma, mb) if op.a == minuend else (mb, ma)
    return (base, *factors, shift, t[op.y].zero_point + 128, *_unsigned_bounds(op))


def _convolve(
    kernel: str,
    op: Conv2d | ConvAdd,
    draft: Draft,
    source: Place,
    columns: Array,
    literals: tuple[int, ...],
) -> None:
    """Call `kernel`, an image at a time; of a ConvAdd the one that adds, over a residual that dies."""
    conv = convolution(op)
    weights, (bias, multiplier) = draft.constant(columns), _sums(conv, draft)
    images = draft.tensors[op.y].shape[0]
    arguments, literals = (source, weights, bias, multiplier), (*literals, *_result(conv, draft))
    if isinstance(op, Conv2d):
        y = draft.write_blocked(op.y)
        draft.call(kernel, *arguments, y.place.stepping(y.image_bytes), *literals, times=images)
        return
    residual = draft.read_blocked(op.residual)
    # The kernel reads x around what it has written already: only another tensor may be overwritten.
    over = None if op.residual == conv.x else draft.overwritable(op.residual)
    y = draft.write_blocked(op.y, over=over)
    places = (residual.place.stepping(y.image_bytes), y.place.stepping(y.image_bytes))
    literals = (*literals, *_addition(op.add, conv.y, draft))
    draft.call(kernel.replace("_u8", "_add_u8"), *arguments, *places, *literals, times=images)


def emit_few_channels(op: Conv2d | ConvAdd, draft: Draft) -> None:
    """Rows of a few channels, bordered, as bytes; a kernel row is one run of them."""
    conv = convolution(op)
    images, h, w, c = draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    weight, p = _weight(conv, draft), conv.padding
    kh, kw = weight.shape[1:3]
    wide = (p.left + w + p.right) * c
    rows = draft.scratch((h + p.top + p.bottom) * wide * images, 1)
    image = (h + p.top + p.bottom) * wide
    source = draft.read(conv.x)
    border = (h, w * c, p.top, p.bottom, p.left * c, p.right * c, draft.tensors[conv.x].zero_point + 128)
    draft.call("pad_rows_u8", source.stepping(h * w * c), rows.stepping(image), *border, times=images)
    mr, nv = draft.tile("conv_u8", op, spatial_tiles(ow, blocks(o), taps=1))
    steps = (conv.stride[1] * c, 0, conv.dilation[0] * wide, conv.stride[0] * wide, LANES)
    literals = (*steps, kh, 1, -(-kw * c // 4), oh, ow, o, mr, nv)
    columns = vnni_panels(weight.reshape(o, kh, kw * c, 1), nv)
    _convolve("conv_u8", op, draft, rows.stepping(image), columns, literals)


def emit_pointwise(op: Conv2d | ConvAdd, draft: Draft) -> None:
    """1 × 1: pixels in one row."""
    conv = convolution(op)
    x = draft.read_blocked(conv.x)
    o = draft.tensors[conv.y].shape[3]
    mr, nv = draft.tile("pointwise_u8", op, pointwise_tiles(x.pixels, blocks(o)))
    columns = vnni_panels(_weight(conv, draft).reshape(o, 1, x.channels, 1), nv)
    source = x.place.stepping(x.image_bytes)
    _convolve("pointwise_u8", op, draft, source, columns, (x.pixels, x.channels, o, mr, nv))


def emit_conv3x3(op: Conv2d | ConvAdd, draft: Draft) -> None:
    """3 × 3: each input loaded once a kernel row for its three columns."""
    conv = convolution(op)
    x, h, w, padding = _around(conv, draft)
    _, oh, ow, o = draft.tensors[conv.y].shape
    mr, nv = draft.tile("conv3x3_u8", op, spatial_tiles(ow, blocks(o), taps=3))
    columns = vnni_panels(_weight(conv, draft).transpose(0, 1, 3, 2), nv)
    shape = (h, w, x.channels, oh, ow, o, conv.stride[0], padding.top, padding.left, mr, nv)
    _convolve("conv3x3_u8", op, draft, x.place.stepping(x.image_bytes), columns, shape)


def emit_conv2d(op: Conv2d | ConvAdd, draft: Draft) -> None:
    """Any kernel, stride and dilation, on a map with its border written out."""
    conv = convolution(op)
    x, h, w = _bordered(conv, draft)
    weight = _weight(conv, draft)
    o, kh, kw, c = weight.shape
    _, oh, ow, _ = draft.tensors[conv.y].shape
    mr, nv = draft.tile("conv_u8", op, spatial_tiles(ow, blocks(o), taps=1))
    row, (sh, sw), (dh, dw) = w * LANES, conv.stride, conv.dilation
    steps = (sw * LANES, dw * LANES, dh * row, sh * row, h * row)
    literals = (*steps, kh, kw, -(-c // 4), oh, ow, o, mr, nv)
    columns = vnni_panels(weight.reshape(o, kh * kw, c, 1), nv)
    _convolve("conv_u8", op, draft, x.place.stepping(x.image_bytes), columns, literals)


def emit_depthwise3x3(op: DepthwiseConv2d, draft: Draft) -> None:
    """3 × 3: one transpose of four pixels serves two outputs and three kernel rows."""
    x, h, w, padding = _around(op, draft)
    _, oh, ow, _ = draft.tensors[op.y].shape
    weight = draft.constant(depthwise_pairs(_weight(op, draft)))
    bias, multiplier = _sums(op, draft)
    y = draft.write_blocked(op.y)
    mr, rows = draft.tile("depthwise3x3_u8", op, depthwise_tiles(oh, ow, op.stride[0]))
    shape = (h, w, x.channels, oh, ow, op.stride[0], padding.top, padding.left, mr, rows)
    source, target = x.place.stepping(x.image_bytes), y.place.stepping(y.image_bytes)
    literals = (*shape, *_result(op, draft))
    draft.call("depthwise3x3_u8", source, weight, bias, multiplier, target, *literals, times=x.images)


def emit_depthwise(op: DepthwiseConv2d, draft: Draft) -> None:
    """Any kernel, on a map with its border written out.

    Windows in a row share quads of pixels where their columns are neighbours; else four taps a step.
    """
    x, h, w = _bordered(op, draft)
    kernel = draft.tensors[op.weight].shape[:2]
    _, oh, ow, _ = draft.tensors[op.y].shape
    rows = op.dilation[1] == 1 and op.stride[1] <= 2 and kernel[1] <= MOST_ROW_TAPS
    taps = _weight(op, draft)
    weight = draft.constant(depthwise_quads(taps, op.stride[1]) if rows else depthwise_fours(taps))
    bias, multiplier = _sums(op, draft)
    y = draft.write_blocked(op.y)
    shape: tuple[int, ...] = (h, w, x.channels, oh, ow, *kernel, *op.stride, op.dilation[0])
    name = "depthwise_rows_u8" if rows else "depthwise_u8"
    shape += draft.tile(name, op, row_tiles(ow, 16)) if rows else (op.dilation[1],)
    source, target = x.place.stepping(x.image_bytes), y.place.stepping(y.image_bytes)
    arguments = (source, weight, bias, multiplier, target)
    draft.call(name, *arguments, *shape, *_result(op, draft), times=x.images)


def emit_dense(op: Dense, draft: Draft) -> None:
    """One row, or tiles of several; a flattened map is read as it lies, the weights follow its order.

    Reading the weights from the second-level cache takes most of a single row's time: one multiplier stands
    for all where they are alike, and what is read before the weights stands before them.
    """
    x = draft.read_rows(op.x)
    o = draft.tensors[op.y].shape[1]
    weight = flattened_columns(_weight(op, draft), x.pixels, x.channels)
    groups = -(-x.channels // 4) if x.pixels == 1 else weight.shape[1] // 4
    if x.images == 1:
        (nv,) = draft.tile("dense_u8", op, dense_tiles(blocks(o)))
    else:
        mr, nv = draft.tile("dense_rows_u8", op, matrix_tiles(x.images, blocks(o)))
    factors = _multipliers(op, draft)
    alike = bool((factors == factors[0]).all())
    bias = _biases(op, draft)
    multiplier = draft.constant(factors[:1].repeat(LANES) if alike else padded(factors, 0))
    columns = draft.constant(vnni_panels(weight[:, None, : groups * 4, None], nv))
    y = draft.write_blocked(op.y)
    places, result = (x.place, columns, bias, multiplier, y.place), (int(alike), *_result(op, draft))
    if x.images == 1:
        draft.call("dense_u8", *places, groups, o, nv, *result)
    else:
        rows = (x.images, x.image_bytes, y.image_bytes)
        draft.call("dense_rows_u8", *places, *rows, groups, o, mr, nv, *result)


def emit_add(op: Add, draft: Draft) -> None:
    """All channels alike, padding included."""
    a, b = draft.read_blocked(op.a), draft.read_blocked(op.b)
    y = draft.write_blocked(op.y, over=draft.overwritable(op.a))
    draft.call("add_u8", a.place, b.place, y.place, y.nbytes, *_addition(op, op.a, draft))


def _pooled(kernel: str, op: AveragePool2d | MaxPool2d, draft: Draft, literals: tuple[int, ...]) -> None:
    x, y = draft.read_blocked(op.x), draft.write_blocked(op.y)
    source, target = x.place.stepping(x.image_bytes), y.place.stepping(y.image_bytes)
    draft.call(kernel, source, target, *pool_window(op, draft), *literals, times=x.images)


def emit_average_pool(op: AveragePool2d, draft: Draft) -> None:
    """A block at a time."""
    same, sx, sy, zx, zy, _, _ = mean_constants(op, draft.tensors)
    _pooled("average_pool_u8", op, draft, (same, sx, sy, zx, zy + 128, *_unsigned_bounds(op)))


def emit_max_pool(op: MaxPool2d, draft: Draft) -> None:
    """A block at a time."""
    _pooled("max_pool_u8", op, draft, _unsigned_bounds(op))


def emit_clamp(op: ClampTo, draft: Draft) -> None:
    """All bytes alike."""
    x = draft.read_blocked(op.x)
    y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
    draft.call("clamp_u8", x.place, y.place, y.nbytes, *_unsigned_bounds(op))


def emit_table(op: Table, draft: Draft) -> None:
    """All bytes alike, by a table of u8; dense where x is."""
    values = draft.value(op.table)
    assert values is not None  # accepted
    if not draft.is_blocked(op.x):
        # By the bytes of int8, of which -128 comes after 127.
        source, table = draft.read(op.x), draft.constant(np.roll(values, 128))
        draft.call("table_u8", source, table, draft.write(op.y, over=op.x), draft.tensors[op.y].size)
        return
    x = draft.read_blocked(op.x)
    table = draft.constant(values.view(np.uint8) ^ np.uint8(0x80))
    y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
    draft.call("table_u8", x.place, table, y.place, y.nbytes)


def _constant_table(op: Table, t: Tensors) -> Answer:
    answer = typed(t, "int8", op.x, op.y)
    return answer if isinstance(answer, No) or t[op.table].value is not None else No("a table that varies")


_CONVOLUTIONS = (
    (few_channels, emit_few_channels),
    (pointwise, emit_pointwise),
    (three_by_three, emit_conv3x3),
    (int8_products, emit_conv2d),
)

LOWERINGS: Rows = {
    Conv2d: tuple(Lowering(accepts, emit, HEADER) for accepts, emit in _CONVOLUTIONS),
    ConvAdd: tuple(Lowering(adding(accepts), emit, HEADER) for accepts, emit in _CONVOLUTIONS),
    DepthwiseConv2d: (
        Lowering(depthwise3x3, emit_depthwise3x3, HEADER),
        Lowering(depthwise, emit_depthwise, HEADER),
    ),
    Dense: (Lowering(int8_products, emit_dense, HEADER),),
    Add: (Lowering(int8_add, emit_add, HEADER),),
    AveragePool2d: (Lowering(int8_maps, emit_average_pool, HEADER),),
    MaxPool2d: (Lowering(int8_maps, emit_max_pool, HEADER),),
    ClampTo: (Lowering(int8_maps, emit_clamp, HEADER),),
    Table: (Lowering(_constant_table, emit_table, HEADER),),
    Concat: (JOINED,),
}
