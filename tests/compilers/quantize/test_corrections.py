"""Equalisation computes the same float bits; bias correction takes the mean error out."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.integerize import integerize
from lepton_compilers.pipeline import front_half, run_passes
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.equalise import equalise
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import UsageError
from support.onnx_networks import mobile_cnn, plain_cnn

CASES = {"mobile": (mobile_cnn, (3, 16, 16)), "plain": (plain_cnn, (1, 8, 8))}


def samples(shape: tuple[int, ...], count: int = 48) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, *shape)).astype(np.float32)


def weights(program: Program) -> list[np.ndarray]:
    return [t.value for t in program.tensors.values() if t.value is not None and t.value.dtype == np.float32]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_equalising_changes_weights_and_no_bit_of_the_result(case: str, per_channel: bool) -> None:
    make, shape = CASES[case]
    module = run_passes(import_model(make()), front_half(None, None))
    x = samples(shape)
    before, after = integerize(module), integerize(equalise(module, {"x": x}, per_channel=per_channel))
    changed = [not np.array_equal(a, b) for a, b in zip(weights(before), weights(after), strict=True)]
    assert any(changed)
    for sample in x[:4]:
        first, second = Reference(before).run([sample[None]]), Reference(after).run([sample[None]])
        np.testing.assert_array_equal(first[0], second[0])


def outputs(program: Program, x: np.ndarray) -> np.ndarray:
    reference = Reference(program)
    return np.concatenate([reference.run([sample[None]])[0] for sample in x])


def test_bias_correction_brings_the_mean_output_nearer() -> None:
    content, x = plain_cnn(), samples((1, 8, 8), 96)
    exact = outputs(program_from(content), x)
    shifts = []
    for corrected in (False, True):
        config = QuantizationConfig(bias_correction=corrected, per_channel=False, equalise=False)
        found = outputs(program_from(content, quantization=config, calibration={"x": x}), x)
        shifts.append(float(np.abs((found - exact).mean(axis=0)).sum()))
    print(f"mean shift of the outputs: {shifts[0]:.5f}, corrected {shifts[1]:.5f}")
    assert shifts[1] < 0.8 * shifts[0]


def kinds(program: Program) -> list[tuple[str, str]]:
    tensors = program.tensors
    return [(type(op).__name__, tensors[op.outputs[0]].dtype) for op in program.function().operations]


def test_named_layers_stay_float() -> None:
    content, x = mobile_cnn(), samples((3, 16, 16))
    whole = program_from(content, quantization=QuantizationConfig(), calibration={"x": x})
    convolutions = [op.outputs[0] for op in whole.function().operations if "Conv2d" in type(op).__name__]
    middle = convolutions[1]
    config = QuantizationConfig(float_layers=(middle,))
    program = program_from(content, quantization=config, calibration={"x": x})
    found = kinds(program)
    assert found.count(("DepthwiseConv2d", "float32")) == 1
    assert found.count(("Conv2d", "int8")) == 2
    exact = outputs(program_from(content), x[:8])
    assert np.abs(outputs(program, x[:8]) - exact).max() <= 0.05


def test_every_layer_float_is_the_float_network() -> None:
    content, x = plain_cnn(), samples((1, 8, 8))
    from lepton_compilers.quantize.quantise import layers

    names = layers(run_passes(import_model(content), front_half(None, None)))
    config = QuantizationConfig(float_layers=names)
    program = program_from(content, quantization=config, calibration={"x": x})
    assert not [kind for kind in kinds(program) if kind[1] == "int8"]
    np.testing.assert_allclose(
        outputs(program, x[:4]), outputs(program_from(content), x[:4]), rtol=1e-5, atol=1e-6
    )


def test_an_unknown_float_layer_lists_those_there_are() -> None:
    config = QuantizationConfig(float_layers=("hed",))
    with pytest.raises(UsageError, match="no layer 'hed'"):
        program_from(plain_cnn(), quantization=config, calibration={"x": samples((1, 8, 8))})
