"""C to shared objects: the same bytes anywhere, and errors that say what to do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_compilers.backends.cpu.codegen import toolchain
from lepton_targets import get_target
from lepton_targets.errors import LeptonError, MissingExtraError

SOURCE = '__attribute__((visibility("default"))) int lepton_infer(int x) { return x + 1; }\n'

PROGRAM = """
import hashlib, sys
from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_targets import get_target
program = program_from(sys.argv[1])
for name in ("x86-64", "x86-64-avx512vnni", "aarch64"):
    artifact = cpu.lower(program, get_target(name))
    print(name, hashlib.sha256(artifact.code + artifact.weights).hexdigest())
"""


def test_equal_programs_give_equal_bytes_in_other_processes_and_folders(tmp_path: Path) -> None:
    model = Path(__file__).parents[4] / "data" / "kws_ref_model.tflite"
    printed = []
    for index, seed in enumerate(("1", "2")):
        folder = tmp_path / f"somewhere-{index}"
        folder.mkdir()
        # A cache of its own, so that the second compilation does not just find the first.
        places = {"ZIG_LOCAL_CACHE_DIR": str(folder / "local"), "TMPDIR": str(folder)}
        environment = {**os.environ, **places, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PROGRAM, str(model)]
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        printed.append(result.stdout)
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 3


def test_no_path_of_the_build_stands_in_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = toolchain.compile_c(SOURCE, get_target("x86-64"))
    assert str(tmp_path).encode() not in code
    assert b"lepton-" not in code


def test_refused_code_is_an_error_with_the_compilers_words() -> None:
    with pytest.raises(LeptonError, match="refused the code generated for aarch64") as caught:
        toolchain.compile_c("int lepton_infer(void) { return missing; }", get_target("aarch64"))
    assert "missing" in "\n".join(caught.value.details)


def test_without_the_compiler_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.compiler.cache_clear()
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'compile'") as caught:
        toolchain.compile_c(SOURCE, get_target("x86-64"))
    assert caught.value.exit_code == 5
    toolchain.compiler.cache_clear()


def test_equal_sources_give_equal_objects() -> None:
    row = get_target("riscv64")
    digests = {hashlib.sha256(toolchain.compile_c(SOURCE, row)).hexdigest() for _ in range(2)}
    assert len(digests) == 1
