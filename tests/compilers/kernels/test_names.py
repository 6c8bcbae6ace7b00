"""Headers of kernels that one program may use are compiled as one unit: no two may define the same name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from lepton_compilers.backends.cpu.instruction_sets import EVERYWHERE, INSTRUCTION_SETS
from lepton_compilers.backends.cpu.lowering.rows import Rows
from lepton_compilers.backends.cpu.plans.headers import HEADER_ORDER, kernel_header, ordered_headers
from lepton_targets import Isa

FUNCTION = re.compile(r"^LEPTON_KERNEL\s[\w\s*]*?\b(\w+)\(", re.MULTILINE)


def headers(tables: Iterable[Rows]) -> set[str]:
    """Where the kernels of these rows stand, and what those headers stand on."""
    rows = (row for table in tables if table not in EVERYWHERE for found in table.values() for row in found)
    return {*ordered_headers(row.header for row in rows)}


def own_headers(isa: Isa) -> set[str]:
    row = INSTRUCTION_SETS[isa]
    return headers(row.tables if row.bfloat16 is None else (row.bfloat16, *row.tables))


OF_EVERY_CPU = {*HEADER_ORDER} - set().union(*map(own_headers, INSTRUCTION_SETS)) | {"portable.h"}


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_headers_that_meet_in_one_unit_define_different_names(isa: Isa) -> None:
    together = OF_EVERY_CPU | own_headers(isa)
    assert len(together) >= len(OF_EVERY_CPU) > 10
    names = Counter(name for header in together for name in {*FUNCTION.findall(kernel_header(header))})
    assert names["conv2d_int8"] == 1
    assert [name for name, count in names.items() if count > 1] == []
