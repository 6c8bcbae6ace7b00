"""Rivals in a benchmark: each runtime opens the same network and gives a call; what differs is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_sdk.bundle import generate_key
from lepton_sdk.peers import open_peer
from lepton_targets import host
from lepton_targets.errors import BadInputError, SignatureError, UsageError
from support import bundles


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX network y = x + x for float32 [1, 4]."""
    onnx = pytest.importorskip("onnx")
    shape = [1, 4]
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path_factory.mktemp("peers") / "doubled.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_rival_runs_on_the_bundles_arrays(name: str, doubled: Path) -> None:
    pytest.importorskip(name)
    peer = open_peer(f"{name}:{doubled}", [np.ones((1, 4), np.float32)])
    peer.call()
    assert peer.name == name
    assert peer.version[0].isdigit()
    with pytest.raises(BadInputError, match="take different inputs"):
        open_peer(f"{name}:{doubled}", [np.ones((1, 5), np.float32)])


def test_another_bundle_runs_the_same_function(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "tiny.lep")
    peer = open_peer(f"lepton:{path}", [np.zeros((1, 10), np.int8)])
    assert (peer.name, peer.file, peer.target) == ("lepton", str(path), host().name)
    peer.call()
    scalar = np.float32(0.1).reshape(())
    open_peer(f"lepton:{path}", [np.ones((2, 3), np.float32), scalar, scalar], function="train").call()
    # int8 and float32 of one network have inputs of one shape.
    open_peer(f"lepton:{path}", [np.zeros((1, 10), np.float32)]).call()
    with pytest.raises(BadInputError, match="take different inputs"):
        open_peer(f"lepton:{path}", [np.zeros((1, 9), np.int8)])
    with pytest.raises(BadInputError, match="cannot read the bundle"):
        open_peer(f"lepton:{tmp_path / 'absent.lep'}", [])
    with pytest.raises(UsageError, match="no function 'evaluate'"):
        open_peer(f"lepton:{path}", [], function="evaluate")
    public, _ = generate_key(tmp_path / "key.pem")
    with pytest.raises(SignatureError):
        open_peer(f"lepton:{path}", [np.zeros((1, 10), np.int8)], trust=[public])


def test_unknown_rivals_and_missing_files_are_refused() -> None:
    with pytest.raises(UsageError, match="openvino"):
        open_peer("openvin:model.onnx", [])
    with pytest.raises(BadInputError, match="no such file"):
        open_peer("onnxruntime:missing.onnx", [])
