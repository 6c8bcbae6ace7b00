"""The search for layers that must stay float."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.passes.pipeline import front_half, run_passes
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.sensitivity import search
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BadInputError
from support.onnx_networks import plain_cnn

X = np.random.default_rng(2).normal(size=(48, 1, 8, 8)).astype(np.float32)
SPOILT = QuantizationConfig(
    observer="moving-average", per_channel=False, equalise=False, bias_correction=False
)


def labels() -> np.ndarray:
    reference = Reference(program_from(plain_cnn()))
    return np.array([reference.run([x[None]])[0].argmax() for x in X])


def test_the_search_reaches_the_accuracy_asked_for_and_says_how() -> None:
    module = run_passes(import_model(plain_cnn()), front_half(None, None))
    found = search(module, SPOILT, {"x": X, "labels": labels()}, 0.0)
    assert found.float_accuracy == found.accuracy == 1.0
    assert found.int8_accuracy < 1.0
    assert found.float_layers
    gains = [row.sqnr_db for row in found.layers]
    assert gains == sorted(gains, reverse=True)
    assert found.layers[0].layer in found.show()
    loose = search(module, SPOILT, {"x": X, "labels": labels()}, 0.9)
    assert loose.float_layers == ()


def test_labels_are_needed() -> None:
    module = run_passes(import_model(plain_cnn()), front_half(None, None))
    with pytest.raises(BadInputError, match="labels"):
        search(module, SPOILT, {"x": X}, 0.01)
