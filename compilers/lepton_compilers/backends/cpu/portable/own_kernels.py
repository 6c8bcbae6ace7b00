"""Rows of `FloatKernel` for operators that TVM has no plain loops for: kernels of our own in C headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import Tensors
from lepton_sdk.program.float_kernel import FloatKernel, decoded

Emit = Callable[[FloatKernel, Draft, dict[str, Any]], None]

TYPE_CODES = {
    name: code
    for code, name in enumerate(
        (
            "int8",
            "uint8",
            "int16",
            "uint16",
            "int32",
            "uint32",
            "int64",
            "uint64",
            "float32",
            "float64",
            "bool",
        )
    )
}
"""As ordering.h counts them."""


def _lines(op: FloatKernel, draft: Draft, axis: int | None) -> tuple[int, int, int]:
    """Extents before, along and after an axis of the first operand; None runs over all."""
    extents = draft.tensors[op.xs[0]].shape
    if axis is None:
        return 1, math.prod(extents), 1
    axis = axis % max(len(extents), 1)
    return math.prod(extents[:axis]), math.prod(extents[axis : axis + 1]), math.prod(extents[axis + 1 :])


def _ordered(
    op: FloatKernel, draft: Draft, k: int, axis: int, descending: bool, values: Any, places: Any
) -> None:
    before, extent, after = _lines(op, draft, axis)
    x = draft.read(op.xs[0])
    scratch = draft.scratch(24 * extent)
    at = draft.write(places) if places else None
    held = draft.write(values) if values else at
    width = 0 if places is None else int(draft.tensors[places].dtype.removeprefix("int")) // 8
    draft.call(
        "order_axis",
        x,
        held if held is not None else scratch,
        at if at is not None else scratch,
        scratch,
        TYPE_CODES[draft.tensors[op.xs[0]].dtype],
        before,
        extent,
        after,
        k,
        int(descending),
        int(values is not None),
        width,
    )


def _top_k(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    kind, names = str(a.get("ret_type", "both")), list(op.ys)
    values = names.pop(0) if kind in ("both", "values") else None
    places = names.pop(0) if names else None
    axis = int(a.get("axis", -1))
    _ordered(
        op, draft, draft.tensors[op.ys[0]].shape[axis], axis, bool(a.get("largest", True)), values, places
    )


def _sort(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    axis = int(a.get("axis", -1))
    extent = draft.tensors[op.xs[0]].shape[axis]
    _ordered(op, draft, extent, axis, bool(a.get("descending", False)), op.ys[0], None)


def _argsort(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    axis = int(a.get("axis", -1))
    extent = draft.tensors[op.xs[0]].shape[axis]
    _ordered(op, draft, extent, axis, bool(a.get("descending", False)), None, op.ys[0])


def _running(product: bool) -> Emit:
    def emit(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
        axis = a.get("axis")
        kind = draft.tensors[op.xs[0]].dtype
        name = kind if kind.startswith(("float", "u")) else f"u{kind}"
        lines = _lines(op, draft, None if axis is None else int(axis))
        exclusive = int(bool(a.get("exclusive") or 0))
        x = draft.read(op.xs[0])
        draft.call(f"running_{name}", x, draft.write(op.ys[0]), *lines, int(product), exclusive)

    return emit


def _by_element(kernel: str) -> Emit:
    def emit(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
        x = draft.read(op.xs[0])
        draft.call(kernel, x, draft.write(op.ys[0]), draft.tensors[op.ys[0]].size)

    return emit


def _bytes(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    x = draft.read(op.xs[0])
    draft.call("copy_bytes", x, draft.write(op.ys[0]), draft.tensors[op.ys[0]].nbytes)


def _grid_sample(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    x, grid = (draft.tensors[name].shape for name in op.xs)
    batch, channels, *size = x
    depth, height, width = size if len(size) == 3 else (1, *size)
    points = math.prod(grid[1:-1])
    places = [draft.read(name) for name in op.xs]
    modes = (int(a["mode"]), int(a["padding"]), int(a["align_corners"]))
    extents = (batch, channels, depth, height, width, points, len(size))
    draft.call("grid_sample", *places, draft.write(op.ys[0]), *extents, *modes)


def _roi_align(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    y = draft.tensors[op.ys[0]].shape
    places = [draft.read(name) for name in op.xs]
    flags = (
        int(a["half_pixel"]),
        int(a["largest"]),
        int(a["sampling_ratio"]),
        float_bits(a["spatial_scale"]),
    )
    extents = (*draft.tensors[op.xs[0]].shape, y[0], y[2], y[3])
    draft.call("roi_align", *places, draft.write(op.ys[0]), *extents, *flags)


def _deformed_windows(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    places = [draft.read(name) for name in op.xs]
    masked = len(places) == 3
    extents = (*draft.tensors[op.xs[0]].shape, *draft.tensors[op.ys[0]].shape[3:])
    operands = (*places[:2], places[-1])
    geometry = [int(v) for v in a["geometry"]]
    draft.call("deformed_windows", *operands, draft.write(op.ys[0]), int(masked), *extents, *geometry)


def _determinant(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    x = draft.tensors[op.xs[0]]
    n = x.shape[-1]
    source, work = draft.read(op.xs[0]), draft.scratch(8 * n * n)
    wide = int(x.dtype == "float64")
    draft.call("determinant", source, draft.write(op.ys[0]), work, x.size // (n * n), n, wide)


def _non_max_suppression(op: FloatKernel, draft: Draft, a: dict[str, Any]) -> None:
    batch, classes, n = draft.tensors[op.xs[1]].shape
    places = [draft.read(name) for name in op.xs]
    y, scratch = draft.write(op.ys[0]), draft.scratch(24 * n)
    threshold = a["score_threshold"]
    draft.call(
        "non_max_suppression",
        *places,
        y,
        scratch,
        batch,
        classes,
        n,
        int(a["most"]),
        int(a["centred"]),
        int(threshold != ""),
        float_bits(float(a["iou_threshold"])),
        float_bits(float(threshold or 0.0)),
    )


ORDERING: Mapping[str, Emit] = {
    "relax.argsort": _argsort,
    "relax.cumprod": _running(product=True),
    "relax.cumsum": _running(product=False),
    "relax.sort": _sort,
    "relax.topk": _top_k,
}
HALVES: Mapping[str, Emit] = {
    "lepton.bit_cast": _bytes,
    "lepton.centre": _by_element("centre"),
    "lepton.copy": _bytes,
    "lepton.from_float16": _by_element("from_float16"),
    "lepton.round_bfloat16": _by_element("round_bfloat16"),
    "lepton.round_float16": _by_element("round_float16"),
    "lepton.to_float16": _by_element("to_float16"),
}
SAMPLING: Mapping[str, Emit] = {
    "lepton.deformed_windows": _deformed_windows,
    "lepton.determinant": _determinant,
    "lepton.grid_sample": _grid_sample,
    "lepton.roi_align": _roi_align,
}


SUPPRESSION: Mapping[str, Emit] = {"lepton.non_max_suppression": _non_max_suppression}


def _row(emits: Mapping[str, Emit], header: str) -> Lowering:
    def accepts(op: FloatKernel, t: Tensors) -> Answer:
        if op.operator not in emits:
            # The next row speaks for it.
            return No("")
        if emits is ORDERING and t[op.xs[0]].dtype not in TYPE_CODES:
            return No(f"'{op.operator}' has no form for {t[op.xs[0]].dtype}")
        if op.operator in ("relax.cumsum", "relax.cumprod"):
            kinds = {t[op.xs[0]].dtype, t[op.ys[0]].dtype}
            if len(kinds) > 1 or "bool" in kinds:
                return No(f"'{op.operator}' of {t[op.xs[0]].dtype} to {t[op.ys[0]].dtype} has no form")
        return Yes()

    def emit(op: FloatKernel, draft: Draft) -> None:
        _, attributes = decoded(op.arguments, list(op.xs))
        emits[op.operator](op, draft, attributes)

    return Lowering(accepts, emit, header)


LOWERINGS: Rows = {
    FloatKernel: (
        _row(ORDERING, "ordering.h"),
        _row(HALVES, "halves.h"),
        _row(SAMPLING, "sampling.h"),
        _row(SUPPRESSION, "suppression.h"),
    )
}
