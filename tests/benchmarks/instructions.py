"""Instructions of one inference, ours beside LiteRT's: exact, so they compare where timings are noisy.

x86-64: both under valgrind, which hides AVX-512, so that LiteRT takes its AVX2 kernels. Other CPUs: under
qemu-user with a counting plug-in; LiteRT as well where its aarch64 library is given (litert_aarch64.py).
Writes docs/instructions.json and docs/INSTRUCTIONS.md as it counts; rows of other targets stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

from litert_aarch64 import Aarch64LiteRt  # noqa: E402

from lepton_compilers.backends import cpu  # noqa: E402
from lepton_compilers.front import program_from  # noqa: E402
from lepton_sdk.durable import write_durably  # noqa: E402
from lepton_sdk.program import Program  # noqa: E402
from lepton_targets import Target, get_target  # noqa: E402
from lepton_targets.host import machine  # noqa: E402
from support.evaluation_data import data_root  # noqa: E402
from support.instructions import callgrind, collected, instructions  # noqa: E402

NETWORKS = {
    "ResNet-8": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "VWW": "mlperf_tiny/vww_96_int8.tflite",
    "KWS": "mlperf_tiny/kws_ref_model.tflite",
    "AD": "mlperf_tiny/ad01_int8.tflite",
    "ResNet-8 float32": "mlperf_tiny/pretrainedResnet.tflite",
    "VWW float32": "mlperf_tiny/vww_96_float.tflite",
    "AD float32": "mlperf_tiny/ad01_fp32.tflite",
}
TARGETS = ("x86-64-avx2", "cortex-a53", "cortex-a76", "neoverse-v1", "armv7", "riscv64", "riscv64-v")
Array = npt.NDArray[Any]
Row = dict[str, Any]
FEW, MANY = 20, 120

INVOKE = """
import sys
import numpy
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
with open(sys.argv[3], "rb") as file:
    sample = numpy.frombuffer(file.read(), given["dtype"]).reshape(given["shape"])
interpreter.set_tensor(given["index"], sample)
for _ in range(int(sys.argv[2])):
    interpreter.invoke()
"""


def litert_instructions(model: Path, sample: Array) -> int:
    """LiteRT's instructions of one `invoke` on this machine's architecture, to about one in a thousand."""
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        log, given = Path(folder, "count"), Path(folder, "input")
        given.write_bytes(sample.tobytes())
        for calls in (FEW, MANY):
            command = [*callgrind(log), sys.executable, "-c", INVOKE, str(model), str(calls), str(given)]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "0"})
            counts.append(collected(log))
    return (counts[1] - counts[0]) // (MANY - FEW)


def random_input(program: Program) -> Array:
    """Any bytes, or floats from 0 to 1."""
    tensor, rng = program.tensors[program.function().inputs[0]], np.random.default_rng(0)
    if tensor.dtype == "float32":
        return rng.uniform(0, 1, tensor.shape).astype(np.float32)
    return rng.integers(-128, 128, tensor.shape).astype(np.int8)


def measure(targets: Iterable[Target], arm: Aarch64LiteRt | None) -> Iterator[Row]:
    """One row a network and target."""
    for name, file in NETWORKS.items():
        model = data_root() / file
        if not model.is_file():
            print(f"{name}: {file} is not there; left out", file=sys.stderr)
            continue
        program = program_from(model)
        sample = random_input(program)
        for target in targets:
            ours = instructions(program, cpu.lower(program, target), target, [sample])
            macs = program.macs("infer")
            native = target.machine == machine()
            peer = None
            if native:
                peer = litert_instructions(model, sample)
            elif arm is not None and target.machine == "aarch64":
                peer = arm.instructions(model, sample, target)
            row: Row = {
                "network": name,
                "target": target.name,
                "macs": macs,
                "instructions": ours,
                "instructions_a_mac": round(ours / macs, 4),
                "counted_by": "callgrind" if native else "qemu-user plug-in",
                "litert_instructions": peer,
            }
            print(row, file=sys.stderr)
            yield row


def merged(earlier: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Rows by network and target in the order of the tables; new ones take the place of earlier ones.

    LiteRT's count is kept where only ours was counted anew.
    """
    rows = {(row["network"], row["target"]): row for row in earlier}
    for row in new:
        key = (row["network"], row["target"])
        peer = row["litert_instructions"] or rows.get(key, row)["litert_instructions"]
        ratio = None if peer is None else round(row["instructions"] / peer, 3)
        rows[key] = {**row, "litert_instructions": peer, "ratio": ratio}
    networks = list(NETWORKS)

    def place(key: tuple[str, str]) -> tuple[int, ...]:
        return tuple(
            names.index(name) if name in names else len(names)
            for names, name in zip((networks, TARGETS), key, strict=True)
        )

    return [rows[key] for key in sorted(rows, key=place)]


def page(rows: list[Row]) -> str:
    """docs/INSTRUCTIONS.md."""
    lines = [
        "# Instructions an inference",
        "",
        "Counted by `make instructions`: callgrind for x86-64, a plug-in of qemu-user",
        "for other CPUs. Exact for one compiler version, whatever the machine does besides; not cycles.",
        "LiteRT is counted by the same means: under valgrind, which hides AVX-512 from it, XNNPACK takes its",
        "AVX2 kernels; under qemu-user (tests/benchmarks/litert_aarch64.py) those of the emulated Arm CPU,",
        "of which neoverse-v1 is qemu's `max`: it offers extensions that a Neoverse V1 lacks, so the float32",
        "row of LiteRT is no measure of one.",
        "",
        "| network | target | instructions | a MAC | LiteRT | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = "–" if row["ratio"] is None else f"{row['litert_instructions']:,}"
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"| {row['network']} | {row['target']} | {row['instructions']:,} "
            f"| {row['instructions_a_mac']:.3f} | {peer} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, then write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS), help="target names, separated by commas")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of the two files")
    parser.add_argument("--litert-aarch64", type=Path, help="folder of an aarch64 libLiteRt.so")
    parser.add_argument("--aarch64-root", type=Path, default=Path("/usr/aarch64-linux-gnu"))
    arguments = parser.parse_args()
    library = arguments.litert_aarch64
    arm = None if library is None else Aarch64LiteRt(library.resolve(), arguments.aarch64_root)
    targets = [get_target(name.strip()) for name in arguments.targets.split(",")]
    listing = arguments.output / "instructions.json"
    rows = json.loads(listing.read_text()) if listing.is_file() else []
    for row in measure(targets, arm):
        rows = merged(rows, [row])
        write_durably(listing, (json.dumps(rows, indent=1) + "\n").encode())
        write_durably(arguments.output / "INSTRUCTIONS.md", page(rows).encode())


if __name__ == "__main__":
    main()
