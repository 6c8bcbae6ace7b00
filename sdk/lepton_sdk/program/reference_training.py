"""Reference rules of the training operations: float32 gradients and updates."""

from __future__ import annotations

from collections.abc import Mapping

from lepton_sdk.program.operations import Operation
from lepton_sdk.program.reference import Rule

TRAINING_RULES: Mapping[type[Operation], Rule] = {}
