"""Every int8 layer form of TFLite on its own: the Program gives LiteRT's bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from support.litert import LiteRT
from support.tflite_layers import Spec, constant, layer

OPS, OPTIONS, ACTIVATIONS = s.BuiltinOperator, s.BuiltinOptions, s.ActivationFunctionType
X = Spec("x", (1, 9, 8, 6), scales=(0.05,), zero_point=-7)


def options(kind: Any, **fields: Any) -> Any:
    made = kind()
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def operations(content: bytes, samples: int = 20) -> list[str]:
    """Names of the Program's operations, once LiteRT's bytes were met on random inputs."""
    program, oracle = program_from(content), LiteRT(content)
    reference, rng = Reference(program), np.random.default_rng(0)
    shape = program.tensors[program.function().inputs[0]].shape
    for _ in range(samples):
        x = rng.integers(-128, 128, shape).astype(np.int8)
        np.testing.assert_array_equal(reference.run([x])[0], oracle.run(x))
    return [type(op).__name__ for op in program.function().operations]


def weights(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> tuple[Spec, Spec]:
    """int8 weights with a scale a channel along `axis`, and their int32 bias."""
    channels = shape[axis]
    scales = rng.uniform(0.002, 0.02, channels).astype(np.float32)
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    bias_scales = (np.float32(X.scales[0]) * scales).astype(np.float32)
    return (
        constant("weight", weight, [float(v) for v in scales], axis),
        constant("bias", bias, [float(v) for v in bias_scales]),
    )


@pytest.mark.parametrize("activation", [ACTIVATIONS.NONE, ACTIVATIONS.RELU, ACTIVATIONS.RELU6])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(activation: int, stride: int) -> None:
    weight, bias = weights(np.random.default_rng(1), (5, 3, 3, 6), 0)
    fields = options(s.Conv2DOptionsT, strideH=stride, strideW=stride, fusedActivationFunction=activation)
    fields.dilationHFactor = fields.dilationWFactor = 1
    side = (9, 8) if stride == 1 else (5, 4)
    y = Spec("y", (1, *side, 5), scales=(0.06,), zero_point=-20)
    content = layer(OPS.CONV_2D, fields, OPTIONS.Conv2DOptions, [X, weight, bias], y, version=3)
    assert operations(content) == ["Conv2d"]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution(multiplier: int) -> None:
    weight, bias = weights(np.random.default_rng(2), (1, 3, 3, 6 * multiplier), 3)
    fields = options(s.DepthwiseConv2DOptionsT, strideH=1, strideW=1, depthMultiplier=multiplier)
    fields.dilationHFactor = fields.dilationWFactor = 1
    y = Spec("y", (1, 9, 8, 6 * multiplier), scales=(0.04,), zero_point=5)
    content = layer(
        OPS.DEPTHWISE_CONV_2D, fields, OPTIONS.DepthwiseConv2DOptions, [X, weight, bias], y, version=3
    )
    assert operations(content) == ["DepthwiseConv2d"]


def test_dense() -> None:
    rng = np.random.default_rng(3)
    x = Spec("x", (1, 20), scales=X.scales, zero_point=X.zero_point)
    weight = constant("weight", rng.integers(-127, 128, (7, 20)).astype(np.int8), [0.01])
    bias = constant("bias", rng.integers(-3000, 3000, 7).astype(np.int32), [float(np.float32(0.05 * 0.01))])
    fields = options(s.FullyConnectedOptionsT, fusedActivationFunction=ACTIVATIONS.RELU)
    y = Spec("y", (1, 7), scales=(0.03,), zero_point=-128)
    content = layer(
        OPS.FULLY_CONNECTED, fields, OPTIONS.FullyConnectedOptions, [x, weight, bias], y, version=4
    )
    assert operations(content) == ["Dense"]


@pytest.mark.parametrize("padding", [s.Padding.SAME, s.Padding.VALID])
@pytest.mark.parametrize(
    ("builtin", "name"), [(OPS.AVERAGE_POOL_2D, "AveragePool2d"), (OPS.MAX_POOL_2D, "MaxPool2d")]
)
def test_pools(builtin: int, name: str, padding: int) -> None:
    fields = options(s.Pool2DOptionsT, filterHeight=3, filterWidth=2, strideH=2, strideW=2, padding=padding)
    side = (5, 4) if padding == s.Padding.SAME else (4, 4)
    y = Spec("y", (1, *side, 6), scales=X.scales, zero_point=X.zero_point)
    assert operations(layer(builtin, fields, OPTIONS.Pool2DOptions, [X], y, version=2)) == [name]


@pytest.mark.parametrize("keep", [True, False])
def test_mean_over_the_map(keep: bool) -> None:
    axes = constant("axes", np.array([1, 2], np.int32))
    shape = (1, 1, 1, 6) if keep else (1, 6)
    y = Spec("y", shape, scales=(0.021,), zero_point=11)
    fields = options(s.ReducerOptionsT, keepDims=keep)
    names = operations(layer(OPS.MEAN, fields, OPTIONS.ReducerOptions, [X, axes], y, version=2))
    assert names == (["ReduceMean", "Reshape"] if keep else ["ReduceMean"])


def test_pad() -> None:
    widths = constant("widths", np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    y = Spec("y", (1, 12, 11, 6), scales=X.scales, zero_point=X.zero_point)
    content = layer(OPS.PAD, options(s.PadOptionsT), OPTIONS.PadOptions, [X, widths], y, version=2)
    assert operations(content) == ["Pad"]


@pytest.mark.parametrize("builtin", [OPS.RELU, OPS.RELU6])
@pytest.mark.parametrize("same", [True, False])
def test_activation_alone(builtin: int, same: bool) -> None:
    quantised = (X.scales, X.zero_point) if same else ((0.031,), -128)
    y = Spec("y", X.shape, scales=quantised[0], zero_point=quantised[1])
    content = layer(builtin, None, OPTIONS.NONE, [X], y, version=2)
    assert operations(content) == (["ClampTo"] if same else ["Table"])


def test_other_numbers_for_the_same_reals() -> None:
    y = Spec("y", X.shape, scales=(0.031,), zero_point=40)
    content = layer(OPS.QUANTIZE, options(s.QuantizeOptionsT), OPTIONS.QuantizeOptions, [X], y, version=2)
    program = program_from(content)
    assert [type(op).__name__ for op in program.function().operations] == ["Table"]
    x = np.arange(-128, 304).reshape(X.shape).clip(-128, 127).astype(np.int8)
    found = Reference(program).run([x])[0]
    exact = np.clip(np.rint((x + 7.0) * float(np.float32(0.05)) / float(np.float32(0.031))) + 40, -128, 127)
    np.testing.assert_array_equal(found, exact)
    # XNNPACK has 8 bits for the ratio of the scales and may be a step off.
    assert np.abs(found.astype(int) - LiteRT(content).run(x)).max() <= 1


def test_transpose() -> None:
    order = constant("order", np.array([0, 3, 1, 2], np.int32))
    y = Spec("y", (1, 6, 9, 8), scales=X.scales, zero_point=X.zero_point)
    content = layer(
        OPS.TRANSPOSE, options(s.TransposeOptionsT), OPTIONS.TransposeOptions, [X, order], y, version=2
    )
    assert operations(content) == ["Transpose"]


def test_softmax_over_a_map() -> None:
    x = Spec("x", (3, 12), scales=(0.11,), zero_point=4)
    y = Spec("y", (3, 12), scales=(1 / 256,), zero_point=-128)
    fields = options(s.SoftmaxOptionsT, beta=1.0)
    assert operations(layer(OPS.SOFTMAX, fields, OPTIONS.SoftmaxOptions, [x], y, version=2)) == ["Softmax"]
