"""C projects: built by CMake with GCC and Clang, here and for another CPU; the bytes are the reference's."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.c_project import (
    compiler_flags,
    project_files,
)
from lepton_compilers.c_project.folder import write_project
from lepton_compilers.c_project.identity import ModelIdentity
from lepton_compilers.front import program_from
from lepton_compilers.golden import golden_vectors
from lepton_sdk.program import Program, reference
from lepton_targets import CPUS, get_target
from lepton_targets.errors import UsageError
from lepton_targets.host import host
from support.emulated import emulator
from support.in_process import run_here

KWS = Path(__file__).parents[2] / "data" / "kws_ref_model.tflite"
WARNINGS = "-Wall -Werror"


@pytest.fixture(scope="module")
def kws() -> Program:
    return program_from(KWS)


def write(folder: Path, program: Program, row: cpu.Cpu, weights_as: str = "auto") -> Path:
    sources = cpu.c_sources(program, row, "kws")
    vectors = golden_vectors(program, None, 2)
    identity = ModelIdentity("kws", "ab" * 32, ("zero", "one", "two"))
    write_project(folder, project_files(program, row, sources, vectors, identity, weights_as))
    return folder


def clang(folder: Path, *options: str) -> list[str]:
    """CMake's arguments for clang, which the `ziglang` wheel carries: two scripts in `folder`."""
    folder.mkdir(exist_ok=True)
    for tool, words in (("cc", ["cc", *options]), ("ar", ["ar"])):
        script = folder / tool
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang {" ".join(words)} "$@"\n')
        script.chmod(0o755)
    return [f"-DCMAKE_C_COMPILER={folder / 'cc'}", f"-DCMAKE_AR={folder / 'ar'}", "-DCMAKE_RANLIB=/bin/true"]


