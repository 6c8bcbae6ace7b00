"""What int8 layers refuse: weights of −128, sums and biases that int32 can't hold."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from lepton_compilers.front import program_from
from lepton_compilers.integerize.accumulators import check_weights, int32_bias
from lepton_compilers.integerize.known import Known
from lepton_sdk.program import Quantization
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError
from support.litert import LiteRT
from support.tflite_layers import Spec, constant, layer

X = Quantization((0.1,), -128)


def test_minus_128_is_refused_by_layer_and_channel() -> None:
    weight = np.zeros((3, 4), np.int8)
    weight[2, 1] = -128
    with pytest.raises(BadInputError, match="layer 'dense', channel 2: a weight is −128"):
        check_weights("dense", weight, None, X)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_a_channel_of_even_numbers_is_halved_and_keeps_litert_bytes(kind: type) -> None:
    rng = np.random.default_rng(1)
    weight = rng.integers(-127, 128, (6, 40)).astype(np.int8)
    weight[2] = 2 * (weight[2] // 2)
    weight[2, 5] = -128
    wide = kind is np.int16
    bias = (2 * rng.integers(-900, 900, 6)).astype(np.int64 if wide else np.int32)
    x_scale, scales = np.float32(0.0005 if wide else 0.05), rng.uniform(0.01, 0.02, 6).astype(np.float32)
    x = Spec("x", (1, 40), kind, (float(x_scale),), 0 if wide else -3)
    y = Spec("y", (1, 6), kind, (0.001 if wide else 0.25,), 0 if wide else 9)
    held = [
        constant("weight", weight, list(map(float, scales))),
        constant("bias", bias, list(map(float, x_scale * scales))),
    ]
    fields = schema.FullyConnectedOptionsT()
    kinds = schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOptions.FullyConnectedOptions
    content = layer(kinds[0], fields, kinds[1], [x, *held], y, version=4)
    program, oracle = program_from(content), LiteRT(content, reference=wide)
    (dense,) = program.function().operations
    assert program.tensors[dense.weight].value[2, 5] == -64
    assert program.tensors[dense.weight].quantization.scales[2] == 2 * scales[2]
    for _ in range(50):
        limits = np.iinfo(kind)
        sample = rng.integers(limits.min, limits.max + 1, (1, 40)).astype(kind)
        np.testing.assert_array_equal(Reference(program).run([sample])[0], oracle.run(sample))
    weight[2, 0] = 3
    odd = constant("weight", weight, list(map(float, scales)))
    with pytest.raises(BadInputError, match=r"channel 2: a weight is −128.*1 of 6 channels"):
        program_from(layer(kinds[0], fields, kinds[1], [x, odd, held[1]], y, version=4))


def test_a_sum_that_could_leave_int32_is_refused() -> None:
    weight = np.full((2, 66_400), 127, np.int8)
    with pytest.raises(BadInputError, match="can reach"):
        check_weights("dense", weight, None, X)
    check_weights("dense", weight[:, :66_000], None, X)
    with pytest.raises(BadInputError, match="channel 1"):
        check_weights("dense", weight[:, :66_000], np.array([0, 2**30], np.int32), X)


@given(
    st.lists(st.integers(-127, 127), min_size=1, max_size=50),
    st.integers(-128, 127),
    st.integers(-(2**30), 2**30),
    st.data(),
)
def test_what_is_accepted_never_leaves_int32(
    weights: list[int], zero: int, bias: int, data: st.DataObject
) -> None:
    row = np.array([weights], np.int8)
    check_weights("layer", row, np.array([bias], np.int32), Quantization((1.0,), zero))
    x = np.array(data.draw(st.lists(st.integers(-128, 127), min_size=row.size, max_size=row.size)), np.int64)
    sums = bias + np.cumsum((x - zero) * row[0])
    assert np.abs(sums).max() < 2**31


def test_bias_keeps_its_integers_at_its_own_scale() -> None:
    scales = np.array([0.01, 0.02], np.float32)
    held = Known(np.array([7, -9], np.int32), scales * np.float32(1.00001))
    assert int32_bias("layer", held, scales).tolist() == [7, -9]


def test_bias_at_another_scale_or_in_float_is_rounded() -> None:
    scales = np.array([0.01, 0.02], np.float32)
    assert int32_bias("layer", Known(np.array([0.1, 0.1], np.float32)), scales).tolist() == [10, 5]
    other = Known(np.array([10, 10], np.int32), np.float32([0.02, 0.02]))
    assert int32_bias("layer", other, scales).tolist() == [20, 10]
    assert int32_bias("layer", None, scales) is None


def test_bias_beyond_int32_is_refused() -> None:
    with pytest.raises(BadInputError, match="channel 0: its bias 100"):
        int32_bias("layer", Known(np.array([100.0], np.float32)), np.array([1e-9], np.float32))
