"""Calls in parts: the parts together do what the whole does, whoever runs them, in whatever order."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.plans.plan import Call, Place
from lepton_compilers.backends.cpu.splits import parts
from lepton_compilers.compilation import compile
from lepton_compilers.front import program_from
from lepton_sdk import Session
from lepton_sdk.engines.pool import open_pool
from lepton_sdk.program import Padding, Quantization, Tensor, reference
from lepton_sdk.program.operations import Conv2d, Dense, GroupedConv2d
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.native import Native
from support.operation_cases import EXACT_CASES, FLOAT_CASES
from support.programs import Case, program_of, together
from support.sequence_cases import SEQUENCE_EXACT_CASES, SEQUENCE_FLOAT_CASES
from support.training_cases import CASES as GRADIENTS
from support.vision_cases import EXACT_VISION, FLOAT_VISION

KWS = Path(__file__).parents[4] / "data" / "kws_ref_model.tflite"
EXACT = (*EXACT_CASES.values(), *SEQUENCE_EXACT_CASES.values(), *EXACT_VISION.values())
FLOAT = (*FLOAT_CASES.values(), *SEQUENCE_FLOAT_CASES.values(), *FLOAT_VISION.values())
FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)


@pytest.fixture(params=("x86-64", "x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni"))
def row(request: pytest.FixtureRequest) -> cpu.Cpu:
    found = get_target(str(request.param))
    if not runs_here(found):
        pytest.skip(f"this machine does not execute {found.name}")
    return found


class Backwards:
    """A lepton_parallel that runs the parts from the last to the first and counts them."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._for = FOR(self._run)
        self._block = (ctypes.c_void_p * 2)(ctypes.cast(self._for, ctypes.c_void_p).value, None)
        self.address = ctypes.addressof(self._block)

    def _run(self, context: int, body: int, arguments: int, count: int) -> None:
        self.counts.append(count)
        for index in reversed(range(count)):
            BODY(body)(arguments, index)


def test_parts_of_every_operation_in_any_order(row: cpu.Cpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    counts: list[int] = []

    @settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*EXACT, *FLOAT))
    def check(cases: tuple[Case, ...]) -> None:
        program = together(cases)
        native, backwards = Native(program, cpu.lower(program, row)), Backwards()
        pool = open_pool(native.library, 3)
        callers = [backwards.address, *([pool.address] if pool else [])]
        for index, case in enumerate(cases):
            whole = native.run(case.inputs, f"case{index}")
            for a, b in zip(whole, reference.run(case.program, case.inputs), strict=True):
                message = str(case.program.function().operations)
                if index < len(EXACT):
                    np.testing.assert_array_equal(a, b, err_msg=message)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, err_msg=message)
            for parallel in callers:
                for a, b in zip(native.run(case.inputs, f"case{index}", parallel), whole):
                    assert a.tobytes() == b.tobytes(), case.program.function().operations
        if pool:
            pool.close()
        counts.extend(backwards.counts)

    check()
    assert max(counts) >= parts.MOST_PARTS // 2


