"""Portable rows of MatMul, LayerNorm, Unary, Slice and Gather: kernels/sequence.h."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.portable.elementwise import stretched
from lepton_compilers.backends.cpu.portable.layers import both_typed, float_bounds, int_bounds, typed
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_compilers.backends.cpu.weights.ranges import INT32
from lepton_sdk.program import Tensors, arithmetic, arithmetic_sequence
from lepton_sdk.program.sequence import LAYER_NORM_LIMIT, Gather, LayerNorm, MatMul, Slice, Unary

HEADER = "sequence.h"
BATCH_AXES = 4
"""Leading axes of a product that the kernels walk, once neighbours that lie alike are merged."""


def _batches(op: MatMul, t: Tensors) -> tuple[list[int], list[int], list[int]]:
    """Extents of the leading axes, steps of a and b along them in matrices."""
    return stretched(t[op.a].shape[:-2], t[op.b].shape[:-2], t[op.y].shape[:-2])


def _matrices(op: MatMul, t: Tensors) -> Answer:
    found = len(_batches(op, t)[0])
    return when(found <= BATCH_AXES, f"{found} leading axes that lie differently; {BATCH_AXES} are supported")


def float_matmul(op: MatMul, t: Tensors) -> Answer:
    """float32 products."""
    answer = typed(t, "float32", op.a, op.b, op.y)
    return answer if isinstance(answer, No) else _matrices(op, t)


def int8_matmul(op: MatMul, t: Tensors) -> Answer:
    """int8 products whose sums int32 holds whatever the operands are."""
    answer = typed(t, "int8", op.a, op.b, op.y)
    if isinstance(answer, No):
        return answer
    reach = arithmetic_reach(op, t)
    answer = when(reach <= INT32, f"sums that reach {reach}; an int32 accumulator holds {INT32}")
    return answer if isinstance(answer, No) else _matrices(op, t)


def arithmetic_reach(op: MatMul, t: Tensors) -> int:
    """What |Σ (a − za)(b − zb)| can reach: as many products as there are, of the largest differences."""
    ends = [max(127 - t[name].zero_point, t[name].zero_point + 128) for name in (op.a, op.b)]
    return op.inner(t) * ends[0] * ends[1]


def matrices_walk(op: MatMul, t: Tensors) -> tuple[int, ...]:
    """Extents of four leading axes, steps of a and b along them in elements; rows, inner, columns."""
    extents, a_steps, b_steps = _batches(op, t)
    rows, inner = t[op.a].shape[-2:]
    columns = t[op.y].shape[-1]
    missing = BATCH_AXES - len(extents)
    walk = [*[1] * missing, *extents]
    for steps, size in ((a_steps, rows * inner), (b_steps, inner * columns)):
        walk += [*[0] * missing, *(step * size for step in steps)]
    return (*walk, rows, inner, columns)


def _multiplied(kernel: str, op: MatMul, draft: Draft, literals: Sequence[int]) -> None:
    a, b = draft.read(op.a), draft.read(op.b)
    name = kernel.replace("matmul", "matmul_transposed") if op.transpose_b else kernel
    draft.call(name, a, b, draft.write(op.y), *matrices_walk(op, draft.tensors), *literals)


def emit_matmul_float(op: MatMul, draft: Draft) -> None:
    """All matrices in one call."""
    _multiplied("matmul_float", op, draft, float_bounds(op.clamp))


def emit_matmul_int8(op: MatMul, draft: Draft) -> None:
    """All matrices in one call."""
    a, b, y = (draft.tensors[name] for name in (op.a, op.b, op.y))
    multiplier = arithmetic.requantise_multiplier(float(a.scale), float(b.scale), float(y.scale))
    zeros = (a.zero_point, b.zero_point, y.zero_point)
    _multiplied("matmul_int8", op, draft, (*zeros, float_bits(float(multiplier)), *int_bounds(op.clamp)))


def _normalised(op: LayerNorm, t: Tensors, dtype: str) -> Answer:
    answer = typed(t, dtype, op.x, op.y)
    if isinstance(answer, No):
        return answer
    return typed(t, "float32", op.gain, *((op.offset,) if op.offset else ()))


def float_layer_norm(op: LayerNorm, t: Tensors) -> Answer:
    """float32 rows."""
    return _normalised(op, t, "float32")


def int8_layer_norm(op: LayerNorm, t: Tensors) -> Answer:
    """int8 rows whose sums stay exact."""
    answer, count = _normalised(op, t, "int8"), op.normalised(t)
    if isinstance(answer, No):
        return answer
    return when(count <= LAYER_NORM_LIMIT, f"{count} values a mean; int8 takes {LAYER_NORM_LIMIT}")


def _emit_layer_norm(kernel: str, op: LayerNorm, draft: Draft, literals: Sequence[int]) -> None:
    count, size = op.normalised(draft.tensors), draft.tensors[op.x].size
    x, gain = draft.read(op.x), draft.read(op.gain)
    offset = draft.read(op.offset) if op.offset else draft.constant(np.zeros(count, np.float32))
    draft.call(kernel, x, gain, offset, draft.write(op.y), size // count, count, int(op.centred), *literals)


def emit_layer_norm_float(op: LayerNorm, draft: Draft) -> None:
    """A row at a time."""
    _emit_layer_norm("layer_norm_float", op, draft, (float_bits(op.epsilon),))


def emit_layer_norm_int8(op: LayerNorm, draft: Draft) -> None:
    """A row at a time."""
    x, y, count = draft.tensors[op.x], draft.tensors[op.y], op.normalised(draft.tensors)
    epsilon = arithmetic_sequence.layer_norm_epsilon(op.epsilon, count, float(x.scale))
    _emit_layer_norm("layer_norm_int8", op, draft, (x.zero_point, y.zero_point, float_bits(float(epsilon))))


def emit_unary(op: Unary, draft: Draft) -> None:
    """Element by element."""
    x, y = draft.read(op.x), draft.write(op.y, over=op.x)
    draft.call(f"unary_{op.function}", x, y, draft.tensors[op.y].size, float_bits(op.parameter))


def _any_slice(op: Slice, t: Tensors) -> Answer:
    fits = t[op.x].dtype == t[op.y].dtype and len(_walk(op, t)[1]) <= 6
    return when(fits, "a change of type, or a rank above 6")


def _walk(op: Slice, t: Tensors) -> tuple[int, list[int], list[int]]:
    """Bytes of one run, extents around it, steps of x in bytes; axes taken whole join the run."""
    x, y = t[op.x], t[op.y]
    run, axis = np.dtype(x.dtype).itemsize, len(x.shape)
    while (
        axis and op.step[axis - 1] == 1 and op.begin[axis - 1] == 0 and y.shape[axis - 1] == x.shape[axis - 1]
    ):
        axis -= 1
        run *= x.shape[axis]
    whole = run
    if axis and op.step[axis - 1] == 1:
        axis -= 1
        run *= y.shape[axis]
    inner = [math.prod(x.shape[i + 1 :]) * np.dtype(x.dtype).itemsize for i in range(axis)]
    assert run % whole == 0
    return int(run), list(y.shape[:axis]), [int(n * s) for n, s in zip(inner, op.step)]


def emit_slice(op: Slice, draft: Draft) -> None:
    """Runs of bytes, from the first element on."""
    x = draft.tensors[op.x]
    run, extents, steps = _walk(op, draft.tensors)
    size = np.dtype(x.dtype).itemsize
    start = sum(b * math.prod(x.shape[i + 1 :]) * size for i, b in enumerate(op.begin))
    missing = 6 - len(extents)
    walk = (*[1] * missing, *extents, *[0] * missing, *steps)
    draft.call("slice_bytes", draft.read(op.x) + start, draft.write(op.y), run, *walk)


def _any_gather(op: Gather, t: Tensors) -> Answer:
    return when(t[op.x].dtype == t[op.y].dtype, "a change of type")


def emit_gather(op: Gather, draft: Draft) -> None:
    """Row by row."""
    x, indices = draft.tensors[op.x], draft.tensors[op.indices]
    row = math.prod(x.shape[op.axis + 1 :]) * np.dtype(x.dtype).itemsize
    outer, width = math.prod(x.shape[: op.axis]), np.dtype(indices.dtype).itemsize
    places = draft.read(op.x), draft.read(op.indices), draft.write(op.y)
    draft.call("gather_rows", *places, outer, x.shape[op.axis], int(row), indices.size, width)


LOWERINGS: Rows = {
    MatMul: (
        Lowering(int8_matmul, emit_matmul_int8, HEADER),
        Lowering(float_matmul, emit_matmul_float, HEADER),
    ),
    LayerNorm: (
        Lowering(int8_layer_norm, emit_layer_norm_int8, HEADER),
        Lowering(float_layer_norm, emit_layer_norm_float, HEADER),
    ),
    Unary: (Lowering(both_typed("float32"), emit_unary, HEADER),),
    Slice: (Lowering(_any_slice, emit_slice, HEADER),),
    Gather: (Lowering(_any_gather, emit_gather, HEADER),),
}
