"""State of streaming models: parameters of `main` that live between calls, and what replaces them.

`main` lists their names in the attribute `states`; they are its last parameters, and its last results, in
the same order, are their next values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Array
from lepton_compilers.passes.graph import Var, dtype, shape
from lepton_sdk.program import Operation
from lepton_sdk.program.operations import Reshape
from lepton_sdk.program.state import Assign


def state_names(main: Any) -> tuple[str, ...]:
    """Names of the parameters of `main` that are state."""
    return tuple(str(name) for name in main.attrs["states"]) if "states" in main.attrs else ()


def add_states(draft: Draft, names: Sequence[str], initial: Sequence[Array]) -> None:
    """Give the draft a variable for each state, before any layer reads one."""
    for name, value in zip(names, initial, strict=True):
        (var,) = (p for p in draft.graph.parameters if str(p.name) == name)
        draft.add_state(var, np.asarray(value, dtype(var)).reshape(shape(var)))


def assignments(draft: Draft, next_values: Sequence[Var]) -> tuple[tuple[Operation, ...], tuple[Var, ...]]:
    """(operations that end the function, the variables they read).

    A state that is handed on to another is copied first: what replaces it comes after.
    """
    operations: list[Operation] = []
    last: list[Operation] = []
    reads: list[Var] = []
    for var, value in zip(draft.states, next_values, strict=True):
        source = draft.graph.resolve(value)
        if source == var:
            continue
        known = draft.known(source)
        if known is not None:
            x = draft.constant(f"{var.name}/value", known.values)
        else:
            x = draft.tensor(source)
            reads.append(source)
        if source in draft.states:
            copy = draft.scratch(f"{var.name}/value", shape(source), dtype(source))
            operations.append(Reshape(x, copy))
            x = copy
        last.append(Assign(x, draft.tensor(var)))
    return (*operations, *last), tuple(reads)
