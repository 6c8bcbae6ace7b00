"""The tables of rules by operator, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lepton_compilers.integerize.chain import Chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.lower_float import FLOAT, Lowered, Rule
from lepton_compilers.integerize.lower_int8 import INT8
from lepton_compilers.integerize.lower_sequence import SEQUENCE_FLOAT, SEQUENCE_INT8
from lepton_compilers.integerize.named_functions import NAMED_FUNCTIONS
from lepton_compilers.integerize.recurrent import RECURRENT_INT8
from lepton_compilers.integerize.vision import FLOAT_VISION, INT8_VISION

Tables = Sequence[Mapping[str, Rule]]

FLOAT_TABLES: Tables = (NAMED_FUNCTIONS, FLOAT, FLOAT_VISION, SEQUENCE_FLOAT)
INT8_TABLES: Tables = (INT8, INT8_VISION, SEQUENCE_INT8, RECURRENT_INT8)
FLOAT_OPERATORS = frozenset(name for table in FLOAT_TABLES for name in table)
INT8_OPERATORS = frozenset(name for table in INT8_TABLES for name in table)
"""Operators of layers that may have an int8 form."""


def first(draft: Draft, chain: Chain, tables: Tables) -> Lowered | None:
    """What the first table makes of the layer that makes anything of it."""
    rules = (table[chain.operator] for table in tables if chain.operator in table)
    return next((lowered for rule in rules if (lowered := rule(draft, chain)) is not None), None)
