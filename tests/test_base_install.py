"""What a device gets: the base install runs and measures bundles, and names the extra of what is missing."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from support.command_line import lepton
from support.evaluation_data import ROOT, committed_kws

pytestmark = pytest.mark.xdist_group("base_install")

HEAVY = ("tvm", "onnx", "torch", "tflite", "ai_edge_litert", "sklearn", "ziglang", "amqtt", "serial")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A fresh environment with `lepton-edge` and no extra, as pip makes it."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    install = ("-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(ROOT))
    subprocess.run([folder / "bin" / "python", *install], check=True, timeout=300)
    return folder / "bin"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "kws.lep"
    lepton("compile", committed_kws()[0], "-o", out)
    return out


def run(device: Path, *arguments: object, check: bool = True):
    command = [str(device / "lepton"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def test_nothing_heavy_is_there(device):
    code = f"import importlib.util as u; print([m for m in {HEAVY!r} if u.find_spec(m)])"
    found = subprocess.run([device / "python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_bundle_runs_and_is_measured(device, bundle, tmp_path):
    _, features, labels = committed_kws()
    np.savez(tmp_path / "in.npz", features=features, labels=labels)
    run(device, "run", bundle, "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        (scores,) = (outputs[name] for name in outputs.files)
    assert np.mean(scores.reshape(len(labels), -1).argmax(1) == labels) > 0.8
    run(device, "verify", bundle, "--self-test")
    cold = json.loads(run(device, "bench", bundle, "--cold", "--json").stdout)["cold"]
    assert set(cold) == {
        "first_inference_ms",
        "rss_mb",
        "call_overhead_us",
        "run_into_overhead_us",
        "numpy_import_ms",
        "numpy_rss_mb",
    }
    assert 0 < cold["first_inference_ms"] < 1000


def test_what_is_missing_is_named_with_its_extra(device, tmp_path):
    result = run(device, "compile", committed_kws()[0], "-o", tmp_path / "x.lep", check=False)
    assert result.returncode == 5
    assert "lepton-edge[compile]" in result.stderr
    assert "compile" in run(device, "--help").stdout
    demo = run(device, "demo", check=False)
    assert demo.returncode == 5
    assert "lepton-edge[all]" in demo.stderr


def test_public_names_are_importable_without_extras(device):
    code = (
        "import lepton_sdk; [getattr(lepton_sdk, n) for n in lepton_sdk.__all__]; "
        "import lepton_fleet; [getattr(lepton_fleet, n) for n in lepton_fleet.__all__]"
    )
    subprocess.run([device / "python", "-W", "error", "-c", code], check=True)
    assert sys.version_info >= (3, 11)
