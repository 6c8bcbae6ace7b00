"""Portable row of the table between uint8 and int8."""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer, when
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_sdk.program import Tensors
from lepton_sdk.program.uint8 import ByteTable

HEADER = "vision.h"


def _bytes(op: ByteTable, t: Tensors) -> Answer:
    kinds = t[op.x].dtype, t[op.y].dtype
    return when({*kinds} <= {"int8", "uint8"}, f"a table of bytes from {kinds[0]} to {kinds[1]}")


def _emit(op: ByteTable, draft: Draft) -> None:
    x, y = draft.tensors[op.x], draft.tensors[op.y]
    kernel = "table_int8" if x.dtype == "int8" else "table_uint8"
    source, table = draft.read(op.x), draft.read(op.table)
    draft.call(kernel, source, table, draft.write(op.y, over=op.x), y.size)


LOWERINGS: Rows = {ByteTable: (Lowering(_bytes, _emit, HEADER),)}
