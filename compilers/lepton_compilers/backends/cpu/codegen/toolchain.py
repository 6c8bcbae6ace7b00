"""From C to a shared object with no dependency, by the C compiler that the `ziglang` wheel carries."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from lepton_targets import Cpu
from lepton_targets.errors import LeptonError, MissingExtraError, UnavailableError

FLAGS = (
    "-O3",
    "-std=gnu11",
    "-ffreestanding",
    "-nostdlib",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    # The arithmetic is plain IEEE float32: a fused multiply-add would change bits.
    "-ffp-contract=off",
    # One arena holds floats and integers at different times.
    "-fno-strict-aliasing",
    "-fno-sanitize=all",
    "-fno-stack-protector",
    # Without these the Arm triple asks for an unwinder, and the object would carry tables nobody reads.
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
    # Equal functions may become one that jumps to the other: not by way of a table that a loader fills.
    "-Wl,-Bsymbolic",
    "-s",
)
SOURCE_NAME = "model.c"


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command that starts the C compiler. Raises MissingExtraError where the wheel is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        raise MissingExtraError("compiling for a CPU", "compile", "ziglang")
    return (sys.executable, "-m", "ziglang", "cc")


def compile_c(source: str, cpu: Cpu) -> bytes:
    """The shared object of one self-contained C file.

    Runs in a folder of its own under relative names, so that equal sources give equal bytes anywhere.
    Raises UnavailableError if the compiler can't be started, LeptonError with its output if it refuses.
    """
    with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
        Path(folder, SOURCE_NAME).write_text(source, encoding="utf-8")
        command = [
            *compiler(),
            "-target",
            cpu.zig,
            f"-mcpu={cpu.mcpu}",
            *FLAGS,
            SOURCE_NAME,
            "-o",
            "model.so",
        ]
        try:
            result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as error:
            raise UnavailableError(f"the C compiler can't be started: {error}") from error
        if result.returncode != 0:
            raise LeptonError(
                f"the C compiler refused the code generated for {cpu.name} (exit {result.returncode})",
                *result.stderr.splitlines()[:20],
            )
        return Path(folder, "model.so").read_bytes()
