"""`Trainer`: improves a bundle's parameters on this device's own data, through its compiled training step.

The batch is fixed at compile time: the last batch of an epoch is filled up with rows whose label is −1,
which the loss and its gradient leave out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lepton_sdk import source_parameters
from lepton_sdk.session import Session
from lepton_sdk.training_data import MASKED, Examples, checked_features, checked_labels
from lepton_targets.errors import BadInputError, CheckFailedError, UsageError

if TYPE_CHECKING:
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.bundle.manifest import FunctionInterface, VariableSpec


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the examples: its number from 1, how many are asked for, the mean loss while it ran."""

    number: int
    epochs: int
    loss: float


@dataclass(frozen=True, slots=True)
class History:
    """What `fit` did: the mean loss of each epoch, the examples of one, the steps of all."""

    losses: tuple[float, ...]
    n_examples: int
    steps: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean cross-entropy and share of right answers over n examples."""

    loss: float
    accuracy: float
    n: int


class Trainer:
    """Trains and evaluates the model of one bundle, in place. For one thread at a time.

    source, engine, trust, threads: as for Session, with the engines "native" and "reference"; with any number
    of threads the parameters become the same bytes.
    Raises UsageError for a bundle that was compiled without training, and what Session raises.
    """

    def __init__(
        self,
        source: Bundle | str | Path,
        engine: str = "native",
        trust: Path | str | Sequence[Path | str] | None = None,
        threads: int = 1,
    ) -> None:
        self.session = Session(source, engine=engine, trust=trust, threads=threads)
        train, evaluate = self._interfaces()
        self._features_spec = train.inputs[0]
        self.batch_size: int = self._features_spec.shape[0]
        self.n_classes: int = evaluate.outputs[1].shape[1]
        self._specs = self._parameter_specs()

        self._features = np.zeros(self._features_spec.shape, self._features_spec.dtype)
        self._labels = np.full(self.batch_size, MASKED, np.int32)
        self._rates = (np.zeros(1, np.float32), np.zeros(1, np.float32))
        self._loss = np.zeros(1, np.float32)
        self._logits = np.zeros(evaluate.outputs[1].shape, np.float32)
        batch = (self._features, self._labels)
        self._train = self._bound("train", train, (*batch, *self._rates), (self._loss,))
        self._evaluate = self._bound("evaluate", evaluate, batch, (self._loss, self._logits))

    def step(
        self, features: np.ndarray, labels: np.ndarray, learning_rate: float, momentum: float = 0.0
    ) -> float:
        """One update on at most `batch_size` examples; the mean loss before it.

        features: [n, …]; labels: integers [n]. Raises BadInputError for what the model can't take.
        """
        examples = self._examples(features, labels)
        if len(examples) > self.batch_size:
            raise BadInputError(
                f"{len(examples)} examples for one step; this bundle was compiled for {self.batch_size}",
                "use fit, which cuts them into batches, or compile with a larger batch",
            )
        self._set_rates(learning_rate, momentum)
        return self._step(examples, np.arange(len(examples)))

    def fit(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        epochs: int,
        learning_rate: float,
        momentum: float = 0.9,
        seed: int = 0,
        on_epoch: Callable[[Epoch], None] | None = None,
        keep_momentum: bool = False,
    ) -> History:
        """Train for `epochs` passes in an order drawn from `seed`; the same call gives the same parameters.

        on_epoch: called after each pass. keep_momentum: go on with the velocities of the last call instead
        of zeros. Raises BadInputError for examples that the model can't take, CheckFailedError when the
        loss is no longer finite; parameters stay as the failing epoch left them.
        """
        examples = self._examples(features, labels)
        if not isinstance(epochs, int | np.integer) or epochs < 1:
            raise UsageError(f"epochs is {epochs}; a whole number from 1 on is needed")
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise UsageError(f"seed is {seed}; a whole number from 0 on is needed")
        self._set_rates(learning_rate, momentum)
        if not keep_momentum:
            self.reset_momentum()
        random = np.random.default_rng(seed)
        losses = []
        for number in range(1, epochs + 1):
            total = 0.0
            for rows in examples.batches(random.permutation(len(examples)), self.batch_size):
                total += self._step(examples, rows) * len(rows)
            losses.append(total / len(examples))
            if not math.isfinite(losses[-1]):
                raise CheckFailedError(
                    f"the loss is {losses[-1]} in epoch {number}: training diverged",
                    f"use a smaller learning rate than {learning_rate}, or scale the features",
                )
            if on_epoch is not None:
                on_epoch(Epoch(number, epochs, losses[-1]))
        steps = epochs * -(-len(examples) // self.batch_size)
        return History(tuple(losses), len(examples), steps)

    def evaluate(self, features: np.ndarray, labels: np.ndarray) -> Evaluation:
        """Loss and accuracy over any number of examples; changes nothing."""
        examples = self._examples(features, labels)
        total, right = 0.0, 0
        for rows in examples.batches(np.arange(len(examples)), self.batch_size):
            self._fill(examples, rows)
            self._evaluate()
            total += float(self._loss[0]) * len(rows)
            right += int((self._logits[: len(rows)].argmax(axis=1) == examples.labels[rows]).sum())
        return Evaluation(total / len(examples), right / len(examples), len(examples))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """What `infer` gives for each example with the present parameters, [n, …]."""
        interface = self.session.interface("infer")
        (source, *_), (result, *_) = interface.inputs, interface.outputs
        found = checked_features(features, source)
        batch = source.shape[0]
        rows = np.zeros(source.shape, source.dtype)
        outputs = np.empty((len(found), *result.shape[1:]), result.dtype)
        for start in range(0, len(found), batch):
            count = min(batch, len(found) - start)
            rows[:count] = found[start : start + count]
            outputs[start : start + count] = self.session.run({source.name: rows})[result.name][:count]
        return outputs

    def parameters(self) -> dict[str, np.ndarray]:
        """Copies of the trainable parameters, float32, under the source model's names, in its shapes."""
        values = self.session.variables()
        return {
            name: source_parameters.to_source(spec, values[spec.name]) for name, spec in self._specs.items()
        }

    def load_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Replace every trainable parameter; the momentum starts anew.

        values: as `parameters` gives them. Raises BadInputError, and changes nothing then, for missing or
        unknown names, wrong shapes, NaN.
        """
        accepted = source_parameters.checked(self._specs, values)
        present = self.session.variables()
        for name, spec in self._specs.items():
            present[spec.name][...] = source_parameters.from_source(spec, accepted[name])
        self.reset_momentum()

    def reset_momentum(self) -> None:
        """Set every velocity to zero."""
        present = self.session.variables()
        for spec in self._specs.values():
            velocity = present.get(spec.name + source_parameters.VELOCITY)
            if velocity is not None:
                velocity[...] = 0

    def save_weights(self, path: Path | str) -> Path:
        """Write `parameters` as a safetensors file, which `lepton compile --weights` reads."""
        return source_parameters.save(path, self.parameters())

    def load_weights(self, path: Path | str) -> None:
        """Load what `save_weights` wrote. Raises BadInputError as `load_parameters` does."""
        self.load_parameters(source_parameters.load(path))

    def _interfaces(self) -> tuple[FunctionInterface, FunctionInterface]:
        missing = {"train", "evaluate"}.difference(self.session.functions)
        if missing:
            raise UsageError(
                f"{self.session.path} can't be trained: it has no function {' and '.join(sorted(missing))}",
                "compile the model with --trainable all (or head, or parameter names)",
            )
        train, evaluate = self.session.interface("train"), self.session.interface("evaluate")
        if len(train.inputs) != 4:
            names = ", ".join(spec.name for spec in train.inputs)
            raise UsageError(
                f"{self.session.path} trains on {len(train.inputs) - 3} feature inputs; Trainer takes one",
                f"inputs of train: {names}",
            )
        return train, evaluate

    def _parameter_specs(self) -> dict[str, VariableSpec]:
        assert self.session.bundle is not None  # only bundles have a training function
        variables = self.session.bundle.manifest.variables
        return {source_parameters.source_name(spec): spec for spec in variables if spec.trainable}

    def _bound(
        self,
        function: str,
        interface: FunctionInterface,
        inputs: tuple[np.ndarray, ...],
        outputs: tuple[np.ndarray, ...],
    ) -> Callable[[], None]:
        return self.session.bind(
            {spec.name: array for spec, array in zip(interface.inputs, inputs, strict=True)},
            {spec.name: array for spec, array in zip(interface.outputs, outputs, strict=True)},
            function,
        )

    def _examples(self, features: np.ndarray, labels: np.ndarray) -> Examples:
        found = checked_features(features, self._features_spec)
        return Examples(found, checked_labels(labels, len(found), self.n_classes))

    def _set_rates(self, learning_rate: float, momentum: float) -> None:
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise UsageError(f"learning_rate is {learning_rate}; a positive number is needed")
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum is {momentum}; 0 ≤ momentum < 1 is needed")
        self._rates[0][0], self._rates[1][0] = learning_rate, momentum

    def _fill(self, examples: Examples, rows: np.ndarray) -> None:
        self._features[: len(rows)] = examples.features[rows]
        self._labels[: len(rows)] = examples.labels[rows]
        self._labels[len(rows) :] = MASKED

    def _step(self, examples: Examples, rows: np.ndarray) -> float:
        self._fill(examples, rows)
        self._train()
        return float(self._loss[0])
