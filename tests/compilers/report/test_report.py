"""`lepton report`: numbers that an independent computation gives too, and a page that needs nothing else."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_compilers.compilation import build_program, compile
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.report.fidelity import float_twins, measure
from lepton_compilers.report.page import page
from lepton_compilers.report.report import FloatSource, Report, build
from lepton_sdk.bundle import Bundle
from lepton_sdk.program import Function, Program, Quantization, Tensor
from lepton_sdk.program.operations import Quantize
from lepton_sdk.program.reference import Reference
from lepton_sdk.session import Session
from lepton_targets.errors import BadInputError
from support import bundles
from support.command_line import lepton
from support.onnx_networks import evaluate, mobile_cnn

CONTENT = mobile_cnn()
RANDOM = np.random.default_rng(7)
CALIBRATION = {"x": RANDOM.normal(size=(24, 3, 16, 16)).astype(np.float32)}
IMAGES = RANDOM.normal(size=(12, 3, 16, 16)).astype(np.float32)
LABELS = np.array([int(evaluate(CONTENT, image[None]).argmax()) for image in IMAGES])
LABELS[0] = (LABELS[0] + 1) % 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx, model.lep and examples.npz."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "model.onnx").write_bytes(CONTENT)
    compile(
        folder / "model.onnx",
        output=folder / "model.lep",
        quantization=QuantizationConfig(),
        calibration=CALIBRATION,
        labels=["a", "<b>", "c & d", 'e"', "f"],
    )
    np.savez(folder / "examples.npz", features=IMAGES, labels=LABELS)
    return folder


@pytest.fixture(scope="module")
def source() -> FloatSource:
    return FloatSource(build_program(CONTENT), len(CONTENT), True)


@pytest.fixture(scope="module")
def report(folder: Path, source: FloatSource) -> Report:
    bundle = Bundle.open(folder / "model.lep")
    arrays = {"features": IMAGES, "labels": LABELS}
    return build(bundle, session=Session(bundle), arrays=arrays, source=source)


def test_every_int8_layer_but_those_of_other_shapes_is_measured(report: Report) -> None:
    integer = [layer.step for layer in report.layers if layer.dtype == "int8"]
    assert [row.step for row in report.fidelity] == integer
    assert all(row.sqnr_db is not None and row.sqnr_db > 10 for row in report.fidelity)


def test_sqnr_range_and_saturation_are_those_of_arrays(
    report: Report, source: FloatSource, folder: Path
) -> None:
    """The network's sum of two branches, whose channels nothing rescales."""
    program = Bundle.open(folder / "model.lep").program()
    (row,) = (row for row in report.fidelity if row.output == "sum")
    tensor = program.tensors["sum"]
    integer = np.array([Reference(program).trace([image[None]])["sum"] for image in IMAGES]).astype(float)
    real = np.array([Reference(source.program).trace([image[None]])["sum"] for image in IMAGES]).astype(float)
    error = real - (integer - tensor.zero_point) * float(tensor.scale)
    assert row.sqnr_db == pytest.approx(10 * np.log10((real**2).mean() / (error**2).mean()))
    assert (row.float_low, row.float_high) == (real.min(), real.max())
    steps = real / float(tensor.scale) + tensor.zero_point
    assert row.saturated == pytest.approx(((steps < -128.5) | (steps > 127.5)).mean())
    assert sum(row.histogram) == real.size


