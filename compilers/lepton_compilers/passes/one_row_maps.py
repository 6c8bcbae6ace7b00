"""Maps of one axis become maps of one row: what stands behind this pass knows feature maps of two axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.passes.fold_batch_norm import BATCH_NORM
from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.graph import (
    AVERAGE_POOL,
    CONCAT,
    CONV2D,
    CONV2D_TRANSPOSE,
    DEQUANTIZE,
    MAX_POOL,
    PAD,
    PERMUTE,
    QUANTIZE,
    RESHAPE,
    Expr,
    Var,
    dtype,
    integers,
    is_constant,
    is_var,
    operands,
    operator,
    parts,
    shape,
    value,
)
from lepton_compilers.passes.rewrite import Rewriter, rewrite
from lepton_compilers.passes.sequence_forms import TAKE, split_range
from lepton_compilers.passes.to_nhwc import ELEMENTWISE, REDUCTIONS, TWO_OPERANDS

CONV1D, CONV1D_TRANSPOSE = "relax.nn.conv1d", "relax.nn.conv1d_transpose"
POOLS: Mapping[str, Callable[..., Expr]] = {
    "relax.nn.avg_pool1d": relax.op.nn.avg_pool2d,
    "relax.nn.max_pool1d": relax.op.nn.max_pool2d,
}
RESHAPES = (RESHAPE, "relax.squeeze", "relax.expand_dims")
STRIDED_SLICE = "relax.strided_slice"
CHANNELS_FIRST, CHANNELS_LAST = 2, 1
"""Where the axis of one place goes: NCL is NC1L, NLC is N1LC."""


def one_row_maps(module: Any) -> Any:
    """Convolutions, pools and normalisations of [N, C, L] on [N, C, 1, L]; what stands between them as well.

    Every importer's networks over one axis take the kernels, the integer forms and the gradients of two: the
    axis costs nothing, because no element moves. Formats that write such a layer as one over two axes between
    reshapes (TFLite, PyTorch's pools) get the same: the reshapes that held neighbours apart are gone.
    After fold_constants, which made weights constants; before fold_batch_norm, which knows convolutions of
    two axes.
    """
    return rewrite(module, _Rows())


class _Rows:
    """The visitor. rows: by old variable of three axes, its map by the place of the axis that was added.

    maps: old variables of four axes that are maps of one row, and which of their axes that is.
    """

    def __init__(self) -> None:
        self.rows: dict[Var, dict[int, Expr]] = {}
        self.maps: dict[Var, int] = {}

    def __call__(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        rule = RULES.get(operator(old) or "")
        if rule is not None:
            return self._held(rewriter, var, rule(self, rewriter, var, old), CHANNELS_FIRST)
        if isinstance(old, relax.TupleGetItem):
            return self._item(rewriter, var, old)
        if operator(old) in RESHAPES:
            return self._reshaped(rewriter, var, old)
        if not dtype(var):
            return None
        self._mark(rewriter, var, old)
        inputs = [rewriter.graph.resolve(a) for a in operands(old)]
        at = next((place for x in inputs for place in self.rows.get(x, {})), None)
        return None if at is None else self._following(rewriter, var, old, at)

    def _held(self, rewriter: Rewriter, var: Var, row: Expr, at: int) -> Expr:
        """The variable's map, and the tensor of three axes for what reads that."""
        row = rewriter.emit(row, f"{var.name}")
        self.rows[var] = {at: row}
        return relax.op.reshape(row, list(shape(var)))

    def row(self, rewriter: Rewriter, expr: Expr, at: int) -> Expr:
        """An old tensor of three axes as a map of one row; a constant stretched over fewer axes too."""
        expr = rewriter.graph.resolve(expr)
        if is_constant(expr):
            array = value(expr)
            if array.size > 1:
                array = np.expand_dims(array.reshape((1,) * (3 - array.ndim) + array.shape), at)
            return relax.const(np.ascontiguousarray(array))
        held = self.rows.setdefault(expr, {})
        if at not in held:
            held[at] = rewriter.emit(self._made(rewriter, expr, at), f"{expr.name}/row")
        return held[at]

    def _made(self, rewriter: Rewriter, expr: Var, at: int) -> Expr:
        definition = rewriter.graph.definition(expr)
        name = operator(definition)
        if (
            name in (QUANTIZE, DEQUANTIZE)
            and value(definition.args[1]).size == 1
            and is_var(definition.args[0])
        ):
            # A reshape between a layer and its quantize would hide the one from the other.
            return _applied(definition, [self.row(rewriter, definition.args[0], at)])
        if name == PAD:
            return self._padded(rewriter, definition, at)
        if name == PERMUTE and at == CHANNELS_FIRST and permute_axes(definition) == (0, 2, 1):
            lines = self.row(rewriter, definition.args[0], CHANNELS_LAST)
            return relax.op.permute_dims(lines, [0, 3, 1, 2])
        return relax.op.reshape(rewriter.mapped(expr), _with_one(shape(expr), at))

    # Layers over one axis

    def convolved(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr:
        """conv1d as conv2d of one row."""
        a, weight = old.attrs, self._kernel(rewriter, old.args[1])
        left, right = integers(a.padding)
        return relax.op.nn.conv2d(
            self.row(rewriter, old.args[0], CHANNELS_FIRST),
            weight,
            strides=[1, *integers(a.strides)],
            padding=[0, left, 0, right],
            dilation=[1, *integers(a.dilation)],
            groups=int(a.groups),
            data_layout="NCHW",
            kernel_layout="OIHW",
        )

    def spread(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr:
        """conv1d_transpose as conv2d_transpose of one row."""
        a, weight = old.attrs, self._kernel(rewriter, old.args[1])
        left, right = integers(a.padding)
        return relax.op.nn.conv2d_transpose(
            self.row(rewriter, old.args[0], CHANNELS_FIRST),
            weight,
            strides=[1, *integers(a.strides)],
            padding=[0, left, 0, right],
            output_padding=[0, *integers(a.output_padding)],
            dilation=[1, *integers(a.dilation)],
            groups=int(a.groups),
            data_layout="NCHW",
            kernel_layout="IOHW",
        )

    def pooled(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr:
        """A pool of one row."""
        a = old.attrs
        left, right = integers(a.padding)
        return POOLS[operator(old) or ""](
            self.row(rewriter, old.args[0], CHANNELS_FIRST),
            pool_size=[1, *integers(a.pool_size)],
            strides=[1, *integers(a.strides)],
            padding=[0, left, 0, right],
            dilation=[1, *integers(a.dilation)],
            ceil_mode=bool(a.ceil_mode),
            count_include_pad=bool(a.count_include_pad),
            layout="NCHW",
        )

    def _kernel(self, rewriter: Rewriter, weight: Expr) -> Expr:
        first, second, taps = shape(weight)
        held = rewriter.mapped(weight)
        if is_constant(held):
            return relax.const(value(held)[:, :, None])
        return rewriter.emit(relax.op.reshape(held, [first, second, 1, taps]))

    # What stands between them

    def _item(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        """A normalised map; a part of a split one."""
        source = rewriter.graph.definition(old.tuple_value)
        if operator(source) == BATCH_NORM and int(old.index) == 0 and len(shape(var)) == 3:
            if int(source.attrs.axis) != 1:
                return None
            x = self.row(rewriter, source.args[0], CHANNELS_FIRST)
            rest = [rewriter.mapped(a) for a in source.args[1:]]
            normal = rewriter.emit(tvm.ir.Call(source.op, [x, *rest], source.attrs, source.ty_args))
            return self._held(rewriter, var, relax.TupleGetItem(normal, 0), CHANNELS_FIRST)
        part = split_range(rewriter.graph, old)
        held = self.rows.get(rewriter.graph.resolve(part[0])) if part is not None else None
        if part is None or not held:
            return None
        source, axis, first, last = part
        at, x = next(iter(held.items()))
        return self._held(rewriter, var, relax.op.strided_slice(x, [_moved(axis, at)], [first], [last]), at)

    def _reshaped(self, rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        """To a map of one row and back is nothing."""
        x = rewriter.graph.resolve(old.args[0])
        before, after = shape(x), shape(var)
        if len(before) == 4 and len(after) == 3 and x in self.maps:
            at = self.maps[x]
            if before == tuple(_with_one(after, at)):
                self.rows[var] = {at: rewriter.mapped(x)}
        if len(before) == 3 and len(after) == 4 and self.rows.get(x):
            for at in (CHANNELS_FIRST, CHANNELS_LAST):
                if after == tuple(_with_one(before, at)):
                    self.maps[var] = at
                    return self.row(rewriter, x, at)
        return None

    def _mark(self, rewriter: Rewriter, var: Var, old: Expr) -> None:
        """Whether a tensor of four axes is a map of one row: of a layer, or of what follows one."""
        name, extents = operator(old), shape(var)
        if len(extents) != 4:
            return
        if name in (CONV2D, CONV2D_TRANSPOSE, MAX_POOL, AVERAGE_POOL):
            layout = str(old.attrs.layout if name in (MAX_POOL, AVERAGE_POOL) else old.attrs.data_layout)
            at = {"NCHW": CHANNELS_FIRST, "NHWC": CHANNELS_LAST}.get(layout)
            if at is not None and extents[at] == 1:
                self.maps[var] = at
        elif name in ELEMENTWISE:
            found = [self.maps[x] for a in operands(old) if (x := rewriter.graph.resolve(a)) in self.maps]
            if found and extents[found[0]] == 1:
                self.maps[var] = found[0]

    def _following(self, rewriter: Rewriter, var: Var, old: Expr, at: int) -> Expr | None:
        """What reads a map of one row, on that map; None where it reads the tensor of three axes."""
        name = operator(old) or ""
        if name in REDUCTIONS:
            return self._reduced(rewriter, var, old, at)
        if name == TAKE:
            return self._taken(rewriter, var, old, at)
        if len(shape(var)) != 3:
            return None
        if name == PERMUTE:
            return self._turned(rewriter, old, at)
        if name in ELEMENTWISE:
            return self._elementwise(rewriter, var, old, at)
        if name == PAD:
            return self._held(rewriter, var, self._padded(rewriter, old, at), at)
        if name == CONCAT:
            if any(not is_var(part) for part in parts(old)):
                return None
            axis = _moved(int(old.attrs.axis) % 3, at)
            return self._held(
                rewriter, var, relax.op.concat([self.row(rewriter, p, at) for p in parts(old)], axis), at
            )
        if name == STRIDED_SLICE:
            given = [[int(n.value) for n in part.fields] for part in old.args[1:]]
            axes = [_moved(axis % 3, at) for axis in given[0]]
            x = self.row(rewriter, old.args[0], at)
            return self._held(rewriter, var, relax.op.strided_slice(x, axes, *given[1:]), at)
        if name == "relax.nn.prelu" and at == CHANNELS_FIRST and int(old.attrs.axis) == 1:
            x = self.row(rewriter, old.args[0], at)
            return self._held(rewriter, var, relax.op.nn.prelu(x, rewriter.mapped(old.args[1]), axis=1), at)
        return None

    def _elementwise(self, rewriter: Rewriter, var: Var, old: Expr, at: int) -> Expr | None:
        name = operator(old) or ""
        count = 2 if name in TWO_OPERANDS else 1
        tensors = old.args[:count]
        if name in (QUANTIZE, DEQUANTIZE) and value(old.args[1]).size > 1:
            return None
        # A number a channel, where channels are last, stands for the same channel in either form.
        plain = [at == CHANNELS_LAST and len(shape(a)) < 2 for a in tensors]
        if any(
            not (p or len(shape(a)) == 3 or (is_constant(a) and len(shape(a)) < 3))
            for a, p in zip(tensors, plain)
        ):
            return None
        row = _applied(
            old, [rewriter.mapped(a) if p else self.row(rewriter, a, at) for a, p in zip(tensors, plain)]
        )
        if name == DEQUANTIZE:
            # What reads three axes must find the integers behind the dequantize, not a reshape.
            self.rows[var] = {at: rewriter.emit(row, f"{var.name}")}
            return None
        return self._held(rewriter, var, row, at)

    def _padded(self, rewriter: Rewriter, old: Expr, at: int) -> Expr:
        widths = list(integers(old.attrs.pad_width))
        widths[2 * at : 2 * at] = [0, 0]
        x = self.row(rewriter, old.args[0], at)
        return relax.op.nn.pad(x, widths, str(old.attrs.pad_mode), float(old.attrs.pad_value))

    def _reduced(self, rewriter: Rewriter, var: Var, old: Expr, at: int) -> Expr | None:
        """Over the whole length, as over the whole map of two axes."""
        length = 2 if at == CHANNELS_FIRST else 1
        if old.attrs.axis is None or [a % 3 for a in integers(old.attrs.axis)] != [length]:
            return None
        if rewriter.graph.operator(old.args[0]) == DEQUANTIZE:
            # An int8 mean rounds by the form it is written in.
            return None
        keep = bool(old.attrs.keepdims)
        reduce = REDUCTIONS[operator(old) or ""]
        y = reduce(self.row(rewriter, old.args[0], at), axis=[length, length + 1], keepdims=keep)
        return self._held(rewriter, var, y, at) if keep else y

    def _turned(self, rewriter: Rewriter, old: Expr, at: int) -> Expr | None:
        """[N, L, C] of a map [N, C, 1, L] and what else ends in C: the map turned as layers turn it."""
        axes = permute_axes(old)
        if at != CHANNELS_FIRST or axes[2] != 1:
            return None
        n, c, length = shape(old.args[0])
        turned = rewriter.emit(relax.op.permute_dims(self.row(rewriter, old.args[0], at), [0, 2, 3, 1]))
        lines = relax.op.reshape(turned, [n, length, c])
        if axes[0] == 0:
            return lines
        return relax.op.permute_dims(rewriter.emit(lines), [1, 0, 2])

    def _taken(self, rewriter: Rewriter, var: Var, old: Expr, at: int) -> Expr | None:
        """One place of the length; or every place several times, which is a resize to the nearest."""
        length, indices = 2 if at == CHANNELS_FIRST else 1, old.args[1]
        if old.attrs.axis is None or int(old.attrs.axis) % 3 != length or not is_constant(indices):
            return None
        extent, wanted, chosen = shape(old.args[0])[length], value(indices).size, value(indices)
        if chosen.size == 1 and chosen.ndim < 2:
            place = int(chosen.reshape(())) % extent
            x = self.row(rewriter, old.args[0], at)
            part = relax.op.strided_slice(x, [_moved(length, at)], [place], [place + 1])
            return relax.op.reshape(rewriter.emit(part, f"{var.name}/part"), list(shape(var)))
        if at != CHANNELS_FIRST or chosen.ndim != 1 or wanted % extent:
            return None
        if not np.array_equal(chosen, np.arange(wanted) // (wanted // extent)):
            return None
        row = relax.op.image.resize2d(
            self.row(rewriter, old.args[0], at),
            [1, wanted],
            layout="NCHW",
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        )
        return self._held(rewriter, var, row, at)


def _with_one(extents: tuple[int, ...], at: int) -> list[int]:
    return [*extents[:at], 1, *extents[at:]]


def _moved(axis: int, at: int) -> int:
    """Where an axis of three stands among four."""
    return axis + (axis >= at)


def _applied(call: Expr, tensors: list[Expr]) -> Expr:
    """The call with other tensors in the first places."""
    return tvm.ir.Call(call.op, [*tensors, *call.args[len(tensors) :]], call.attrs, call.ty_args)


RULES: Mapping[str, Callable[[_Rows, Rewriter, Var, Expr], Expr]] = {
    CONV1D: _Rows.convolved,
    CONV1D_TRANSPOSE: _Rows.spread,
    **dict.fromkeys(POOLS, _Rows.pooled),
}
