"""Recurrent layers on every instruction set: several panels of units, runs of steps, batches, threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_sdk.program import Quantization, Tensor, arithmetic_sequence, reference
from lepton_sdk.program.recurrent import Gru, Lstm
from lepton_sdk.program.tensors import constant
from lepton_targets import Cpu, get_target
from support.emulated import Emulated
from support.executed import X86_64, executed
from support.native import Native
from support.programs import Case, program_of, together

Shape = tuple[int, int, int, int]
"""T, N, I, H."""
EMULATED = ("cortex-a53", "cortex-a76", "armv7", "riscv64", "riscv64-v")
SHAPES = ((1, 1, 1, 1), (5, 1, 3, 16), (4, 2, 7, 37), (3, 9, 20, 50))
"""One panel of 16 units and several, a sequence and a batch that tiles cut unevenly."""
LONG = (70, 3, 5, 50)
"""More gates than a run of steps holds."""


def float_case(kind: str, shape: Shape, reverse: bool, first: bool) -> Case:
    """kind: Lstm, Gru, or Gru whose reset comes first."""
    steps, batch, inputs, units = shape
    rng = np.random.default_rng([steps, batch, units, reverse, first, len(kind)])
    gates = 4 if kind == "Lstm" else 3

    def normal(*extents: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.normal(size=extents)).astype(np.float32)

    held = [
        constant("weight", normal(gates * units, inputs, scale=inputs**-0.5)),
        constant("recurrent", normal(gates * units, units, scale=units**-0.5)),
        constant("bias", normal(gates * units)),
        constant("recurrent_bias", normal(units)),
    ]
    tensors = [Tensor("x", (steps, batch, inputs), "float32"), *held]
    tensors.append(Tensor("y", (steps, batch, units), "float32"))
    arrays = [normal(steps, batch, inputs)]
    states = [Tensor(name, (batch, units), "float32") for name in ("h", "c0")[: 2 if kind == "Lstm" else 1]]
    if first:
        tensors += states
        arrays += [normal(batch, units) for _ in states]
    h = "h" if first else None
    read = ("x", "weight", "recurrent", "bias")
    if kind == "Lstm":
        tensors.append(Tensor("c", (batch, units), "float32"))
        c = "c0" if first else None
        return Case(
            program_of(tensors, [Lstm(*read, h, c, None, None, None, None, "y", "c", reverse)]), tuple(arrays)
        )
    bias = "recurrent_bias" if kind == "Gru" else None
    return Case(
        program_of(tensors, [Gru(*read, bias, h, None, None, None, None, "y", reverse)]), tuple(arrays)
    )


def int8_case(kind: str, shape: Shape, reverse: bool, first: bool) -> Case:
    """As float_case; some gates saturate."""
    steps, batch, inputs, units = shape
    rng = np.random.default_rng([steps, batch, units, reverse, first, len(kind)])
    gates = 4 if kind == "Lstm" else 3
    rows = gates * units
    x_q, y_q, cell = (
        Quantization((2**-4,), -7),
        Quantization((1 / 128,), int(first) * 5),
        Quantization((2**-9,)),
    )
    scales = np.float32(0.05) * rng.uniform(0.1, 1, rows).astype(np.float32) / np.float32(np.sqrt(units))
    bias = (4096 * rng.normal(size=rows + units)).astype(np.float32)
    held = [
        constant("weight", rng.integers(-127, 128, (rows, inputs)).astype(np.int8)),
        constant("recurrent", rng.integers(-127, 128, (rows, units)).astype(np.int8)),
        constant("bias", bias[:rows]),
        constant("recurrent_bias", bias[rows:]),
        constant("m", arithmetic_sequence.gate_multiplier(2**-4, scales)),
        constant("rm", arithmetic_sequence.gate_multiplier(1 / 128, scales)),
        *(constant(name, arithmetic_sequence.gate_table(name)) for name in ("sigmoid", "tanh")),
    ]
    tensors = [Tensor("x", (steps, batch, inputs), "int8", x_q), *held]
    tensors.append(Tensor("y", (steps, batch, units), "int8", y_q))
    arrays = [rng.integers(-128, 128, (steps, batch, inputs)).astype(np.int8)]
    h, c = ("h", "c0") if first else (None, None)
    if first and kind == "Lstm":
        tensors += [Tensor("h", (batch, units), "int8", y_q), Tensor("c0", (batch, units), "int16", cell)]
        arrays += [rng.integers(-128, 128, (batch, units)).astype(np.int8)]
    elif first:
        tensors.append(Tensor("h", (batch, units), "int16"))
    if first:
        arrays.append(rng.integers(-30000, 30000, (batch, units)).astype(np.int16))
    read, integers = ("x", "weight", "recurrent", "bias"), ("m", "rm", "sigmoid", "tanh")
    if kind == "Lstm":
        tensors.append(Tensor("c", (batch, units), "int16", cell))
        return Case(program_of(tensors, [Lstm(*read, h, c, *integers, "y", "c", reverse)]), tuple(arrays))
    after = "recurrent_bias" if kind == "Gru" else None
    return Case(program_of(tensors, [Gru(*read, after, h, *integers, "y", reverse)]), tuple(arrays))


def cases_of(
    case: Callable[[str, Shape, bool, bool], Case], shapes: Sequence[Shape] = (*SHAPES, LONG)
) -> list[Case]:
    """Every kind with every shape, in either direction, with and without first states."""
    cases = []
    for kind in ("Lstm", "Gru", "Gru, reset first"):
        for number, shape in enumerate(shapes):
            flags = [(bool(number & 1), bool(number & 2)), (not number & 1, bool(number & 2))]
            cases += [case(kind, shape, *each) for each in (flags if shape == LONG else flags[:1])]
    return cases


def check(found: Sequence[np.ndarray], case: Case) -> None:
    for a, b in zip(found, reference.run(case.program, case.inputs), strict=True):
        message = str(case.program.function().operations)
        if b.dtype == np.float32:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=message)
        else:
            np.testing.assert_array_equal(a, b, err_msg=message)


MADE = {"float32": float_case, "int8": int8_case}


@pytest.mark.parametrize("dtype", MADE)
@pytest.mark.parametrize("target", [*X86_64, "host"])
def test_states_are_the_reference_s(target: str, dtype: str) -> None:
    row, cases = executed(target), cases_of(MADE[dtype])
    native = Native(together(cases), cpu.lower(together(cases), row))
    for index, case in enumerate(cases):
        check(native.run(case.inputs, f"case{index}"), case)


@pytest.mark.parametrize("dtype", MADE)
@pytest.mark.parametrize("target", EMULATED)
def test_states_are_the_reference_s_under_emulation(target: str, dtype: str) -> None:
    row, cases = get_target(target), cases_of(MADE[dtype], SHAPES[:3])
    assert isinstance(row, Cpu)
    emulated = Emulated(together(cases), cpu.lower(together(cases), row), row)
    for index, case in enumerate(cases):
        check(emulated.run(case.inputs, f"case{index}"), case)
