"""The same model gives the same bytes of Program in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from support.evaluation_data import ROOT, committed_kws
from support.onnx_networks import mobile_cnn

SCRIPT = """
import hashlib, sys
import numpy as np
from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import serialize

kws, cnn = sys.argv[1:]
samples = np.random.default_rng(0).normal(size=(16, 3, 16, 16)).astype(np.float32)
programs = [
    program_from(kws),
    program_from(cnn),
    program_from(cnn, quantization=QuantizationConfig(), calibration={"x": samples}),
]
print(*[hashlib.sha256(serialize.dump(p)).hexdigest() for p in programs])
"""


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    cnn = tmp_path / "cnn.onnx"
    cnn.write_bytes(mobile_cnn())
    answers = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(committed_kws()[0]), str(cnn)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert len(set(answers[0].split())) == 3
    assert all(len(digest) == hashlib.sha256().digest_size * 2 for digest in answers[0].split())
