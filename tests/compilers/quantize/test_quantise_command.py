"""The flags of `lepton compile` that say how a network becomes int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lepton_sdk import Bundle
from support.command_line import lepton
from support.onnx_networks import plain_cnn


def test_the_flags_reach_the_bundle_and_a_layer_stays_float(tmp_path: Path) -> None:
    model, calibration, out = tmp_path / "m.onnx", tmp_path / "c.npz", tmp_path / "m.lep"
    model.write_bytes(plain_cnn())
    np.savez(calibration, x=np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32))
    int8 = ("--quantize", "int8", "--calibration", calibration, "--target", "x86-64")
    layers = lepton("compile", model, *int8, "--float", "nothing", "-o", out, check=False).err
    last = layers.split("layers: ")[1].split(",")[-1].split()[0]
    lepton(
        *("compile", model, *int8, "-o", out, "--float", last),
        *("--observer", "percentile", "--no-equalise", "--no-bias-correction"),
    )
    operations = Bundle.open(out).program().function().operations
    assert [type(op).__name__ for op in operations][-2:] == ["Dequantize", "Dense"]
    assert (
        "no observer 'kl'" in lepton("compile", model, *int8, "--observer", "kl", "-o", out, check=False).err
    )
    # An int8 model of 8 samples and labels nobody could learn: whatever accuracy float has is kept.
    arrays = dict(np.load(calibration)) | {"labels": np.arange(8) % 6}
    np.savez(calibration, **arrays)
    table = lepton("compile", model, *int8, "--max-accuracy-drop", "0", "-o", out, "--json").json[
        "sensitivity"
    ]
    assert table["accuracy"] >= table["float_accuracy"]
    assert table["n_examples"] == 8
    assert "--quantize int8" in lepton("compile", model, "--float", last, "-o", out, check=False).err
