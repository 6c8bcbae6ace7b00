"""The networks of MLPerf Tiny in int16×8, quantised by another tool: every layer gives LiteRT's bytes.

The oracle runs its reference kernels; its default ones differ by a step in a byte in some ten thousand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from support.evaluation_data import FLOAT_NETWORKS, KWS_FLOAT, kws_float, kws_samples, mlperf_tiny
from support.litert import LiteRT
from support.native import Native
from support.structured_inputs import structured_images, structured_vectors
from support.tflite_int16 import quantised_16x8

Array = npt.NDArray[Any]

NETWORKS = FLOAT_NETWORKS | {"kws": KWS_FLOAT}
CALIBRATION, TESTED = 16, 16


def samples(network: str) -> Array:
    """float32 [CALIBRATION + TESTED, 1, …] in the range the network was trained on."""
    count = CALIBRATION + TESTED
    if network == "kws":
        real = kws_float(kws_samples()[0][:count])
    elif network == "resnet8":
        real = 255 * structured_images(count, (32, 32, 3))
    elif network == "vww":
        real = structured_images(count, (96, 96, 3))
    else:
        real = 100 * structured_vectors(count, (640,)) - 85
    return real.astype(np.float32)[:, None]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_layer_gives_litert_bytes(network: str) -> None:
    real = samples(network)
    content = quantised_16x8(mlperf_tiny(NETWORKS[network]).read_bytes(), real[:CALIBRATION])
    program = program_from(content)
    oracle, reference = LiteRT(content, reference=True), Reference(program)
    native = Native(program, cpu.lower(program, get_target("x86-64")))
    body = program.function()
    assert {program.tensors[op.outputs[0]].dtype for op in body.operations} == {"int16"}
    layers = [name for op in body.operations for name in op.outputs]
    scale = program.tensors[body.inputs[0]].scale
    compared = set()
    for sample in real[CALIBRATION:]:
        x = np.clip(np.rint(sample / scale), -32768, 32767).astype(np.int16)
        found = reference.trace([x])
        wanted = oracle.run(x)
        np.testing.assert_array_equal(found[body.outputs[0]], wanted)
        np.testing.assert_array_equal(native.run([x])[0], wanted)
        for name, array in oracle.tensors().items():
            # A fused tensor lists the names of all it was fused from; a bias may begin with the same one.
            ours = name.split(";")[0]
            if ours in layers and array.shape == found[ours].shape:
                compared.add(ours)
                np.testing.assert_array_equal(found[ours], array, err_msg=ours)
    print(f"{network}: {len(compared)} of {len(layers)} layers compared")
    assert len(compared) >= len(layers) - 1
