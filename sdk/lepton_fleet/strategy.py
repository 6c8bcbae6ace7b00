"""How a round is set up and how its updates become the next model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lepton_sdk.federated.update import Parameters
from lepton_targets.errors import BadInputError

Settings = Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Contribution:
    """One counted update: `difference` from the base model, float32, trained on `n_examples`."""

    device: str
    n_examples: int
    difference: Parameters


class Strategy(Protocol):
    """First configure, then aggregate; both pure."""

    @property
    def name(self) -> str: ...

    def configure(self, round_number: int) -> Settings:
        """What every device's trainer is told in this round."""

    def aggregate(self, base: Parameters, updates: Iterable[Contribution]) -> dict[str, np.ndarray]:
        """The new float32 parameters. `updates` come one by one in a fixed order and are not kept."""


@dataclass(frozen=True, slots=True)
class FedAvg:
    """base + Σ n·d / Σ n over the updates, n being examples (McMahan et al. 2017, arXiv 1602.05629, alg. 1).

    Sums are float64 in the order given, so the same updates give the same bytes.
    """

    settings: Settings = field(
        default_factory=lambda: {"epochs": 1, "learning_rate": 0.05, "momentum": 0.9, "seed": 0}
    )
    name: str = "fedavg"

    def configure(self, round_number: int) -> Settings:
        """The settings, the same in each round."""
        return self.settings

    def aggregate(self, base: Parameters, updates: Iterable[Contribution]) -> dict[str, np.ndarray]:
        """Raises BadInputError without updates, or where the mean is not finite."""
        sums = {name: np.zeros(array.shape, np.float64) for name, array in base.items()}
        examples = 0
        for update in updates:
            for name, total in sums.items():
                total += np.float64(update.n_examples) * update.difference[name].astype(np.float64)
            examples += update.n_examples
        if examples == 0:
            raise BadInputError("no updates to aggregate")
        result = {
            name: (base[name].astype(np.float64) + total / examples).astype(np.float32)
            for name, total in sums.items()
        }
        for name, array in result.items():
            if not np.isfinite(array).all():
                raise BadInputError(f"the mean of {name!r} is not finite")
        return result
