"""Portable rows of transposed convolution, resizing, reductions and what else vision heads need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.elementwise import HEADER as ELEMENTWISE_HEADER
from lepton_compilers.backends.cpu.portable.elementwise import emit_stretched, typed_alike, zeros
from lepton_compilers.backends.cpu.portable.layers import float_bounds, image_bytes, int_bounds, typed
from lepton_compilers.backends.cpu.weights.packing import float_bits, float_columns
from lepton_sdk.program import Tensors, arithmetic_vision
from lepton_sdk.program.operations import Shape
from lepton_sdk.program.vision import (
    ArgMax,
    ArgMin,
    ConvTranspose2d,
    Maximum,
    Minimum,
    MirrorPad,
    Prelu,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ResizeBilinear,
    ResizeNearest,
)

HEADER = "vision.h"
GROUPS = 3
"""Kept and reduced groups of axes that a reduction's kernel walks."""
WHOLE_SUM = 2**31 // 128
"""Elements whose int8 sum an int32 holds whatever they are."""

Reduction = ReduceMean | ReduceSum | ReduceMax | ReduceMin | ReduceProd


# Transposed convolution


def _int8_transposed(op: ConvTranspose2d, t: Tensors) -> Answer:
    answer = typed(t, "int8", op.x, op.weight, op.y)
    if isinstance(answer, No):
        return answer
    weight = t[op.weight].value
    bias = t[op.bias].value if op.bias else np.zeros(1, np.int32)
    if op.multiplier is None or t[op.multiplier].value is None or weight is None or bias is None:
        return No("int8 products need constant weights, a constant bias and a constant multiplier")
    reach = np.abs(weight.astype(np.int64)).sum((1, 2, 3)) * 255 + np.abs(bias.astype(np.int64))
    return when(int(reach.max()) < 2**31, f"sums that may reach {reach.max()}; int32 holds {2**31 - 1}")


def _float_transposed(op: ConvTranspose2d, t: Tensors) -> Answer:
    answer = typed(t, "float32", op.x, op.weight, op.y, *((op.bias,) if op.bias else ()))
    return answer if t[op.weight].value is not None else No("transposed convolution by weights that vary")


def _transposed_window(op: ConvTranspose2d, t: Tensors) -> tuple[int, ...]:
    kernel = t[op.weight].shape[1:3]
    return (*t[op.x].shape[1:], *t[op.y].shape[1:], *kernel, *op.stride, op.padding.top, op.padding.left)


def _emit_transposed_int8(op: ConvTranspose2d, draft: Draft) -> None:
    """One call an image."""
    t = draft.tensors
    channels, weight, multiplier = t[op.y].shape[3], draft.value(op.weight), draft.value(op.multiplier or "")
    assert weight is not None
    assert multiplier is not None  # accepted
    bias = draft.value(op.bias) if op.bias else None
    x = draft.read(op.x).stepping(image_bytes(draft, op.x))
    constants = (
        draft.constant(weight),
        draft.constant(np.zeros(channels, np.int32) if bias is None else bias),
        draft.constant(np.broadcast_to(multiplier, (channels,))),
    )
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    ends = (t[op.x].zero_point, t[op.y].zero_point, *int_bounds(op.clamp))
    window = _transposed_window(op, t)
    draft.call("conv_transpose_int8", x, *constants, y, *window, *ends, times=t[op.x].shape[0])


def _emit_transposed_float(op: ConvTranspose2d, draft: Draft) -> None:
    """One call an image."""
    t, value = draft.tensors, draft.value(op.weight)
    if value is None:
        raise ValueError(f"weight '{op.weight}' varies")  # not accepted
    x = draft.read(op.x).stepping(image_bytes(draft, op.x))
    weight = draft.constant(float_columns(value))
    bias = draft.read(op.bias) if op.bias else weight
    y = draft.write(op.y).stepping(image_bytes(draft, op.y))
    literals = (int(op.bias is not None), *_transposed_window(op, t), *float_bounds(op.clamp))
    draft.call("conv_transpose_float", x, weight, bias, y, *literals, times=t[op.x].shape[0])


# Resizing


def _known_places(op: ResizeNearest | ResizeBilinear, t: Tensors) -> Answer:
    """Constant int32 lists that stay inside the map."""
    for name, extent in ((op.rows, t[op.x].shape[1]), (op.columns, t[op.x].shape[2])):
        value = t[name].value
        if value is None or value.dtype != np.int32 or value.min() < 0 or value.max() >= extent:
            return No(f"'{name}' is no constant int32 list of places below {extent}")
    return when(t[op.x].dtype == t[op.y].dtype, "a change of type")


