"""Exact instructions of one call: by valgrind for this machine's architecture, by qemu-user for others.

A process makes one call, another two; the difference is one call without the process around it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends.cpu.codegen.toolchain import compiler
from lepton_sdk.program import Program
from lepton_targets import Cpu
from lepton_targets.host import machine
from support.emulated import Emulated, emulator

Array = npt.NDArray[Any]
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")


def valgrind() -> str:
    """The command; skips the test where it is not installed, fails in CI."""
    found = shutil.which("valgrind")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("valgrind is not installed")
        pytest.skip("valgrind is not installed")
    return found


def callgrind(log: Path) -> list[str]:
    """A command in front of another that counts its instructions and writes them to `log`."""
    return [valgrind(), "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]


def collected(log: Path) -> int:
    """The number that callgrind wrote."""
    match = COLLECTED.search(log.read_text())
    assert match is not None, log.read_text()
    return int(match[1])


@functools.cache
def counting_plugin() -> bytes:
    """The counting plug-in for this machine's qemu-user."""
    source = Path(__file__).with_name("instruction_counter.c")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "counter.so")
        command = [*compiler(), "-O2", "-shared", "-fPIC", str(source), "-o", str(output)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return output.read_bytes()


def instructions(program: Program, artifact: Artifact, cpu: Cpu, inputs: Sequence[Array]) -> int:
    """Instructions of one call of `infer`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "count")
        read: Callable[[Path], int]
        if cpu.machine == machine():
            command, read = callgrind(log), collected
        else:
            plugin = Path(folder, "counter.so")
            plugin.write_bytes(counting_plugin())
            command = [*emulator(cpu), "-plugin", f"{plugin},out={log}"]
            read = lambda path: int(path.read_text())  # noqa: E731
        runner = Emulated(program, artifact, cpu, command)
        counts = []
        for calls in (1, 2):
            runner.run(inputs, calls=calls)
            counts.append(read(log))
    return counts[1] - counts[0]
