"""Portable rows of operations of two operands: sums, differences, products, stretched as numpy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.layers import add_constants, float_bounds, int_bounds, typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import Tensors, arithmetic
from lepton_sdk.program.operations import Add, Mul, Shape, Sub
from lepton_sdk.program.vision import Maximum, Minimum, Prelu

HEADER = "elementwise.h"
AXES = 6
"""Axes that the kernels walk, once neighbours that lie alike are merged."""

Binary = Add | Sub | Mul | Maximum | Minimum | Prelu


def stretched(a: Shape, b: Shape, y: Shape) -> tuple[list[int], list[int], list[int]]:
    """Extents of y, and for each axis the step in a and in b: 0 where that operand is stretched.

    Axes of one element are dropped, neighbours that lie alike in both operands merged.
    """
    extents: list[int] = []
    a_steps: list[int] = []
    b_steps: list[int] = []
    for axis in reversed(range(-len(y), 0)):
        n = y[axis]
        if n == 1:
            continue
        steps = [_step(shape, axis) for shape in (a, b)]
        alike = extents and all(
            step == inner[0] * extents[0] for step, inner in zip(steps, (a_steps, b_steps))
        )
        if alike:
            extents[0] *= n
        else:
            extents.insert(0, n)
            a_steps.insert(0, steps[0])
            b_steps.insert(0, steps[1])
    return extents, a_steps, b_steps


def _step(shape: Shape, axis: int) -> int:
    """Elements between neighbours along an axis counted from the end; 0 where the operand has one."""
    if len(shape) < -axis or shape[axis] == 1:
        return 0
    step = 1
    for extent in shape[len(shape) + axis + 1 :]:
        step *= extent
    return step


def walked(extents: Sequence[int], a_steps: Sequence[int], b_steps: Sequence[int]) -> tuple[int, ...]:
    """The kernels' arguments: six extents, outermost first, and the steps of each operand along them."""
    missing = AXES - len(extents)
    return (*[1] * missing, *extents, *[0] * missing, *a_steps, *[0] * missing, *b_steps)


def stretched_walk(op: Binary, t: Tensors) -> tuple[tuple[int, ...], Answer]:
    """The kernels' arguments for extents and steps, and whether their axes suffice."""
    extents, a_steps, b_steps = stretched(t[op.a].shape, t[op.b].shape, t[op.y].shape)
    missing = AXES - len(extents)
    return walked(extents, a_steps, b_steps), when(
        missing >= 0, f"{len(extents)} axes that lie differently; {AXES} are supported"
    )


def typed_alike(dtype: str) -> Callable[[Binary, Tensors], Answer]:
    """Both operands and the result of one type, stretched along few enough axes."""

    def accepts(op: Binary, t: Tensors) -> Answer:
        answer = typed(t, dtype, op.a, op.b, op.y)
        return answer if isinstance(answer, No) else stretched_walk(op, t)[1]

    return accepts


def _int8_sum(op: Add | Sub, t: Tensors) -> Answer:
    """A common shift that the 64-bit form holds."""
    answer = typed_alike("int8")(op, t)
    if isinstance(answer, No):
        return answer
    shift = add_constants(op, t)[2]
    return when(
        1 <= shift <= 62, f"scales of an int8 sum that need a shift of {shift}; 1 to 62 are supported"
    )


def emit_stretched(kernel: str, op: Binary, draft: Draft, *literals: int) -> None:
    """In place over an operand of y's shape that nothing reads later."""
    t = draft.tensors
    a, b = draft.read(op.a), draft.read(op.b)
    y = draft.write(op.y, over=op.a if t[op.a].shape == t[op.y].shape else None)
    draft.call(kernel, a, b, y, *stretched_walk(op, t)[0], *literals)


def zeros(op: Binary, t: Tensors) -> tuple[int, int, int]:
    """Zero points of a, b and y."""
    return t[op.a].zero_point, t[op.b].zero_point, t[op.y].zero_point


def _emit_add_int8(op: Add, draft: Draft) -> None:
    literals = (*zeros(op, draft.tensors), *add_constants(op, draft.tensors), *int_bounds(op.clamp))
    emit_stretched("stretched_add_int8", op, draft, *literals)


def _emit_sub_int8(op: Sub, draft: Draft) -> None:
    ma, mb, shift = add_constants(op, draft.tensors)
    literals = (*zeros(op, draft.tensors), ma, -mb, shift, *int_bounds(op.clamp))
    emit_stretched("stretched_add_int8", op, draft, *literals)


def _emit_mul_int8(op: Mul, draft: Draft) -> None:
    t = draft.tensors
    m = arithmetic.requantise_multiplier(float(t[op.a].scale), float(t[op.b].scale), float(t[op.y].scale))
    literals = (*zeros(op, t), float_bits(float(m)), *int_bounds(op.clamp))
    emit_stretched("stretched_mul_int8", op, draft, *literals)


def _emit_float(kernel: str) -> Callable[[Add | Sub | Mul, Draft], None]:
    return lambda op, draft: emit_stretched(kernel, op, draft, *float_bounds(op.clamp))


emit_add_float = _emit_float("stretched_add_float")
"""In place over `a` where nothing reads it later."""

_INT8, _FLOAT = typed_alike("int8"), typed_alike("float32")

LOWERINGS: Rows = {
    Add: (
        Lowering(_int8_sum, _emit_add_int8, HEADER),
        Lowering(_FLOAT, emit_add_float, HEADER),
    ),
    Sub: (
        Lowering(_int8_sum, _emit_sub_int8, HEADER),
        Lowering(_FLOAT, _emit_float("stretched_sub_float"), HEADER),
    ),
    Mul: (
        Lowering(_INT8, _emit_mul_int8, HEADER),
        Lowering(_FLOAT, _emit_float("stretched_mul_float"), HEADER),
    ),
}
