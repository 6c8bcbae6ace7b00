"""LiteRT's instructions on Arm CPUs: its aarch64 library under qemu-user with the counting plug-in.

Needs the library of the aarch64 wheel and an aarch64 C library, for instance:

    pip download --no-deps --only-binary=:all: --platform manylinux_2_27_aarch64 ai-edge-litert==2.3.0
    unzip ai_edge_litert-*.whl 'ai_edge_litert/libLiteRt.so' -d wheel
    apt-get install libc6-arm64-cross libstdc++6-arm64-cross libgcc-s1-arm64-cross
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lepton_compilers.backends.cpu.codegen.toolchain import compiler
from lepton_targets import Cpu
from support.emulated import emulator
from support.instructions import counting_plugin

PARTS = {"cortex-a53": 0xD03, "cortex-a72": 0xD08, "cortex-a76": 0xD0B, "neoverse-v1": 0xD40}
"""Arm's part numbers, by which LiteRT tells CPUs apart."""
FEW, MANY = 3, 23
GLIBC = "2.34"


@dataclass(frozen=True)
class Aarch64LiteRt:
    """library: folder of libLiteRt.so. root: its lib/ is the C library's: /usr/aarch64-linux-gnu."""

    library: Path
    root: Path

    def instructions(self, model: Path, sample: npt.NDArray[Any], target: Cpu) -> int:
        """Of one run on `target` with one input."""
        with tempfile.TemporaryDirectory() as folder:
            root = self._root(Path(folder), target)
            given, count = Path(folder, "input"), Path(folder, "count")
            given.write_bytes(sample.tobytes())
            plugin = Path(folder, "counter.so")
            plugin.write_bytes(counting_plugin())
            command = [*emulator(target), "-plugin", f"{plugin},out={count}", "-L", str(root)]
            command += ["-E", f"LD_LIBRARY_PATH={self.library}", str(self._driver(Path(folder))), str(model)]
            counts = []
            for calls in (FEW, MANY):
                arguments = [str(calls), str(given), str(Path(folder, "output"))]
                subprocess.run([*command, *arguments], check=True, capture_output=True)
                counts.append(int(count.read_text()))
        return (counts[1] - counts[0]) // (MANY - FEW)

    def _driver(self, folder: Path) -> Path:
        source, output = Path(__file__).with_name("litert_calls.c"), folder / "litert_calls"
        command = [
            *compiler(),
            "-O2",
            "-target",
            f"aarch64-linux-gnu.{GLIBC}",
            str(source),
            "-o",
            str(output),
        ]
        command += [f"-L{self.library}", "-lLiteRt"]
        subprocess.run(command, check=True, capture_output=True)
        return output

    def _root(self, folder: Path, target: Cpu) -> Path:
        """What the process sees as /: qemu-user shows it this machine's /proc/cpuinfo otherwise."""
        root = folder / "root"
        shutil.copytree(self.root / "lib", root / "lib", symlinks=True)
        (root / "proc").mkdir()
        lines = {
            "processor": "0",
            "Features": " ".join(("fp", *target.features)),
            "CPU implementer": "0x41",
            "CPU architecture": "8",
            "CPU variant": "0x1",
            "CPU part": f"{PARTS[target.name]:#x}",
            "CPU revision": "0",
        }
        cpuinfo = "".join(f"{key}\t: {value}\n" for key, value in lines.items())
        (root / "proc" / "cpuinfo").write_text(cpuinfo + "\n")
        cpus = root / "sys" / "devices" / "system" / "cpu"
        cpus.mkdir(parents=True)
        for name in ("possible", "present", "kernel_max"):
            (cpus / name).write_text("0\n")
        return root
