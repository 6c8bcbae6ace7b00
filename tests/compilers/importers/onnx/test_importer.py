"""ONNX networks → Programs that compute what ONNX's own reference evaluator computes."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lepton_compilers.differentiate import differentiate
from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.passes.graph import bindings
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError
from support.onnx_networks import evaluate, mobile_cnn, network, normal, plain_cnn, quantised_cnn


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


def test_a_network_that_is_quantised_already_stays_in_its_integers() -> None:
    content = quantised_cnn()
    program = program_from(content)
    kinds = [type(op).__name__ for op in program.function().operations]
    assert kinds.count("Quantize") == kinds.count("Dequantize") == 1
    assert {"Conv2d", "MaxPool2d", "Dense"} <= set(kinds)
    assert same(content, (1, 3, 8, 8)) <= 0.5


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
        turned = value.transpose(variable.source_axes or range(value.ndim))
        weights[variable.source_name] = turned.reshape(variable.source_shape or turned.shape)
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
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="head/Noise_12"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("NonZero", ["x"], ["y"], name="tail/NonZero"),
    ]
    with pytest.raises(UnsupportedOperatorError) as caught:
        program_from(network(nodes, [1, 3, 3], [1], {}))
    assert "layer 'head/Noise_12' (RandomNormalLike): its results are random" in str(caught.value)
    assert "layer 'tail/NonZero' (NonZero): the shape of its result depends" in str(caught.value)
    assert "layer 'relu'" not in str(caught.value)
    assert "supported: " in str(caught.value)


@pytest.mark.parametrize(("groups", "dilation"), [(2, 1), (3, 2)])
def test_a_grouped_convolution(groups: int, dilation: int) -> None:
    weights = {"w": normal(np.random.default_rng(0), 2 * groups, 4, 3, 3)}
    reach = 7 - 2 * dilation
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], name="grouped", group=groups, dilations=[dilation, dilation]
    )
    shape = (1, 4 * groups, 7, 7)
    content = network([node], shape, [1, 2 * groups, reach, reach], weights)
    assert same(content, shape) <= 1e-5
    assert "GroupedConv2d" in [type(op).__name__ for op in program_from(content).function().operations]
    samples = np.random.default_rng(1).normal(size=(8, *shape[1:])).astype(np.float32)
    int8 = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    expected = evaluate(content, samples[:1])
    assert np.abs(Reference(int8).run([samples[:1]])[0] - expected).max() <= 0.05 * np.abs(expected).max()
    (op,) = [op for op in int8.function().operations if type(op).__name__ == "GroupedConv2d"]
    assert int8.tensors[op.inputs[0]].dtype == "int8"


def test_a_grouped_convolution_is_not_trained() -> None:
    weights = {
        "w": normal(np.random.default_rng(0), 4, 2, 5, 5),
        "head": normal(np.random.default_rng(1), 3, 4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="grouped", group=2),
        helper.make_node("Flatten", ["c"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "head"], ["y"], name="gemm", transB=1),
    ]
    program = program_from(network(nodes, [1, 4, 5, 5], [1, 3], weights), trainable=True)
    with pytest.raises(UnsupportedOperatorError, match="GroupedConv2d"):
        differentiate(program, batch=2)


def test_shape_arithmetic_of_exporters_is_folded() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Identity", ["c"], ["i"], name="identity"),
        helper.make_node("Dropout", ["i"], ["d"], name="dropout"),
        helper.make_node("Shape", ["d"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "first"], ["n"], name="gather", axis=0),
        helper.make_node("Unsqueeze", ["n", "zero"], ["n1"], name="unsqueeze"),
        helper.make_node("Concat", ["n1", "rest"], ["target"], name="concat", axis=0),
        helper.make_node("Reshape", ["d", "target"], ["y"], name="flatten"),
    ]
    initializers = {
        "w": normal(rng, 2, 3, 3, 3),
        "first": np.array(0, np.int64),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    content = network(nodes, ["N", 3, 5, 5], ["N", "M"], initializers)
    assert same(content, (1, 3, 5, 5)) <= 1e-5


def test_several_outputs_keep_their_names_and_order() -> None:
    graph = onnx.load_model_from_string(plain_cnn())
    graph.graph.output.insert(0, helper.make_tensor_value_info("r1", onnx.TensorProto.FLOAT, ["N", 4, 8, 8]))
    content = graph.SerializeToString()
    program = program_from(content)
    assert program.function().outputs == ("r1", "y")
    assert program.tensors["r1"].shape == (1, 4, 8, 8)
    assert same(content, (1, 1, 8, 8)) <= 1e-5


def test_one_channel_needs_no_transpose() -> None:
    names = [type(op).__name__ for op in program_from(plain_cnn()).function().operations]
    assert names[0] == "Reshape"
    assert "Transpose" not in names


@pytest.mark.parametrize("kinds", [["Identity"], ["Flatten", "Dropout"]])
def test_an_input_that_comes_out_unchanged_is_copied(kinds: list[str]) -> None:
    names = ["x", *(f"v{i}" for i in range(len(kinds) - 1)), "y"]
    nodes = [helper.make_node(k, [a], [b]) for k, a, b in zip(kinds, names, names[1:])]
    program = program_from(network(nodes, [1, 3], [1, 3], {}))
    x = np.array([[1, 2, 3]], np.float32)
    assert Reference(program).run([x])[0].tolist() == x.tolist()


def test_a_parameter_of_two_layers_in_one_order_is_one_variable() -> None:
    weights = {"w": normal(np.random.default_rng(0), 4, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="second"),
    ]
    program = program_from(network(nodes, [1, 4], [1, 4], weights), trainable=True)
    assert [v.source_name for v in program.variables] == ["w"]
    nodes[1] = helper.make_node("Gemm", ["a", "w"], ["y"], name="second", transB=1)
    with pytest.raises(UnsupportedOperatorError, match="'w' is shared"):
        program_from(network(nodes, [1, 4], [1, 4], weights), trainable=True)


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


@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, len(plain_cnn()) - 1), mask=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_imported(place: int, mask: int) -> None:
    altered = bytearray(plain_cnn())
    altered[place] ^= mask
    # Any other exception fails the test.
    with contextlib.suppress(LeptonError):
        assert program_from(bytes(altered)).function().operations


def test_a_damaged_weight_is_refused() -> None:
    weights = {"w": np.full((2, 3), np.nan, np.float32)}
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="dense", transB=1)
    with pytest.raises(BadInputError, match="weight' holds NaN"):
        program_from(network([node], [1, 3], [1, 2], weights))


def test_importing_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    program_from(mobile_cnn())
    # Fails in the middle of TVM's own import: a reshape that can't be.
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="reshape")
    impossible = network([node], [1, 6], [1, 7], {"shape": np.array([1, 7], np.int64)})
    with pytest.raises(BadInputError):
        program_from(impossible)
    gc.collect()
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_that_is_not_known_is_refused(opset: int) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    with pytest.raises(BadInputError, match=f"opset {opset}\n.*opsets 7 to"):
        program_from(network([node], [1, 3], [1, 3], {}, opset=opset))


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_takes_its_factors_into_its_weights(transposed: int) -> None:
    rng = np.random.default_rng(0)
    weights = {"w": normal(rng, *((5, 4) if transposed else (4, 5))), "b": normal(rng, 5)}
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=-2.0, transB=transposed)
    content = network([node], [2, 4], [2, 5], weights)
    assert same(content, (2, 4)) <= 1e-6
    assert [type(op).__name__ for op in program_from(content).function().operations] == ["Dense"]


def test_a_one_dimensional_convolution() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    content = network([node], [1, 2, 9], [1, 3, 7], {"w": normal(np.random.default_rng(0), 3, 2, 3)})
    assert same(content, (1, 2, 9)) < 1e-6


@pytest.mark.parametrize("rows", [50_000_000, 3_000_000_000, 9_300_000_000_000_000_000])
def test_shapes_beyond_memory_are_refused_at_once(rows: int) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    content = network([node], ["N", 20], ["N", 20], {})
    with pytest.raises(BadInputError, match=r"up to 2 GiB are supported"):
        program_from(content, shapes={"x": (rows, 20)})


def test_what_lives_at_once_has_a_bound_too() -> None:
    """Two tensors of 1.5 GiB each."""
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    content = network([node], ["N", 20], ["N", 20], {})
    with pytest.raises(BadInputError, match=r"layer 'y' needs 3.0 GiB of intermediate tensors at once"):
        program_from(content, shapes={"x": (20_000_000, 20)})


def test_every_result_is_named_after_its_node() -> None:
    nodes = {node.name for node in onnx.load_model_from_string(mobile_cnn()).graph.node}
    main = import_model(mobile_cnn())["main"]
    *names, last = [str(binding.var.name) for binding in bindings(main)]
    assert {name.split("/")[0] for name in names} <= nodes
    # The function's results, gathered.
    assert last == "gv"


def test_a_product_may_have_its_constant_first() -> None:
    node = helper.make_node("Gemm", ["w", "x"], ["y"], name="head", alpha=2.0)
    content = network([node], [4, 2], [3, 2], {"w": normal(np.random.default_rng(0), 3, 4)})
    assert same(content, (4, 2)) < 1e-6


def test_outputs_of_constants_and_layers_of_them_are_computed() -> None:
    weights = {"w": normal(np.random.default_rng(0), 1, 4), "v": normal(np.random.default_rng(1), 4, 4)}
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Identity", ["w"], ["y"])]
    (found,) = Reference(program_from(network(nodes, [1, 4], [1, 4], weights))).run(
        [np.zeros((1, 4), np.float32)]
    )
    np.testing.assert_array_equal(found, weights["w"])
    nodes = [
        helper.make_node("MatMul", ["w", "v"], ["m"], name="product"),
        helper.make_node("Add", ["x", "m"], ["y"], name="sum"),
    ]
    content = network(nodes, [1, 4], [1, 4], weights)
    assert same(content, (1, 4)) < 1e-6


@pytest.mark.parametrize(
    ("operator", "axes", "shape"),
    [
        ("GlobalMaxPool", None, (1, 3, 8, 6)),
        ("GlobalAveragePool", None, (2, 3, 8)),
        ("ReduceMean", [1], (2, 8)),
        ("ReduceMean", [2, 3], (2, 3, 4, 5)),
        ("ReduceMean", [-1], (2, 3, 5)),
        ("ReduceMean", [2], (2, 3, 4, 5)),
        ("ReduceMean", [1], (1, 3, 4, 5)),
    ],
)
def test_reductions_over_adjacent_axes(operator: str, axes: list[int] | None, shape: tuple[int, ...]) -> None:
    node = helper.make_node(operator, ["x"], ["y"], name="reduce", **({"axes": axes} if axes else {}))
    content = network([node], shape, [None] * len(shape), {}, opset=13)
    assert same(content, shape) <= 1e-6
    samples = np.random.default_rng(0).normal(size=(8, *shape[1:])).astype(np.float32)
    int8 = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    (found,) = Reference(int8).run([samples[: shape[0]]])
    assert np.abs(found - evaluate(content, samples[: shape[0]])).max() <= 0.05
