"""scikit-learn's handwritten digits (1,797 images of 8×8 in 17 grey levels, from UCI), cut for the demo.

No example appears twice: a small first training set, one uneven share a device, and a test set that
nothing is ever trained or calibrated on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_EXAMPLES = 120
TEST_EXAMPLES = 397
OWN_FRACTION = 0.8


@dataclass(frozen=True, slots=True)
class Examples:
    """features float32 [n, 1, 8, 8] in 0 … 1; labels int32 [n] in 0 … 9."""

    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[Any]) -> Examples:
        """The examples at `index`, in its order."""
        return Examples(self.features[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class Digits:
    """The demo's data: what the vendor had, what each device sees, and the judge."""

    first: Examples
    devices: tuple[Examples, ...]
    test: Examples


def load_digits(devices: int, seed: int = 0) -> Digits:
    """Cut the digits for `devices` devices.

    Non-IID: the ten classes are dealt to the devices in turn; a device draws OWN_FRACTION of its examples
    from its own classes and the rest from anywhere.
    """
    from sklearn.datasets import load_digits as bundled

    source = bundled()
    everything = Examples(
        (source.images / 16.0).astype(np.float32)[:, None, :, :], source.target.astype(np.int32)
    )
    random = np.random.default_rng(seed)
    order = random.permutation(len(everything))
    first, rest, test = np.split(order, [FIRST_EXAMPLES, len(order) - TEST_EXAMPLES])
    return Digits(
        everything.take(first),
        tuple(everything.take(share) for share in _uneven_shares(everything.labels, rest, devices, random)),
        everything.take(test),
    )


def _uneven_shares(
    labels: npt.NDArray[Any], index: npt.NDArray[Any], devices: int, random: np.random.Generator
) -> list[npt.NDArray[Any]]:
    """Deal `index` to the devices: most by class, the rest at random; every example goes to exactly one."""
    owner = labels[index] % devices
    anywhere = random.random(len(index)) >= OWN_FRACTION
    owner[anywhere] = random.integers(0, devices, int(anywhere.sum()))
    return [index[owner == device] for device in range(devices)]
