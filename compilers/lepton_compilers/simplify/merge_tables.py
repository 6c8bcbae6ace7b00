"""Adjacent requantisations: two Tables in a row become one.

Exact: the composed table holds what the second gives for each of the first's 256 values. Requantisations
that sum first (convolutions, Add) round in between, so nothing else is merged.
"""

from __future__ import annotations

import numpy as np

from lepton_compilers.simplify.body import reads, with_operations
from lepton_sdk.program import Operation, Program, Tensor, TensorId
from lepton_sdk.program.operations import Table
from lepton_sdk.program.tensors import constant


def merge_tables(program: Program) -> Program:
    """Each chain of Tables without other readers as one Table under the last one's name."""
    count = reads(program)
    tensors: dict[TensorId, Tensor] = dict(program.tensors)
    last: dict[TensorId, Table] = {}
    kept: list[Operation] = []
    for op in program.function().operations:
        before = last.get(op.x) if isinstance(op, Table) else None
        if isinstance(op, Table) and before is not None and count[op.x] == 1:
            first, second = tensors[before.table].value, tensors[op.table].value
            if first is not None and second is not None:
                name = _fresh(f"{op.y}/merged", tensors)
                tensors[name] = constant(name, second[first.astype(np.int32) + 128])
                kept.remove(before)
                op = Table(before.x, name, op.y)
        if isinstance(op, Table):
            last[op.y] = op
        kept.append(op)
    return (
        program
        if len(kept) == len(program.function().operations)
        else with_operations(program, kept, tensors)
    )


def _fresh(wanted: str, taken: dict[TensorId, Tensor]) -> TensorId:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}:{number}"
    return name