def test_parts_of_every_gradient_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also sums over a batch: the same bytes whoever does which part."""
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    row = get_target("x86-64-avx2")
    if not runs_here(row):
        pytest.skip("this machine has no AVX2")
    counts: list[int] = []

    @settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*GRADIENTS.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program = together(cases)
        native, backwards = Native(program, cpu.lower(program, row)), Backwards()
        pool = open_pool(native.library, 4)
        callers = [backwards.address, *([pool.address] if pool else [])]
        for index, case in enumerate(cases):
            whole = native.run(case.inputs, f"case{index}")
            for a, b in zip(whole, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=str(case.program.function()))
            for parallel in callers:
                for a, b in zip(native.run(case.inputs, f"case{index}", parallel), whole):
                    assert a.tobytes() == b.tobytes(), case.program.function().operations
        if pool:
            pool.close()
        counts.extend(backwards.counts)

    check()
    assert len(counts) >= len(GRADIENTS)


@pytest.mark.parametrize("target", ["cortex-a53", "cortex-a76"])
def test_parts_of_every_int8_operation_on_arm(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_NS", 0.0)
    row = get_target(target)

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.tuples(*EXACT_CASES.values()))
    def check(cases: tuple[Case, ...]) -> None:
        program = together(cases)
        emulated = Emulated(program, cpu.lower(program, row), row)
        for index, case in enumerate(cases):
            found = emulated.run(case.inputs, f"case{index}")
            for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=str(case.program.function().operations))

    check()


def conv(height: int, channels: int) -> Case:
    rng = np.random.default_rng(0)
    q, shape = Quantization((0.5,), -128), (1, height, height, channels)
    tensors = [Tensor("x", shape, "int8", q), Tensor("y", shape, "int8", q)]
    tensors += [constant("w", rng.integers(-9, 10, (channels, 3, 3, channels)).astype(np.int8))]
    tensors += [
        constant("b", np.zeros(channels, np.int32)),
        constant("m", np.full(channels, 0.01, np.float32)),
    ]
    op = Conv2d("x", "w", "b", "m", "y", padding=Padding(1, 1, 1, 1))
    return Case(program_of(tensors, [op]), (rng.integers(-128, 128, shape).astype(np.int8),))


def parts_of(case: Case, target: str, kernel: str = "conv") -> list[Call]:
    """The parts of the calls of kernels whose names begin so."""
    calls = cpu.plan(case.program, get_target(target)).calls
    return [part for call in calls if call.kernel.startswith(kernel) for part in call.parts]


def test_work_that_is_not_worth_a_fork_stays_whole() -> None:
    assert parts_of(conv(3, 16), "x86-64-avx512vnni") == []
    assert sum(part.times for part in parts_of(conv(32, 64), "x86-64-avx512vnni")) >= 4


def test_panels_are_one_call_with_steps_and_rows_know_their_borders() -> None:
    (panels,) = parts_of(conv(28, 256), "x86-64-avx512vnni")
    assert panels.times == parts.MOST_PARTS
    assert {place.step for place in panels.places} > {0}
    top, middle, bottom = parts_of(conv(32, 16), "riscv64")
    assert (top.times, bottom.times) == (1, 1)
    assert middle.times == parts.MOST_PARTS - 2


@pytest.mark.parametrize(
    ("target", "element_bytes"), [("x86-64", 2), ("x86-64-avx2", 2), ("x86-64-avxvnni", 1), ("cortex-a53", 1)]
)
def test_a_cut_learns_from_the_buffer_how_wide_the_values_are(target: str, element_bytes: int) -> None:
    plan = cpu.plan(conv(32, 16).program, get_target(target))
    _, call, _ = plan.calls
    _, middle, _ = call.parts
    y = middle.arguments[4]
    assert isinstance(y, Place)
    assert plan.buffers[y.buffer].element_bytes == element_bytes
    assert y.step == 4 * 32 * 16 * element_bytes


def float_conv(side: int, inner: int, out: int, kernel: int, groups: int = 1) -> Case:
    """A convolution that keeps its map's size; the grouped form where there are groups."""
    rng, pad = np.random.default_rng(0), kernel // 2
    x, y = (1, side, side, inner), (1, side, side, out)
    w = rng.normal(size=(out, kernel, kernel, inner // groups)).astype(np.float32)
    tensors = [Tensor("x", x, "float32"), Tensor("y", y, "float32"), constant("w", w)]
    tensors.append(constant("b", rng.normal(size=out).astype(np.float32)))
    padding = Padding(pad, pad, pad, pad)
    if groups > 1:
        op: Conv2d | GroupedConv2d = GroupedConv2d("x", "w", "b", None, "y", padding=padding)
    else:
        op = Conv2d("x", "w", "b", None, "y", padding=padding)
    return Case(program_of(tensors, [op]), (rng.normal(size=x).astype(np.float32),))


def alike_dense(inner: int, out: int, rows: int = 1) -> Case:
    """A dense layer whose channels have one multiplier."""
    rng, q = np.random.default_rng(0), Quantization((0.5,), -128)
    tensors = [Tensor("x", (rows, inner), "int8", q), Tensor("y", (rows, out), "int8", q)]
    tensors.append(constant("w", rng.integers(-127, 128, (out, inner)).astype(np.int8)))
    tensors.append(constant("b", rng.integers(-999, 999, out).astype(np.int32)))
    tensors.append(constant("m", np.full(out, 0.002, np.float32)))
    op = Dense("x", "w", "b", "m", "y")
    return Case(program_of(tensors, [op]), (rng.integers(-128, 128, (rows, inner)).astype(np.int8),))


def test_halves_of_uneven_work_differ_by_one_unit() -> None:
    rows = parts_of(conv(25, 16), "riscv64")
    heights = [oh for part in rows for oh in [part.arguments[8]] * part.times if isinstance(oh, int)]
    assert len(heights) == parts.MOST_PARTS
    assert sum(heights) == 25
    assert max(heights) - min(heights) <= 1


@pytest.mark.parametrize(
    ("kernel", "case"),
    [
        ("pointwise_f32", float_conv(28, 144, 24, 1)),  # one panel of outputs: by pixels
        ("pointwise_f32", float_conv(7, 256, 512, 1)),  # many panels
        ("winograd_f32", float_conv(28, 64, 48, 3)),  # tiles
        ("winograd_f32", float_conv(20, 40, 48, 3)),  # three runs of tiles for two parts
        ("winograd_f32", float_conv(10, 272, 272, 3)),  # output channels
        ("pointwise_f32", float_conv(28, 120, 240, 1, groups=3)),  # panels beside each other
        ("dense_u8", alike_dense(1280, 1000)),  # one multiplier for all panels
        ("dense_rows_u8", alike_dense(128, 300, 197)),  # tiles of rows
        ("dense_rows_u8", alike_dense(512, 1000, 3)),  # panels of all rows
    ],
)
def test_parts_do_what_the_whole_does(kernel: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    row = get_target("x86-64-avx512vnni")
    if not runs_here(row):
        pytest.skip("this machine has no AVX-512")
    assert len(parts_of(case, row.name, kernel)) > 0
    native, backwards = Native(case.program, cpu.lower(case.program, row)), Backwards()
    (inside,) = native.run(case.inputs)
    pools = [open_pool(native.library, threads) for threads in (2, 3, 4, 7)]
    for parallel in (backwards.address, *(pool.address for pool in pools if pool)):
        (found,) = native.run(case.inputs, parallel=parallel)
        assert found.tobytes() == inside.tobytes()
    for pool in pools:
        if pool:
            pool.close()
    monkeypatch.setattr(parts, "RULES", {})
    whole = Native(case.program, cpu.lower(case.program, row))
    (alone,) = whole.run(case.inputs)
    assert inside.tobytes() == alone.tobytes()
    if inside.dtype == np.int8:
        assert inside.tobytes() == reference.run(case.program, case.inputs)[0].tobytes()


def test_panels_of_groups_share_a_fork() -> None:
    plan = cpu.plan(float_conv(28, 120, 240, 1, groups=3).program, get_target("x86-64-avx512vnni"))
    ((first, end),) = plan.together
    assert {call.kernel for call in plan.calls[first:end]} == {"pointwise_f32"}
    assert "beside the last" in plan.show()


def test_a_session_gives_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    bundle = compile(KWS, "host", output=tmp_path / "kws.lep")
    one = Session(bundle)
    inputs = one.example_inputs()
    expected = one.run(inputs)
    for threads in (2, 3, 16):
        session = Session(bundle, threads=threads)
        assert session.threads == threads
        for _ in range(200):
            found = session.run(inputs)
            assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
        session.close()


def test_idle_threads_sleep_and_a_closed_session_ends_them(tmp_path: Path) -> None:
    session = Session(compile(KWS, "host", output=tmp_path / "kws.lep"), threads=2)
    session.run(session.example_inputs())
    workers = [thread for thread in threading.enumerate() if thread.name == "lepton"]
    assert len(workers) == 1
    state = Path(f"/proc/self/task/{workers[0].native_id}/stat")
    deadline = time.monotonic() + 10
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline, "the worker never went to sleep"
        time.sleep(0.01)
    session.close()
    gc.collect()
    workers[0].join(10)
    assert not workers[0].is_alive()


def test_a_forked_process_runs_alone(tmp_path: Path) -> None:
    session = Session(compile(KWS, "host", output=tmp_path / "kws.lep"), threads=2)
    inputs = session.example_inputs()
    expected = session.run(inputs)
    child = os.fork()
    if child == 0:
        found = session.run(inputs)
        same = all(found[name].tobytes() == expected[name].tobytes() for name in expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_network_with_little_work_runs_on_one_thread(tmp_path: Path) -> None:
    from support import bundles

    session = Session(bundles.write(tmp_path / "tiny.lep"), threads=4)
    assert session.threads == 1


def test_the_plan_says_how_many_parts() -> None:
    text = cpu.plan(program_from(KWS), get_target("riscv64")).show()
    assert " in 8 parts" in text
