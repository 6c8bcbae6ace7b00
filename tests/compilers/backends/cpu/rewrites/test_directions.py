"""Both directions of a recurrent layer run beside each other and give what they give in turn."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.backends.cpu.rewrites.directions import BothDirections, both_directions
from lepton_sdk.engines.pool import open_pool
from lepton_sdk.program import Program, Tensor, reference
from lepton_sdk.program.recurrent import Gru
from lepton_sdk.program.tensors import constant
from lepton_targets import Cpu, get_target
from lepton_targets.host import runs_here
from support.native import Native
from support.programs import program_of

STEPS, INPUTS, UNITS = 150, 7, 72
"""More gates than a run of steps holds, more work than a fork costs."""


def layer(second_reads: str = "x", second_reverse: bool = True) -> Program:
    rng = np.random.default_rng(5)
    tensors = [Tensor("x", (STEPS, 1, INPUTS), "float32")]
    for name in ("forward", "backward"):
        inputs = INPUTS if name == "forward" or second_reads == "x" else UNITS
        tensors += [
            constant(f"{name} {part}", (0.1 * rng.normal(size=shape)).astype(np.float32))
            for part, shape in {
                "w": (3 * UNITS, inputs),
                "r": (3 * UNITS, UNITS),
                "b": (3 * UNITS,),
                "rb": (UNITS,),
            }.items()
        ]
        tensors.append(Tensor(name, (STEPS, 1, UNITS), "float32"))

    def gru(name: str, x: str, reverse: bool) -> Gru:
        constants = [f"{name} {part}" for part in ("w", "r", "b", "rb")]
        return Gru(x, *constants, None, None, None, None, None, name, reverse)

    return program_of(tensors, [gru("forward", "x", False), gru("backward", second_reads, second_reverse)])


def test_neighbours_in_opposite_directions_are_one_operation_of_the_plan() -> None:
    program = layer()
    (op,) = both_directions(program.function(), program.tensors, lambda op: True).operations
    assert isinstance(op, BothDirections)
    assert op.outputs == ("forward", "backward")


@pytest.mark.parametrize(("reads", "reverse"), [("forward", True), ("x", False)])
def test_layers_that_wait_or_go_the_same_way_stay_two(reads: str, reverse: bool) -> None:
    program = layer(reads, reverse)
    assert len(both_directions(program.function(), program.tensors, lambda op: True).operations) == 2


@pytest.mark.parametrize("target", ["x86-64", "x86-64-avx2", "x86-64-avx512vnni"])
def test_threads_change_no_byte(target: str) -> None:
    program, row = layer(), get_target(target)
    assert isinstance(row, Cpu)
    assert cpu.plan(program, row).together
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    native = Native(program, cpu.lower(program, row))
    x = np.random.default_rng(6).normal(size=(STEPS, 1, INPUTS)).astype(np.float32)
    alone = native.run([x])
    for a, b in zip(alone, reference.run(program, [x]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    pool = open_pool(native.library, 2)
    assert pool is not None
    for a, b in zip(native.run([x], parallel=pool.address), alone, strict=True):
        np.testing.assert_array_equal(a, b)
    pool.close()
