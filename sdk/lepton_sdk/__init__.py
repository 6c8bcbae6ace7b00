"""The device's side of Lepton; needs numpy, and little else only when it is used.

    program/    what a program means: typed operations, exact arithmetic, the reference executor
    bundle/     the signed file that carries programs, weights and proofs from compiler to device
    session.py  runs a bundle through an engine (engines/); calls.py: how arrays reach it
    self_test.py   golden vectors; trace.py: every layer's result as the reference defines it
    trainer.py  trains one; training_data.py cuts batches, source_parameters.py names and shapes weights
    runtime/    sessions in C, shipped as source
    evaluate.py many examples (samples.py), metrics.py and roc.py judge them
    benchmark.py   latencies in turns, against peers.py; cold_start.py: what a fresh process pays
    wire/       messages and topics; federated/ sends updates; agent/ installs models; device_config.py
    cli/        the `lepton` command, which other packages extend by entry points
    durable.py  files whole or absent; folder_lock.py: one process a folder; output_file.py: can it be written

Names are imported when first used, so that `import lepton_sdk` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_sdk.agent.agent import DeviceAgent
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.federated.client import FederatedClient
    from lepton_sdk.session import Session
    from lepton_sdk.trainer import Trainer
    from lepton_sdk.wire.mqtt import MqttTransport
    from lepton_targets.errors import LeptonError

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "lepton_sdk.bundle",
    "Session": "lepton_sdk.session",
    "Trainer": "lepton_sdk.trainer",
    "FederatedClient": "lepton_sdk.federated.client",
    "MqttTransport": "lepton_sdk.wire.mqtt",
    "DeviceAgent": "lepton_sdk.agent.agent",
    "LeptonError": "lepton_targets.errors",
}

__all__ = [
    "Bundle",
    "DeviceAgent",
    "FederatedClient",
    "LeptonError",
    "MqttTransport",
    "Session",
    "Trainer",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lepton_sdk' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