def _bilinear(dtype: str, weights: str) -> Callable[[ResizeBilinear, Tensors], Answer]:
    def accepts(op: ResizeBilinear, t: Tensors) -> Answer:
        answer = typed(t, dtype, op.x, op.y)
        if isinstance(answer, No):
            return answer
        answer = typed(t, weights, op.row_weights, op.column_weights)
        return answer if isinstance(answer, No) else _known_places(op, t)

    return accepts


def _emit_nearest(op: ResizeNearest, draft: Draft) -> None:
    """One call an image."""
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    source = draft.read(op.x).stepping(image_bytes(draft, op.x))
    places = (draft.read(op.rows), draft.read(op.columns))
    target = draft.write(op.y).stepping(image_bytes(draft, op.y))
    pixel = x.shape[3] * np.dtype(x.dtype).itemsize
    literals = (x.shape[2], y.shape[1], y.shape[2], pixel)
    draft.call("resize_nearest", source, *places, target, *literals, times=x.shape[0])


def _emit_bilinear(kernel: str) -> Callable[[ResizeBilinear, Draft], None]:
    def emit(op: ResizeBilinear, draft: Draft) -> None:
        x, y = draft.tensors[op.x], draft.tensors[op.y]
        source = draft.read(op.x).stepping(image_bytes(draft, op.x))
        lists = [draft.read(name) for name in (op.rows, op.columns, op.row_weights, op.column_weights)]
        target = draft.write(op.y).stepping(image_bytes(draft, op.y))
        literals = (x.shape[2], x.shape[3], y.shape[1], y.shape[2])
        draft.call(kernel, source, *lists, target, *literals, times=x.shape[0])

    return emit


# Reductions


