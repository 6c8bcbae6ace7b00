"""Generated code under sanitizers and between guard pages, built by GCC with a driver in C."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.c_project import compiler_flags, project_files
from lepton_compilers.c_project.folder import write_project
from lepton_compilers.c_project.identity import ModelIdentity
from lepton_compilers.golden import Vector
from lepton_sdk.program import Program

MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)
OWN_HEAP, GUARD_BEHIND, GUARD_BEFORE = 0, 1, 2


class Guarded:
    """A program's C project with the driver, compiled with some sanitizers or none."""

    def __init__(
        self,
        folder: Path,
        program: Program,
        row: cpu.Cpu,
        vectors: Sequence[Vector],
        flags: Sequence[str],
        precision: str = "float32",
    ) -> None:
        if shutil.which("gcc") is None:
            if os.environ.get("CI"):
                pytest.fail("gcc is not installed")
            pytest.skip("gcc is not installed")
        identity, self._vectors = ModelIdentity("guarded", "ab" * 32), len(vectors)
        sources = cpu.c_sources(program, row, identity.name, precision=precision)
        files = project_files(program, row, sources, tuple(vectors), identity, "array")
        write_project(folder, files)
        self._program = folder / "driver"
        units = [
            str(folder / path) for path in files if path.endswith(".c") and not path.startswith("example")
        ]
        driver = Path(__file__).with_name("guarded_driver.c")
        exact = ["-ffp-contract=off", "-fno-strict-aliasing", "-DLEPTON_HOSTED", *compiler_flags(row)]
        named = ['-DMODEL_HEADER="guarded.h"', "-DMODEL=guarded"]
        include = [f"-I{folder / 'model'}", f"-I{folder / 'runtime'}"]
        # Checks that the sanitizers put into a loop's condition make GCC warn that it may not unroll it.
        warnings = ["-w"] if flags else ["-Wall", "-Werror", "-Wno-psabi"]
        command = ["gcc", "-O1", "-g1", *warnings, "-pthread", *flags, *exact, *named, *include]
        done = subprocess.run(
            [*command, *units, str(driver), "-o", str(self._program)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def check(self, mode: int = OWN_HEAP, threads: int = 1, repetitions: int = 1) -> None:
        """Run every vector; fails with what the sanitizer or the driver says."""
        command = [str(self._program), str(mode), str(threads), str(repetitions)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"{self._vectors}\n"), done.stderr[:4000]
