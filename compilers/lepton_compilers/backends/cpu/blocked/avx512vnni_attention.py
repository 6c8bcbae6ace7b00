"""Rows of x86-64 with AVX512-VNNI on dense int8 tensors, as attention has them.

Products of two tensors, kernels/avx512vnni_matmul.h; softmax of many rows, kernels/avx512vnni_softmax.h.
"""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer, No, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import blocks
from lepton_compilers.backends.cpu.portable.layers import int8_softmax, int_bounds, row_shape
from lepton_compilers.backends.cpu.portable.sequence import arithmetic_reach, int8_matmul, matrices_walk
from lepton_compilers.backends.cpu.splits.sequences import packed_bytes, softmax_bytes
from lepton_compilers.backends.cpu.tiles.avx512 import matrix_tile
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import Tensors, arithmetic
from lepton_sdk.program.operations import Softmax
from lepton_sdk.program.sequence import MatMul

MATMUL_HEADER = "avx512vnni_matmul.h"
SOFTMAX_HEADER = "avx512vnni_softmax.h"
LEAST_SOFTMAX_ROWS = 8
"""Fewer leave most of 16 lanes idle."""


def emit_matmul(op: MatMul, draft: Draft) -> None:
    """All matrices in one call, b packed on its way."""
    a, b, y = (draft.tensors[name] for name in (op.a, op.b, op.y))
    rows, inner, columns = *a.shape[-2:], y.shape[-1]
    multiplier = float(arithmetic.requantise_multiplier(float(a.scale), float(b.scale), float(y.scale)))
    wide = arithmetic_reach(op, draft.tensors) * multiplier >= 2.0**30
    low, high = int_bounds(op.clamp)
    places = draft.read(op.a), draft.read(op.b), draft.scratch(packed_bytes(rows, inner, columns))
    draft.call(
        "matmul_vnni",
        *places,
        draft.write(op.y),
        *matrices_walk(op, draft.tensors),
        int(op.transpose_b),
        *matrix_tile(rows, blocks(columns)),
        a.zero_point,
        b.zero_point,
        float_bits(multiplier),
        y.zero_point + 128,
        low + 128,
        high + 128,
        int(wide),
    )


def _many_rows(op: Softmax, t: Tensors) -> Answer:
    answer, (rows, _) = int8_softmax(op, t), row_shape(t[op.x])
    if isinstance(answer, No):
        return answer
    return when(rows >= LEAST_SOFTMAX_ROWS, f"fewer than {LEAST_SOFTMAX_ROWS} rows")


def emit_softmax(op: Softmax, draft: Draft) -> None:
    """16 rows at a time."""
    assert op.table is not None  # accepted
    rows, n = row_shape(draft.tensors[op.x])
    places = draft.read(op.x), draft.read(op.table), draft.scratch(softmax_bytes(n))
    draft.call("softmax_rows_int8", *places, draft.write(op.y), rows, n)


LOWERINGS: Rows = {
    MatMul: (Lowering(int8_matmul, emit_matmul, MATMUL_HEADER),),
    Softmax: (Lowering(_many_rows, emit_softmax, SOFTMAX_HEADER),),
}
