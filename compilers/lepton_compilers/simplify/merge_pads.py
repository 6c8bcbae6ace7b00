"""A Pad of the zero point becomes the padding of the convolutions that read it.

Exact: a convolution's own border holds the real value zero, which is what such a Pad writes. Before
fold_constant_channels, which sees the border where it then is.
"""

from __future__ import annotations

import dataclasses

from lepton_compilers.simplify.body import producers, with_operations
from lepton_compilers.simplify.drop_dead_operations import drop_dead_operations
from lepton_sdk.program import Operation, Padding, Program, Tensors
from lepton_sdk.program.operations import Conv2d, DepthwiseConv2d, Pad


def merge_pads(program: Program) -> Program:
    """Convolutions read what was padded; a Pad that something else reads as well stays for that."""
    made = producers(program)
    operations = [
        _merged(op, made.get(op.inputs[0]) if op.inputs else None, program.tensors)
        for op in program.function().operations
    ]
    if tuple(operations) == program.function().operations:
        return program
    return drop_dead_operations(with_operations(program, operations))


def _merged(op: Operation, source: Operation | None, t: Tensors) -> Operation:
    if not isinstance(op, Conv2d | DepthwiseConv2d) or not isinstance(source, Pad):
        return op
    x, padded = t[source.x], t[source.y]
    borders = (*source.before, *source.after)
    outside = any(n for axis in (0, 3) for n in (source.before[axis], source.after[axis]))
    plain = x.quantization == padded.quantization and source.value == x.zero_point
    if outside or not plain or min(borders) < 0:
        return op
    (top, left), (bottom, right) = source.before[1:3], source.after[1:3]
    own = op.padding
    whole = Padding(own.top + top, own.bottom + bottom, own.left + left, own.right + right)
    shape = t[op.weight].shape
    rows, columns = shape[1:3] if isinstance(op, Conv2d) else shape[:2]
    reach = (rows - 1) * op.dilation[0], (columns - 1) * op.dilation[1]
    # A window that lies wholly in the border is no convolution that kernels are asked for otherwise.
    if max(whole.top, whole.bottom) > reach[0] or max(whole.left, whole.right) > reach[1]:
        return op
    return dataclasses.replace(op, x=source.x, padding=whole)
