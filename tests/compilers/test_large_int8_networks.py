"""Large networks in int8: machine code gives the reference executor's bytes on every kind of x86-64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import networks
from lepton_compilers import QuantizationConfig
from lepton_compilers.backends import cpu
from lepton_compilers.compilation import build_program
from lepton_sdk.program import reference
from support.executed import X86_64, executed
from support.native import Native


@pytest.mark.slow
@pytest.mark.parametrize("network", networks.LARGE_NETWORKS)
def test_bytes_are_those_of_the_reference(network: str, tmp_path: Path) -> None:
    model = networks.write_networks(tmp_path, [network])[network]
    random = np.random.default_rng(0)
    samples = random.normal(size=(2, 3, networks.SIDE, networks.SIDE)).astype(np.float32)
    calibration = {networks.INPUT: samples}
    program = build_program(model.read_bytes(), quantization=QuantizationConfig(), calibration=calibration)
    image = random.normal(size=(1, 3, networks.SIDE, networks.SIDE)).astype(np.float32)
    (expected,) = reference.run(program, [image])
    for target in (*X86_64, "x86-64-avx512vbmi"):
        (found,) = Native(program, cpu.lower(program, executed(target))).run([image])
        np.testing.assert_array_equal(found, expected, err_msg=target)
