"""Portable rows of what ends a detector."""

from __future__ import annotations

import math

from lepton_compilers.backends.answers import Answer, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.layers import typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import Tensors
from lepton_sdk.program.detection import Detections, TopK

HEADER = "detection.h"
TOP_K = {"float32": "top_k_float", "int8": "top_k_int8"}


def _ranked(op: TopK, t: Tensors) -> Answer:
    alike = t[op.x].dtype == t[op.values].dtype and t[op.indices].dtype == "int32"
    fits = alike and t[op.x].dtype in TOP_K
    return when(fits, f"the largest of {t[op.x].dtype}; float32 and int8 with int32 indices are supported")


def _emit_top_k(op: TopK, draft: Draft) -> None:
    x, k = draft.tensors[op.x], draft.tensors[op.values].shape[-1]
    ends = (draft.read(op.x), draft.write(op.values), draft.write(op.indices))
    draft.call(TOP_K[x.dtype], *ends, math.prod(x.shape[:-1]), x.shape[-1], k)


def _float_detections(op: Detections, t: Tensors) -> Answer:
    return typed(t, "float32", *op.inputs, *op.outputs)


def _emit_detections(op: Detections, draft: Draft) -> None:
    _, n, coordinates = draft.tensors[op.encoded].shape
    columns, longest = draft.tensors[op.scores].shape[2], 2 * (op.max_detections + n)
    sources = [draft.read(name) for name in op.inputs]
    targets = [draft.write(name) for name in op.outputs]
    scratch = [draft.scratch(4 * size) for size in (4 * n, n, n, n, longest, longest, longest, longest)]
    whole = (n, coordinates, columns, op.n_classes, op.max_detections, op.classes_a_box, op.per_class)
    scales = (op.y_scale, op.x_scale, op.height_scale, op.width_scale)
    reals = [float_bits(value) for value in (op.score_threshold, op.iou_threshold, *scales)]
    draft.call("detections", *sources, *targets, *scratch, *whole, int(op.regular), *reals)


LOWERINGS: Rows = {
    TopK: (Lowering(_ranked, _emit_top_k, HEADER),),
    Detections: (Lowering(_float_detections, _emit_detections, HEADER),),
}
