"""Whole networks: machine code gives the reference executor's bytes, at the output and at every layer."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from lepton_targets.host import runs_here
from support.emulated import Emulated
from support.evaluation_data import FLOAT_NETWORKS, INT8_NETWORKS, kws_samples, mlperf_tiny
from support.native import Native
from support.structured_inputs import as_int8, structured_images, structured_vectors

Array = npt.NDArray[Any]

COUNT = 100
TARGETS = ("x86-64", "x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni", "x86-64-avx512vbmi")


def samples(network: str, shape: tuple[int, ...]) -> Array:
    """int8 [COUNT, 1, …]: recorded or structured inputs, the last quarter noise."""
    if network == "kws":
        real = kws_samples()[0][:COUNT]
    elif len(shape) == 4 and shape[3] == 3:
        real = as_int8(structured_images(COUNT, (shape[1], shape[2], shape[3])))
    else:
        real = as_int8(structured_vectors(COUNT, shape[1:]))
    noise = np.random.default_rng(0).integers(-128, 128, real.shape).astype(np.int8)
    real = np.where(np.arange(COUNT).reshape(-1, *[1] * (real.ndim - 1)) < COUNT * 3 // 4, real, noise)
    return real.reshape(COUNT, *shape)


def open_native(program: Program, target: str) -> Native:
    row = get_target(target)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    return Native(program, cpu.lower(program, row))


def every_layer(program: Program) -> Program:
    """The program with every intermediate as an output."""
    body = program.function()
    layers = tuple(name for op in body.operations for name in op.outputs)
    return dataclasses.replace(program, functions={"infer": dataclasses.replace(body, outputs=layers)})


@functools.cache
def expected(network: str) -> tuple[Program, Array, list[dict[str, Array]]]:
    """The program, its samples, and for each sample every tensor that the reference computes."""
    program = program_from(mlperf_tiny(INT8_NETWORKS[network]))
    reference, inputs = Reference(program), program.function().inputs
    arrays = samples(network, program.tensors[inputs[0]].shape)
    layers = every_layer(program).function().outputs
    traces = (reference.trace([sample]) for sample in arrays)
    return program, arrays, [{name: trace[name] for name in layers} for trace in traces]


@pytest.mark.xdist_group("int8 networks")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", INT8_NETWORKS)
def test_outputs_are_the_reference_bytes(network: str, target: str) -> None:
    program, arrays, traces = expected(network)
    native, (output,) = open_native(program, target), program.function().outputs
    for sample, trace in zip(arrays, traces, strict=True):
        np.testing.assert_array_equal(native.run([sample])[0], trace[output])
    assert len({trace[output].tobytes() for trace in traces}) > 3


@pytest.mark.xdist_group("int8 networks")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", INT8_NETWORKS)
def test_every_layer_is_the_reference_bytes(network: str, target: str) -> None:
    program, arrays, traces = expected(network)
    layered = every_layer(program)
    native, names = open_native(layered, target), layered.function().outputs
    for sample, trace in zip(arrays, traces, strict=True):
        for name, found in zip(names, native.run([sample]), strict=True):
            np.testing.assert_array_equal(found, trace[name], err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", FLOAT_NETWORKS)
def test_float_networks_are_near_the_reference(network: str, target: str) -> None:
    program = program_from(mlperf_tiny(FLOAT_NETWORKS[network]))
    native, reference = open_native(program, target), Reference(program)
    shape = program.tensors[program.function().inputs[0]].shape
    for sample in np.random.default_rng(0).uniform(0, 1, (4, *shape)).astype(np.float32):
        (found,), (expected,) = native.run([sample]), reference.run([sample])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


OTHERS = ("cortex-a53", "cortex-a76", "neoverse-v1", "armv7", "riscv64-v")


@pytest.mark.parametrize(
    ("network", "target"),
    [("kws", "riscv64"), *((n, t) for n in ("kws", "resnet8") for t in OTHERS)],
)
def test_a_network_on_other_cpus(network: str, target: str) -> None:
    program, row = program_from(mlperf_tiny(INT8_NETWORKS[network])), get_target(target)
    emulated, reference = Emulated(program, cpu.lower(program, row), row), Reference(program)
    shape = program.tensors[program.function().inputs[0]].shape
    for sample in samples(network, shape)[[0, COUNT - 1]]:
        np.testing.assert_array_equal(emulated.run([sample])[0], reference.run([sample])[0])
