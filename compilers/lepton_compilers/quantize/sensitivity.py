"""Which layers int8 can't hold for an accuracy asked for: int16 where that suffices, float where it does not.

The network is calibrated once and what rounded weights shift is measured once. Each trial then quantises it
anew, which is a walk over its layers, and runs the examples from the first layer that changed (trials.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lepton_compilers.integerize import integerize
from lepton_compilers.passes.graph import QUANTIZE, bindings, operator
from lepton_compilers.quantize.calibrate import calibrate
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.equalise import equalise
from lepton_compilers.quantize.observers import OBSERVERS
from lepton_compilers.quantize.quantise import layers, quantised, weight_errors
from lepton_compilers.quantize.trials import Trials
from lepton_sdk.cli.output import counted
from lepton_sdk.program import Program
from lepton_sdk.samples import examples_for, labels_of
from lepton_targets.errors import BadInputError, UsageError

Array = npt.NDArray[Any]

MAX_EXAMPLES = 256
"""Examples that accuracy is measured on at every trial: the reference executor runs each."""

Held = Literal["int8", "int16", "float"]


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """One layer: SQNR of the output in dB, and accuracy, with this layer alone int16, or alone float.

    The int16 columns are None where the network is int16 already. stays: what the search made of it.
    """

    layer: str
    int16_sqnr_db: float | None
    int16_accuracy: float | None
    float_sqnr_db: float
    float_accuracy: float
    stays: Held


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The outcome of the search; layers in order of what int16 (or float) gains, most first.

    integer_accuracy, integer_sqnr_db: with every layer in the integers asked for (`activations`). accuracy:
    of the network that was found. trials: networks that were quantised and run for it.
    """

    n_examples: int
    activations: str
    float_accuracy: float
    integer_accuracy: float
    integer_sqnr_db: float
    accuracy: float
    trials: int
    layers: tuple[LayerSensitivity, ...]

    @property
    def int16_layers(self) -> tuple[str, ...]:
        """Names of the layers whose results must be int16."""
        return tuple(row.layer for row in self.layers if row.stays == "int16")

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Names of the layers that must stay float."""
        return tuple(row.layer for row in self.layers if row.stays == "float")

    def show(self) -> str:
        """The table as text."""
        lines = [
            f"accuracy on {counted(self.n_examples, 'example')}: float {self.float_accuracy:.4f}, "
            f"{self.activations} {self.integer_accuracy:.4f} ({self.integer_sqnr_db:.2f} dB), with "
            f"{counted(len(self.int16_layers), 'layer')} int16 and {len(self.float_layers)} float "
            f"{self.accuracy:.4f}; {counted(self.trials, 'trial')}"
        ]
        if self.layers:
            lines.append(f"  {'':<48} {'int16 alone':^18}  {'float alone':^18}")
            lines.append(f"  {'layer':<48} SQNR dB  accuracy   SQNR dB  accuracy")
        for row in self.layers:
            kept = f"stays {row.stays}" if row.stays != self.activations else ""
            wide = f"{_fixed(row.int16_sqnr_db, 2):>7}  {_fixed(row.int16_accuracy, 4):>8}"
            real = f"{row.float_sqnr_db:7.2f}  {row.float_accuracy:8.4f}"
            lines.append(f"  {row.layer:<48} {wide}   {real}  {kept}".rstrip())
        return "\n".join(lines)


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True)
class _Choice:
    """Layers that are not int8, in the order they were chosen."""

    int16: tuple[str, ...] = ()
    real: tuple[str, ...] = ()

    def widened(self, name: str) -> _Choice:
        """With one more layer int16."""
        return _Choice((*self.int16, name), self.real)

    def freed(self, name: str) -> _Choice:
        """With one more layer float."""
        return _Choice(tuple(n for n in self.int16 if n != name), (*self.real, name))

    def without(self, name: str) -> _Choice:
        """With one layer fewer."""
        return _Choice(*(tuple(n for n in names if n != name) for names in (self.int16, self.real)))


class _Search:
    """One network, calibrated once; `measure` gives SQNR in dB and accuracy of a choice."""

    def __init__(
        self,
        module: Any,
        config: QuantizationConfig,
        samples: Mapping[str, Array] | None,
        exact: Program,
        report: Callable[[str], None],
    ) -> None:
        inputs, self.labels = _labelled(exact, samples)
        self._report = report
        report("sensitivity: calibrate")
        if config.equalise:
            module = equalise(module, samples, per_channel=config.per_channel, max_samples=config.max_samples)
        observer = OBSERVERS[config.observer]
        self.ranges = calibrate(module, samples, observer=observer, max_samples=config.max_samples)
        self.module, self.config, self.samples = module, config, samples
        self.errors = weight_errors(module, self.ranges, config, samples)
        self.trials = Trials(inputs)
        self.wanted = self.trials.outputs(exact)
        self.float_accuracy = _accuracy(self.wanted, self.labels)
        self.count = 0
        self._measured: dict[_Choice, tuple[float, float]] = {}

    def measure(self, choice: _Choice, remember: bool = False) -> tuple[float, float]:
        """SQNR of the outputs in dB, and accuracy, with these layers held apart."""
        choice = _Choice(tuple(sorted(choice.int16)), tuple(sorted(choice.real)))
        if choice not in self._measured:
            self.count += 1
            apart = counted(len(choice.int16) + len(choice.real), "layer")
            self._report(f"sensitivity: trial {self.count}, with {apart} not in {self.config.activations}")
            config = dataclasses.replace(
                self.config,
                int16_layers=(*self.config.int16_layers, *choice.int16),
                float_layers=(*self.config.float_layers, *choice.real),
            )
            program = integerize(quantised(self.module, self.ranges, config, self.samples, self.errors))
            found = self.trials.outputs(program, remember=remember)
            self._measured[choice] = _sqnr_db(self.wanted, found), _accuracy(found, self.labels)
        return self._measured[choice]

    def candidates(self) -> list[str]:
        """Layers that nobody has decided on."""
        decided = {*self.config.int16_layers, *self.config.float_layers}
        return [name for name in layers(self.module) if name not in decided]


def search(
    module: Any,
    config: QuantizationConfig,
    samples: Mapping[str, Array] | None,
    max_drop: float,
    report: Callable[[str], None] = lambda step: None,
) -> Sensitivity:
    """Hold layers in int16, else in float, until accuracy is within `max_drop` of float's.

    int16 comes first, for it is the cheaper: layers whose result gains by it, the one that gains most first.
    Where all of those do not suffice, layers become float in the order of what that gains. In the end each
    layer goes back to what is cheaper where accuracy allows it. module: tidy and float, as quantise takes it.
    samples: inputs and `labels`. max_drop: a share, 0.01 is a point. No trial is made of single layers where
    the integers are good enough as they are. report: called with the step under way.
    Raises UsageError, BadInputError.

    Cost: one calibration; two trials a layer, then at most five a layer; a trial runs at most MAX_EXAMPLES.
    """
    if not 0 <= max_drop < 1:
        raise UsageError(f"the largest drop of accuracy is {max_drop}; a share in 0 … 1 is expected")
    if any(operator(b.value) == QUANTIZE for b in bindings(module["main"])):
        raise UsageError("the model is quantised already", "search in its float source")
    trial = _Search(module, config, samples, integerize(module), report)
    enough = trial.float_accuracy - max_drop
    base = trial.measure(_Choice(), remember=True)
    if base[1] >= enough:
        return _outcome(trial, _Choice(), ())
    names = trial.candidates()
    wide = {} if config.activations == "int16" else {n: trial.measure(_Choice((n,))) for n in names}
    real = {name: trial.measure(_Choice((), (name,))) for name in names}
    rows = tuple((name, wide.get(name), real[name]) for name in _ranked(names, wide or real))
    choice = _Choice()
    for name in _ranked((n for n in wide if wide[n][0] > base[0]), wide):
        if trial.measure(choice)[1] >= enough:
            break
        choice = choice.widened(name)
    for name in _ranked(names, real):
        if trial.measure(choice)[1] >= enough:
            break
        choice = choice.freed(name)
    return _outcome(trial, _thinned(trial, choice, enough, bool(wide)), rows)


def _ranked(names: Iterable[str], gains: Mapping[str, tuple[float, float]]) -> list[str]:
    return sorted(names, key=lambda name: gains[name][0], reverse=True)


def _thinned(trial: _Search, choice: _Choice, enough: float, int16: bool) -> _Choice:
    """The choice without what it can do without, last chosen first: float becomes int16, either int8."""
    if trial.measure(choice)[1] < enough:
        return choice
    for name in (*reversed(choice.real), *reversed(choice.int16)):
        cheaper = [choice.without(name)]
        if int16 and name in choice.real:
            cheaper.append(choice.without(name).widened(name))
        choice = next((c for c in cheaper if trial.measure(c)[1] >= enough), choice)
    return choice


def _outcome(
    trial: _Search,
    choice: _Choice,
    rows: tuple[tuple[str, tuple[float, float] | None, tuple[float, float]], ...],
) -> Sensitivity:
    def stays(name: str) -> Held:
        return (
            "float" if name in choice.real else "int16" if name in choice.int16 else trial.config.activations
        )

    sqnr_db, accuracy = trial.measure(_Choice())
    table = []
    for name, wide, real in rows:
        int16_sqnr_db, int16_accuracy = wide or (None, None)
        table.append(LayerSensitivity(name, int16_sqnr_db, int16_accuracy, *real, stays(name)))
    return Sensitivity(
        len(trial.labels),
        trial.config.activations,
        trial.float_accuracy,
        accuracy,
        sqnr_db,
        trial.measure(choice)[1],
        trial.count,
        tuple(table),
    )


def _labelled(program: Program, samples: Mapping[str, Array] | None) -> tuple[list[Array], Array]:
    from lepton_sdk.bundle import TensorSpec

    tensors = [program.tensors[name] for name in program.function().inputs]
    specs = tuple(TensorSpec(t.name, t.shape, t.dtype) for t in tensors)
    if any(spec.shape[0] != 1 for spec in specs):
        raise UsageError("the search takes one example a run", "fix the batch at 1 with --shape")
    examples = examples_for(specs, samples or {})
    labels = labels_of(samples or {}, len(examples[specs[0].name]))
    if labels is None:
        raise BadInputError(
            "to bound the drop of accuracy, the calibration samples must carry labels",
            "add an array 'labels' with the class number of each sample",
        )
    return [examples[spec.name][:MAX_EXAMPLES] for spec in specs], labels[:MAX_EXAMPLES]


def _accuracy(outputs: Array, labels: Array) -> float:
    return float((outputs.argmax(axis=1) == labels).mean())


def _sqnr_db(wanted: Array, found: Array) -> float:
    error = float(((wanted - found) ** 2).sum())
    return float(10 * np.log10(max(float((wanted**2).sum()), 1e-30) / max(error, 1e-30)))