def build(folder: Path, *options: str) -> Path:
    """The example, built in a folder of its own. Skips where CMake is missing, fails in CI."""
    if shutil.which("cmake") is None:
        if os.environ.get("CI"):
            pytest.fail("cmake is not installed")
        pytest.skip("cmake is not installed")
    made = folder / "build"
    flags = [f"-DCMAKE_C_FLAGS={WARNINGS}", *options]
    for command in (["cmake", "-S", str(folder), "-B", str(made), *flags], ["cmake", "--build", str(made)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return made / "kws_example"


def outputs(command: list[str], program: Program, folder: Path) -> tuple[bytes, bytes, str]:
    """What the example gives for a noisy input, what the reference gives, and what the example printed."""
    (name,) = program.function().inputs
    shape = program.tensors[name].shape
    sample = np.random.default_rng(3).integers(-128, 128, shape).astype(np.int8)
    (folder / "in.bin").write_bytes(sample.tobytes())
    files = ["-i", str(folder / "in.bin"), "-o", str(folder / "out.bin")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    expected = b"".join(array.tobytes() for array in reference.run(program, (sample,)))
    return (folder / "out.bin").read_bytes(), expected, done.stdout


@pytest.mark.parametrize("standard", ["-std=c99", "-std=gnu11"])
@pytest.mark.parametrize("target", ["host", "x86-64"])
def test_builds_with_the_hosts_compiler(kws: Program, tmp_path: Path, target: str, standard: str) -> None:
    if target == "x86-64" and host().machine != "x86_64":
        pytest.skip("another architecture")
    row = host() if target == "host" else get_target(target)
    version, extensions = standard[-2:], "ON" if "gnu" in standard else "OFF"
    options = [f"-DCMAKE_C_STANDARD={version}", f"-DCMAKE_C_EXTENSIONS={extensions}"]
    example = build(write(tmp_path, kws, row), *options, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    assert standard in (tmp_path / "build" / "compile_commands.json").read_text()
    found, expected, printed = outputs([str(example)], kws, tmp_path)
    assert found == expected
    assert "2 golden vectors, 24 values as promised" in printed
    assert outputs([str(example), "-t", "2"], kws, tmp_path)[0] == expected


def test_the_example_tells_what_steps_take_where_it_is_asked_to(kws: Program, tmp_path: Path) -> None:
    example = build(write(tmp_path, kws, host()), "-DLEPTON_TIMED=ON")
    for threads in ([], ["-t", "2"]):
        found, expected, printed = outputs([str(example), *threads], kws, tmp_path)
        assert found == expected
        lines = [line for line in printed.splitlines() if " us  " in line]
        assert len(lines) == len(cpu.c_sources(kws, host(), "kws").steps["infer"])
        assert lines[0].endswith("Conv2d functional_1/activation/Relu: pad_rows_u8")
        assert sum(float(line.split()[0]) for line in lines) > 0


def test_builds_with_clang_and_loads_weights_from_a_file(kws: Program, tmp_path: Path) -> None:
    folder = write(tmp_path / "project", kws, host(), "file")
    assert not (folder / "model" / "kws_weights.c").exists()
    tools = clang(tmp_path / "tools", "-fno-sanitize=all")
    # Zig's clang has its own way of naming CPUs.
    example = build(folder, *tools, f"-DLEPTON_CPU_FLAGS=-mcpu={host().mcpu}")
    weights = folder / "model" / "kws_weights.bin"
    found, expected, _ = outputs([str(example), str(weights)], kws, tmp_path)
    assert found == expected
    missing = subprocess.run([str(example)], capture_output=True, text=True)
    assert (missing.returncode, "missing, cut short" in missing.stderr) == (1, True)


def test_builds_for_another_cpu_and_runs_there(kws: Program, tmp_path: Path) -> None:
    row = get_target("cortex-a53")
    folder = write(tmp_path / "project", kws, row)
    # musl, linked statically: qemu-user then needs no libraries of that CPU.
    tools = clang(tmp_path / "tools", "-target", "aarch64-linux-musl", "-fno-sanitize=all", "-static")
    system = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    example = build(folder, *tools, *system, f"-DLEPTON_CPU_FLAGS=-mcpu={row.mcpu}")
    found, expected, printed = outputs([*emulator(row), str(example)], kws, tmp_path)
    assert found == expected
    assert "kws for cortex-a53" in printed


def test_an_altered_model_fails_its_self_test(kws: Program, tmp_path: Path) -> None:
    sources = cpu.c_sources(kws, host(), "kws")
    altered = bytearray(sources.weights)
    altered[1000:1064] = bytes(64)
    broken = dataclasses.replace(sources, weights=bytes(altered))
    files = project_files(kws, host(), broken, golden_vectors(kws, None, 1), ModelIdentity("kws", "ab" * 32))
    write_project(tmp_path, files)
    done = subprocess.run([str(build(tmp_path))], capture_output=True, text=True)
    assert done.returncode == 1
    assert "self-test: a golden vector came out otherwise than promised" in done.stderr


def test_the_command_writes_a_project(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "project"
    words = ["compile", str(KWS), "--emit", "c-project", "--target", "aarch64", "-o", str(folder), "--json"]
    report = run_here(capfd, *words).json
    assert {entry["path"] for entry in report["files"]} >= {"CMakeLists.txt", "model/kws_ref_model.h"}
    assert all((folder / entry["path"]).stat().st_size == entry["bytes"] for entry in report["files"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "x86-64,aarch64"], "is for one CPU"),
        (["--emit", "zip"], "accepted: bundle, c-project"),
        (["--c-weights", "inline"], "accepted: auto, array, file"),
        (["-o", str(KWS)], "is a file"),
    ],
)
def test_wrong_use(tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    base = ["compile", str(KWS), "--emit", "c-project", "--target", "aarch64", "-o", str(tmp_path / "p")]
    result = run_here(capfd, *base, *words)
    assert result.code == UsageError.exit_code
    assert message in result.err


def test_every_cpu_has_flags_for_gcc_and_clang() -> None:
    assert compiler_flags(get_target("x86-64-avx512vnni")) == (
        "-march=cascadelake",
        "-mprefer-vector-width=512",
    )
    assert compiler_flags(get_target("cortex-a53")) == ("-mcpu=cortex-a53",)
    assert all(flag.startswith("-m") for row in CPUS for flag in compiler_flags(row))


def test_a_folder_of_somebody_else_is_left_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "of ours"
    theirs.mkdir()
    (theirs / "README.md").write_text("# My product")
    command = ("compile", KWS, "--target", "riscv64", "--emit", "c-project", "-o")
    refused = run_here(capfd, *command, theirs)
    assert refused.code == 2
    assert "holds README.md" in refused.err
    assert [file.name for file in theirs.iterdir()] == ["README.md"]
    assert (theirs / "README.md").read_text() == "# My product"
    assert f"cmake -S '{ours}' -B '{ours}/build'" in run_here(capfd, *command, ours).out
    (ours / "CMakeLists.txt").unlink()
    assert run_here(capfd, *command, ours).code == 0
    assert (ours / "CMakeLists.txt").exists()
