"""Float models whose operations TVM has none for: calibrated through the reference, layers made int8."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import UnsupportedOperatorError
from support.tflite_heads import float_detector, streaming_network


def test_a_detector_is_quantised_up_to_its_post_processing() -> None:
    content = float_detector()
    samples = np.random.default_rng(0).normal(size=(40, 4, 4, 8)).astype(np.float32)
    program = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    body = program.function().operations
    convolutions = [op for op in body if type(op).__name__ == "Conv2d"]
    assert [program.tensors[op.outputs[0]].dtype for op in convolutions] == ["int8", "int8"]
    assert {"MirrorPad", "Detections"} <= {type(op).__name__ for op in body}
    exact, quantised = Reference(program_from(content)), Reference(program)
    for x in samples[:5]:
        expected, found = exact.run([x[None]]), quantised.run([x[None]])
        assert abs(found[3][0] - expected[3][0]) <= 2
        # The best box of all survives the loss of a few bits.
        np.testing.assert_allclose(found[2][0, 0], expected[2][0, 0], atol=0.05)


def test_a_model_with_state_stays_float() -> None:
    samples = {"x": np.zeros((8, 1, 4), np.float32)}
    with pytest.raises(UnsupportedOperatorError, match=r"keeps state between calls \(frames\)"):
        program_from(streaming_network(False), quantization=QuantizationConfig(), calibration=samples)
