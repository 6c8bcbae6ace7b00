"""What is asked of the quantiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lepton_targets.errors import UsageError, nearest

ObserverName = Literal["min-max", "moving-average", "percentile", "entropy", "mse"]


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """Post-training quantisation to int8. The defaults were chosen by measurement (docs/decisions/).

    observer: how the range of a tensor is chosen from the calibration samples (quantize/observers.py).
    per_channel: one weight scale an output channel; otherwise one a layer.
    equalise: even out channels between neighbouring layers before ranges are taken.
    bias_correction: take the mean error that rounded weights make out of the biases.
    float_layers: layers that stay float32, by name.
    max_samples: calibration samples beyond these are left unread; None reads all.
    """

    observer: ObserverName = "mse"
    per_channel: bool = True
    equalise: bool = True
    bias_correction: bool = True
    float_layers: tuple[str, ...] = ()
    max_samples: int | None = None

    def __post_init__(self) -> None:
        accepted = get_args(ObserverName)
        if self.observer not in accepted:
            raise UsageError(
                f"there is no observer '{self.observer}'{nearest(self.observer, accepted)}",
                f"accepted: {', '.join(accepted)}",
            )
        if self.max_samples is not None and self.max_samples < 1:
            raise UsageError(f"max_samples is {self.max_samples}; at least 1 is needed")
