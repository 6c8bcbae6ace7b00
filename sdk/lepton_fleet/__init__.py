"""The server's side: rounds of federated learning, roll-outs of signed models, and the demo of both.

    round.py, rollout.py    pure state machines: event in, new state and actions out
    aggregator.py           the driver of rounds; reception.py takes updates, store.py keeps them
    strategy.py             which devices, and how their updates become one model
    release.py              what is rolled out; demo/: the main job, end to end
    cli.py, fleet_cli.py    `lepton aggregator`, `lepton fleet`

Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Aggregator": "lepton_fleet.aggregator",
    "FedAvg": "lepton_fleet.strategy",
    "Rollout": "lepton_fleet.rollout",
    "Strategy": "lepton_fleet.strategy",
}

__all__ = ["Aggregator", "FedAvg", "Rollout", "Strategy"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lepton_fleet' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
