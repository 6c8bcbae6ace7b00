"""Which operation each step of a plan works for, and what code that tells their times costs the rest."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.codegen.regions import forks
from lepton_compilers.backends.cpu.codegen.steps import stretches
from lepton_compilers.backends.cpu.codegen.toolchain import FLAGS, compile_c, compiler
from lepton_compilers.compilation import build_program
from lepton_sdk.engines.stamps import READINGS_BEFORE
from lepton_sdk.program import Padding, Program, Quantization, Tensor, reference
from lepton_sdk.program.operations import Add, Conv2d
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.vision import ConvTranspose2d
from lepton_targets import get_target
from support.emulated import Emulated
from support.evaluation_data import committed_kws
from support.programs import program_of

WIDE = get_target("x86-64-avx512vnni")
TIMED = "/* How generated code tells when its steps end"
"""The first line of what only timed code needs."""


@pytest.fixture(scope="module")
def kws() -> Program:
    return build_program(committed_kws()[0].read_bytes())


def test_every_call_of_a_network_is_in_one_step_and_every_operation_in_order(kws: Program) -> None:
    plan = cpu.plan(kws, WIDE)
    found = stretches(plan)
    assert [s.first for s in found] == [0, *(s.end for s in found[:-1])]
    assert found[-1].end == len(plan.calls)
    operations = kws.function().operations
    numbers = [number for s in found for number in s.step.operations]
    assert numbers == sorted(numbers)
    silent = {type(operations[n]).__name__ for n in range(len(operations)) if n not in numbers}
    assert silent <= {"Reshape"}
    # What is no operation's own work says what it is: operands in blocks, results out of them.
    conversions = [s.step for s in found if s.step.converts]
    assert all(step.operations == () and step.into in ("blocks", "dense") for step in conversions)
    assert all(step.operations for step in (s.step for s in found) if not step.converts)
    assert all(step.converts in kws.tensors for step in conversions)


def test_a_step_is_a_fork_whole_and_says_its_parts(kws: Program) -> None:
    plan = cpu.plan(kws, WIDE)
    starts = {stretch.first: stretch.step for stretch in stretches(plan)}
    forked = forks(plan)
    assert forked
    for number, fork in forked.items():
        assert starts[number].parts == sum(part.times for part in fork.parts)


def test_operations_that_are_fused_are_one_step() -> None:
    q = Quantization((0.5,), -128)
    shape = (1, 8, 8, 32)
    weight = np.ones((32, 3, 3, 32), np.int8)
    tensors = [
        *(Tensor(name, shape, "int8", q) for name in ("x", "made", "y")),
        constant("w", weight, Quantization((0.25,) * 32, 0, 0)),
        constant("m", np.full(32, 0.01, np.float32)),
        constant("b", np.zeros(32, np.int32)),
    ]
    conv = Conv2d("x", "w", "b", "m", "made", padding=Padding(1, 1, 1, 1))
    plan = cpu.plan(program_of(tensors, [conv, Add("made", "x", "y")]), WIDE)
    assert [s.step.operations for s in stretches(plan) if not s.step.converts] == [(0, 1)]


def test_what_a_transposed_convolution_becomes_is_its_own() -> None:
    weight = np.ones((3, 4, 4, 4), np.float32)
    tensors = [
        Tensor("x", (1, 6, 6, 4), "float32"),
        constant("weight", weight),
        Tensor("y", (1, 12, 12, 3), "float32"),
    ]
    layer = ConvTranspose2d("x", "weight", None, None, "y", (2, 2), Padding(1, 1, 1, 1))
    steps = [s.step for s in stretches(cpu.plan(program_of(tensors, [layer]), WIDE))]
    own = [step for step in steps if not step.converts]
    assert len(own) > 1
    assert {step.operations for step in own} == {(0,)}


def test_the_ordinary_function_is_the_same_instructions(kws: Program, tmp_path: Path) -> None:
    (source,) = cpu.lower(kws, WIDE).sources.values()
    begin = source.index(TIMED)
    pool = source.index("#define LEPTON_POOL_API")
    with_times = _functions(source, tmp_path)
    without = _functions(source[:begin] + source[pool:], tmp_path)
    assert set(with_times) - set(without) == {"lepton_infer_timed", "lepton_stamp"}
    assert {name: with_times[name] for name in without} == without
    assert without["lepton_infer"]


COUNTED = """
static int count(int id, void *time) {{ *(uint8_t *)time = (uint8_t)id; return 0; }}
__attribute__((visibility("default"))) int lepton_counted(
    void *arena, const void *weights, void *variables, const void *const *inputs, void *const *outputs,
    const lepton_parallel *parallel) {{
  uint8_t record[{readings} * LEPTON_STAMP_BYTES + LEPTON_STAMP_BYTES] = {{0}};
  lepton_stamps stamps = {{count, 7, record, record + sizeof record}};
  void *arguments[] = {{arena,          (void *)weights,  variables, (void *)inputs,
                       (void *)outputs, (void *)parallel, &stamps}};
  if (lepton_infer_timed(arguments)) return 80;
  if (stamps.next != record + {readings} * LEPTON_STAMP_BYTES) return 81;
  for (int i = 0; i < {readings}; i++)
    if (record[i * LEPTON_STAMP_BYTES] != 7) return 82;
  stamps.next = stamps.end = record;
  record[0] = 0;
  if (lepton_infer_timed(arguments)) return 83;
  return stamps.next == record && record[0] == 0 ? 0 : 84;
}}
"""
"""A clock that counts, in place of the C library's: nothing is read beyond the end of its record."""


@pytest.mark.parametrize("target", ["aarch64", "armv7", "riscv64"])
def test_other_cpus_read_the_clock_they_are_given(kws: Program, target: str) -> None:
    row = get_target(target)
    artifact = cpu.lower(kws, row)
    readings = READINGS_BEFORE + len(artifact.steps["infer"])
    (source,) = artifact.sources.values()
    counted = replace(
        artifact,
        code=compile_c(source + COUNTED.format(readings=readings), row),
        functions={"infer": replace(artifact.functions["infer"], symbol="lepton_counted")},
    )
    x = committed_kws()[1][:1]
    (found,) = Emulated(kws, counted, row).run([x])
    np.testing.assert_array_equal(found, reference.run(kws, [x])[0])


def _functions(source: str, folder: Path) -> dict[str, list[str]]:
    """Assembly of each function: instructions and labels, these by the order in which they are met."""
    (folder / "model.c").write_text(source)
    flags = [flag for flag in FLAGS if flag not in ("-shared", "-s") and not flag.startswith("-Wl")]
    command = [*compiler(), "-target", WIDE.zig, f"-mcpu={WIDE.mcpu}", *flags, "-g0", "-S", "model.c"]
    subprocess.run([*command, "-o", "model.s"], cwd=folder, check=True, capture_output=True)
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for text in (folder / "model.s").read_text(errors="replace").splitlines():
        line = re.sub(r"\s*#.*", "", text).strip()
        if start := re.match(r"(?!\.L)([\w.]+):", line):
            lines = found.setdefault(start[1], [])
        elif line and not re.match(r"\.(?!L)", line):
            lines.append(line)
    return {name: _renumbered(lines) for name, lines in found.items()}


def _renumbered(lines: list[str]) -> list[str]:
    labels: dict[str, str] = {}
    return [re.sub(r"\.L\w+", lambda m: labels.setdefault(m[0], f"L{len(labels)}"), line) for line in lines]
