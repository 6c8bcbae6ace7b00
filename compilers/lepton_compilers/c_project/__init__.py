"""A compiled network as a C project: generated code, kernels as they are, runtime, example, build file.

export.py    from a model file to the project: `lepton compile --emit c-project`
identity.py  what a project is called
tables.py    the model's names, shapes, quantisation, weights and golden vectors as C
folder.py    where it is written, whole or not at all
templates/   files that only want a name filled in
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping

from lepton_compilers.backends.cpu import CSources
from lepton_compilers.c_project.identity import ModelIdentity
from lepton_compilers.c_project.tables import data_array, header, tables
from lepton_compilers.golden import Vector
from lepton_sdk import __version__, runtime
from lepton_sdk.program import Program
from lepton_targets import Cpu
from lepton_targets.errors import UsageError

ARRAY_LIMIT_BYTES = 1 << 20
"""Larger weights become a file to load: compilers take minutes over arrays of many megabytes."""

RUNTIME = (
    "lepton_parallel.h",
    "lepton_stamps.h",
    "lepton_runtime.h",
    "lepton_runtime.c",
    "lepton_pool.h",
    "lepton_threads.h",
    "lepton_threads.c",
)


def project_files(
    program: Program,
    cpu: Cpu,
    sources: CSources,
    vectors: tuple[Vector, ...],
    identity: ModelIdentity,
    weights_as: str = "auto",
) -> dict[str, bytes]:
    """The project's files by path. weights_as: `array`, `file`, or `auto`, by their size."""
    if weights_as not in ("auto", "array", "file"):
        raise UsageError(f"weights are written as '{weights_as}'; accepted: auto, array, file")
    name, weights = identity.name, sources.weights
    as_array = weights_as == "array" or (weights_as == "auto" and len(weights) <= ARRAY_LIMIT_BYTES)
    data_file = f"model/{name}_weights.{'c' if as_array else 'bin'}"
    function = "infer" if "infer" in program.functions else next(iter(program.functions))
    words = {
        "NAME": name,
        "TARGET": cpu.name,
        "FLAGS": " ".join(compiler_flags(cpu)),
        "NAME_UPPER": name.upper(),
        "FUNCTION": function,
        "FUNCTION_UPPER": function.upper(),
        "COMPILER": f"lepton-edge {__version__}",
        "SOURCE_SHA256": identity.source_sha256,
        "DATA_SOURCES": f"\n  {data_file}" if as_array and weights else "",
        "EXAMPLE_ARGUMENTS": "" if as_array else f" {data_file}",
        "USAGE": "" if as_array else f" {data_file}",
    }
    files = {
        "CMakeLists.txt": _template("CMakeLists.txt", words),
        "README.md": _template("README.md", words),
        "example/main.c": _template("main.c", words),
        f"model/{name}.h": header(program, sources, identity.name),
        f"model/{name}.c": f'#include "{name}.h"\n{sources.model}',
        f"model/{name}_tables.c": tables(program, cpu, sources, vectors, identity, as_array),
    }
    files |= {f"model/kernels/{kernel}": text for kernel, text in sources.headers.items()}
    files |= {f"runtime/{file}": runtime.source(file) for file in RUNTIME}
    content = {path: text.encode() for path, text in files.items()}
    if weights:
        content[data_file] = data_array(f"{name}_weights", weights).encode() if as_array else weights
    return content


WIDE_LOOPS = "-prefer_256_bit"
"""What zig's CPU names end with where loops are to fill the widest registers."""


def compiler_flags(cpu: Cpu) -> tuple[str, ...]:
    """How GCC and Clang are told the CPU. `mcpu` is spelled as zig does, with `_` for `-`."""
    plain = cpu.mcpu.removesuffix(WIDE_LOOPS)
    name = plain.replace("_", "-")
    match cpu.machine:
        case "x86_64":
            model, *more = name.split("+")
            wide = () if plain == cpu.mcpu else ("-mprefer-vector-width=512",)
            return (f"-march={model}", *(f"-m{feature}" for feature in more), *wide)
        case "riscv64":
            return ("-march=rv64gc",)
        case "armv7l":
            return (f"-mcpu={name}", "-mfpu=neon", "-mfloat-abi=hard")
        case _:
            return (f"-mcpu={name}",)


def _template(file: str, words: Mapping[str, str]) -> str:
    text = importlib.resources.files(__name__).joinpath("templates", file).read_text(encoding="utf-8")
    return re.sub(r"@([A-Z_0-9]+)@", lambda match: words[match[1]], text)
