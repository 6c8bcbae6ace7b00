"""Every int16×8 layer form of TFLite on its own: the Program has the bytes of LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, UnsupportedOperatorError
from support.litert import LiteRT
from support.tflite_layers import Spec, constant, layer

OPS, OPTIONS, ACTIVATIONS = s.BuiltinOperator, s.BuiltinOptions, s.ActivationFunctionType
UNIT = (2.0**-15,)
ENDS = np.array([-32768, 32767, -1, 0, 1, -32767], np.int16)


def f32(value: float) -> float:
    return float(np.float32(value))


X = Spec("x", (1, 9, 8, 6), np.int16, (f32(1.7e-4),))


def options(kind: Any, **fields: Any) -> Any:
    made = kind()
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def operations(content: bytes, samples: int = 30) -> list[str]:
    """Names of the Program's operations, once LiteRT's bytes were met on random inputs."""
    program, oracle = program_from(content), LiteRT(content, reference=True)
    reference, rng = Reference(program), np.random.default_rng(0)
    x = program.tensors[program.function().inputs[0]]
    for index in range(samples):
        if x.dtype == "float32":
            sample = rng.normal(size=x.shape).astype(np.float32)
        else:
            limits = np.iinfo(x.dtype)
            sample = rng.integers(limits.min, limits.max + 1, x.shape).astype(x.dtype)
            if index % 5 == 0 and x.dtype == "int16":
                sample = rng.choice(ENDS, x.shape)
        np.testing.assert_array_equal(reference.run([sample])[0], oracle.run(sample))
    return [type(op).__name__ for op in program.function().operations]


def weights(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, channels: int, bias: Any = np.int64
) -> list[Spec]:
    """int8 weights with a scale a channel along `axis`, and their bias, some beyond 32 bits."""
    scales = rng.uniform(0.001, 0.01, channels).astype(np.float32)
    numbers = rng.integers(-2000000, 2000000, channels).astype(bias)
    if bias == np.int64:
        numbers[0] = 2**33 + 12345
    bias_scales = [float(v) for v in np.float32(X.scales[0]) * scales]
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    return [
        constant("weight", weight, [float(v) for v in scales], axis),
        constant("bias", numbers, bias_scales),
    ]


@pytest.mark.parametrize("activation", [ACTIVATIONS.NONE, ACTIVATIONS.RELU, ACTIVATIONS.RELU6])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(activation: int, stride: int) -> None:
    held = weights(np.random.default_rng(1), (5, 3, 3, 6), 0, 5)
    fields = options(s.Conv2DOptionsT, strideH=stride, strideW=stride, fusedActivationFunction=activation)
    fields.dilationHFactor = fields.dilationWFactor = 1
    side = (9, 8) if stride == 1 else (5, 4)
    y = Spec("y", (1, *side, 5), np.int16, (f32(2.3e-4),))
    assert operations(layer(OPS.CONV_2D, fields, OPTIONS.Conv2DOptions, [X, *held], y)) == ["Conv2d"]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution(multiplier: int) -> None:
    held = weights(np.random.default_rng(2), (1, 3, 3, 6 * multiplier), 3, 6 * multiplier)
    fields = options(s.DepthwiseConv2DOptionsT, strideH=1, strideW=1, depthMultiplier=multiplier)
    fields.dilationHFactor = fields.dilationWFactor = 1
    y = Spec("y", (1, 9, 8, 6 * multiplier), np.int16, (f32(1.1e-4),))
    content = layer(OPS.DEPTHWISE_CONV_2D, fields, OPTIONS.DepthwiseConv2DOptions, [X, *held], y)
    assert operations(content) == ["DepthwiseConv2d"]


@pytest.mark.parametrize("channels", [7, 1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_dense(channels: int, with_bias: bool) -> None:
    x = Spec("x", (3, 600), np.int16, X.scales)
    held = weights(np.random.default_rng(3), (7, 600), 0, channels)
    bias = constant("bias", np.arange(7, dtype=np.int64) * 99991, list(held[1].scales))
    fields = options(s.FullyConnectedOptionsT, fusedActivationFunction=ACTIVATIONS.RELU)
    y = Spec("y", (3, 7), np.int16, (f32(3e-3),))
    inputs = [x, held[0], bias] if with_bias else [x, held[0]]
    content = layer(OPS.FULLY_CONNECTED, fields, OPTIONS.FullyConnectedOptions, inputs, y)
    assert operations(content) == ["Dense"]


@pytest.mark.parametrize(("code", "name"), [("ADD", "Add"), ("SUB", "Sub"), ("MUL", "Mul")])
@pytest.mark.parametrize("shape", [X.shape, (6,), (1, 9, 1, 1)])
def test_two_operands(code: str, name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(3):
        value = rng.integers(-32768, 32768, shape).astype(np.int16)
        b = constant("b", value, [f32(rng.uniform(1e-5, 5e-4))])
        scale = f32(X.scales[0] * b.scales[0] * 25000 if code == "MUL" else rng.uniform(1e-4, 5e-4))
        kind = getattr(s, f"{name}OptionsT")
        fields = options(kind, fusedActivationFunction=ACTIVATIONS.RELU)
        y = Spec("y", X.shape, np.int16, (scale,))
        content = layer(getattr(OPS, code), fields, getattr(OPTIONS, f"{name}Options"), [X, b], y)
        assert operations(content, 5) == [name]


@pytest.mark.parametrize("padding", [s.Padding.SAME, s.Padding.VALID])
@pytest.mark.parametrize(
    ("builtin", "name"), [(OPS.AVERAGE_POOL_2D, "AveragePool2d"), (OPS.MAX_POOL_2D, "MaxPool2d")]
)
def test_pools(builtin: int, name: str, padding: int) -> None:
    fields = options(s.Pool2DOptionsT, filterHeight=3, filterWidth=2, strideH=2, strideW=2, padding=padding)
    side = (5, 4) if padding == s.Padding.SAME else (4, 4)
    y = Spec("y", (1, *side, 6), np.int16, X.scales)
    assert operations(layer(builtin, fields, OPTIONS.Pool2DOptions, [X], y)) == [name]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("scale", [X.scales[0], 6e-5, 4e-4])
@pytest.mark.parametrize("over", [(1, 2), (3,)])
def test_mean(over: tuple[int, ...], scale: float, keep: bool) -> None:
    axes = constant("axes", np.array(over, np.int32))
    kept = tuple(1 if axis in over else n for axis, n in enumerate(X.shape))
    left = kept if keep else tuple(n for axis, n in enumerate(X.shape) if axis not in over)
    y, fields = Spec("y", left, np.int16, (f32(scale),)), options(s.ReducerOptionsT, keepDims=keep)
    content = layer(OPS.MEAN, fields, OPTIONS.ReducerOptions, [X, axes], y)
    assert operations(content)[0] == "ReduceMean"


@pytest.mark.parametrize("scale", [2e-5, 3e-4, 2e-3])
def test_softmax(scale: float) -> None:
    x, y = Spec("x", (3, 12), np.int16, (f32(scale),)), Spec("y", (3, 12), np.int16, UNIT)
    fields = options(s.SoftmaxOptionsT, beta=1.0)
    assert operations(layer(OPS.SOFTMAX, fields, OPTIONS.SoftmaxOptions, [x], y)) == ["Softmax"]


@pytest.mark.parametrize("scale", [2e-5, 3e-4, 2.0**-12, 2.0**-11])
@pytest.mark.parametrize(
    ("builtin", "name"), [(OPS.LOGISTIC, "FixedPointSigmoid"), (OPS.TANH, "FixedPointTanh")]
)
def test_curves(builtin: int, name: str, scale: float) -> None:
    x, y = Spec("x", (1, 500), np.int16, (f32(scale),)), Spec("y", (1, 500), np.int16, UNIT)
    assert operations(layer(builtin, None, OPTIONS.NONE, [x], y)) == [name]


@pytest.mark.parametrize("same", [True, False])
def test_activation_alone(same: bool) -> None:
    y = Spec("y", X.shape, np.int16, X.scales if same else (f32(9e-5),))
    assert operations(layer(OPS.RELU, None, OPTIONS.NONE, [X], y)) == ["ClampTo" if same else "Requantize"]


@pytest.mark.parametrize("y", [("int16", 9e-5, 0), ("int8", 0.03, -7)])
def test_other_numbers_for_the_same_reals(y: tuple[str, float, int]) -> None:
    target = Spec("y", X.shape, np.dtype(y[0]), (f32(y[1]),), y[2])
    content = layer(OPS.QUANTIZE, options(s.QuantizeOptionsT), OPTIONS.QuantizeOptions, [X], target)
    assert operations(content) == ["Requantize"]


def test_the_ends_of_a_float_interface() -> None:
    real = Spec("y", X.shape, np.float32)
    content = layer(OPS.DEQUANTIZE, options(s.DequantizeOptionsT), OPTIONS.DequantizeOptions, [X], real)
    assert operations(content) == ["Dequantize"]
    source = Spec("x", X.shape, np.float32)
    target = Spec("y", X.shape, np.int16, X.scales)
    content = layer(OPS.QUANTIZE, options(s.QuantizeOptionsT), OPTIONS.QuantizeOptions, [source], target)
    # LiteRT's own two kernels disagree on halves; the default one rounds them to even, as for int8.
    program, oracle = program_from(content), LiteRT(content)
    halves = np.random.default_rng(0).integers(-65536, 65536, X.shape).astype(np.float32)
    x = halves * np.float32(X.scales[0] / 2)
    np.testing.assert_array_equal(Reference(program).run([x])[0], oracle.run(x))


def test_pad_and_transpose() -> None:
    widths = constant("widths", np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    y = Spec("y", (1, 12, 11, 6), np.int16, X.scales)
    content = layer(OPS.PAD, options(s.PadOptionsT), OPTIONS.PadOptions, [X, widths], y)
    assert operations(content) == ["Pad"]
    order = constant("order", np.array([0, 3, 1, 2], np.int32))
    y = Spec("y", (1, 6, 9, 8), np.int16, X.scales)
    content = layer(OPS.TRANSPOSE, options(s.TransposeOptionsT), OPTIONS.TransposeOptions, [X, order], y)
    assert operations(content) == ["Transpose"]


def test_concatenation_requantises_parts_of_other_scales() -> None:
    rng = np.random.default_rng(5)
    for scale, names in ((X.scales[0], ["Concat"]), (f32(9e-5), ["Requantize", "Concat"])):
        y = Spec("y", (1, 9, 8, 8), np.int16, (scale,))
        part = constant("part", rng.integers(-99, 99, (1, 9, 8, 2)).astype(np.int16), [scale])
        fields = options(s.ConcatenationOptionsT, axis=3)
        content = layer(OPS.CONCATENATION, fields, OPTIONS.ConcatenationOptions, [X, part], y)
        if len(names) == 1:
            assert operations(content) == names
        # LiteRT joins the integers of other scales as they are; here the reals stay what they were.
        program = program_from(content)
        assert [type(op).__name__ for op in program.function().operations] == names
        x = rng.integers(-9000, 9000, X.shape).astype(np.int16)
        joined = Reference(program).run([x])[0][..., :6] * scale
        assert np.abs(joined - x * X.scales[0]).max() <= 0.5001 * scale


def test_what_litert_computes_otherwise_is_refused_by_name() -> None:
    held = weights(np.random.default_rng(6), (7, 48), 0, 7, np.int32)
    x, y = Spec("x", (1, 48), np.int16, X.scales), Spec("y", (1, 7), np.int16, (f32(3e-3),))
    fields = options(s.FullyConnectedOptionsT)
    content = layer(OPS.FULLY_CONNECTED, fields, OPTIONS.FullyConnectedOptions, [x, *held], y)
    with pytest.raises(UnsupportedOperatorError, match=r"layer 'y' .* INT8, INT32 weights"):
        program_from(content)
    a, b = Spec("x", (1, 8), np.int16, UNIT), constant("b", np.ones((1, 8), np.int16), UNIT)
    for asks in (True, False):
        fields = options(s.AddOptionsT, potScaleInt16=asks)
        content = layer(OPS.ADD, fields, OPTIONS.AddOptions, [a, b], Spec("y", (1, 8), np.int16, UNIT))
        if asks:
            with pytest.raises(UnsupportedOperatorError, match=r"layer 'y' .* powers of two"):
                program_from(content)
        else:
            assert operations(content) == ["Add"]


def test_a_bias_that_no_accumulator_holds_is_refused() -> None:
    x, y = Spec("x", (1, 48), np.int16, X.scales), Spec("y", (1, 7), np.int16, (f32(3e-3),))
    weight = constant("weight", np.ones((7, 48), np.int8), [0.01] * 7)
    bias = constant("bias", np.full(7, 2**50, np.int64), [f32(X.scales[0] * 0.01)] * 7)
    fields = options(s.FullyConnectedOptionsT)
    content = layer(OPS.FULLY_CONNECTED, fields, OPTIONS.FullyConnectedOptions, [x, weight, bias], y)
    with pytest.raises(BadInputError, match=r"channel 0: its bias is .* steps"):
        program_from(content)
