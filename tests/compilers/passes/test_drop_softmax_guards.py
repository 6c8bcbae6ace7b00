"""Attention as PyTorch exports it, with and without masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lepton_compilers.front import program_from
from lepton_sdk.program import Program, reference

HIDDEN = float("-inf")


class Attention(nn.Module):
    def __init__(self, mask: torch.Tensor | None) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.mask = mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)


class Masked(Attention):
    """The mask is an input."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def imported(network: nn.Module, *inputs: torch.Tensor) -> Program:
    torch.manual_seed(0)
    exported: Any = torch.export.export(network.eval(), inputs)
    program = program_from(exported)
    (y,) = reference.run(program, [x.numpy() for x in inputs])
    np.testing.assert_allclose(y, network(*inputs).detach().numpy(), atol=1e-5)
    return program


def guarded(program: Program) -> bool:
    return any("where" in repr(op) for op in program.function().operations)


def causal() -> torch.Tensor:
    return torch.triu(torch.full((5, 5), HIDDEN), 1)


@pytest.mark.parametrize("mask", [None, causal()], ids=["no mask", "causal"])
def test_no_row_is_hidden_as_a_whole(mask: torch.Tensor | None) -> None:
    assert not guarded(imported(Attention(mask), torch.randn(1, 5, 8)))


def test_a_mask_that_hides_a_row_keeps_its_guard() -> None:
    mask = causal()
    mask[2] = HIDDEN
    assert guarded(imported(Attention(mask), torch.randn(1, 5, 8)))


def test_a_mask_that_comes_in_keeps_its_guard() -> None:
    mask = causal()
    mask[0] = HIDDEN
    assert guarded(imported(Masked(None), torch.randn(1, 5, 8), mask))