def reduced_axes(shape: Shape, axes: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(extent, step) of the kept and of the reduced axes, neighbours of one kind merged, outermost first."""
    kept: list[tuple[int, int]] = []
    reduced: list[tuple[int, int]] = []
    previous: list[tuple[int, int]] | None = None
    for axis, extent in enumerate(shape):
        if extent == 1:
            continue
        group, step = reduced if axis in axes else kept, math.prod(shape[axis + 1 :])
        if group is previous:
            group[-1] = (group[-1][0] * extent, step)
        else:
            group.append((extent, step))
        previous = group
    return kept, reduced


def _reduces(*dtypes: str) -> Callable[[Reduction, Tensors], Answer]:
    def accepts(op: Reduction, t: Tensors) -> Answer:
        x, y = t[op.x], t[op.y]
        if x.dtype != y.dtype or x.dtype not in dtypes:
            return No(f"a reduction of {x.dtype} to {y.dtype}; this form takes {', '.join(dtypes)}")
        if x.dtype == "int8" and x.size // y.size >= WHOLE_SUM:
            return No(f"a reduction over {x.size // y.size} elements; {WHOLE_SUM - 1} are supported")
        groups = max(map(len, reduced_axes(x.shape, op.axes)))
        return when(groups <= GROUPS, f"{groups} groups of axes in turn; {GROUPS} are supported")

    return accepts


def axis_groups(groups: list[tuple[int, int]]) -> tuple[int, ...]:
    """Extents, then steps, of GROUPS groups: how a reduction's kernel takes them."""
    filled = [(1, 0)] * (GROUPS - len(groups)) + groups
    return (*(extent for extent, _ in filled), *(step for _, step in filled))


def _emit_reduction(kernel: str) -> Callable[[Reduction, Draft], None]:
    def emit(op: Reduction, draft: Draft) -> None:
        x, y = draft.tensors[op.x], draft.tensors[op.y]
        kept, reduced = reduced_axes(x.shape, op.axes)
        count, mean = x.size // y.size, isinstance(op, ReduceMean)
        literals: tuple[int, ...] = ()
        if kernel == "reduce_sum_int8":
            constants = arithmetic_vision.reduce_constants(
                float(x.scale), x.zero_point, float(y.scale), y.zero_point, count, mean
            )
            literals = tuple(float_bits(float(value)) for value in constants)
        elif kernel == "reduce_sum_float":
            literals = (float_bits(float(np.float32(1) / np.float32(count if mean else 1))),)
        draft.call(
            kernel, draft.read(op.x), draft.write(op.y), *axis_groups(kept), *axis_groups(reduced), *literals
        )

    return emit


_INT8_REDUCED, _FLOAT_REDUCED, _INT32_REDUCED = _reduces("int8"), _reduces("float32"), _reduces("int32")


# Indices of extremes, mirrored borders


ARG_KERNELS = {"int8": "arg_int8", "int32": "arg_int32", "float32": "arg_float"}


def _indexed(op: ArgMax | ArgMin, t: Tensors) -> Answer:
    fits = t[op.x].dtype in ARG_KERNELS and t[op.y].dtype in ("int32", "int64")
    return when(fits, f"indices of {t[op.x].dtype} as {t[op.y].dtype}; int32 or int64 are supported")


def _emit_arg(op: ArgMax | ArgMin, draft: Draft) -> None:
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    outer, inner = math.prod(x.shape[: op.axis]), math.prod(x.shape[op.axis + 1 :])
    literals = (outer, x.shape[op.axis], inner, int(isinstance(op, ArgMax)), int(y.dtype == "int64"))
    draft.call(ARG_KERNELS[x.dtype], draft.read(op.x), draft.write(op.y), *literals)


def _few_axes(op: MirrorPad, t: Tensors) -> Answer:
    fits = len(t[op.x].shape) <= 6 and t[op.x].dtype == t[op.y].dtype
    return when(fits, "a rank above 6, or a change of type")


def _emit_mirror(op: MirrorPad, draft: Draft) -> None:
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    missing = 6 - len(x.shape)
    extents = (*[1] * missing, *x.shape, *[1] * missing, *y.shape, *[0] * missing, *op.before)
    size = np.dtype(x.dtype).itemsize
    draft.call("mirror_pad", draft.read(op.x), draft.write(op.y), size, op.edge, *extents)


# Two operands


def _emit_extreme(kernel: str) -> Callable[[Maximum | Minimum, Draft], None]:
    return lambda op, draft: emit_stretched(kernel, op, draft)


def _int8_prelu(op: Prelu, t: Tensors) -> Answer:
    """Scales whose products stay inside 64 bits."""
    answer = typed_alike("int8")(op, t)
    if isinstance(answer, No):
        return answer
    shifts = _prelu_constants(op, t)[1::2]
    return when(min(shifts) > -31 and max(shifts) <= 12, f"scales of an int8 PReLU that need shifts {shifts}")


def _prelu_constants(op: Prelu, t: Tensors) -> tuple[int, int, int, int]:
    scales = (float(t[op.a].scale), float(t[op.b].scale), float(t[op.y].scale))
    return arithmetic_vision.prelu_constants(*scales)


def _emit_prelu_int8(op: Prelu, draft: Draft) -> None:
    t = draft.tensors
    emit_stretched("stretched_prelu_int8", op, draft, *zeros(op, t), *_prelu_constants(op, t))


def _emit_prelu_float(op: Prelu, draft: Draft) -> None:
    emit_stretched("stretched_prelu_float", op, draft)


def _extremes(kernel: str) -> tuple[Lowering, ...]:
    types = {"int8": "int8", "float32": "float", "int32": "int32"}
    return tuple(
        Lowering(typed_alike(dtype), _emit_extreme(f"{kernel}_{name}"), ELEMENTWISE_HEADER)
        for dtype, name in types.items()
    )


def _reductions(kernel: str, int8: bool = True, int32: bool = True) -> tuple[Lowering, ...]:
    rows = [Lowering(_FLOAT_REDUCED, _emit_reduction(f"{kernel}_float"), HEADER)]
    if int8:
        rows.append(Lowering(_INT8_REDUCED, _emit_reduction(f"{kernel}_int8"), HEADER))
    if int32:
        rows.append(Lowering(_INT32_REDUCED, _emit_reduction(f"{kernel}_int32"), HEADER))
    return tuple(rows)


LOWERINGS: Rows = {
    ConvTranspose2d: (
        Lowering(_int8_transposed, _emit_transposed_int8, HEADER),
        Lowering(_float_transposed, _emit_transposed_float, HEADER),
    ),
    ResizeNearest: (Lowering(_known_places, _emit_nearest, HEADER),),
    ResizeBilinear: (
        Lowering(_bilinear("int8", "int32"), _emit_bilinear("resize_bilinear_int8"), HEADER),
        Lowering(_bilinear("float32", "float32"), _emit_bilinear("resize_bilinear_float"), HEADER),
    ),
    ReduceMean: _reductions("reduce_sum", int32=False),
    ReduceSum: _reductions("reduce_sum"),
    ReduceMax: _reductions("reduce_max"),
    ReduceMin: _reductions("reduce_min"),
    ReduceProd: _reductions("reduce_prod", int8=False, int32=False),
    ArgMax: (Lowering(_indexed, _emit_arg, HEADER),),
    ArgMin: (Lowering(_indexed, _emit_arg, HEADER),),
    MirrorPad: (Lowering(_few_axes, _emit_mirror, HEADER),),
    Maximum: _extremes("stretched_max"),
    Minimum: _extremes("stretched_min"),
    Prelu: (
        Lowering(_int8_prelu, _emit_prelu_int8, ELEMENTWISE_HEADER),
        Lowering(typed_alike("float32"), _emit_prelu_float, ELEMENTWISE_HEADER),
    ),
}
