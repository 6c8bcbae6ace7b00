"""auto_pad of convolutions and pools, as Keras and tf2onnx export it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Padding
from lepton_sdk.program.operations import Conv2d, MaxPool2d
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError
from support.onnx_networks import evaluate, network, normal


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["Conv", "AveragePool"]),
    auto_pad=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
)
def test_windows_are_onnxs(
    kind: str, auto_pad: str, kernel: tuple[int, int], stride: tuple[int, int], size: tuple[int, int]
) -> None:
    # ONNX's evaluator crops where windows leave gaps; TensorFlow and ONNX Runtime pad by nothing there.
    stride = (min(stride[0], kernel[0]), min(stride[1], kernel[1]))
    initializers, inputs = {}, ["x"]
    if kind == "Conv":
        initializers["w"] = normal(np.random.default_rng(0), 3, 2, *kernel)
        inputs.append("w")
    node = helper.make_node(kind, inputs, ["y"], kernel_shape=kernel, strides=stride, auto_pad=auto_pad)
    content = network([node], ["N", 2, *size], ["N", "C", "H", "W"], initializers)
    x = np.random.default_rng(1).normal(size=(1, 2, *size)).astype(np.float32)
    (found,) = Reference(program_from(content)).run([x])
    expected = evaluate(content, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize(("auto_pad", "before"), [("SAME_UPPER", 0), ("SAME_LOWER", 1), ("VALID", 0)])
def test_a_maximum_is_over_the_window_that_auto_pad_places(auto_pad: str, before: int) -> None:
    """By hand: ONNX's evaluator gives two rows for SAME_LOWER where its specification says three."""
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad=auto_pad)
    x = np.random.default_rng(1).normal(size=(1, 1, 5, 5)).astype(np.float32)
    (found,) = Reference(program_from(network([node], [1, 1, 5, 5], ["N", "C", "H", "W"], {}))).run([x])
    rows = 2 if auto_pad == "VALID" else 3
    spans = [slice(max(0, 2 * i - before), 2 * i - before + 2) for i in range(rows)]
    np.testing.assert_array_equal(found[0, 0], [[x[0, 0, r, c].max() for c in spans] for r in spans])


def keras_like() -> bytes:
    """A convolution without kernel_shape, a pool, a convolution; all SAME, as tf2onnx writes them."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p"], auto_pad="SAME_LOWER", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["p", "w2"], ["y"], auto_pad="VALID", dilations=[2, 2]),
    ]
    initializers = {"w1": normal(rng, 4, 2, 3, 3), "w2": normal(rng, 3, 4, 3, 3)}
    return network(nodes, ["N", 2, 16, 16], ["N", "C", "H", "W"], initializers)


def test_a_quantised_network_with_auto_pad_follows_the_float_one() -> None:
    samples = np.random.default_rng(0).normal(size=(16, 2, 16, 16)).astype(np.float32)
    program = program_from(keras_like(), quantization=QuantizationConfig(), calibration={"x": samples})
    (found,), expected = Reference(program).run([samples[:1]]), evaluate(keras_like(), samples[:1])
    assert found.shape == expected.shape == (1, 3, 4, 4)
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


def test_the_middle_of_a_network_gets_its_widths_from_inferred_extents() -> None:
    operations = program_from(keras_like()).function().operations
    pads = [op.padding for op in operations if isinstance(op, Conv2d | MaxPool2d)]
    assert pads == [Padding(0, 1, 0, 1), Padding(1, 0, 1, 0), Padding()]


def test_an_auto_pad_that_onnx_has_not_is_refused() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[2, 2], auto_pad="SAME")
    with pytest.raises(BadInputError, match=r"layer 'pool' \(MaxPool\) has auto_pad 'SAME'"):
        program_from(network([node], [1, 1, 4, 4], [1, 1, 4, 4], {}))
