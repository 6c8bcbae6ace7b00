"""PyTorch's forms of one training step: forward, cross-entropy, backward, SGD with momentum, fused.

Every form is checked by its first step: one that does not work here is left out with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as f

Step = Callable[[], object]


def steps(
    module: nn.Module, features: torch.Tensor, labels: torch.Tensor
) -> tuple[dict[str, Step], dict[str, str]]:
    """A step of each form by name, and why others are left out. Each form trains a copy of the module."""
    found: dict[str, Step] = {}
    left_out: dict[str, str] = {}
    for name, form in FORMS.items():
        if name == "channels last" and features.dim() != 4:
            continue
        try:
            step = form(copy.deepcopy(module), features, labels)
            step()
        except Exception as error:  # a compiler's errors share no class
            left_out[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        else:
            found[name] = step
    return found, left_out


def _eager(module: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> Step:
    return _stepping(module, module, features, labels)


def _channels_last(module: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> Step:
    module = module.to(memory_format=torch.channels_last)
    return _eager(module, features.contiguous(memory_format=torch.channels_last), labels)


def _compiled(module: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> Step:
    return _stepping(module, torch.compile(module, dynamic=False), features, labels)


def _stepping(
    module: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    features: torch.Tensor,
    labels: torch.Tensor,
) -> Step:
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        f.cross_entropy(forward(features), labels).backward()
        optimiser.step()

    return step


FORMS: Mapping[str, Callable[[nn.Module, torch.Tensor, torch.Tensor], Step]] = {
    "eager": _eager,
    "channels last": _channels_last,
    "compiled": _compiled,
}
"""By the name that tables show."""
