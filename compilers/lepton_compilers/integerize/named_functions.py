"""Rows of float layers that compute a function with a name, told by what they compute: SiLU, GELU, …

Exporters write GELU as five layers, in several orders, and hard swish in three; a kernel of its own reads and
writes each element once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_compilers.integerize.chain import Chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.lower_float import Lowered, Rule
from lepton_compilers.integerize.pointwise import Pointwise, read_pointwise
from lepton_compilers.passes.graph import MULTIPLY, Graph
from lepton_sdk.program.reference_sequence import FUNCTIONS
from lepton_sdk.program.sequence import Unary

DIVIDE = "relax.divide"
NAMED = ("silu", "hard_swish", "gelu", "gelu_tanh")
"""Products of a number with a function of it, none of which takes a parameter."""

_PLACES = np.concatenate([np.linspace(-12, 12, 1001), np.array([-80.0, -1e-3, 1e-3, 80.0])])
_TOLERANCE = 1e-6
"""Relative and absolute: what constants in float32 leave. The functions differ by 1e-4 and more somewhere."""


def named(graph: Graph, function: Pointwise) -> str | None:
    """The name of what a row of layers computes, if it has one."""
    y = function.of(graph, _PLACES)
    for name in NAMED:
        if np.allclose(y, FUNCTIONS[name](_PLACES, 1.0), _TOLERANCE, _TOLERANCE):
            return name
    return None


def _named_function(draft: Draft, chain: Chain) -> Lowered | None:
    function = read_pointwise(draft.graph, chain.result)
    if function is None or function.plain or len(function.calls) < 2:
        return None
    name = named(draft.graph, function)
    if name is None:
        return None
    op = Unary(draft.tensor(function.source), draft.tensor(function.result), name, 1.0)
    return Lowered((op,), (function.source,))


NAMED_FUNCTIONS: Mapping[str, Rule] = {MULTIPLY: _named_function, DIVIDE: _named_function}
