"""Traces: every layer's result, in order, as the reference defines it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_compilers.compilation import compile
from lepton_sdk import Session
from lepton_sdk.program.reference import Reference
from lepton_sdk.trace import trace_examples
from lepton_targets.errors import UnavailableError
from support.in_process import run_here

KWS = Path(__file__).parents[1] / "data" / "kws_ref_model.tflite"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kws") / "kws.lep"
    compile(KWS, "host", output=path)
    return path


def test_the_command_writes_every_layer(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = Session(bundle)
    (spec,), random = session.inputs, np.random.default_rng(0)
    x = random.integers(-128, 128, (3, *spec.shape[1:])).astype(np.int8)
    np.savez(tmp_path / "in.npz", **{spec.name: x})
    words = ["run", bundle, "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz"]
    shown = run_here(capfd, *words, "--trace", tmp_path / "trace.npz").out
    assert (
        "trace.npz: 13 layers of 1 example by the engine 'reference'; outputs of 'native' are the same"
        in shown
    )
    told = run_here(capfd, *words, "--trace", tmp_path / "trace.npz", "--json").json["trace"]
    assert told == {
        "file": str(tmp_path / "trace.npz"),
        "engine": "reference",
        "n": 1,
        "layers": 13,
        "max_difference": 0,
    }
    assert run_here(capfd, *words, "--json").json["trace"] is None
    program = Session(bundle).bundle.program()
    expected = Reference(program).trace([x[:1]])
    with np.load(tmp_path / "trace.npz") as trace, np.load(tmp_path / "out.npz") as out:
        layers = [name for op in program.function().operations for name in op.outputs]
        assert trace.files == [spec.name, *layers]
        for name in trace.files:
            np.testing.assert_array_equal(trace[name], expected[name], err_msg=name)
        last = session.outputs[0].name
        np.testing.assert_array_equal(trace[last][0], out[last][0])


def test_a_plain_tflite_has_no_program_to_trace() -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(UnavailableError, match="only bundles do"):
        trace_examples(Session(KWS, engine="litert"), {})
