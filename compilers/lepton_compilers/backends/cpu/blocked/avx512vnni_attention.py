"""Rows of x86-64 with AVX512-VNNI on dense int8 tensors, as attention has them: avx512vnni_matmul.h."""

from __future__ import annotations

from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.backends.cpu.plans.layout import blocks
from lepton_compilers.backends.cpu.portable.layers import int_bounds
from lepton_compilers.backends.cpu.portable.sequence import arithmetic_reach, int8_matmul, matrices_walk
from lepton_compilers.backends.cpu.splits.sequences import packed_bytes
from lepton_compilers.backends.cpu.tiles.avx512 import matmul_tile
from lepton_compilers.backends.cpu.weights.packing import float_bits
from lepton_sdk.program import arithmetic
from lepton_sdk.program.sequence import MatMul

MATMUL_HEADER = "avx512vnni_matmul.h"


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
        *matmul_tile(rows, blocks(columns)),
        a.zero_point,
        b.zero_point,
        float_bits(multiplier),
        y.zero_point + 128,
        low + 128,
        high + 128,
        int(wide),
    )


LOWERINGS: Rows = {MatMul: (Lowering(int8_matmul, emit_matmul, MATMUL_HEADER),)}
