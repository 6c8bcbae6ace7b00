"""Every TFLite operator alone, against LiteRT: float32 within 1e-5, int8 the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as s

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_compilers.importers.tflite.constants import FOLDED_ONLY
from lepton_compilers.importers.tflite.importer import RECURRENT, SUPPORTED
from lepton_compilers.importers.tflite.states import STATE_OPERATORS
from lepton_compilers.importers.tflite.vision import CUSTOM
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from lepton_targets.errors import UnsupportedOperatorError
from support.litert import LiteRT
from support.native import Native
from support.programs import Case, together
from support.tflite_layers import layer
from support.tflite_network import Spec
from support.tflite_operators.floats import float_networks
from support.tflite_operators.int8 import byte_networks, int8_in_float, int8_networks
from support.tflite_operators.on_constants import computed_shape, float16_weights

Networks = Mapping[str, tuple[bytes, tuple[npt.NDArray[Any], ...]]]
FLOAT, INT8 = float_networks(), int8_networks()
ELSEWHERE = {"AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "QUANTIZE", "DEQUANTIZE"}
"""Operators of test_layers.py and of whole networks."""
ON_CONSTANTS = {"ADD_N", "BROADCAST_TO", "FILL", "RANK", "REVERSE_V2", "SHAPE", "PACK"}
"""Operators of the tests below."""


@cache
def native(kind: str) -> Native:
    """All networks of one kind as one library: a single compilation."""
    networks = FLOAT if kind == "float" else INT8
    program = together([Case(program_from(content), inputs) for content, inputs in networks.values()])
    return Native(program, cpu.lower(program, get_target("host")))


@pytest.mark.parametrize("name", FLOAT)
def test_float_results_are_those_of_litert(name: str) -> None:
    content, inputs = FLOAT[name]
    expected = LiteRT(content).run_all(inputs)
    index = list(FLOAT).index(name)
    for found in (Reference(program_from(content)).run(inputs), native("float").run(inputs, f"case{index}")):
        for a, b in zip(found, expected, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", INT8)
def test_int8_bytes_are_those_of_litert(name: str) -> None:
    content, inputs = INT8[name]
    expected = LiteRT(content).run_all(inputs)
    index = list(INT8).index(name)
    for found in (Reference(program_from(content)).run(inputs), native("int8").run(inputs, f"case{index}")):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", byte_networks())
def test_bytes_without_a_sign_stand_at_the_ends(name: str) -> None:
    content, inputs = byte_networks()[name]
    program, expected = program_from(content), LiteRT(content).run_all(inputs)
    engines = Reference(program), Native(program, cpu.lower(program, get_target("host")))
    for engine in engines:
        for a, b in zip(engine.run(inputs), expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_a_network_that_computes_in_uint8_is_refused() -> None:
    x = Spec("x", (1, 4), np.uint8, (0.5,), 3)
    content = layer(s.BuiltinOperator.RELU, None, 0, [x], replace(x, name="y"), 2)
    with pytest.raises(UnsupportedOperatorError, match="computes in uint8"):
        program_from(content)


def test_shapes_that_are_computed_are_known_at_once() -> None:
    content, inputs = computed_shape()
    program, expected = program_from(content), LiteRT(content).run_all(inputs)
    np.testing.assert_allclose(Reference(program).run(inputs)[0], expected[0], rtol=1e-6)


def test_every_supported_operator_is_tested() -> None:
    named = {name.split()[0] for name in (*FLOAT, *INT8)}
    others = {*ELSEWHERE, *ON_CONSTANTS, *STATE_OPERATORS, *FOLDED_ONLY, *CUSTOM, *RECURRENT}
    assert set(SUPPORTED) <= named | others


def test_float16_weights_are_read_as_constants() -> None:
    content, inputs = float16_weights()
    program, expected = program_from(content), LiteRT(content).run_all(inputs)
    assert [type(op).__name__ for op in program.function().operations] == ["Conv2d"]
    np.testing.assert_allclose(Reference(program).run(inputs)[0], expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", int8_in_float())
def test_what_has_no_int8_form_is_computed_in_float(name: str) -> None:
    content, inputs = int8_in_float()[name]
    expected, found = LiteRT(content).run_all(inputs)[0], Reference(program_from(content)).run(inputs)[0]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    steps = np.abs(found.astype(np.int64) - expected.astype(np.int64))
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.05
