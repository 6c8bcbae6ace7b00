"""Calls an artifact for another CPU under qemu-user, through a small runner without any library."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends.cpu.codegen.toolchain import compiler
from lepton_sdk.program import Program
from lepton_targets import Cpu
from support import elf

Array = npt.NDArray[Any]


def emulator(cpu: Cpu) -> list[str]:
    """The command that runs the CPU's programs; skips the test where it is not installed, fails in CI."""
    assert cpu.qemu is not None
    program, model = cpu.qemu
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return [program, "-cpu", model]


@functools.cache
def _runner(zig: str, mcpu: str) -> bytes:
    source = Path(__file__).with_name("emulated_runner.c")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "runner")
        flags = ["-O2", "-ffreestanding", "-nostdlib", "-static", "-fno-sanitize=all", "-fno-stack-protector"]
        flags += ["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
        command = [*compiler(), "-target", zig, f"-mcpu={mcpu}", *flags, str(source), "-o", str(output)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return output.read_bytes()


class Emulated:
    """Every function of an artifact, callable with arrays."""

    def __init__(
        self, program: Program, artifact: Artifact, cpu: Cpu, command: Sequence[str] | None = None
    ) -> None:
        """command: what starts the CPU's programs in place of qemu-user."""
        self.program = program
        self.artifact = artifact
        self._emulator = emulator(cpu) if command is None else list(command)
        self._object = elf.parse(artifact.code)
        self._runner = _runner(cpu.zig, cpu.mcpu)
        assert self._object.relocations == 0, "the runner relocates nothing"

    def run(self, inputs: Sequence[Array], function: str = "infer", calls: int = 1) -> list[Array]:
        """Calls in a process of their own, from the variables' first values; the last one's outputs."""
        entry, body = self.artifact.functions[function], self.program.function(function)
        outputs = [self.program.tensors[name] for name in body.outputs]
        variables = self.artifact.variables.initial if self.artifact.variables else b""
        head = (
            len(self._object.image),
            self._object.exports[entry.symbol],
            entry.arena_bytes,
            len(self.artifact.weights),
            len(variables),
            len(inputs),
            len(outputs),
            calls,
        )
        sizes = [a.nbytes for a in inputs] + [t.nbytes for t in outputs]
        words = struct.pack(f"<{8 + len(sizes)}Q", *head, *sizes)
        content = [words, self._object.image, self.artifact.weights, variables]
        content += [np.ascontiguousarray(a).tobytes() for a in inputs]
        with tempfile.TemporaryDirectory() as folder:
            runner = Path(folder, "runner")
            runner.write_bytes(self._runner)
            runner.chmod(0o755)
            result = subprocess.run(
                [*self._emulator, str(runner)], input=b"".join(content), capture_output=True, check=False
            )
        assert result.returncode == 0, f"the runner ended with {result.returncode}: {result.stderr!r}"
        at, arrays = len(variables), []
        for tensor in outputs:
            part = result.stdout[at : at + tensor.nbytes]
            arrays.append(np.frombuffer(part, tensor.dtype).reshape(tensor.shape))
            at += tensor.nbytes
        return arrays
