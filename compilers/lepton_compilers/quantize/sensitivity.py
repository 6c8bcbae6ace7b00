"""Which layers must stay float so that accuracy falls by no more than asked, and what each one costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.integerize import integerize
from lepton_compilers.passes.graph import QUANTIZE, bindings, operator
from lepton_compilers.quantize.calibrate import calibrate
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.equalise import equalise
from lepton_compilers.quantize.observers import OBSERVERS
from lepton_compilers.quantize.quantise import layers, quantised
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_sdk.samples import examples_for, labels_of
from lepton_targets.errors import BadInputError, UsageError

Array = npt.NDArray[Any]

MAX_EXAMPLES = 256
"""Examples that accuracy is measured on at every trial: the reference executor runs each."""


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """One layer: `sqnr_db` of the output, and accuracy, with this layer alone float and all others int8."""

    layer: str
    sqnr_db: float
    accuracy: float
    stays_float: bool


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The outcome of the search; layers in order of what keeping them float gains, most first."""

    n_examples: int
    float_accuracy: float
    int8_accuracy: float
    accuracy: float
    layers: tuple[LayerSensitivity, ...]

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Names of the layers that must stay float."""
        return tuple(row.layer for row in self.layers if row.stays_float)

    def show(self) -> str:
        """The table as text."""
        lines = [
            f"accuracy on {self.n_examples} examples: float {self.float_accuracy:.4f}, "
            f"int8 {self.int8_accuracy:.4f}, with {len(self.float_layers)} layers float {self.accuracy:.4f}"
        ]
        if self.layers:
            lines.append(f"  {'float alone':<48} SQNR dB  accuracy")
        for row in self.layers:
            kept = "stays float" if row.stays_float else ""
            lines.append(f"  {row.layer:<48} {row.sqnr_db:7.2f}  {row.accuracy:.4f}  {kept}".rstrip())
        return "\n".join(lines)


def search(
    module: Any, config: QuantizationConfig, samples: Mapping[str, Array] | None, max_drop: float
) -> Sensitivity:
    """Keep layers float, the one that gains most first, until accuracy is within `max_drop` of float's.

    module: tidy and float, as quantise takes it. samples: inputs and `labels`. max_drop: a share, 0.01 is a
    point. No trial is made of single layers where int8 is good enough as it is. Raises UsageError,
    BadInputError.
    """
    if not 0 <= max_drop < 1:
        raise UsageError(f"the largest drop of accuracy is {max_drop}; a share in 0 … 1 is expected")
    if any(operator(b.value) == QUANTIZE for b in bindings(module["main"])):
        raise UsageError("the model is int8 already", "search in its float source")
    exact = integerize(module)
    inputs, labels = _labelled(exact, samples)
    if config.equalise:
        module = equalise(module, samples, per_channel=config.per_channel, max_samples=config.max_samples)
    observer = OBSERVERS[config.observer]
    ranges = calibrate(module, samples, observer=observer, max_samples=config.max_samples)
    wanted = _outputs(exact, inputs)

    def trial(names: tuple[str, ...]) -> tuple[float, float]:
        kept = dataclasses.replace(config, float_layers=names)
        found = _outputs(integerize(quantised(module, ranges, kept, samples)), inputs)
        return _sqnr_db(wanted, found), _accuracy(found, labels)

    float_accuracy = _accuracy(wanted, labels)
    enough = float_accuracy - max_drop
    already = config.float_layers
    accuracy = int8_accuracy = trial(already)[1]
    if accuracy >= enough:
        return Sensitivity(len(labels), float_accuracy, int8_accuracy, accuracy, ())
    names = [name for name in layers(module) if name not in already]
    trials = {name: trial((*already, name)) for name in names}
    names.sort(key=lambda name: trials[name][0], reverse=True)
    count = 0
    while accuracy < enough and count < len(names):
        count += 1
        accuracy = trial((*already, *names[:count]))[1]
    rows = tuple(LayerSensitivity(name, *trials[name], i < count) for i, name in enumerate(names))
    return Sensitivity(len(labels), float_accuracy, int8_accuracy, accuracy, rows)


def _labelled(program: Program, samples: Mapping[str, Array] | None) -> tuple[list[Array], Array]:
    from lepton_sdk.bundle import TensorSpec

    tensors = [program.tensors[name] for name in program.function().inputs]
    specs = tuple(TensorSpec(t.name, t.shape, t.dtype) for t in tensors)
    if any(spec.shape[0] != 1 for spec in specs):
        raise UsageError(
            "the search for float layers takes one example a run", "fix the batch at 1 with --shape"
        )
    examples = examples_for(specs, samples or {})
    labels = labels_of(samples or {}, len(examples[specs[0].name]))
    if labels is None:
        raise BadInputError(
            "to bound the drop of accuracy, the calibration samples must carry labels",
            "add an array 'labels' with the class number of each sample",
        )
    return [examples[spec.name][:MAX_EXAMPLES] for spec in specs], labels[:MAX_EXAMPLES]


def _outputs(program: Program, inputs: list[Array]) -> Array:
    """The first output of every example, float64 [n, classes]."""
    reference = Reference(program)
    rows = [
        reference.run([array[i : i + 1] for array in inputs])[0].reshape(-1) for i in range(len(inputs[0]))
    ]
    return np.array(rows, np.float64)


def _accuracy(outputs: Array, labels: Array) -> float:
    return float((outputs.argmax(axis=1) == labels).mean())


def _sqnr_db(wanted: Array, found: Array) -> float:
    error = float(((wanted - found) ** 2).sum())
    return float(10 * np.log10(max(float((wanted**2).sum()), 1e-30) / max(error, 1e-30)))
