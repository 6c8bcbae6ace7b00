"""The local part of a round: a trainable bundle and this device's own examples, as a train function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.federated.client import TrainFunction, TrainingResult
from lepton_sdk.federated.update import Parameters
from lepton_sdk.wire.round import Task
from lepton_targets.errors import BadInputError


@dataclass(frozen=True, slots=True)
class LocalExamples:
    """features: [n, …] as the model's input wants them; labels: int64 [n]."""

    features: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]


def read_local_examples(bundle: Path | str, path: Path | str) -> LocalExamples:
    """Labelled examples of an .npz file, brought to the bundle's input. Raises BadInputError."""
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.samples import examples_for, labels_of, read_arrays

    arrays = read_arrays(path)
    inputs = Bundle.open(bundle).manifest.functions["infer"].inputs
    (features,) = examples_for(inputs, arrays).values()
    labels = labels_of(arrays, len(features))
    if labels is None:
        raise BadInputError(f"{path} has no 'labels'", "local training needs an array of class numbers")
    return LocalExamples(features, labels)


def local_training(
    bundle: Path | str,
    examples: LocalExamples | Path | str,
    *,
    engine: str = "native",
    trust: Sequence[Path] | None = None,
) -> TrainFunction:
    """A train function for FederatedClient: load the base, fit on the examples, give the parameters back.

    The task's settings used: epochs, learning_rate, momentum, seed (the round's number is added to it, so
    that rounds differ). Metrics reported: loss and accuracy on the local examples.
    """
    from lepton_sdk.trainer import Trainer

    local = examples if isinstance(examples, LocalExamples) else read_local_examples(bundle, examples)
    trainer = Trainer(bundle, engine=engine, trust=trust)

    def train(base: Parameters, task: Task) -> TrainingResult:
        settings = task.settings
        trainer.load_parameters(base)
        trainer.fit(
            local.features,
            local.labels,
            epochs=int(_number(settings, "epochs", 1)),
            learning_rate=_number(settings, "learning_rate", 0.05),
            momentum=_number(settings, "momentum", 0.9),
            seed=int(_number(settings, "seed", 0)) + task.round,
        )
        found = trainer.evaluate(local.features, local.labels)
        metrics = {"loss": float(found.loss), "accuracy": float(found.accuracy)}
        return TrainingResult(trainer.parameters(), len(local.labels), metrics)

    return train


def _number(settings: Mapping[str, int | float | str], key: str, default: float) -> float:
    value = settings.get(key, default)
    if isinstance(value, str):
        raise BadInputError(f"the task's setting {key} is {value!r}, a number is accepted")
    return value
