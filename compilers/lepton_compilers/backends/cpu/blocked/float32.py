"""float32 rows on maps blocked by 16 channels: kernels/blocked_f32.h, winograd_f32.h.

Each instruction set's header gives their lanes; what differs besides is their tiles, tiles/float32.py.
Weights that are variables are packed at every call by the portable rows; those here take constants.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.cpu.blocked.float32_forms import (
    adding,
    constant_products,
    depthwise,
    depthwise3x3,
    equal_maps,
    few_channels,
    float_maps,
    grouped_pointwise,
    pointwise,
    three_by_three,
    winograd,
)
from lepton_compilers.backends.cpu.blocked.joined_maps import JOINED
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, Blocked, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable import elementwise, layers, recurrent_f32
from lepton_compilers.backends.cpu.portable.layers import (
    Products,
    float_bounds,
    pool_window,
)
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_compilers.backends.cpu.tiles.avx512 import group_inputs
from lepton_compilers.backends.cpu.tiles.float32 import BY_HEADER, FloatTiles
from lepton_compilers.backends.cpu.weights.packing import Array, float_panels, padded
from lepton_compilers.backends.cpu.weights.winograd import places, transformed_panels
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Concat,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    GroupedConv2d,
    MaxPool2d,
    Relu,
)

FloatArray = npt.NDArray[np.float32]
Convolution = Conv2d | ConvAdd


def _tiles(draft: Draft) -> FloatTiles:
    return BY_HEADER[draft.header]


def padded_bias(op: Products, draft: Draft) -> Place:
    """The bias for whole blocks of channels: what lacks is zero."""
    value = draft.value(op.bias) if op.bias else None
    channels = draft.tensors[op.y].shape[-1]
    return draft.constant(padded(np.zeros(channels, np.float32) if value is None else value, 0))


def _known(op: Products, draft: Draft) -> bool:
    """Whether weights and bias are constants, not variables that a function may change."""
    return draft.value(op.weight) is not None and (op.bias is None or draft.value(op.bias) is not None)


def _weight(op: Products, draft: Draft) -> FloatArray:
    return np.asarray(draft.value(op.weight), np.float32)


def bordered(x: Blocked, op: Conv2d, draft: Draft) -> tuple[Blocked, int, int]:
    """The form `x` of the operand with its border of zeros written out, and its rows and columns then."""
    p = op.padding
    images, h, w, channels = draft.tensors[op.x].shape
    if not p:
        return x, h, w
    rows, columns = h + p.top + p.bottom, w + p.left + p.right
    grown = Blocked(Place(""), images, rows * columns, channels, x.element_bytes)
    grown = draft.map_of(grown)
    # Two bfloat16 move as one float32: zeros and copies are the same.
    words = LANES * x.element_bytes // 4
    border = (h, w * words, p.top, p.bottom, p.left * words, p.right * words)
    draft.call("pad_f32", x.place, grown.place, images * blocks(channels), *border)
    return grown, rows, columns


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
    conv = op.conv if isinstance(op, ConvAdd) else op
    arguments = (source, draft.constant(panels), padded_bias(conv, draft))
    images = draft.tensors[op.y].shape[0]
    if isinstance(op, Conv2d):
        y = draft.write_blocked(op.y)
        target = y.place.stepping(y.image_bytes)
        bounds = float_bounds(op.clamp)
        draft.call(kernel, *arguments, target, *scratch, *literals, *bounds, times=images)
        return
    residual = draft.read_blocked(op.residual)
    # The kernel reads x around what it has written already: only another tensor may be overwritten.
    over = None if op.residual == conv.x else draft.overwritable(op.residual)
    y = draft.write_blocked(op.y, over=over)
    places = (residual.place.stepping(y.image_bytes), y.place.stepping(y.image_bytes))
    bounds = float_bounds(op.add.clamp)
    kernel = kernel.replace("_f32", "_add_f32")
    draft.call(kernel, *arguments, *places, *scratch, *literals, *bounds, times=images)


def _of_constants(emit: Callable[[Convolution, Draft], None]) -> Callable[[Convolution, Draft], None]:
    """`emit` where the weights are constants; the portable rows, in turn, where they are variables."""

    def either(op: Convolution, draft: Draft) -> None:
        conv = op.conv if isinstance(op, ConvAdd) else op
        if _known(conv, draft):
            emit(op, draft)
            return
        layers.emit_conv2d_float(conv, draft)
        if isinstance(op, ConvAdd):
            draft.header = elementwise.HEADER
            elementwise.emit_add_float(op.add, draft)

    return either


def emit_few_channels(op: Convolution, draft: Draft) -> None:
    """Rows of a few channels with their border; a kernel row is one run of them."""
    conv = op.conv if isinstance(op, ConvAdd) else op
    images, h, w, c = draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    weight, p = _weight(conv, draft), conv.padding
    kh, kw = weight.shape[1:3]
    wide = (p.left + w + p.right) * c
    image_bytes, rows = (h + p.top + p.bottom) * wide * 4, draft.read(conv.x)
    if p:
        source, rows = rows, draft.scratch(image_bytes * images, 4)
        draft.call("pad_f32", source, rows, images, h, w * c, p.top, p.bottom, p.left * c, p.right * c)
    mr, nv = draft.tile("conv_f32", op, _tiles(draft).spatial(ow, o, taps=1))
    steps = (conv.stride[1] * c, LANES, conv.dilation[0] * wide, conv.stride[0] * wide, LANES)
    panels = float_panels(weight.reshape(o, kh, kw * c, 1), nv)
    literals = (*steps, kh, 1, kw * c, oh, ow, o, mr, nv)
    _convolve("conv_f32", op, draft, rows.stepping(image_bytes), panels, literals)


def emit_pointwise(op: Convolution, draft: Draft) -> None:
    """1 × 1: pixels in one row."""
    conv = op.conv if isinstance(op, ConvAdd) else op
    x, o = draft.read_blocked(conv.x), draft.tensors[conv.y].shape[3]
    mr, nv = draft.tile("pointwise_f32", op, _tiles(draft).product(x.pixels, o))
    panels = float_panels(_weight(conv, draft).reshape(o, 1, x.channels, 1), nv)
    source = x.place.stepping(x.image_bytes)
    _convolve("pointwise_f32", op, draft, source, panels, (x.pixels, x.channels, o, mr, nv))


def emit_grouped_pointwise(op: GroupedConv2d, draft: Draft) -> None:
    """1 × 1 in groups: each panel of outputs reads the blocks that hold its groups' inputs."""
    if not _known(op, draft):
        layers.emit_grouped_float(op, draft)
        return
    x, weight, bias = draft.read_blocked(op.x), _weight(op, draft), padded_bias(op, draft)
    o, inner = weight.shape[0], weight.shape[3]
    each = o // (x.channels // inner)
    full = np.zeros((blocks(o) * LANES, x.channels), np.float32)
    for channel in range(o):
        first = channel // each * inner
        full[channel, first : first + inner] = weight[channel, 0, 0]
    mr, nv = draft.tile("pointwise_f32", op, _tiles(draft).group(x.pixels, o, each, inner))
    y, block_bytes = draft.write_blocked(op.y), x.pixels * LANES * x.element_bytes
    with draft.together():
        for block in range(0, blocks(o), nv):
            begin, end = block * LANES, min((block + nv) * LANES, o)
            first, last = group_inputs(begin, end, each, inner)
            part = full[begin : -(-end // LANES) * LANES, first:last]
            panels = draft.constant(float_panels(part.reshape(len(part), 1, last - first, 1), nv))
            draft.call(
                "pointwise_f32",
                (x.place + first // LANES * block_bytes).stepping(x.image_bytes),
                panels,
                bias + begin * x.element_bytes,
                (y.place + block * block_bytes).stepping(y.image_bytes),
                *(x.pixels, last - first, len(part), mr, min(nv, blocks(len(part))), *float_bounds(op.clamp)),
                times=x.images,
            )


def emit_conv3x3(op: Convolution, draft: Draft) -> None:
    """3 × 3: each input loaded once a kernel row for its three columns."""
    conv = op.conv if isinstance(op, ConvAdd) else op
    _, _, ow, o = draft.tensors[conv.y].shape
    _direct3x3(op, draft, *draft.tile("conv3x3_f32", op, _tiles(draft).spatial(ow, o, taps=3)))


def _direct3x3(op: Convolution, draft: Draft, mr: int, nv: int) -> None:
    conv = op.conv if isinstance(op, ConvAdd) else op
    x, (_, h, w, c) = draft.read_blocked(conv.x), draft.tensors[conv.x].shape
    _, oh, ow, o = draft.tensors[conv.y].shape
    panels = float_panels(_weight(conv, draft).transpose(0, 1, 3, 2), nv)
    shape = (h, w, c, oh, ow, o, conv.stride[0], conv.padding.top, conv.padding.left, mr, nv)
    _convolve("conv3x3_f32", op, draft, x.place.stepping(x.image_bytes), panels, shape)


def emit_winograd(op: Convolution, draft: Draft) -> None:
    """3 × 3 at stride 1 with fewer products: tiles of inputs and weights transformed."""
    conv = op.conv if isinstance(op, ConvAdd) else op
    (_, h, w, c), (_, oh, ow, o) = draft.tensors[conv.x].shape, draft.tensors[conv.y].shape
    tile = m, together, mr, nv = draft.tile("winograd_f32", op, _tiles(draft).winograd(oh, ow, c, o))
    if m == 0:
        _direct3x3(op, draft, mr, nv)
        return
    x = draft.read_blocked(conv.x)
    panels = transformed_panels(_weight(conv, draft), m, nv)
    scratch = places(m) * (blocks(c) + blocks(o)) * LANES * together * x.element_bytes
    literals = (h, w, c, oh, ow, o, conv.padding.top, conv.padding.left, *tile)
    _convolve("winograd_f32", op, draft, x.place.stepping(x.image_bytes), panels, literals, scratch)


def emit_conv2d(op: Convolution, draft: Draft) -> None:
    """Any kernel, stride and dilation, on a map with its border written out."""
    conv = op.conv if isinstance(op, ConvAdd) else op
    x, h, w = bordered(draft.read_blocked(conv.x), conv, draft)
    weight = _weight(conv, draft)
    o, kh, kw, c = weight.shape
    _, oh, ow, _ = draft.tensors[conv.y].shape
    mr, nv = draft.tile("conv_f32", op, _tiles(draft).spatial(ow, o, taps=1))
    row, (sh, sw), (dh, dw) = w * LANES, conv.stride, conv.dilation
    steps = (sw * LANES, dw * LANES, dh * row, sh * row, h * row)
    panels = float_panels(weight.reshape(o, kh * kw, c, 1), nv)
    literals = (*steps, kh, kw, c, oh, ow, o, mr, nv)
    _convolve("conv_f32", op, draft, x.place.stepping(x.image_bytes), panels, literals)


def emit_depthwise3x3(op: DepthwiseConv2d, draft: Draft) -> None:
    """3 × 3: two rows of outputs share the rows of their windows."""
    mr, ry = draft.tile("depthwise3x3_f32", op, _tiles(draft).depthwise(*draft.tensors[op.y].shape[1:3]))
    p = op.padding
    _slide("depthwise3x3_f32", op, draft, (op.stride[0], p.top, p.left, mr, ry))


def emit_depthwise(op: DepthwiseConv2d, draft: Draft) -> None:
    """Any kernel."""
    p = op.padding
    window = (*draft.tensors[op.weight].shape[:2], *op.stride, p.top, p.left, *op.dilation)
    _slide("depthwise_f32", op, draft, window)


def _slide(kernel: str, op: DepthwiseConv2d, draft: Draft, window: tuple[int, ...]) -> None:
    if not _known(op, draft):
        layers.emit_depthwise_float(op, draft)
        return
    x, (_, h, w, c) = draft.read_blocked(op.x), draft.tensors[op.x].shape
    taps = padded(_weight(op, draft), 2)
    weight = taps.reshape(-1, taps.shape[2] // LANES, LANES).transpose(1, 0, 2)
    arguments = (x.place.stepping(x.image_bytes), draft.constant(weight), padded_bias(op, draft))
    y = draft.write_blocked(op.y)
    literals = (h, w, c, *draft.tensors[op.y].shape[1:3], *window, *float_bounds(op.clamp))
    draft.call(kernel, *arguments, y.place.stepping(y.image_bytes), *literals, times=x.images)


def emit_dense(op: Dense, draft: Draft) -> None:
    """Rows as they lie: dense, or what a pool of a whole map left in blocks."""
    if not _known(op, draft):
        layers.emit_dense_float(op, draft)
        return
    (rows, inner), o = draft.tensors[op.x].shape, draft.tensors[op.y].shape[1]
    place, step = _rows(op, draft)
    weight = _weight(op, draft).reshape(o, 1, inner, 1)
    y, bounds = draft.write(op.y), float_bounds(op.clamp)
    if rows == 1:
        (nv,) = draft.tile("row_f32", op, _tiles(draft).row(o))
        panels = draft.constant(float_panels(weight, nv))
        draft.call("row_f32", place, panels, padded_bias(op, draft), y, inner, o, nv, *bounds)
        return
    mr, nv = draft.tile("dense_f32", op, _tiles(draft).product(rows, o))
    panels = draft.constant(float_panels(weight, nv))
    draft.call("dense_f32", place, panels, padded_bias(op, draft), y, rows, step, inner, o, mr, nv, *bounds)


def _row_products(draft: Draft, x: Place, weight: FloatArray, bias: FloatArray, y: Place, rows: int) -> None:
    """Rows of x, dense, by weights [O, K], as recurrent layers want them."""
    out, inner = weight.shape
    mr, nv = _tiles(draft).product(rows, out)[0]
    panels = draft.constant(float_panels(weight.reshape(out, 1, inner, 1), nv))
    extents = (rows, inner, inner, out, mr, nv)
    draft.call("dense_f32", x, panels, draft.constant(bias), y, *extents, *float_bounds(None))


def _rows(op: Dense, draft: Draft) -> tuple[Place, int]:
    """Where the rows of x begin, and floats from one to the next."""
    inner = draft.tensors[op.x].shape[1]
    blocked = draft.existing_rows(op.x)
    if blocked is not None and blocked.pixels == 1:
        return blocked.place, blocked.image_bytes // blocked.element_bytes
    return draft.read(op.x), inner


def emit_add(op: Add, draft: Draft) -> None:
    """All channels alike, padding included; dense where both operands are."""
    if draft.is_dense(op.a, op.b):
        draft.header = elementwise.HEADER
        elementwise.emit_add_float(op, draft)
        return
    a, b = draft.read_blocked(op.a), draft.read_blocked(op.b)
    y = draft.write_blocked(op.y, over=draft.overwritable(op.a))
    draft.call("add_f32", a.place, b.place, y.place, y.nbytes // y.element_bytes, *float_bounds(op.clamp))


def emit_clamp(op: ClampTo | Relu, draft: Draft) -> None:
    """All channels alike, padding included; dense where the operand is."""
    if draft.is_dense(op.x):
        if isinstance(op, Relu):
            layers.emit_relu(op, draft)
        else:
            layers.emit_clamp_float(op, draft)
        return
    x = draft.read_blocked(op.x)
    y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
    bounds = layers.relu_bounds(op) if isinstance(op, Relu) else float_bounds(op.clamp)
    draft.call("clamp_f32", x.place, y.place, y.nbytes // y.element_bytes, *bounds)


def _pooled(kernel: str, op: AveragePool2d | MaxPool2d, draft: Draft, window: tuple[int, ...]) -> None:
    x, y = draft.read_blocked(op.x), draft.write_blocked(op.y)
    source, target = x.place.stepping(x.image_bytes), y.place.stepping(y.image_bytes)
    draft.call(kernel, source, target, *window, *float_bounds(op.clamp), times=x.images)


def emit_average_pool(op: AveragePool2d, draft: Draft) -> None:
    """A block at a time; a window that is the whole map in several sums; dense where the map is."""
    if draft.is_dense(op.x):
        layers.emit_average_pool_float(op, draft)
        return
    _, h, w, c = draft.tensors[op.x].shape
    if op.kernel == (h, w) and not op.padding:
        _pooled("global_average_f32", op, draft, (h * w, c))
    else:
        _pooled("average_pool_f32", op, draft, pool_window(op, draft))


def emit_max_pool(op: MaxPool2d, draft: Draft) -> None:
    """A block at a time; dense where the map is."""
    if draft.is_dense(op.x):
        layers.emit_max_pool_float(op, draft)
        return
    _pooled("max_pool_f32", op, draft, pool_window(op, draft))


def lowerings(header: str) -> Rows:
    """The rows whose kernels stand on the lanes of `header`."""
    convolutions = (
        (few_channels, _of_constants(emit_few_channels)),
        (pointwise, _of_constants(emit_pointwise)),
        (winograd, _of_constants(emit_winograd)),
        (three_by_three, _of_constants(emit_conv3x3)),
        (constant_products, _of_constants(emit_conv2d)),
    )
    return {
        Conv2d: tuple(Lowering(accepts, emit, header) for accepts, emit in convolutions),
        ConvAdd: tuple(Lowering(adding(accepts), emit, header) for accepts, emit in convolutions),
        DepthwiseConv2d: (
            Lowering(depthwise3x3, emit_depthwise3x3, header),
            Lowering(depthwise, emit_depthwise, header),
        ),
        GroupedConv2d: (Lowering(grouped_pointwise, emit_grouped_pointwise, header),),
        Dense: (Lowering(constant_products, emit_dense, header),),
        Add: (Lowering(equal_maps, emit_add, header),),
        AveragePool2d: (Lowering(float_maps, emit_average_pool, header),),
        MaxPool2d: (Lowering(float_maps, emit_max_pool, header),),
        ClampTo: (Lowering(float_maps, emit_clamp, header),),
        Relu: (Lowering(float_maps, emit_clamp, header),),
        Concat: (JOINED,),
        **recurrent_f32.lowerings(_row_products, header),
    }