def test_the_last_layer_is_what_onnx_computes(report: Report, folder: Path) -> None:
    expected = np.concatenate([evaluate(CONTENT, image[None]) for image in IMAGES]).astype(np.float64)
    session = Session(folder / "model.lep")
    found = np.concatenate([session.run(image[None])["y"] for image in IMAGES]).astype(np.float64)
    sqnr = 10 * np.log10((expected**2).sum() / ((expected - found) ** 2).sum())
    assert report.fidelity[-1].sqnr_db == pytest.approx(sqnr, abs=0.01)
    judgement = report.judgement
    assert judgement is not None
    assert judgement.agreement == (found.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert judgement.accuracy == (found.argmax(axis=1) == LABELS).mean()
    assert judgement.float_accuracy == pytest.approx(11 / 12)


def test_sizes_are_the_files(report: Report, folder: Path) -> None:
    bundle = Bundle.open(folder / "model.lep")
    (artifact,), (row,) = bundle.artifacts, report.targets
    assert row.code_bytes == len(bundle.segment(artifact.code))
    assert row.weights_bytes == len(bundle.segment(str(artifact.weights)))
    assert row.arena_bytes == artifact.functions["infer"].arena_bytes
    assert report.bytes == (folder / "model.lep").stat().st_size
    assert report.macs == sum(layer.macs for layer in report.layers) == bundle.program().macs()


def test_equalised_channels_are_compared_at_their_new_size() -> None:
    """x · 4 in one channel alone: as noise it is deafening, as a factor it is nothing."""
    from lepton_sdk.program.operations import Conv2d
    from lepton_sdk.program.tensors import constant

    shape, q = (1, 4, 4, 2), Quantization((0.0625,), 0)
    eye = constant("weight", np.eye(2, dtype=np.float32).reshape(2, 1, 1, 2))
    integer_eye = constant("w8", np.eye(2, dtype=np.int8).reshape(2, 1, 1, 2))
    ones = constant("multiplier", np.ones(2, np.float32))

    def program(kind: str) -> Program:
        real = kind == "float32"
        held = None if real else q
        tensors = [Tensor("x", shape, "float32"), Tensor("middle", shape, kind, held), eye, integer_eye, ones]
        tensors.append(Tensor("y", shape, kind, held))
        if real:
            first = Conv2d("x", "weight", None, None, "middle")
            second = Conv2d("middle", "weight", None, None, "y")
        else:
            first = Quantize("x", "middle")
            second = Conv2d("middle", "w8", None, "multiplier", "y")
        function = Function("infer", ("x",), ("y",), (first, second))
        return Program({"infer": function}, {tensor.name: tensor for tensor in tensors})

    ours, theirs = program("int8"), program("float32")
    assert float_twins(ours, theirs) == {"middle": "middle", "y": "y"}
    x = RANDOM.uniform(-1, 1, (5, 4, 4, 2)).astype(np.float32)
    scaled = x * np.array([4, 1], np.float32)
    plain, results = measure(ours, theirs, {"x": scaled}, {"x": x})
    fitted, _ = measure(ours, theirs, {"x": scaled}, {"x": x}, equalised=True)
    np.testing.assert_array_equal(results, x.reshape(5, -1))
    assert [row.rescaled_channels for row in fitted] == [1, 0]
    assert plain[0].sqnr_db is not None
    assert fitted[0].sqnr_db is not None
    assert plain[0].sqnr_db < 0 < 25 < fitted[0].sqnr_db
    # The output is nobody's to rescale: there the same difference is an error.
    assert fitted[1].sqnr_db == plain[1].sqnr_db


def well_formed(text: str) -> ElementTree.Element:
    assert text.startswith("<!DOCTYPE html>")
    return ElementTree.fromstring(text)


def test_the_page_is_well_formed_and_loads_nothing(report: Report) -> None:
    text = page(report)
    root = well_formed(text)
    for element in root.iter():
        assert element.tag not in ("script", "link", "img", "iframe", "object")
        assert not {"src", "href", "srcset"} & set(element.attrib)
    assert "http" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_page_shows_what_the_report_knows(report: Report) -> None:
    root = well_formed(page(report))
    shown = " ".join(root.itertext())
    for layer in report.layers:
        assert layer.output in shown
    assert "<b>" in shown
    assert "c & d" in shown
    assert len(root.findall(".//figure")) == len(report.fidelity)
    assert len(root.findall(".//table[@class='matrix']/tbody/tr")) == 5
    for text in report.remedies:
        assert text in shown


def test_a_bundle_alone_has_a_page(tmp_path: Path) -> None:
    found = build(Bundle.open(bundles.write(tmp_path / "tiny.lep")))
    assert (found.judgement, found.fidelity, found.source_bytes) == (None, (), None)
    shown = " ".join(well_formed(page(found)).itertext())
    assert "Sizes by target" in shown
    assert "Table" in shown


def test_what_stays_float_says_why(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    found = build(compile(tmp_path / "model.onnx"))
    assert len(found.float_layers) == len(found.layers)
    assert {row.reason for row in found.float_layers} == {"the bundle was compiled without --quantize int8"}
    assert "Everything" in page(found)


def test_a_source_with_other_inputs_is_refused(folder: Path) -> None:
    bundle = Bundle.open(folder / "model.lep")
    wide = FloatSource(build_program(CONTENT, shapes={"x": (2, 3, 16, 16)}), 1, True)
    with pytest.raises(BadInputError, match="a batch of one"):
        build(bundle, session=Session(bundle), arrays={"x": IMAGES}, source=wide)


class TestCommand:
    def run(self, folder: Path, *words: object, check: bool = True) -> Any:
        return lepton("report", "model.lep", *words, cwd=folder, check=check)

    def test_writes_a_page_and_prints_json(self, folder: Path, report: Report) -> None:
        words = ("--model", "model.onnx", "--data", "examples.npz", "-o", "report.html", "--json")
        found = self.run(folder, *words).json
        assert found == json.loads(json.dumps(report.as_json()))
        well_formed((folder / "report.html").read_text(encoding="utf-8"))

    def test_uses_as_many_examples_as_asked_for(self, folder: Path) -> None:
        found = self.run(folder, "--data", "examples.npz", "--max-examples", 5, "--json").json
        assert found["examples"] == found["judgement"]["n"] == 5
        assert found["fidelity"] == []

    def test_shows_what_layers_take_here(self, folder: Path) -> None:
        found = self.run(folder, "--measure", 0.05, "-o", "timed.html", "--json").json
        assert found["timing"]["target"] in found["options"]["targets"]
        layers = found["timing"]["layers"]
        assert sum(layer["macs"] for layer in layers) == found["macs"]
        assert sum(layer["share"] for layer in layers) == pytest.approx(1)
        text = (folder / "timed.html").read_text(encoding="utf-8")
        well_formed(text)
        assert "Time by layer" in text
        assert all(layer["shapes"] in text for layer in layers)

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ((), 2),
            (("--measure", 0.01, "--engine", "reference", "--json"), 5),
            (("--model", "model.onnx", "--json"), 2),
            (("--shape", "x=1,3,16,16", "--json"), 2),
            (("--data", "absent.npz", "--json"), 3),
            (("--data", "examples.npz", "--model", "absent.onnx", "--json"), 3),
            (("-o", "absent/report.html"), 3),
            (("-o", "model.lep"), 2),
        ],
    )
    def test_wrong_use(self, folder: Path, words: tuple[object, ...], code: int) -> None:
        result = self.run(folder, *words, check=False)
        assert result.code == code
        assert "Traceback" not in result.err
