"""Post-training quantisation: accuracy of the keyword network, interfaces, calibration's errors."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Quantization
from lepton_sdk.program.operations import Add, MaxPool2d
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError, UsageError
from support.evaluation_data import KWS_FLOAT, kws_float, kws_samples, mlperf_tiny
from support.onnx_networks import evaluate, mobile_cnn, network, normal, plain_cnn

CALIBRATION_SAMPLES = 128
INT8 = QuantizationConfig()


def test_kws_keeps_its_accuracy() -> None:
    model = mlperf_tiny(KWS_FLOAT)
    features, labels = kws_samples()
    samples = kws_float(features)
    quantised = Reference(
        program_from(model, quantization=INT8, calibration={"features": samples[:CALIBRATION_SAMPLES]})
    )
    exact = Reference(program_from(model))
    rest = samples[CALIBRATION_SAMPLES:]
    found = np.array([quantised.run([x[None]])[0].argmax() for x in rest])
    wanted = np.array([exact.run([x[None]])[0].argmax() for x in rest])
    accuracy = float((found == labels[CALIBRATION_SAMPLES:]).mean())
    agreement = float((found == wanted).mean())
    reached = float((wanted == labels[CALIBRATION_SAMPLES:]).mean())
    print(f"kws int8 {accuracy:.4f}, float {reached:.4f}, agreement {agreement:.4f}")
    assert accuracy >= 0.900
    assert agreement >= 0.98


def samples(count: int = 64, channels: int = 3, size: int = 16) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, channels, size, size)).astype(np.float32)


def test_onnx_network_in_int8_follows_its_float_self() -> None:
    content, x = mobile_cnn(), samples()
    program = program_from(content, quantization=INT8, calibration={"x": x})
    reference = Reference(program)
    worst = max(float(np.abs(reference.run([s[None]])[0] - evaluate(content, s[None])).max()) for s in x[:16])
    print(f"largest difference of a probability {worst:.3f}")
    assert worst <= 0.05
    accumulating = [op for op in program.function().operations if op.macs(program.tensors)]
    assert {program.tensors[op.outputs[0]].dtype for op in accumulating} == {"int8"}


def test_interface_stays_float_and_only_its_ends_convert() -> None:
    program = program_from(mobile_cnn(), quantization=INT8, calibration={"x": samples()})
    names = [type(op).__name__ for op in program.function().operations]
    assert program.tensors[program.function().inputs[0]].dtype == "float32"
    assert program.tensors[program.function().outputs[0]].dtype == "float32"
    assert names.count("Quantize") == names.count("Dequantize") == 1
    assert names[-2:] == ["Softmax", "Dequantize"]


def test_softmax_and_pools_get_the_numbers_they_need() -> None:
    program = program_from(mobile_cnn(), quantization=INT8, calibration={"x": samples()})
    tensors = program.tensors
    for op in program.function().operations:
        if isinstance(op, MaxPool2d):
            assert tensors[op.x].quantization == tensors[op.y].quantization
        if type(op).__name__ == "Softmax":
            assert tensors[op.outputs[0]].quantization == Quantization((1 / 256,), -128)
        if isinstance(op, Add):
            assert tensors[op.a].quantization is not None


def test_weights_never_hold_minus_128() -> None:
    program = program_from(plain_cnn(), quantization=INT8, calibration={"x": samples(16, 1, 8)})
    for tensor in program.tensors.values():
        if tensor.value is not None and tensor.dtype == "int8":
            assert tensor.value.min() >= -127


def test_one_scale_a_layer_where_asked() -> None:
    config = QuantizationConfig(per_channel=False)
    program = program_from(plain_cnn(), quantization=config, calibration={"x": samples(16, 1, 8)})
    weights = [
        t
        for t in program.tensors.values()
        if t.quantization and t.quantization.axis is not None and t.value.ndim > 1
    ]
    assert weights
    for weight in weights:
        assert len(set(weight.quantization.scales)) == 1


def test_integer_samples_need_to_say_what_they_mean() -> None:
    integers = np.random.default_rng(0).integers(-128, 128, (16, 1, 8, 8)).astype(np.int8)
    with pytest.raises(BadInputError, match="'x_scale' and 'x_zero_point'"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": integers})
    for alone in ({"x_scale": np.float32(0.02)}, {"x_zero_point": np.int32(3)}):
        with pytest.raises(BadInputError, match="x_zero_point"):
            program_from(plain_cnn(), quantization=INT8, calibration={"x": integers, **alone})
    meant = {"x": integers, "x_scale": np.float32(0.02), "x_zero_point": np.int32(3)}
    given = program_from(plain_cnn(), quantization=INT8, calibration=meant)
    real = (integers.astype(np.float32) - 3) * np.float32(0.02)
    same = program_from(plain_cnn(), quantization=INT8, calibration={"x": real})
    assert [t.quantization for t in given.tensors.values()] == [t.quantization for t in same.tensors.values()]


def test_bad_calibration_says_which_sample() -> None:
    x = samples(8, 1, 8)
    x[5, 0, 3, 3] = np.nan
    with pytest.raises(BadInputError, match=r"calibration: 'x' holds 1 values that are NaN.*example 5"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": x})
    with pytest.raises(BadInputError, match="calibration: the data holds no examples"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": x[:0]})
    with pytest.raises(BadInputError, match=r"needs \[n,1,8,8\]"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": x[:, :, :4]})
    with pytest.raises(BadInputError, match="no array for the input x"):
        program_from(plain_cnn(), quantization=INT8, calibration={"y": x})
    with pytest.raises(BadInputError, match="none were given"):
        program_from(plain_cnn(), quantization=INT8)
    with pytest.raises(BadInputError, match="dtype complex64"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": x.astype(np.complex64)})


def test_samples_that_overflow_the_network_are_named() -> None:
    x = samples(4, 1, 8)
    x[2] = 3e38
    with pytest.raises(BadInputError, match="calibration sample 2 makes layer"):
        program_from(plain_cnn(), quantization=INT8, calibration={"x": x})


def test_progress_counts_the_samples() -> None:
    seen: list[tuple[int, int]] = []
    program_from(
        plain_cnn(),
        quantization=QuantizationConfig(max_samples=5),
        calibration={"x": samples(8, 1, 8)},
        progress=lambda done, total: seen.append((done, total)),
    )
    # Equalising, observing and correcting walk over them once each.
    assert seen == [(n, 15) for n in range(1, 16)]


def test_a_layer_without_an_int8_form_stays_float_between_conversions() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("MatMul", ["mix", "c"], ["m"], name="mix"),
        helper.make_node("MatMul", ["mix", "m"], ["a"], name="again"),
        helper.make_node("Conv", ["a", "w2"], ["y"], name="last"),
    ]
    weights = {"w": normal(rng, 4, 3, 1, 1), "mix": normal(rng, 8, 8), "w2": normal(rng, 2, 4, 1, 1)}
    content = network(nodes, [1, 3, 8, 8], [1, 2, 8, 8], weights)
    x = samples(16, 3, 8)
    program = program_from(content, quantization=INT8, calibration={"x": x})
    kinds = [type(op).__name__ for op in program.function().operations]
    assert [k for k in kinds if k != "Transpose"] == [
        *[
            "Quantize",
            "Conv2d",
            "Dequantize",
            "FloatKernel",
            "FloatKernel",
            "Quantize",
            "Conv2d",
            "Dequantize",
        ]
    ]
    reference = Reference(program)
    for sample in x[:4]:
        found, expected = reference.run([sample[None]])[0], evaluate(content, sample[None])
        assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


def test_an_int8_model_stays_as_it_is() -> None:
    content = mlperf_tiny("kws_ref_model").read_bytes()
    plain = program_from(content)
    assert list(program_from(content, quantization=INT8).tensors) == list(plain.tensors)


def test_training_and_quantisation_exclude_each_other() -> None:
    with pytest.raises(UsageError):
        program_from(plain_cnn(), quantization=INT8, trainable=True)
    with pytest.raises(UsageError, match="did you mean entropy"):
        QuantizationConfig(observer="entrophy")  # type: ignore[arg-type]
