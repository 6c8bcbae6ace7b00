"""The list of passes: what it says of itself, and that float results survive it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.passes.graph import bindings, operator
from lepton_compilers.pipeline import front_half, run_passes
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.simplify import EXACT_SIMPLIFICATIONS
from support.onnx_networks import mobile_cnn


def operators(module: Any) -> list[str]:
    return [name for b in bindings(module["main"]) if (name := operator(b.value))]


def test_explain_tells_every_pass_in_order() -> None:
    records: list[Any] = []
    samples = np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype(np.float32)
    program_from(mobile_cnn(), quantization=QuantizationConfig(), calibration={"x": samples}, explain=records)
    assert [r.name for r in records] == [
        "import",
        "normalise_negative_indices",
        "fold_constants",
        "drop_softmax_guards",
        "column_maps",
        "one_row_maps",
        "fold_batch_norm",
        "to_nhwc",
        "cut_convolutions",
        "fold_layer_norm",
        "canonicalise",
        "absorb_flatten",
        "own_outputs",
        "check_layers",
        "quantise",
        "integerize",
        *(apply.__name__ for apply in EXACT_SIMPLIFICATIONS),
    ]
    assert all(r.seconds >= 0 and r.change for r in records)
    changes = {r.name: r.change for r in records}
    assert "−2 batch_norm" in changes["fold_batch_norm"]
    assert "quantize" in changes["quantise"]


def test_the_tidy_form_has_no_normalisation_and_one_permute() -> None:
    module = run_passes(import_model(mobile_cnn()), front_half(None, None))
    names = operators(module)
    assert "relax.nn.batch_norm" not in names
    assert "relax.mean" not in names
    assert names.count("relax.permute_dims") == 1


def test_passes_leave_a_tidy_module_alone() -> None:
    once = run_passes(import_model(mobile_cnn()), front_half(None, None))
    twice = run_passes(once, front_half(None, None))
    assert operators(once) == operators(twice)


def test_attributes_of_the_function_survive() -> None:
    module = run_passes(import_model(mobile_cnn()), front_half(None, None))
    assert int(module["main"].attrs["num_input"]) == 1
    assert [str(n) for n in module["main"].attrs["output_names"]] == ["y"]
