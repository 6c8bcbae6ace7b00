"""Compiles one contest: the bundle, its sizes, the seconds it took, and the work of every layer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.bench.layer_work import works
from lepton_compilers import QuantizationConfig, compile
from lepton_compilers.backends import cpu
from lepton_targets.host import host


def built(model: Path, calibration: Path | None, options: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write the bundle of `model` for this machine to `output`.

    calibration: an .npy file of inputs to quantise with, None where the model stays as it is.
    """
    chosen = dict(options)
    if calibration is not None:
        chosen |= {
            "quantization": QuantizationConfig(),
            "calibration": {networks.INPUT: np.load(calibration)},
        }
    begin = time.perf_counter()
    bundle = compile(model, "host", output=output, **chosen)
    seconds = time.perf_counter() - begin
    program = bundle.program()
    return {
        "macs": program.macs(),
        "compile_s": seconds,
        # What it rounds to bfloat16 is decided as it is lowered: the program's own plan is that of float32.
        "layers": [] if options else [asdict(work) for work in works(cpu.plan(program, host()))],
    }
