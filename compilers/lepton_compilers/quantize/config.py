"""What is asked of the quantiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """Post-training quantisation to int8.

    activations: "min-max" takes the range of the calibration samples as it is.
    per_channel: one weight scale an output channel; otherwise one a layer.
    max_samples: calibration samples beyond these are left unread; None reads all.
    """

    activations: Literal["min-max"] = "min-max"
    per_channel: bool = True
    max_samples: int | None = None

    def __post_init__(self) -> None:
        if self.activations != "min-max":
            raise UsageError(f"activations are observed by '{self.activations}'; accepted: min-max")
        if self.max_samples is not None and self.max_samples < 1:
            raise UsageError(f"max_samples is {self.max_samples}; at least 1 is needed")
