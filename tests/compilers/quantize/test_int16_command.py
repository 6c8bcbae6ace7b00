"""int16 through the commands: compile, verify, evaluate, report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_sdk import Bundle
from lepton_sdk.program.reference import Reference
from support.command_line import lepton
from support.onnx_networks import plain_cnn

X = np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m.onnx, and c.npz with samples and the classes that the float network gives them."""
    folder = tmp_path_factory.mktemp("int16")
    (folder / "m.onnx").write_bytes(plain_cnn())
    reference = Reference(program_from(plain_cnn()))
    labels = np.array([reference.run([x[None]])[0].argmax() for x in X])
    np.savez(folder / "c.npz", x=X, labels=labels)
    return folder / "m.onnx"


def compiled(model: Path, name: str, *flags: object) -> tuple[Path, object]:
    out = model.with_name(name)
    calibration = ("--calibration", model.with_name("c.npz"))
    result = lepton("compile", model, *calibration, *flags, "--target", "x86-64", "-o", out, "--json")
    return out, result.json


def test_a_network_of_int16_compiles_verifies_and_evaluates(model: Path) -> None:
    out, summary = compiled(model, "wide.lep", "--quantize", "int8x16")
    assert summary["kind"] == "int8x16"
    lepton("verify", out, "--self-test")
    data = model.with_name("c.npz")
    assert lepton("eval", out, "--data", data, "--json").json["accuracy"] == 1.0
    page = model.with_name("r.html")
    lepton("report", out, "--model", model, "--data", data, "-o", page)
    assert "int16" in page.read_text(encoding="utf-8")


def test_a_layer_is_held_in_int16_by_name(model: Path) -> None:
    out, summary = compiled(model, "mixed.lep", "--quantize", "int8", "--int16", "stem_relu")
    assert summary["kind"] == "mixed"
    program = Bundle.open(out).program()
    assert program.tensors["stem_relu"].dtype == "int16"
    assert Bundle.open(out).manifest.provenance.options["quantization"]["int16_layers"] == ["stem_relu"]
    lepton("verify", out, "--self-test")
    said = lepton("compile", model, "--int16", "stem_relu", "-o", out, check=False)
    assert said.code == 2
    assert "--quantize int8" in said.err


def test_the_search_is_in_the_output_the_bundle_and_the_report(model: Path) -> None:
    spoilt = ("--observer", "moving-average", "--no-equalise", "--no-bias-correction")
    out, summary = compiled(model, "found.lep", "--quantize", "int8", *spoilt, "--max-accuracy-drop", "0")
    table = summary["sensitivity"]
    assert table["accuracy"] == table["float_accuracy"] == 1.0
    assert table["integer_accuracy"] < 1.0
    held = {row["layer"]: row["stays"] for row in table["layers"]}
    assert {"int16", "float"} & set(held.values())
    assert all(row["int16_sqnr_db"] and row["float_sqnr_db"] for row in table["layers"])
    options = Bundle.open(out).manifest.provenance.options
    assert options["sensitivity"] == table
    wanted = [name for name, stays in held.items() if stays == "int16"]
    assert sorted(options["quantization"]["int16_layers"]) == sorted(wanted)
    page = model.with_name("found.html")
    lepton("report", out, "-o", page)
    text = page.read_text(encoding="utf-8")
    assert "What int8 can" in text
    assert "int16 alone: SQNR dB" in text
