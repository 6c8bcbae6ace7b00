"""The float networks of MLPerf Tiny: importer → float32 Program → reference executor agrees with LiteRT."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from support.evaluation_data import FLOAT_NETWORKS, KWS_FLOAT, kws_float, kws_samples, mlperf_tiny
from support.litert import LiteRT
from support.structured_inputs import structured_images, structured_vectors
from support.tflite_cut import widened_weights

TOLERANCE = 1e-4


@pytest.mark.parametrize("network", FLOAT_NETWORKS)
def test_float_network_agrees_with_litert(network: str) -> None:
    content = mlperf_tiny(FLOAT_NETWORKS[network]).read_bytes()
    oracle, reference = LiteRT(content), Reference(program_from(content))
    shape = oracle.input_shape
    unit = structured_images(16, shape[1:]) if len(shape) == 4 else structured_vectors(16, shape[1:])
    samples = (unit * (255 if network == "resnet8" else 1)).astype(np.float32)
    worst = max(float(np.abs(oracle.run(x[None]) - reference.run([x[None]])[0]).max()) for x in samples)
    print(f"{network} float: largest difference {worst:.2e}")
    assert worst <= TOLERANCE


def test_dynamic_range_network_agrees_with_its_float_meaning() -> None:
    # LiteRT quantises activations of such a network at run time; with its weights as float it does not.
    content = mlperf_tiny(KWS_FLOAT).read_bytes()
    oracle, reference = LiteRT(widened_weights(content)), Reference(program_from(content))
    samples = kws_float(kws_samples()[0][:50])
    worst = max(float(np.abs(oracle.run(x[None]) - reference.run([x[None]])[0]).max()) for x in samples)
    print(f"kws dynamic range: largest difference {worst:.2e}")
    assert worst <= TOLERANCE


def test_float_program_holds_no_integers() -> None:
    program = program_from(mlperf_tiny(FLOAT_NETWORKS["resnet8"]))
    assert {tensor.dtype for tensor in program.tensors.values()} == {"float32"}
