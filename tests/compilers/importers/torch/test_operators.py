"""Every operator of PyTorch that is listed as supported computes what PyTorch computes."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import torch

from lepton_compilers.front import program_from
from lepton_compilers.importers.torch.importer import traced
from lepton_compilers.importers.torch.operators import SILENT, SUPPORTED, WHOLE, family, spelt
from support.torch_cases import cases
from support.torch_networks import eager, exported, normal, run

CASES = cases()
QUANTIZED = {f"{kind}_per_{each}" for kind in ("quantize", "dequantize") for each in ("tensor", "channel")}


@cache
def content(group: str) -> bytes:
    shape, module = CASES[group]
    return exported(module, shape)


@pytest.mark.parametrize("group", CASES)
def test_operators_compute_what_pytorch_computes(group: str) -> None:
    shape, module = CASES[group]
    x = normal(*shape)
    found, wanted = run(program_from(content(group)), x), eager(module, x)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    for place, (ours, pytorchs) in enumerate(zip(found, wanted)):
        np.testing.assert_allclose(ours, pytorchs, rtol=1e-5, atol=1e-5, err_msg=f"{group}: function {place}")


def test_every_supported_operator_is_among_them() -> None:
    found = set(QUANTIZED)  # tests/compilers/importers/torch/test_quantized.py
    for group in CASES:
        program = traced(torch.export.load(io.BytesIO(content(group))), {})
        found |= {family(spelt(n.target)) for n in program.graph.nodes if n.op == "call_function"}
    assert found - SILENT == set(SUPPORTED)


def test_what_is_left_whole_is_supported() -> None:
    assert set(SUPPORTED) >= WHOLE
