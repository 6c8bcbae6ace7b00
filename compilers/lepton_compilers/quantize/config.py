"""What is asked of the quantiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lepton_targets.errors import UsageError, nearest

Activations = Literal["int8", "int16"]
ObserverName = Literal["min-max", "moving-average", "percentile", "entropy", "mse"]


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """Post-training quantisation. The defaults were chosen by measurement (docs/decisions/).

    activations: the integers between layers; weights are int8 either way.
    observer: how the range of a tensor is chosen from the calibration samples (quantize/observers.py).
    per_channel: one weight scale an output channel; otherwise one a layer.
    equalise: even out channels between neighbouring layers before ranges are taken.
    bias_correction: take the mean error that rounded weights make out of the biases.
    int16_layers: layers of an int8 network whose results are int16, by name; they and what reads those
        results compute in int16, and moves pass int16 on.
    float_layers: layers that stay float32, by name.
    max_samples: calibration samples beyond these are left unread; None reads all.
    """

    activations: Activations = "int8"
    observer: ObserverName = "mse"
    per_channel: bool = True
    equalise: bool = True
    bias_correction: bool = True
    int16_layers: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    max_samples: int | None = None

    def __post_init__(self) -> None:
        if self.activations not in get_args(Activations):
            raise UsageError(
                f"there are no {self.activations} activations",
                f"accepted: {', '.join(get_args(Activations))}",
            )
        if self.activations == "int16" and self.int16_layers:
            raise UsageError("single layers were named for int16 where all activations are int16")
        if both := sorted(set(self.int16_layers) & set(self.float_layers)):
            raise UsageError(f"layer '{both[0]}' was asked for in int16 and in float32")
        accepted = get_args(ObserverName)
        if self.observer not in accepted:
            raise UsageError(
                f"there is no observer '{self.observer}'{nearest(self.observer, accepted)}",
                f"accepted: {', '.join(accepted)}",
            )
        if self.max_samples is not None and self.max_samples < 1:
            raise UsageError(f"max_samples is {self.max_samples}; at least 1 is needed")
