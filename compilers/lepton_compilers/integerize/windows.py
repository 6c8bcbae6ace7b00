"""Strides, padding and window of convolutions and pools, as a Program spells them."""

from __future__ import annotations

from lepton_compilers.passes.graph import Expr, integers, shape
from lepton_sdk.program.operations import window_shape
from lepton_sdk.program.tensors import Padding


def pair(values: object) -> tuple[int, int]:
    """Two integers of an attribute."""
    rows, columns = integers(values)  # type: ignore[arg-type]
    return rows, columns


def padding(call: Expr) -> Padding:
    """Relax's [top, left, bottom, right]."""
    top, left, bottom, right = integers(call.attrs.padding)
    return Padding(top, bottom, left, right)


def pool_padding(call: Expr, result: tuple[int, ...]) -> Padding:
    """A pool's padding; ceil_mode is padding below and right until the result's shape is reached.

    Exact because padded places neither win a maximum nor count in a mean.
    """
    base = padding(call)
    size, kernel, stride = shape(call.args[0])[1:3], pair(call.attrs.pool_size), pair(call.attrs.strides)
    rows, columns = size
    reached = window_shape((rows, columns), kernel, stride, base)
    missing = [max(0, want - have) * step for want, have, step in zip(result[1:3], reached, stride)]
    return Padding(base.top, base.bottom + missing[0], base.left, base.right + missing[1])


def is_nhwc_pool(call: Expr) -> bool:
    """Whether a pool is one a Program has: NHWC, no dilation, no counted padding."""
    plain = str(call.attrs.layout) == "NHWC" and set(integers(call.attrs.dilation)) == {1}
    return plain and not (bool(call.attrs.count_include_pad) and any(integers(call.attrs.padding)))
