"""Rows of the instruction sets whose headers give tiles to kernels/blocked.h: int8, blocked by 16 channels.

What differs from one to the next is data: a BlockedKernels. What has no row here runs in its portable form;
the draft converts between the layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_compilers.backends.answers import Answer, No, when
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
from lepton_compilers.backends.cpu.blocked.int8_tiles import BlockedTiles, int8_weight
from lepton_compilers.backends.cpu.blocked.joined_maps import JOINED
from lepton_compilers.backends.cpu.blocked.winograd_pairs import short_convolution, together, transformed
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES, Blocked, blocks
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable import layers
from lepton_compilers.backends.cpu.portable.layers import (
    Products,
    int8_products,
    mean_constants,
    pool_window,
)
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd, convolution
from lepton_compilers.backends.cpu.tiles.avx512 import even, row_tiles
from lepton_compilers.backends.cpu.weights.packing import flattened_columns
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


@dataclass(frozen=True, slots=True)
class BlockedKernels(BlockedTiles):
    """What is emitted for each operation, whatever the instruction set's tiles."""

    def bordered(self, op: Conv2d | DepthwiseConv2d, draft: Draft) -> tuple[Blocked, int, int]:
        """x with its border written out, and its rows and columns then."""
        x, p = draft.read_blocked(op.x), op.padding
        images, h, w, channels = draft.tensors[op.x].shape
        if not p:
            return x, h, w
        rows, columns = h + p.top + p.bottom, w + p.left + p.right
        grown = Blocked(Place(""), images, rows * columns, channels, self.elements.element_bytes)
        grown = draft.map_of(grown)
        border = (h, w, p.top, p.bottom, p.left, p.right, self.zero(draft.tensors[op.x].zero_point))
        source, target = x.place.stepping(x.image_bytes), grown.place.stepping(grown.image_bytes)
        draft.call("pad_map", source, target, blocks(channels), *border, times=images)
        return grown, rows, columns

    def around(
        self, op: Conv2d | DepthwiseConv2d, draft: Draft, leaves_out: bool = True
    ) -> tuple[Blocked, int, int, Padding]:
        """x for a kernel that leaves borders out: written out where it can't; padding left to leave out."""
        p = op.padding
        if not p or (leaves_out and max(p.top, p.bottom, p.left, p.right) <= 1):
            _, h, w, _ = draft.tensors[op.x].shape
            return draft.read_blocked(op.x), h, w, p
        return *self.bordered(op, draft), Padding()

    def products(
        self,
        kernel: str,
        op: Products | ConvAdd,
        draft: Draft,
        source: Place,
        weight: npt.NDArray[np.generic],
        *literals: int,
    ) -> None:
        """One call an image."""
        starts = self.starts(op.conv if isinstance(op, ConvAdd) else op, draft)[:2]
        self.started(kernel, op, draft, source, weight, starts, *literals)

    def started(
        self,
        kernel: str,
        op: Products | ConvAdd,
        draft: Draft,
        source: Place,
        weight: npt.NDArray[np.generic],
        starts: tuple[Place, Place],
        *literals: int,
    ) -> None:
        """One call an image, with starts and multipliers; of a ConvAdd the one that adds, over a residual
        that dies."""
        arguments = (source, draft.constant(weight), *starts)
        if not isinstance(op, ConvAdd):
            y = draft.write_blocked(op.y)
            literals = (*literals, *self.result(op, draft))
            draft.call(kernel, *arguments, y.place.stepping(y.image_bytes), *literals, times=y.images)
            return
        residual = draft.read_blocked(op.residual)
        # The kernel reads x around what it has written already: only another tensor may be overwritten.
        over = None if op.residual == op.conv.x else draft.overwritable(op.residual)
        y = draft.write_blocked(op.y, over=over)
        places = (residual.place.stepping(y.image_bytes), y.place.stepping(y.image_bytes))
        literals = (*literals, *self.result(op.conv, draft), *self.addition(op.add, op.conv.y, draft))
        draft.call(kernel.replace("_map", "_add_map"), *arguments, *places, *literals, times=y.images)

    def emit_few_channels(self, op: Conv2d | ConvAdd, draft: Draft) -> None:
        """Rows of a few channels, bordered; a kernel row is one run of them."""
        conv = convolution(op)
        images, h, w, c = draft.tensors[conv.x].shape
        _, oh, ow, o = draft.tensors[conv.y].shape
        p, zero = conv.padding, draft.tensors[conv.x].zero_point
        _, kh, kw, _ = draft.tensors[conv.weight].shape
        wide = (p.left + w + p.right) * c
        image = (h + p.top + p.bottom) * wide * self.elements.element_bytes
        rows = draft.scratch(image * images, self.elements.element_bytes)
        border = (h, w * c, p.top, p.bottom, p.left * c, p.right * c, self.zero(zero), self.offset(zero))
        source = draft.read(conv.x).stepping(h * w * c)
        draft.call("pad_rows", source, rows.stepping(image), *border, times=images)
        steps = (conv.stride[1] * c, conv.dilation[0] * wide, conv.stride[0] * wide)
        weight, run = int8_weight(conv, draft), kw * c
        each = -(-kh * run // LANES) * LANES
        if -(-kh * run // self.unit) < kh * -(-run // self.unit):
            size = each * self.elements.element_bytes
            windows = draft.scratch((oh * ow * images + 1) * size, self.elements.element_bytes)
            gathered = windows.stepping(oh * ow * size)
            draft.call(
                "gather_windows", rows.stepping(image), gathered, oh, ow, kh, run, *steps, each, times=images
            )
            mr, nv = draft.tile("conv_map", op, self.tiles(oh * ow, o))
            columns = self.panels(weight.reshape(o, 1, kh * run, 1), nv)
            literals = (each, 0, 0, 0, LANES, 1, 1, kh * run, 1, oh * ow, o, mr, nv)
            self.products("conv_map", op, draft, gathered, columns, *literals)
            return
        mr, nv = draft.tile("conv_map", op, self.tiles(ow, o))
        columns = self.panels(weight.reshape(o, kh, run, 1), nv)
        literals = (steps[0], 0, *steps[1:], LANES, kh, 1, run, oh, ow, o, mr, nv)
        self.products("conv_map", op, draft, rows.stepping(image), columns, *literals)

    def emit_pointwise(self, op: Conv2d | ConvAdd, draft: Draft) -> None:
        """1 × 1: pixels in one row."""
        conv = convolution(op)
        x, o = draft.read_blocked(conv.x), draft.tensors[conv.y].shape[3]
        mr, nv = draft.tile("conv_map", op, self.tiles(x.pixels, o))
        columns = self.panels(int8_weight(conv, draft).reshape(o, 1, x.channels, 1), nv)
        steps = (LANES, 0, 0, 0, x.pixels * LANES)
        literals = (*steps, 1, 1, x.channels, 1, x.pixels, o, mr, nv)
        self.products("conv_map", op, draft, x.place.stepping(x.image_bytes), columns, *literals)

    def emit_conv3x3(self, op: Conv2d | ConvAdd, draft: Draft) -> None:
        """3 × 3: each input serves the three columns of a kernel row."""
        conv = convolution(op)
        x, h, w, padding = self.around(conv, draft)
        _, oh, ow, o = draft.tensors[conv.y].shape
        mr, nv = draft.tile("conv3x3_map", op, self.tiles(ow, o, spatial=True))
        weight = int8_weight(conv, draft)
        by_tap = weight.transpose(0, 1, 3, 2) if self.columns_inside else weight.reshape(o, 9, -1, 1)
        *starts, step = self.starts(conv, draft, variants=bool(padding))
        shape = (h, w, x.channels, oh, ow, o, conv.stride[0], padding.top, padding.left, step, mr, nv)
        source = x.place.stepping(x.image_bytes)
        self.started(
            "conv3x3_map", op, draft, source, self.panels(by_tap, nv), (starts[0], starts[1]), *shape
        )

    def emit_winograd(self, op: Conv2d | ConvAdd, draft: Draft) -> None:
        """3 × 3 at stride 1 in fewer products."""
        conv = convolution(op)
        x, h, w, padding = self.around(conv, draft)
        _, oh, ow, o = draft.tensors[conv.y].shape
        mr, nv = draft.tile("winograd_map", op, self.tiles(oh * ow, o))
        count = together(conv, draft.tensors, nv)
        apart = (h * w * LANES, oh * ow * LANES)
        shape = (h, w, x.channels, oh, ow, o, padding.top, padding.left, count, even(count, mr), nv)
        weight = self.panels(transformed(int8_weight(conv, draft)), nv)
        self.products("winograd_map", op, draft, x.place.stepping(x.image_bytes), weight, *apart, *shape)

    def emit_conv2d(self, op: Conv2d | ConvAdd, draft: Draft) -> None:
        """Any kernel, stride and dilation, on a map with its border written out."""
        conv = convolution(op)
        x, h, w = self.bordered(conv, draft)
        o, kh, kw, c = draft.tensors[conv.weight].shape
        _, oh, ow, _ = draft.tensors[conv.y].shape
        mr, nv = draft.tile("conv_map", op, self.tiles(ow, o))
        columns = self.panels(int8_weight(conv, draft).reshape(o, kh * kw, c, 1), nv)
        row = w * LANES
        steps = (
            conv.stride[1] * LANES,
            conv.dilation[1] * LANES,
            conv.dilation[0] * row,
            conv.stride[0] * row,
            h * row,
        )
        literals = (*steps, kh, kw, c, oh, ow, o, mr, nv)
        self.products("conv_map", op, draft, x.place.stepping(x.image_bytes), columns, *literals)

    def emit_dense(self, op: Dense, draft: Draft) -> None:
        """A row at a time; a flattened map is read as it lies, the weights follow its order."""
        x, o = draft.read_rows(op.x), draft.tensors[op.y].shape[1]
        weight = flattened_columns(int8_weight(op, draft), x.pixels, x.channels)
        inner = x.channels if x.pixels == 1 else weight.shape[1]
        _, nv = draft.tile("conv_map", op, self.tiles(1, o))
        columns = self.panels(np.asarray(weight[:, None, :inner, None], np.int8), nv)
        literals = (LANES, 0, 0, 0, LANES, 1, 1, inner, 1, 1, o, 1, nv)
        self.products("conv_map", op, draft, x.place.stepping(x.image_bytes), columns, *literals)

    def emit_depthwise3x3(self, op: DepthwiseConv2d, draft: Draft) -> None:
        """3 × 3: neighbouring windows share what they read."""
        x, h, w, padding = self.around(op, draft, self.depthwise_leaves_out)
        _, oh, ow, _ = draft.tensors[op.y].shape
        taps = self.depthwise3x3(int8_weight(op, draft))
        (mr,) = draft.tile("depthwise3x3_map", op, row_tiles(ow, self.depthwise_pixels))
        *starts, step = self.starts(op, draft, variants=bool(padding))
        shape = (h, w, x.channels, oh, ow, op.stride[0], padding.top, padding.left, step, mr, taps.shape[1])
        source = x.place.stepping(x.image_bytes)
        self.started("depthwise3x3_map", op, draft, source, taps, (starts[0], starts[1]), *shape)

    def emit_depthwise(self, op: DepthwiseConv2d, draft: Draft) -> None:
        """Any kernel, on a map with its border written out."""
        x, h, w = self.bordered(op, draft)
        kernel = draft.tensors[op.weight].shape[:2]
        _, oh, ow, _ = draft.tensors[op.y].shape
        taps = self.depthwise(int8_weight(op, draft))
        shape = (h, w, x.channels, oh, ow, *kernel, *op.stride, *op.dilation, taps.shape[1])
        self.products("depthwise_map", op, draft, x.place.stepping(x.image_bytes), taps, *shape)

    def emit_add(self, op: Add, draft: Draft) -> None:
        """All channels alike, padding included."""
        a, b = draft.read_blocked(op.a), draft.read_blocked(op.b)
        y = draft.write_blocked(op.y, over=draft.overwritable(op.a))
        literals = (y.nbytes // y.element_bytes, *self.addition(op, op.a, draft))
        draft.call("add_map", a.place, b.place, y.place, *literals)

    def emit_average_pool(self, op: AveragePool2d, draft: Draft) -> None:
        """A block at a time."""
        same, sx, sy, _, _, _, _ = mean_constants(op, draft.tensors)
        zero = draft.tensors[op.x].zero_point
        means = (same, sx, sy, self.zero(zero), self.offset(zero), *self.bounds(op, draft))
        self._pooled("average_pool_map", op, draft, *means)

    def emit_max_pool(self, op: MaxPool2d, draft: Draft) -> None:
        """A block at a time."""
        self._pooled("max_pool_map", op, draft, *self.bounds(op, draft)[1:])

    def _pooled(self, kernel: str, op: AveragePool2d | MaxPool2d, draft: Draft, *literals: int) -> None:
        x, y = draft.read_blocked(op.x), draft.write_blocked(op.y)
        source, target = x.place.stepping(x.image_bytes), y.place.stepping(y.image_bytes)
        draft.call(kernel, source, target, *pool_window(op, draft), *literals, times=x.images)

    def emit_clamp(self, op: ClampTo, draft: Draft) -> None:
        """All values alike."""
        x = draft.read_blocked(op.x)
        y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
        draft.call("clamp_map", x.place, y.place, y.nbytes // y.element_bytes, *self.bounds(op, draft)[1:])

    def emit_table(self, op: Table, draft: Draft) -> None:
        """All values alike, by a table of what the map of y holds; dense where x is."""
        if not draft.is_blocked(op.x):
            layers.emit_table(op, draft)
            return
        values, t = draft.value(op.table), draft.tensors
        assert values is not None  # accepted
        held = values.astype(np.int16) - self.offset(t[op.y].zero_point)
        table = draft.constant(held.astype(np.int16 if self.elements.element_bytes == 2 else np.int8))
        x = draft.read_blocked(op.x)
        y = draft.write_blocked(op.y, over=draft.overwritable(op.x))
        literals = (y.nbytes // y.element_bytes, self.offset(t[op.x].zero_point) + 128)
        draft.call("table_map", x.place, table, y.place, *literals)

    def lowerings(self) -> Rows:
        """The table of these kernels."""

        def row(accepts: Callable[..., Answer], emit: Callable[..., None]) -> Lowering:
            return Lowering(accepts, emit, self.header)

        convolutions = (
            (few_channels, self.emit_few_channels),
            (pointwise, self.emit_pointwise),
            *(((short_convolution, self.emit_winograd),) if self.winograd else ()),
            (three_by_three, self.emit_conv3x3),
            (int8_products, self.emit_conv2d),
        )
        return {
            Conv2d: tuple(row(accepts, emit) for accepts, emit in convolutions),
            ConvAdd: tuple(row(adding(accepts), emit) for accepts, emit in convolutions),
            DepthwiseConv2d: (
                row(depthwise3x3, self.emit_depthwise3x3),
                row(depthwise, self.emit_depthwise),
            ),
            Dense: (row(int8_products, self.emit_dense),),
            Add: (row(int8_add, self.emit_add),),
            AveragePool2d: (row(int8_maps, self.emit_average_pool),),
            MaxPool2d: (row(_alike, self.emit_max_pool),),
            ClampTo: (row(_alike, self.emit_clamp),),
            Table: (row(_constant_table, self.emit_table),),
            Concat: (JOINED,),
        }


def _alike(op: MaxPool2d | ClampTo, t: Tensors) -> Answer:
    answer = int8_maps(op, t)
    if isinstance(answer, No):
        return answer
    return when(t[op.x].zero_point == t[op.y].zero_point, "zero points that differ")


def _constant_table(op: Table, t: Tensors) -> Answer:
    answer = int8_maps(op, t)
    return answer if isinstance(answer, No) or t[op.table].value is not None else No("a table that varies")
