"""Networks quantised to int16 activations, whole or by layer: nearer to float, the same bytes on a CPU."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_compilers.pack import kind
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Program, Quantization
from lepton_sdk.program.operations_int16 import Requantize
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from lepton_targets.errors import UsageError
from lepton_targets.host import runs_here
from support.evaluation_data import KWS_FLOAT, kws_float, kws_samples, mlperf_tiny
from support.native import Native
from support.onnx_networks import mobile_cnn

INT8, INT16 = QuantizationConfig(), QuantizationConfig(activations="int16")
X = np.random.default_rng(3).normal(size=(48, 3, 16, 16)).astype(np.float32)


def quantised(config: QuantizationConfig) -> Program:
    return program_from(mobile_cnn(), quantization=config, calibration={"x": X})


def outputs(program: Program, x: np.ndarray) -> np.ndarray:
    reference = Reference(program)
    return np.concatenate([reference.run([sample[None]])[0] for sample in x])


def sqnr_db(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))


def types(program: Program) -> dict[str, str]:
    """The type of each result of `infer`, by operation and name."""
    tensors = program.tensors
    return {
        f"{type(op).__name__} {op.outputs[0]}": tensors[op.outputs[0]].dtype
        for op in program.function().operations
    }


def test_every_activation_of_an_int16_network_is_symmetric_int16() -> None:
    program = quantised(INT16)
    assert set(types(program).values()) == {"int16", "float32"}
    assert [name for name, t in types(program).items() if t == "float32"] == ["Dequantize y"]
    assert kind(program) == "int8x16"
    for op in program.function().operations:
        y = program.tensors[op.outputs[0]]
        if y.dtype == "int16":
            assert y.quantization is not None
            assert y.quantization.zero_point == 0
        if type(op).__name__ == "Softmax":
            assert y.quantization == Quantization((2.0**-15,))
        if (name := getattr(op, "bias", None)) is not None:
            assert program.tensors[name].dtype == "int64"


def test_int16_is_nearer_to_float_than_int8() -> None:
    exact = outputs(program_from(mobile_cnn()), X)
    narrow, wide = (sqnr_db(exact, outputs(quantised(config), X)) for config in (INT8, INT16))
    print(f"int8 {narrow:.1f} dB, int16 {wide:.1f} dB")
    assert wide > narrow + 6


def convolutions() -> list[str]:
    operations = quantised(INT8).function().operations
    return [op.outputs[0] for op in operations if "Conv2d" in type(op).__name__]


def test_a_layer_held_in_int16_is_read_in_int16_and_requantised_at_the_borders() -> None:
    stem, depthwise, _ = convolutions()
    program = quantised(QuantizationConfig(int16_layers=(depthwise,)))
    assert kind(program) == "mixed"
    made = {name: op for op in program.function().operations for name in op.outputs}
    tensors = program.tensors
    assert tensors[stem].dtype == "int8"
    assert tensors[depthwise].dtype == "int16"
    assert isinstance(made[made[depthwise].inputs[0]], Requantize)
    readers = [op for op in program.function().operations if depthwise in op.inputs]
    assert [tensors[op.outputs[0]].dtype for op in readers] == ["int16"]
    borders = [op for op in program.function().operations if isinstance(op, Requantize)]
    assert {(tensors[op.x].dtype, tensors[op.y].dtype) for op in borders} == {
        ("int8", "int16"),
        ("int16", "int8"),
    }


def test_moves_and_pools_pass_int16_on() -> None:
    stem = convolutions()[0]
    program = quantised(QuantizationConfig(int16_layers=(stem,)))
    made = {name: op for op in program.function().operations for name in op.outputs}
    pool = next(name for name, op in made.items() if type(op).__name__ == "MaxPool2d")
    assert program.tensors[pool].dtype == "int16"
    assert program.tensors[pool].quantization == program.tensors[stem].quantization
    assert not isinstance(made[made[stem].inputs[0]], Requantize)


@pytest.mark.parametrize("target", ["x86-64", "x86-64-avx2", "x86-64-avx512vnni"])
@pytest.mark.parametrize("layer", [None, 0, 1], ids=["all", "stem", "depthwise"])
def test_machine_code_gives_the_reference_bytes(layer: int | None, target: str) -> None:
    row = get_target(target)
    if not runs_here(row):
        pytest.skip(f"this machine does not execute {target}")
    config = INT16 if layer is None else QuantizationConfig(int16_layers=(convolutions()[layer],))
    program = quantised(config)
    native = Native(program, cpu.lower(program, row))
    reference = Reference(program)
    for sample in X[:16]:
        np.testing.assert_array_equal(native.run([sample[None]])[0], reference.run([sample[None]])[0])


def test_kws_in_int16_agrees_with_float() -> None:
    model, (features, labels) = mlperf_tiny(KWS_FLOAT), kws_samples()
    x = kws_float(features)
    program = program_from(model, quantization=INT16, calibration={"features": x[:64]})
    rest, known = x[64:464], labels[64:464]
    found, exact = (outputs(p, rest) for p in (program, program_from(model)))
    agreement = float((found.argmax(1) == exact.argmax(1)).mean())
    accuracy = float((found.argmax(1) == known).mean())
    print(f"kws int16: accuracy {accuracy:.4f}, agreement {agreement:.4f}, {sqnr_db(exact, found):.1f} dB")
    assert agreement >= 0.99
    assert sqnr_db(exact, found) >= 36


def test_what_was_asked_for_wrongly_is_said() -> None:
    with pytest.raises(UsageError, match="no layer 'stm' to keep int16"):
        quantised(QuantizationConfig(int16_layers=("stm",)))
    with pytest.raises(UsageError, match="in int16 and in float32"):
        QuantizationConfig(int16_layers=("stem",), float_layers=("stem",))
    with pytest.raises(UsageError, match="all activations are int16"):
        QuantizationConfig(activations="int16", int16_layers=("stem",))
    with pytest.raises(UsageError, match="accepted: int8, int16"):
        QuantizationConfig(activations="int4")  # type: ignore[arg-type]
