"""The engine for plain .tflite files, and bundles measured against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_sdk import Session
from lepton_sdk.bundle import FunctionInterface
from lepton_targets.errors import BadInputError, MissingExtraError, UsageError
from support import bundles
from support.evaluation_data import committed_kws

pytest.importorskip("ai_edge_litert.interpreter", reason="the extra litert is absent")


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(committed_kws()[0], engine="litert")


def test_runs_a_plain_file(session: Session) -> None:
    _, features, labels = committed_kws()
    (spec,) = session.inputs
    assert (spec.shape, spec.dtype) == ((1, 49, 10, 1), "int8")
    assert spec.quantization is not None
    assert spec.quantization.zero_point == 83
    found = [next(iter(session.run(x[None]).values())).argmax() for x in features]
    assert np.mean(np.array(found) == labels) > 0.8


def test_fills_the_given_arrays(session: Session) -> None:
    x = committed_kws()[1][:1]
    y = np.zeros(session.outputs[0].shape, session.outputs[0].dtype)
    session.run_into(x, y)
    np.testing.assert_array_equal(y, session.run(x)[session.outputs[0].name])


def test_has_one_function_and_no_variables(session: Session) -> None:
    assert session.functions == ("infer",)
    assert session.variables() == {}
    with pytest.raises(UsageError, match="no function 'train'"):
        session.run({}, "train")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(BadInputError, match=r"bad\.tflite"):
        Session(tmp_path / "bad.tflite", engine="litert")
    with pytest.raises(BadInputError, match="no such file"):
        Session(tmp_path / "absent.tflite", engine="litert")


def test_without_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"lepton-edge\[litert\]"):
        Session(committed_kws()[0], engine="litert")


def lepton(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "lepton_sdk.cli.main", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_commands_measure_and_compare_against_it(tmp_path: Path) -> None:
    """A bundle of KWS's interface that computes nothing: what counts is that both sides got the same."""
    model, features, labels = committed_kws()
    infer = Session(model, engine="litert").interface()
    manifest = bundles.manifest()
    artifact = manifest.artifacts[0]
    entries = {**artifact.functions, "infer": artifact.functions["infer"].replace(symbol="lepton_nothing")}
    path = bundles.write(
        tmp_path / "nothing.lep",
        manifest_changes={
            "functions": {
                "infer": FunctionInterface(infer.inputs, infer.outputs),
                "train": manifest.functions["train"],
            },
            "artifacts": (artifact.replace(functions=entries),),
            "golden": (),
        },
    )
    timed = lepton("bench", path, "--against", f"litert:{model}", "--seconds", "0.1")
    assert timed["against"]["name"] == "litert"
    assert timed["ratio_median"] == pytest.approx(
        timed["latency_us"]["median"] / timed["against"]["latency_us"]["median"]
    )
    assert timed["ratio_median"] < 0.5

    data = tmp_path / "kws.npz"
    np.savez(data, features=features, labels=labels)
    found = lepton("eval", path, "--data", data, "--against", f"litert:{model}")
    assert found["n"] == len(labels)
    assert found["accuracy"] == pytest.approx((labels == 0).mean())
    assert found["against"]["accuracy"] > 0.8
    assert found["against"]["bytes_equal_fraction"] < 0.1
    assert found["against"]["max_step_difference"] > 100


def test_inputs_that_differ_are_refused(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "tiny.lep")
    found = lepton("bench", path, "--against", f"litert:{committed_kws()[0]}")
    assert found["error"]["type"] == "BadInputError"
    assert "take different inputs" in found["error"]["message"]
