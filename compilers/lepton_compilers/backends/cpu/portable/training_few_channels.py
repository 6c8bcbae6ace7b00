"""The row of a first layer's gradient of weights: kernels/training_few_channels.h."""

from __future__ import annotations

import math

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.layers import typed
from lepton_sdk.program import Tensors
from lepton_sdk.program.training import Conv2dGradWeight

MOST_CHANNELS = 8
"""More fill a tile by themselves."""

MOST_GROUPS = 4
"""Images fall into as many groups at most, whose sums are added in their order: threads take one each."""


def _few(op: Conv2dGradWeight, t: Tensors) -> Answer:
    answer = typed(t, "float32", *op.inputs, op.dweight)
    if isinstance(answer, No):
        return answer
    few = t[op.x].shape[3] <= MOST_CHANNELS and op.dilation[1] == 1
    return when(few, f"more than {MOST_CHANNELS} input channels")


def emit_grad_weight(op: Conv2dGradWeight, draft: Draft) -> None:
    """Images with their border, sums by groups of images, and those added."""
    t, p = draft.tensors, op.padding
    (images, h, w, c), (_, oh, ow, o) = t[op.x].shape, t[op.dy].shape
    _, kh, kw, _ = t[op.dweight].shape
    wide, rows, groups = (p.left + w + p.right) * c, p.top + h + p.bottom, math.gcd(images, MOST_GROUPS)
    x, map_bytes = draft.read(op.x), rows * wide * 4
    if p:
        bordered = draft.scratch(map_bytes * images)
        border = (h, w * c, p.top, p.bottom, p.left * c, p.right * c)
        target = bordered.stepping(map_bytes)
        draft.call("border_floats", x.stepping(h * w * c * 4), target, *border, times=images)
        x = bordered
    dy, nbytes, each = draft.read(op.dy), t[op.dweight].nbytes, images // groups
    steps = (op.dilation[0] * wide, op.stride[0] * wide, op.stride[1] * c)
    literals = (each, rows * wide, *steps, oh, ow, o, kh, kw * c)
    dweight = draft.write(op.dweight)
    sums = dweight if groups == 1 else draft.scratch(groups * nbytes)
    draft.call(
        "few_channels_grad_weight",
        x.stepping(map_bytes * each),
        dy.stepping(t[op.dy].nbytes // groups),
        sums.stepping(nbytes),
        *literals,
        times=groups,
    )
    if groups > 1:
        draft.call("add_runs", sums, dweight, groups, nbytes // 4)


LOWERINGS: Rows = {Conv2dGradWeight: (Lowering(_few, emit_grad_weight, "training_few_channels.h"),)}
