"""Calls of several results, and those that importers write for operations Relax has none for, a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.lower_float import Lowered
from lepton_compilers.integerize.recurrent import RECURRENT, recurrent_call
from lepton_compilers.passes.graph import Expr, Var, dtype, is_constant, number, operator, value
from lepton_sdk.program import Quantization, TensorId
from lepton_sdk.program.detection import Detections, TopK
from lepton_sdk.program.operations import Table
from lepton_sdk.program.uint8 import ByteTable
from lepton_sdk.program.vision import MirrorPad

Items = Mapping[int, Var]
"""The variables that read single results, by place, where a call gives several."""
TypedRule = Callable[[Draft, Var, Expr, Items], "Lowered | None"]


def typed_call(draft: Draft, var: Var, items: Items) -> Lowered | None:
    """The operation that such a call names; None for other layers."""
    call = draft.graph.definition(var)
    rule = TYPED_CALLS.get(operator(call) or "")
    return rule(draft, var, call, items) if rule else None


def _arguments(call: Expr) -> tuple[Expr, ...]:
    """What stands behind the name of an operation of the Program's own."""
    return tuple(call.args[1].fields)


def _results(draft: Draft, var: Var, items: Items, name: str) -> list[TensorId]:
    """A tensor a result; those that nothing reads as well."""
    return [
        draft.tensor(items[place])
        if place in items
        else draft.scratch(f"{name}/unread", tuple(int(n) for n in field.shape), str(field.dtype))
        for place, field in enumerate(var.ty.fields)
    ]


def _table(draft: Draft, var: Var, call: Expr, items: Items) -> Lowered | None:
    x, table, *numbers = _arguments(call)
    x_scale, x_zero, y_scale, y_zero = (number(n) for n in numbers)
    if is_constant(x):
        return None
    held = draft.constant(f"{draft.layer(var)}/table", value(table))
    y = draft.tensor(var, Quantization((y_scale,), int(y_zero)))
    return Lowered((Table(draft.tensor(x, Quantization((x_scale,), int(x_zero))), held, y),), (x,))


def _byte_table(draft: Draft, var: Var, call: Expr, items: Items) -> Lowered | None:
    x, table, *numbers = _arguments(call)
    x_scale, x_zero, y_scale, y_zero = (number(n) for n in numbers)
    if is_constant(x):
        return None
    held = draft.constant(f"{draft.layer(var)}/table", value(table))
    y = draft.tensor(var, Quantization((y_scale,), int(y_zero)))
    op = ByteTable(draft.tensor(x, Quantization((x_scale,), int(x_zero))), held, y)
    return Lowered((op,), (x,))


def _mirror_pad(draft: Draft, var: Var, call: Expr, items: Items) -> Lowered | None:
    x, widths, edge = _arguments(call)
    if is_constant(x):
        return None
    sides = tuple(int(n) for n in value(widths))
    op = MirrorPad(draft.tensor(x), draft.tensor(var), sides[::2], sides[1::2], int(number(edge)))
    return Lowered((op,), (x,))


def _detections(draft: Draft, var: Var, call: Expr, items: Items) -> Lowered | None:
    encoded, scores, anchors, integers, numbers = _arguments(call)
    if draft.known(encoded) is not None or draft.known(scores) is not None:
        return None
    name = draft.layer(items[min(items)]) if items else draft.layer(var)
    detections, each, per_class, regular, classes = (int(n) for n in value(integers))
    boxes, kinds, best, count = _results(draft, var, items, name)
    score_threshold, iou_threshold, y, x, height, width = (float(n) for n in value(numbers))
    op = Detections(
        draft.tensor(encoded),
        draft.tensor(scores),
        draft.constant(f"{name}/anchors", value(anchors)),
        boxes,
        kinds,
        best,
        count,
        n_classes=classes,
        max_detections=detections,
        classes_a_box=each,
        per_class=per_class,
        regular=bool(regular),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        y_scale=y,
        x_scale=x,
        height_scale=height,
        width_scale=width,
    )
    return Lowered((op,), (encoded, scores))


def _top_k(draft: Draft, var: Var, call: Expr, items: Items) -> Lowered | None:
    """Values and indices of the largest along the last axis; other forms stay Relax's."""
    x, a = call.args[0], call.attrs
    rank = len(x.ty.shape)
    plain = str(a.ret_type) == "both" and bool(a.largest) and int(a.axis) % rank == rank - 1
    if not plain or str(a.dtype) != "int32" or int(a.k) < 1 or dtype(x) != "float32" or draft.known(x):
        return None
    name = draft.layer(items[min(items)]) if items else draft.layer(var)
    values, indices = _results(draft, var, items, name)
    return Lowered((TopK(draft.tensor(x), values, indices),), (x,))


TYPED_CALLS: Mapping[str, TypedRule] = {
    **dict.fromkeys(RECURRENT, recurrent_call),
    "lepton.byte_table": _byte_table,
    "lepton.detections": _detections,
    "lepton.mirror_pad": _mirror_pad,
    "lepton.table": _table,
    "relax.topk": _top_k,
}
