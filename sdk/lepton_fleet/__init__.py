"""The server's side: rounds of federated learning, roll-outs of signed models, and the demo of both.

    job.py              a federated job; aggregator_config.py: its file; base_model.py: its first model
    round.py, rollout.py    pure state machines: event in, new state and actions out
    aggregator.py       the driver of rounds: inbox.py: what has arrived; intake.py: a known device's message;
                        grants.py: how much may come; reception.py takes updates
    store.py            what is certain; desk.py: what one transaction changes
    strategy.py         which devices, how their updates become one model; evaluation.py: what that is worth
    home.py             the fleet's folder; release.py: what is rolled out; blocks.py serves it
    rollout_plan.py     devices and waves; rollout_start.py: anew or resumed; rollout_driver.py: on the wire
    broker.py           an MQTT broker of one's own; demo/: the main job, end to end
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
