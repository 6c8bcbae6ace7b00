"""Constants of recurrent layers by panels of 16 units, so that the gates of a unit come out together."""

from __future__ import annotations

import numpy as np

from lepton_compilers.backends.cpu.plans.layout import LANES
from lepton_compilers.backends.cpu.weights.packing import Array, padded


def by_panel(value: Array, gates: int) -> Array:
    """[gates · units, …] as [panels][gates][16][…], zeros for units that a last panel lacks."""
    by_gate = padded(value.reshape(gates, -1, *value.shape[1:]), 1)
    by_gate = by_gate.reshape(gates, -1, LANES, *value.shape[1:])
    return np.ascontiguousarray(by_gate.swapaxes(0, 1))


def step_panels(weight: Array, gates: int) -> Array:
    """Recurrent weights [gates · units, K] as [panels][K][gates][16]."""
    return np.ascontiguousarray(np.moveaxis(by_panel(weight, gates), 3, 1))


def four_panels(weight: Array, gates: int) -> Array:
    """int8 weights [gates · units, K] as [panels][K / 4][gates][16][4]."""
    fours = padded(by_panel(weight, gates), 3, 4)
    fours = fours.reshape(*fours.shape[:3], -1, 4)
    return np.ascontiguousarray(np.moveaxis(fours, 3, 1))
