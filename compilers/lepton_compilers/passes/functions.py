"""Functions of one number by the Relax operator that applies them, element by element."""

from __future__ import annotations

from collections.abc import Mapping

from lepton_sdk.program.reference_sequence import FUNCTIONS

LAYERS = ("elu", "gelu", "gelu_tanh", "hard_swish", "leaky_relu", "reciprocal", "selu", "silu", "softplus")
"""Functions that Relax calls otherwise or does not have."""
UNARY: Mapping[str, str] = {
    **{f"relax.{name}": name for name in FUNCTIONS if name not in LAYERS},
    "relax.nn.gelu": "gelu",
    "relax.nn.gelu_tanh": "gelu_tanh",
    "relax.nn.leakyrelu": "leaky_relu",
    "relax.nn.selu": "selu",
    "relax.nn.silu": "silu",
    "relax.nn.softplus": "softplus",
}
