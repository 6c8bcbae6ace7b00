"""Damaged model files: each is refused with a clear error, or computes what the independent oracle computes.

Children examine them (support/mutants.py), so a crash or a hang is a finding like any other.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from support.evaluation_data import mlperf_tiny
from support.mutants import Finding, findings
from support.onnx_networks import mobile_cnn, plain_cnn, quantised_cnn

KWS = Path(__file__).parents[1] / "data" / "kws_ref_model.tflite"
BUILT = {"mobile.onnx": mobile_cnn, "plain.onnx": plain_cnn, "quantised.onnx": quantised_cnn}
SHORT = {"mobile.onnx": 150, "plain.onnx": 150, "quantised.onnx": 100, "kws": 100}
LONG = {
    "mobile.onnx": 2500,
    "plain.onnx": 2000,
    "quantised.onnx": 2000,
    "kws": 1500,
    "pretrainedResnet.tflite": 1000,
    "ad01_int8.tflite": 500,
    "str_ww_ref_model.tflite": 500,
}
assert sum(SHORT.values()) >= 500
assert sum(LONG.values()) >= 10_000


def model_file(name: str, folder: Path) -> Path:
    if name == "kws":
        return KWS
    if name not in BUILT:
        return mlperf_tiny(name.removesuffix(".tflite"))
    (folder / name).write_bytes(BUILT[name]())
    return folder / name


def examined(name: str, seeds: range, folder: Path) -> list[Finding]:
    found = list(findings(model_file(name, folder), seeds))
    assert [finding.seed for finding in found] == list(seeds)
    faults = [f for f in found if f.verdict in ("crashed", "hung", "wrong")]
    assert not faults, "\n".join(f"seed {f.seed} of {name}: {f.verdict}: {f.detail}" for f in faults[:10])
    return found


@pytest.mark.parametrize("name", SHORT)
def test_damaged_models_are_refused_or_right(name: str, tmp_path: Path) -> None:
    verdicts = Counter(f.verdict for f in examined(name, range(SHORT[name]), tmp_path))
    # Both ends are reached: most damage is refused, and some leaves a network that still runs.
    assert verdicts["refused"] > 0
    assert verdicts["right"] > 0
    assert verdicts["unjudged"] < SHORT[name] // 4


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_ten_thousand_damaged_models(name: str, tmp_path: Path) -> None:
    examined(name, range(100_000, 100_000 + LONG[name]), tmp_path)


def test_a_child_that_ends_is_a_finding_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A file that is not there ends the child at each start."""
    found = list(findings(tmp_path / "absent", range(3)))
    assert [f.verdict for f in found] == ["crashed"] * 3
