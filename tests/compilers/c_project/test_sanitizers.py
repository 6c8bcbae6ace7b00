"""Generated code and the C runtime stay in their buffers, define what they do, and share without races."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.splits import parts
from lepton_compilers.front import program_from
from lepton_compilers.golden import Vector, golden_vectors
from lepton_sdk.program import Program, reference
from lepton_sdk.program.bfloat16 import spelled_out
from lepton_targets import get_target
from support.bfloat16_cases import BFLOAT16_CASES
from support.evaluation_data import FLOAT_NETWORKS, INT8_NETWORKS, mlperf_tiny
from support.executed import X86_64, executed
from support.guarded import GUARD_BEFORE, GUARD_BEHIND, MEMORY, OWN_HEAP, THREADS, Guarded
from support.operation_cases import EXACT_CASES, FLOAT_CASES
from support.programs import Case, together
from support.training_cases import CASES as GRADIENTS

KWS = Path(__file__).parents[2] / "data" / "kws_ref_model.tflite"
TARGETS = X86_64


def vectors_of(cases: tuple[Case, ...]) -> list[Vector]:
    return [
        Vector(f"case{i}", case.inputs, tuple(reference.run(case.program, case.inputs)))
        for i, case in enumerate(cases)
    ]


def check_operations(folder: Path, row: cpu.Cpu, examples: int) -> None:
    """Every operation, memory watched by sanitizers and by guard pages."""
    count = iter(range(examples + 1))

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*EXACT_CASES.values(), *FLOAT_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program, vectors = together(cases), vectors_of(cases)
        guarded = Guarded(folder / str(next(count)), program, row, vectors, MEMORY)
        for mode in (OWN_HEAP, GUARD_BEHIND, GUARD_BEFORE):
            guarded.check(mode)

    check()


def test_products_of_bfloat16_stay_inside_their_buffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    row = executed("x86-64-avx512bf16")

    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*BFLOAT16_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program, vectors = together(cases), []
        for index, case in enumerate(cases):
            outputs = tuple(reference.run(spelled_out(case.program), case.inputs))
            vectors.append(Vector(f"case{index}", case.inputs, outputs))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        guarded = Guarded(folder, program, row, vectors, MEMORY, "bf16")
        for mode in (OWN_HEAP, GUARD_BEHIND, GUARD_BEFORE):
            guarded.check(mode)
            guarded.check(mode, threads=3)

    check()


def check_network(folder: Path, row: cpu.Cpu, program: Program, vectors: tuple[Vector, ...]) -> None:
    guarded = Guarded(folder, program, row, vectors, MEMORY)
    for mode in (OWN_HEAP, GUARD_BEHIND, GUARD_BEFORE):
        guarded.check(mode)
        guarded.check(mode, threads=3)


@pytest.mark.parametrize("target", TARGETS)
def test_operations_stay_inside_their_buffers(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    # The first example is the least of every operation.
    check_operations(tmp_path, executed(target), 2)


@pytest.mark.parametrize("target", TARGETS)
def test_a_network_stays_inside_its_buffers(tmp_path: Path, target: str) -> None:
    program = program_from(KWS)
    check_network(tmp_path, executed(target), program, golden_vectors(program, None, 2))


def test_threads_share_without_races(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    program = program_from(KWS)
    threaded = Guarded(tmp_path, program, get_target("x86-64"), golden_vectors(program, None, 1), THREADS)
    threaded.check(threads=2, repetitions=20)
    threaded.check(threads=4, repetitions=20)


@pytest.mark.parametrize("target", ["portable", "x86-64", "x86-64-avx512vnni"])
def test_every_operation_shares_without_races(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In as many parts as there can be, gradients too."""
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    row, count = executed(target), iter(range(2))

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*EXACT_CASES.values(), *FLOAT_CASES.values(), *GRADIENTS.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program, vectors = together(cases), vectors_of(cases)
        threaded = Guarded(tmp_path / str(next(count)), program, row, vectors, THREADS)
        threaded.check(threads=4, repetitions=3)

    check()


def test_a_read_behind_a_buffer_is_seen(tmp_path: Path) -> None:
    """The guards themselves: a model whose arena is smaller than the plan says must be caught."""
    program = program_from(KWS)
    row, vectors = get_target("x86-64"), golden_vectors(program, None, 1)
    original = cpu.c_sources

    def smaller(program: Program, row: cpu.Cpu, prefix: str, precision: str) -> cpu.CSources:
        sources = original(program, row, prefix, precision=precision)
        # More than the slack behind the last map, which kernels may read.
        functions = {
            name: dataclasses.replace(f, arena_bytes=f.arena_bytes - 192)
            for name, f in sources.functions.items()
        }
        return dataclasses.replace(sources, functions=functions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "c_sources", smaller)
        guarded = Guarded(tmp_path, program, row, vectors, MEMORY)
    with pytest.raises(AssertionError, match="AddressSanitizer: heap-buffer-overflow"):
        guarded.check(OWN_HEAP)
    with pytest.raises(AssertionError, match="AddressSanitizer: SEGV"):
        guarded.check(GUARD_BEHIND)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_operations_stay_inside_their_buffers(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    check_operations(tmp_path, executed(target), 20)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", [*INT8_NETWORKS.values(), *FLOAT_NETWORKS.values()])
def test_every_network_stays_inside_its_buffers(tmp_path: Path, target: str, network: str) -> None:
    program = program_from(mlperf_tiny(network))
    check_network(tmp_path, executed(target), program, golden_vectors(program, None, 4))


@pytest.mark.slow
@pytest.mark.parametrize("network", INT8_NETWORKS.values())
def test_threads_share_every_network_without_races(
    tmp_path: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    program = program_from(mlperf_tiny(network))
    row = executed("x86-64-avx512vnni")
    threaded = Guarded(tmp_path, program, row, golden_vectors(program, None, 2), THREADS)
    for threads in (2, 3, 8):
        threaded.check(threads=threads, repetitions=200)
