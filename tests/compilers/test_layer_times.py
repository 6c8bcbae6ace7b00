"""Times of every layer on this machine, from a model file to the table: names, shapes, sums, threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.compilation import compile
from lepton_sdk.bundle import Bundle
from lepton_sdk.layer_times import LayerTime, measure_layers
from lepton_sdk.session import Session
from lepton_targets.errors import UnavailableError
from support import bundles
from support.evaluation_data import committed_kws
from support.in_process import run_here
from support.onnx_networks import plain_cnn


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "kws.lep"
    compile(committed_kws()[0], output=path)
    return path


def own(layers: tuple[LayerTime, ...]) -> list[LayerTime]:
    return [layer for layer in layers if not layer.conversion]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_layer_of_a_network_is_timed(path: Path, threads: int) -> None:
    session = Session(path, threads=threads)
    found = measure_layers(session.engine, session.bundle, 0.1)
    program = Bundle.open(path).program()
    operations = [type(op).__name__ for op in program.function().operations]
    assert [layer.operation for layer in own(found.layers)] == [o for o in operations if o != "Reshape"]
    assert sum(layer.macs for layer in found.layers) == program.macs()
    first = own(found.layers)[0]
    assert (first.operation, first.shapes) == ("Conv2d", "1×49×10×1 · 64×10×4×1 → 1×25×5×64")
    assert first.name in program.tensors
    for layer in found.layers:
        assert 0 <= layer.min_us <= layer.median_us
        assert layer.median_us == pytest.approx(sum(step.median_us for step in layer.steps))
        assert (layer.gmacs_per_s is None) == (layer.macs == 0 or layer.median_us == 0)
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)
    assert found.steps_us == pytest.approx(sum(layer.median_us for layer in found.layers))
    assert found.steps_us > 0
    assert found.whole.min > 0
    assert found.timed_us >= sum(layer.min_us for layer in found.layers)
    assert found.readings >= len(found.layers)


def test_what_is_timed_is_what_runs(path: Path) -> None:
    """The timed code gives the bytes of the ordinary."""
    from lepton_sdk import steps
    from lepton_sdk.engines.native import NativeEngine
    from lepton_sdk.engines.stamps import Stamps

    session = Session(path)
    inputs = session.example_inputs()
    (expected,) = session.run(inputs).values()
    outputs = [np.zeros_like(expected)]
    listed = steps.of_bundle(Bundle.open(path), session.target, "infer")
    stamps = Stamps(len(listed))
    assert isinstance(session.engine, NativeEngine)
    timed = session.engine.bind_timed("infer", [*inputs.values()], outputs, stamps.address)
    stamps.recorded(timed)
    assert outputs[0].tobytes() == expected.tobytes()


def test_functions_that_train_are_timed_too(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(plain_cnn())
    compile(tmp_path / "model.onnx", output=tmp_path / "model.lep", trainable="all", batch=4)
    session = Session(tmp_path / "model.lep")
    for function in ("infer", "train", "evaluate"):
        layers = session.profile(0.02, function)
        assert sum(layer.macs for layer in layers) == Bundle.open(tmp_path / "model.lep").program().macs(
            function
        )
    assert {"SgdMomentum"} <= {layer.operation for layer in session.profile(0.02, "train")}


def test_the_table_and_its_json(capfd: pytest.CaptureFixture[str], path: Path) -> None:
    found = run_here(capfd, "bench", path, "--layers", "--seconds", "0.05", "--json").json["layers"]
    assert {
        "steps_us",
        "whole_us",
        "with_readings_us",
        "clock_reading_ns",
        "peak_gmacs_per_s",
        "layers",
    } <= found.keys()
    layer = found["layers"][-1]
    assert {"name", "operation", "shapes", "dtype", "share", "macs", "peak_fraction"} <= layer.keys()
    assert layer["steps"][0]["kernels"] == ["softmax_int8"]
    shown = run_here(capfd, "bench", path, "--layers", "--seconds", "0.05").out
    assert "DepthwiseConv2d" in shown
    assert "1×49×10×1 · 64×10×4×1 → 1×25×5×64" in shown
    assert "µs with clock readings" in shown


def test_what_can_not_tell_says_why(capfd: pytest.CaptureFixture[str], path: Path, tmp_path: Path) -> None:
    old = run_here(capfd, "bench", bundles.write(tmp_path / "old.lep"), "--layers", "--seconds", "0.01")
    assert old.code == 5
    assert "compile the model again" in old.err
    assert run_here(capfd, "bench", path, "--layers", "--engine", "reference", "--seconds", "0.01").code == 5
    with pytest.raises(UnavailableError, match="reference"):
        Session(path, engine="reference").profile(0.01)
