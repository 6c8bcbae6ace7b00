"""The least time by hand-made limits: which limit each layer is due to, where weights come from, its name."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench.layer_work import products_done, works
from benchmarks.bench.roofline import CALL, MAPS, MULTIPLIES, WEIGHTS, Level, Limits, Work, floor
from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.plans.plan import Call, Place
from lepton_sdk.program import Function, Program, Quantization, Tensor
from lepton_sdk.program.operations import Dense
from lepton_sdk.program.tensors import constant
from lepton_targets import get_target

LEVELS = (Level("L1", 1000, 100.0), Level("L2", 10_000, 50.0), Level("memory", None, 10.0))
LIMITS = Limits({"int8": 1000.0}, LEVELS, call_us=0.5)


def test_a_layer_is_due_to_what_takes_longest() -> None:
    multiplying = Work("int8", macs=20_000, weights_bytes=100, maps_bytes=100)
    reading = Work("int8", macs=100, weights_bytes=4000, maps_bytes=500)
    found = floor([multiplying, reading], LIMITS)
    # 4,700 bytes lie in L2; what the second layer touches, 4,500, too.
    assert found.parts_us == {MULTIPLIES: 20.0, WEIGHTS: 4000 / 50, MAPS: 500 / 50, CALL: 0.5}
    assert found.total_us == pytest.approx(110.5)


@pytest.mark.parametrize(
    ("weights", "us", "level"),
    [
        (900, 900 / 100, "L1"),
        (3000, 3000 / 50, "L2"),
        # A level that holds more than half keeps what it holds; one that holds less keeps nothing.
        (1600, 1000 / 100 + 600 / 50, "L1"),
        (16_000, 10_000 / 50 + 6000 / 10, "L2"),
        (40_000, 40_000 / 10, "memory"),
    ],
)
def test_weights_come_from_the_level_that_holds_them(weights: int, us: float, level: str) -> None:
    found = floor([Work("int8", 0, weights, 0)], LIMITS)
    assert found.parts_us[WEIGHTS] == pytest.approx(us)
    assert found.weights_level == level


def test_a_type_without_a_measured_rate_costs_its_bytes() -> None:
    found = floor([Work("int16", 10**9, 100, 0)], LIMITS)
    assert found.parts_us[MULTIPLIES] == 0
    assert found.parts_us[WEIGHTS] == 1.0


def test_the_limit_with_the_largest_share_binds_and_a_larger_rest_is_said_first() -> None:
    found = floor([Work("int8", 8000, 100, 100)], LIMITS)
    assert found.binds(latency_us=10.0) == "multiplies 80%"
    assert found.binds(latency_us=40.0) == "other work 79%, multiplies 20%"
    assert floor([Work("int8", 0, 4000, 0)], LIMITS).binds(100.0) == "weights from L2 80%"
    assert sum(found.shares(40.0).values()) == pytest.approx(1.0)


def test_limits_are_read_as_the_run_writes_them() -> None:
    document = {
        "macs_a_us": {"int8": 1000.0},
        "levels": [{"name": one.name, "bytes": one.nbytes, "bytes_a_us": one.bytes_a_us} for one in LEVELS],
        "call_us": 0.5,
    }
    assert Limits.of(document) == LIMITS


def test_a_plan_gives_its_layers_work() -> None:
    q = Quantization((0.5,), -128)
    tensors = [
        Tensor("x", (1, 64), "int8", q),
        constant("w", np.ones((32, 64), np.int8)),
        constant("b", np.zeros(32, np.int32)),
        constant("m", np.full(32, 0.01, np.float32)),
        Tensor("y", (1, 32), "int8", q),
    ]
    body = Function("infer", ("x",), ("y",), (Dense("x", "w", "b", "m", "y"),))
    program = Program({"infer": body}, {tensor.name: tensor for tensor in tensors})
    (work,) = works(cpu.plan(program, get_target("x86-64")))
    assert (work.dtype, work.macs) == ("int8", 64 * 32)
    # Weights, bias and multipliers, however they are packed; the maps at least once.
    assert 64 * 32 + 32 * 8 <= work.weights_bytes < 2 * (64 * 32 + 32 * 8)
    assert work.maps_bytes >= 64 + 32


def test_winograds_products_are_those_it_does() -> None:
    literals = (8, 8, 16, 8, 8, 16, 1, 1, 4, 4, 4, 2, 0, 0)  # h w c oh ow o, paddings, m = 4, …
    places = tuple(Place(name) for name in ("x", "w", "b", "y", "s"))
    assert products_done(Call("winograd_f32", (*places, *literals))) == pytest.approx(36 / 144)
    assert products_done(Call("conv_f32", places)) == 1.0
