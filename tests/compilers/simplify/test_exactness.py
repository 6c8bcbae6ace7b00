"""Every simplification, alone and all together, gives the bytes of the program it found."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_compilers.importers.source import import_model
from lepton_compilers.integerize import integerize
from lepton_compilers.pipeline import front_half, run_passes
from lepton_compilers.simplify import EXACT_SIMPLIFICATIONS
from lepton_compilers.simplify.ranges import channel_ranges
from lepton_compilers.simplify.run import simplify
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from support.evaluation_data import INT8_NETWORKS, kws_samples, mlperf_tiny
from support.int8_programs import int8_program
from support.structured_inputs import as_int8, structured_images, structured_vectors

Array = npt.NDArray[Any]
programs = st.builds(int8_program, st.integers(0, 2**32 - 1), st.integers(0, 7))


def assert_same_bytes(before: Program, after: Program, samples: Array) -> None:
    assert before.function().inputs == after.function().inputs
    assert before.function().outputs == after.function().outputs
    first, second = Reference(before), Reference(after)
    for sample in samples:
        for expected, found in zip(first.run([sample]), second.run([sample]), strict=True):
            np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("apply", EXACT_SIMPLIFICATIONS, ids=lambda apply: apply.__name__)
@settings(max_examples=150, deadline=None)
@given(case=programs)
def test_a_pass_alone_keeps_every_byte(apply: Any, case: tuple[Program, Array]) -> None:
    program, samples = case
    assert_same_bytes(program, apply(program), samples)


@settings(max_examples=300, deadline=None)
@given(case=programs)
def test_all_passes_keep_every_byte_and_cost_no_more(case: tuple[Program, Array]) -> None:
    program, samples = case
    after = simplify(program)
    assert_same_bytes(program, after, samples)
    assert after.macs() <= program.macs()
    assert len(after.function().operations) <= len(program.function().operations)


@settings(max_examples=200, deadline=None)
@given(case=programs)
def test_no_value_leaves_its_channels_range(case: tuple[Program, Array]) -> None:
    program, samples = case
    ranges, reference = channel_ranges(program), Reference(program)
    body = program.function()
    for sample in samples:
        values = reference.trace([sample])
        for name in (*body.inputs, *(y for op in body.operations for y in op.outputs)):
            low, high = ranges[name]
            rows = values[name].reshape(-1, len(low))
            assert (rows >= low).all(), name
            assert (rows <= high).all(), name


def unsimplified(content: bytes) -> Program:
    return integerize(run_passes(import_model(content), front_half(None, None)))


def inputs(network: str, shape: tuple[int, ...]) -> Array:
    if network == "kws":
        return kws_samples()[0][:100, None]
    if network in ("resnet8", "vww"):
        return as_int8(structured_images(100, shape[1:]))[:, None]  # type: ignore[arg-type]
    return as_int8(structured_vectors(100, shape[1:]))[:, None]


@pytest.mark.parametrize("network", INT8_NETWORKS)
def test_networks_keep_every_byte(network: str) -> None:
    before = unsimplified(mlperf_tiny(INT8_NETWORKS[network]).read_bytes())
    after = simplify(before)
    assert_same_bytes(before, after, inputs(network, before.tensors[before.function().inputs[0]].shape))
    assert after.macs() <= before.macs()


def test_person_detection_loses_its_constant_channels() -> None:
    before = unsimplified(mlperf_tiny(INT8_NETWORKS["vww"]).read_bytes())
    after = simplify(before)
    constants = [sum(tensor.nbytes for tensor in p.constants()) for p in (before, after)]
    assert (before.macs(), after.macs()) == (7_489_664, 3_727_313)
    assert constants == [231_040, 38_202]
