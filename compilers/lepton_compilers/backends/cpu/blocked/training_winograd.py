"""Rows of training for AVX-512: convolutions by variables and their gradients, kernels/training_winograd.h.

Maps stay dense, channels last: what comes before and after in a training step is, too.
"""

from __future__ import annotations

import math

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import LANES
from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.portable.layers import float_bounds, typed
from lepton_compilers.backends.cpu.rewrites.variable_weights import VariableConv2d
from lepton_compilers.backends.cpu.tiles.avx512 import even
from lepton_sdk.program import TensorId, Tensors
from lepton_sdk.program.operations import Conv2d
from lepton_sdk.program.training import Conv2dGradInput, Conv2dGradWeight

HEADER = "training_winograd.h"

POINTS = 6
PLACES = POINTS * POINTS

SCRATCH_BYTES = 512 << 10
"""Of transformed tiles: with the weights of 64 × 64 channels they stay in a core's 1 MB."""

SUMS_BYTES = 1200 << 10
"""Of a gradient's sums: images fall into as many groups, each with sums of its own, as fit."""

MOST_GROUPS = 4
LEAST_SIDE = 4


# What is accepted


def _fits(
    op: Conv2d | Conv2dGradInput | Conv2dGradWeight, weight: TensorId, map_: TensorId, t: Tensors
) -> Answer:
    """3 × 3 or 5 × 5 at stride 1 between whole blocks of channels, on maps that a tile fits in."""
    o, kh, kw, c = t[weight].shape
    if kh != kw or kh not in (3, 5) or op.stride != (1, 1) or op.dilation != (1, 1):
        return No("a kernel other than 3 × 3 or 5 × 5 at stride 1")
    if c % LANES or o % LANES:
        return No(f"channels that are no multiple of {LANES}")
    return when(min(t[map_].shape[1:3]) >= LEAST_SIDE, "a map smaller than a tile")


def _convolution(op: VariableConv2d, t: Tensors) -> Answer:
    conv = op.conv
    answer = typed(t, "float32", *conv.inputs, op.y)
    return answer if isinstance(answer, No) else _fits(conv, conv.weight, conv.y, t)


def _grad_input(op: Conv2dGradInput, t: Tensors) -> Answer:
    answer = typed(t, "float32", *op.inputs, op.dx)
    return answer if isinstance(answer, No) else _fits(op, op.weight, op.dx, t)


def _grad_weight(op: Conv2dGradWeight, t: Tensors) -> Answer:
    answer = typed(t, "float32", *op.inputs, op.dweight)
    return answer if isinstance(answer, No) else _fits(op, op.dweight, op.dy, t)


# What is emitted


def tiles(images: int, height: int, width: int, kernel: int) -> int:
    """Tiles of a batch."""
    m = POINTS + 1 - kernel
    return images * -(-height // m) * -(-width // m)


def scratch_bytes(together: int, channels: int) -> int:
    """What `together` tiles of inputs and outputs, `channels` in all, take at their places."""
    return PLACES * (together * channels + 2 * LANES) * 4


def _together(count: int, channels: int) -> int:
    most = SCRATCH_BYTES // scratch_bytes(1, channels)
    return even(count, max(8, min(most, 64)))


def _convolve(
    draft: Draft,
    source: TensorId,
    taps: Place,
    bias: TensorId | None,
    target: TensorId,
    window: tuple[int, int, int],
    bounds: tuple[int, int],
) -> None:
    """window: kernel, padding on top, padding on the left."""
    images, h, w, c = draft.tensors[source].shape
    _, oh, ow, o = draft.tensors[target].shape
    kernel = window[0]
    count = tiles(images, oh, ow, kernel)
    together, nv = _together(count, c + o), _blocks(o)
    scratch = draft.scratch(scratch_bytes(together, c + o))
    places = (draft.read(source), taps, draft.read(bias) if bias else taps, draft.write(target), scratch)
    literals = (h, w, c, oh, ow, o, *window, together, even(together, 14 if nv == 2 else 16), nv, 0, count)
    draft.call("winograd_training", *places, int(bias is not None), *literals, *bounds)


def _blocks(channels: int) -> int:
    return 1 if channels % (2 * LANES) else 2


def _taps(draft: Draft, pairs: int) -> Place:
    """pairs: of an input and an output channel."""
    return draft.scratch(PLACES * (pairs + LANES) * 4)


def emit_convolution(op: VariableConv2d, draft: Draft) -> None:
    """The weights turned so that output channels are lanes, and transformed; then the map."""
    conv = op.conv
    o, kernel, _, c = draft.tensors[conv.weight].shape
    turned, taps = draft.scratch(draft.tensors[conv.weight].nbytes), _taps(draft, o * c)
    draft.call("turn_matrix", draft.read(conv.weight), turned, o, kernel * kernel * c)
    draft.call("winograd_taps", turned, taps, c, o, o, kernel, c * o, o, 0, _blocks(o))
    window = (kernel, conv.padding.top, conv.padding.left)
    _convolve(draft, conv.x, taps, conv.bias, op.y, window, float_bounds(op.clamp))


def emit_grad_input(op: Conv2dGradInput, draft: Draft) -> None:
    """A convolution of dy by the turned kernels, whose input channels are lanes as they lie."""
    o, kernel, _, c = draft.tensors[op.weight].shape
    taps = _taps(draft, o * c)
    literals = (o, c, c, kernel, c, kernel**2 * c, 1, _blocks(c))
    draft.call("winograd_taps", draft.read(op.weight), taps, *literals)
    window = (kernel, kernel - 1 - op.padding.top, kernel - 1 - op.padding.left)
    _convolve(draft, op.dy, taps, None, op.dx, window, float_bounds(None))


def emit_grad_weight(op: Conv2dGradWeight, draft: Draft) -> None:
    """Sums of products place by place, by groups of images; then what they are worth as gradients."""
    t = draft.tensors
    (images, h, w, c), (_, oh, ow, o), kernel = t[op.x].shape, t[op.dy].shape, t[op.dweight].shape[1]
    sums_bytes = PLACES * c * o * 4
    groups = math.gcd(images, MOST_GROUPS)
    while groups > 1 and groups * sums_bytes > SUMS_BYTES:
        groups //= 2
    each = images // groups
    together = _together(tiles(each, oh, ow, kernel), c + o)
    sums, scratch = draft.scratch(groups * sums_bytes), draft.scratch(scratch_bytes(together, c + o))
    x = draft.read(op.x).stepping(t[op.x].nbytes // groups)
    dy = draft.read(op.dy).stepping(t[op.dy].nbytes // groups)
    literals = (each, h, w, c, oh, ow, o, kernel, op.padding.top, op.padding.left, together)
    draft.call("winograd_products", x, dy, sums.stepping(sums_bytes), scratch, *literals, times=groups)
    draft.call("winograd_weights", sums, draft.write(op.dweight), groups, c, o, o, kernel)


LOWERINGS: Rows = {
    VariableConv2d: (Lowering(_convolution, emit_convolution, HEADER),),
    Conv2dGradInput: (Lowering(_grad_input, emit_grad_input, HEADER),),
    Conv2dGradWeight: (Lowering(_grad_weight, emit_grad_weight, HEADER),),
}
