"""GCC accepts every kernel of x86-64 without a warning, as C99 and as GNU C11; Clang makes the bundles."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.c_project import compiler_flags
from lepton_sdk import runtime
from lepton_targets import CPUS
from support.bfloat16_cases import BFLOAT16_CASES
from support.operation_cases import EXACT_CASES, FLOAT_CASES
from support.programs import Case, together

CASES = (*EXACT_CASES.values(), *FLOAT_CASES.values())
X86 = [row for row in CPUS if row.machine == "x86_64"]


ROWS = [(row, precision) for row in X86 for precision in cpu.precisions(row)]


@pytest.mark.parametrize(("row", "precision"), ROWS, ids=lambda value: getattr(value, "name", value))
def test_every_operation_compiles_without_a_warning(tmp_path: Path, row: cpu.Cpu, precision: str) -> None:
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is not installed")
        pytest.skip("gcc is not installed")

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*(CASES if precision == "float32" else BFLOAT16_CASES.values())))
    def check(cases: tuple[Case, ...]) -> None:
        sources = cpu.c_sources(together(cases), row, "all", precision=precision)
        (tmp_path / "kernels").mkdir(exist_ok=True)
        for name, text in sources.headers.items():
            (tmp_path / "kernels" / name).write_text(text)
        (tmp_path / "all.c").write_text(f'#include "lepton_runtime.h"\n{sources.model}')
        include = [f"-I{tmp_path}", f"-I{Path(runtime.__file__).parent}", "-DLEPTON_HOSTED"]
        for standard in ("c99", "gnu11"):
            flags = [f"-std={standard}", "-O1", "-Wall", "-Werror", "-Wno-psabi", "-ffp-contract=off"]
            command = ["gcc", *flags, *compiler_flags(row), *include, "-c", str(tmp_path / "all.c")]
            done = subprocess.run([*command, "-o", str(tmp_path / "all.o")], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[:4000]

    check()
