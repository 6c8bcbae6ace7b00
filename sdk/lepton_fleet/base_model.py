"""The first model of a federated job: a weights file, or a trainable bundle as it was compiled."""

from __future__ import annotations

from pathlib import Path

from lepton_sdk.bundle.format import MAGIC
from lepton_sdk.federated.update import write_parameters


def base_parameters(path: Path) -> bytes:
    """The parameters as safetensors. Raises UsageError for a bundle that was compiled without training."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        return content
    from lepton_sdk.trainer import Trainer

    # The reference engine runs no code of the bundle, and fits every machine.
    return write_parameters(Trainer(path, engine="reference").parameters())
