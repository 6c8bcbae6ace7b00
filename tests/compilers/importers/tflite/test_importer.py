"""The TFLite importer's edges: damaged files, unsupported operators, replaced weights, shapes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError
from support.evaluation_data import FLOAT_NETWORKS, committed_kws, mlperf_tiny
from support.tflite_cut import with_operator

KWS = committed_kws()[0].read_bytes()


@pytest.mark.parametrize("length", [8, 64, 1000, 20_000, len(KWS) - 8])
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(BadInputError, match="truncated or damaged"):
        program_from(KWS[:length])


@settings(max_examples=25, deadline=None)
@given(place=st.integers(0, len(KWS) - 1), mask=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_imported(place: int, mask: int) -> None:
    altered = bytearray(KWS)
    altered[place] ^= mask
    # Any other exception fails the test.
    with contextlib.suppress(LeptonError):
        assert program_from(bytes(altered)).function().operations


def test_unsupported_operators_are_named_with_their_layers() -> None:
    content = with_operator(KWS, 9, schema.BuiltinOperator.L2_POOL_2D)
    with pytest.raises(UnsupportedOperatorError) as caught:
        program_from(content)
    assert "average_pooling2d/AvgPool' (L2_POOL_2D)" in str(caught.value)
    assert "AVERAGE_POOL_2D" in str(caught.value)


def test_format_is_told_by_content() -> None:
    with pytest.raises(BadInputError, match="already compiled"):
        program_from(b"LEPTON\0\0" + bytes(64))
    with pytest.raises(BadInputError, match="cannot read"):
        program_from("no/such/file.tflite")


def test_shapes_are_the_files() -> None:
    with pytest.raises(BadInputError, match=r"\(1, 49, 10, 1\) in the TFLite file"):
        program_from(KWS, shapes={"input_1": (2, 49, 10, 1)})
    assert program_from(KWS, shapes={"input_1": (1, 49, 10, 1)}).tensors["input_1"].shape == (1, 49, 10, 1)


def test_float_parameters_become_variables_and_come_back_as_weights() -> None:
    content = mlperf_tiny(FLOAT_NETWORKS["vww"]).read_bytes()
    trained = program_from(content, trainable=True)
    assert len(trained.variables) == 2 * 28
    x = np.random.default_rng(0).uniform(size=(1, 96, 96, 3)).astype(np.float32)
    plain = program_from(content)
    np.testing.assert_array_equal(Reference(trained).run([x])[0], Reference(plain).run([x])[0])
    weights = {}
    for variable in trained.variables:
        value = trained.tensors[variable.tensor].value
        assert value is not None
        turned = value.transpose(variable.source_axes or range(value.ndim))
        weights[variable.source_name] = turned.reshape(variable.source_shape or turned.shape)
    again = program_from(content, weights=weights)
    np.testing.assert_array_equal(Reference(again).run([x])[0], Reference(plain).run([x])[0])


def test_an_int8_model_has_nothing_to_train() -> None:
    assert program_from(KWS, trainable=True).variables == ()


def test_float_constants_are_replaced_by_tensor_name() -> None:
    content = mlperf_tiny(FLOAT_NETWORKS["ad"]).read_bytes()
    with pytest.raises(BadInputError, match="no parameter 'nothing'") as caught:
        program_from(content, weights={"nothing": np.zeros(3, np.float32)})
    names = str(caught.value).split("its parameters: ")[1].split(", ")
    program = program_from(content)
    last = program.function().operations[-1]
    bias = program.tensors[last.bias]  # type: ignore[attr-defined]
    name = next(n for n in names if "bias" in n.lower() and _fits(content, n, bias.shape))
    fresh = np.linspace(-1, 1, bias.size).astype(np.float32)
    replaced = program_from(content, weights={name: fresh})
    biases = [replaced.tensors[op.bias].value for op in replaced.function().operations]  # type: ignore[attr-defined]
    assert any(value is not None and np.array_equal(value, fresh) for value in biases)


def _fits(content: bytes, name: str, shape: tuple[int, ...]) -> bool:
    try:
        program_from(content, weights={name: np.zeros(shape, np.float32)})
    except BadInputError:
        return False
    return True
