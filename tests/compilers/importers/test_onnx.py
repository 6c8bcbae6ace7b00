"""ONNX networks → Programs that compute what ONNX's own reference evaluator computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, UnsupportedOperatorError
from support.onnx_networks import evaluate, mobile_cnn, network, normal, plain_cnn


def same(content: bytes, shape: tuple[int, ...], **options: Any) -> float:
    """Largest difference between the Program and ONNX on one random input."""
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return float(np.abs(Reference(program_from(content, **options)).run([x])[0] - evaluate(content, x)).max())


@pytest.mark.parametrize("channels", [1, 3])
def test_mobile_cnn(channels: int) -> None:
    assert same(mobile_cnn(channels), (1, channels, 16, 16)) <= 1e-5


def test_normalisation_and_activations_vanish_into_their_layers() -> None:
    names = [type(op).__name__ for op in program_from(mobile_cnn()).function().operations]
    assert names.count("Conv2d") == 2
    assert names.count("DepthwiseConv2d") == 1
    assert "Relu" not in names
    # One move at the front, NCHW to NHWC; the flatten went into the dense layer's weights.
    assert names.count("Transpose") == 1


def test_batch_may_be_fixed_at_import() -> None:
    content = plain_cnn()
    assert same(content, (4, 1, 8, 8), shapes={"x": (4, 1, 8, 8)}) <= 1e-5


@settings(max_examples=20, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    channels=st.sampled_from([1, 2, 4]),
    groups=st.booleans(),
    kind=st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    counted=st.integers(0, 1),
)
def test_windows(
    kernel: int, stride: int, padding: int, channels: int, groups: bool, kind: str, counted: int
) -> None:
    pads = [min(padding, kernel - 1)] * 4
    window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads}
    initializers = {}
    if kind == "Conv":
        out = 2 * channels if groups else 3
        initializers["w"] = normal(np.random.default_rng(0), out, 1 if groups else channels, kernel, kernel)
        window["group"] = channels if groups else 1
    else:
        if kind == "AveragePool":
            window["count_include_pad"] = counted
    inputs = ["x", "w"] if kind == "Conv" else ["x"]
    node = helper.make_node(kind, inputs, ["y"], name="layer", **window)
    content = network([node], [1, channels, 7, 7], ["a", "b", "c", "d"], initializers)
    assert same(content, (1, channels, 7, 7)) <= 1e-5


def test_ceil_mode_cuts_the_last_window() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    program = program_from(network([node], [1, 1, 6, 6], [1, 1, 3, 3], {}))
    x = np.random.default_rng(0).normal(size=(1, 1, 6, 6)).astype(np.float32)
    expected = [[x[0, 0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max() for j in range(3)] for i in range(3)]
    np.testing.assert_array_equal(Reference(program).run([x])[0][0, 0], expected)


def test_normalisation_that_follows_no_layer_is_a_depthwise_convolution() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["y"], name="relu"),
    ]
    initializers = {k: normal(rng, 3) for k in "gbm"} | {"v": rng.uniform(0.5, 2, 3).astype(np.float32)}
    content = network(nodes, [1, 3, 5, 5], [1, 3, 5, 5], initializers)
    assert same(content, (1, 3, 5, 5)) <= 1e-5
    assert "DepthwiseConv2d" in [type(op).__name__ for op in program_from(content).function().operations]


def test_trainable_parameters_are_variables_in_the_files_order() -> None:
    content = plain_cnn()
    program = program_from(content, trainable=True)
    assert [v.source_name for v in program.variables] == [
        "stem.weight",
        "stem.bias",
        "dw.weight",
        "dw.bias",
        "head.weight",
        "head.bias",
    ]
    assert all(v.trainable for v in program.variables)
    assert "Relu" in [type(op).__name__ for op in program.function().operations]
    assert same(content, (1, 1, 8, 8), trainable=True) <= 1e-5


def test_a_variables_value_comes_back_as_weights() -> None:
    content = plain_cnn(seed=0)
    trained = program_from(plain_cnn(seed=1), trainable=True)
    weights = {}
    for variable in trained.variables:
        value = trained.tensors[variable.tensor].value
        assert value is not None
        weights[variable.source_name] = (
            value if variable.source_axes is None else value.transpose(variable.source_axes)
        )
    x = np.random.default_rng(2).normal(size=(1, 1, 8, 8)).astype(np.float32)
    found = Reference(program_from(content, weights=weights)).run([x])[0]
    assert np.abs(found - evaluate(plain_cnn(seed=1), x)).max() <= 1e-5


def test_unknown_misshapen_and_non_finite_weights_are_refused() -> None:
    content = plain_cnn()
    with pytest.raises(BadInputError, match=r"no parameter 'stem.wieght'; did you mean stem.weight"):
        program_from(content, weights={"stem.wieght": np.zeros((4, 1, 3, 3), np.float32)})
    with pytest.raises(BadInputError, match=r"'stem.weight' has shape \(4, 9\)"):
        program_from(content, weights={"stem.weight": np.zeros((4, 9), np.float32)})
    bad = np.zeros((4, 1, 3, 3), np.float32)
    bad[1, 0, 2, 2] = np.nan
    with pytest.raises(BadInputError, match=r"'stem.weight' holds nan at \(1, 0, 2, 2\)"):
        program_from(content, weights={"stem.weight": bad})


def test_every_unsupported_operator_is_named_with_its_layer() -> None:
    nodes = [
        helper.make_node("Softplus", ["x"], ["a"], name="head/Softplus_12"),
        helper.make_node("Det", ["a"], ["y"], name="tail/Det"),
    ]
    with pytest.raises(UnsupportedOperatorError) as caught:
        program_from(network(nodes, [1, 3, 3], [1], {}))
    assert "layer 'head/Softplus_12' (Softplus)" in str(caught.value)
    assert "layer 'tail/Det' (Det)" in str(caught.value)
    assert "supported: " in str(caught.value)


def test_a_grouped_convolution_is_refused_by_name() -> None:
    weights = {"w": normal(np.random.default_rng(0), 4, 2, 3, 3)}
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="grouped", group=2)
    with pytest.raises(UnsupportedOperatorError, match=r"layer 'grouped' \(conv2d of .* in 2 groups\)"):
        program_from(network([node], [1, 4, 5, 5], [1, 4, 3, 3], weights))


def test_batch_normalisation_cannot_be_trained() -> None:
    with pytest.raises(UnsupportedOperatorError, match="stem_norm"):
        program_from(mobile_cnn(), trainable=True)


def test_an_open_extent_must_be_fixed() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    content = network([node], ["N", 3, "H", "W"], ["N", 3, "H", "W"], {})
    with pytest.raises(BadInputError, match=r"--shape x=1,3,N,N"):
        program_from(content)
    assert program_from(content, shapes={"x": (1, 3, 4, 4)}).tensors["x"].shape == (1, 3, 4, 4)
    with pytest.raises(BadInputError, match="no input 'X'"):
        program_from(content, shapes={"X": (1, 3, 4, 4)})


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x00" * 64, plain_cnn()[:300]])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BadInputError):
        program_from(content)


def test_importing_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    program_from(mobile_cnn())
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""
