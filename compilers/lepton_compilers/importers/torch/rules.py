"""Every rule from an operator of PyTorch to Relax that stands before TVM's converter."""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.importers.torch import arithmetic, quantized, recurrent, windows
from lepton_compilers.importers.torch.layers import Rule

RULES: Mapping[str, Rule] = {
    **arithmetic.RULES,
    **windows.RULES,
    **quantized.RULES,
    **recurrent.RULES,
}
"""By the name that torch.export gives the operator."""
