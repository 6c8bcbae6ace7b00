"""The pass that puts quantize and dequantize around every layer that has an int8 or int16 form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from lepton_compilers.passes.graph import (
    QUANTIZE,
    bindings,
    operator,
)
from lepton_compilers.passes.record import Pass
from lepton_compilers.quantize.bias_correction import mean_errors
from lepton_compilers.quantize.calibrate import Progress, calibrate
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.equalise import equalise
from lepton_compilers.quantize.observers import OBSERVERS, Observer
from lepton_compilers.quantize.walk import Quantiser
from lepton_targets.errors import UsageError, nearest

Array = npt.NDArray[Any]


def quantise(
    config: QuantizationConfig,
    samples: Mapping[str, Array] | None,
    progress: Progress | None = None,
) -> Pass:
    """The pass for one configuration and its calibration samples.

    Last of the front half: ranges are observed on the layers as they will run, with normalisation folded
    and maps turned. The interface stays float32 (Quantize and Dequantize at its ends), a softmax's result
    gets scale 1/256 and zero point −128, biases are int32 at sx · sw. int16 activations are symmetric over
    all that was seen, their softmax has scale 2^−15. A module that is quantised already is left alone.
    """

    def quantise(module: Any) -> Any:
        if any(operator(b.value) == QUANTIZE for b in bindings(module["main"])):
            return module
        sweeps = 1 + config.equalise + config.bias_correction
        if config.equalise:
            module = equalise(
                module,
                samples,
                per_channel=config.per_channel,
                max_samples=config.max_samples,
                progress=_sweep(progress, 0, sweeps),
            )
        ranges = calibrate(
            module,
            samples,
            observer=OBSERVERS[config.observer],
            max_samples=config.max_samples,
            progress=_sweep(progress, config.equalise, sweeps),
        )
        return quantised(
            module, ranges, config, samples, progress=_sweep(progress, 1 + config.equalise, sweeps)
        )

    return quantise


def _sweep(progress: Progress | None, number: int, of: int) -> Progress | None:
    """One of several walks over the samples, counted on from those before it."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, of * total)


def quantised(
    module: Any,
    ranges: Mapping[str, Observer],
    config: QuantizationConfig,
    samples: Mapping[str, Array] | None,
    errors: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> Any:
    """The module in integers, given what was observed. Raises UsageError for unknown names of layers.

    errors: what rounded weights shift, by layer, where it was measured already (`weight_errors`).
    """
    walk = Quantiser(module, ranges, config, errors or {})
    for names, kind in ((config.float_layers, "float"), (config.int16_layers, "int16")):
        unknown = [name for name in names if name not in walk.layers]
        if unknown:
            raise UsageError(
                f"the model has no layer '{unknown[0]}' to keep {kind}{nearest(unknown[0], walk.layers)}",
                f"layers: {', '.join(walk.layers)}",
            )
    once = walk.run()
    if errors is not None or not config.bias_correction or not walk.rounding:
        return once
    measured = mean_errors(module, walk.rounding, samples, max_samples=config.max_samples, progress=progress)
    return Quantiser(module, ranges, config, measured).run()


def weight_errors(
    module: Any,
    ranges: Mapping[str, Observer],
    config: QuantizationConfig,
    samples: Mapping[str, Array] | None,
) -> dict[str, Array]:
    """What to take off every layer's bias, for `quantised` to use again and again; none where not asked for.

    Measured on the float network, so it holds whichever layers are int8, int16 or float.
    """
    walk = Quantiser(module, ranges, config, {})
    walk.run()
    if not config.bias_correction or not walk.rounding:
        return {}
    return mean_errors(module, walk.rounding, samples, max_samples=config.max_samples)


def layers(module: Any) -> tuple[str, ...]:
    """Names of the layers that the quantiser tells apart, in order: what `float_layers` may name."""
    return Quantiser(module, {}, QuantizationConfig(), {}).layers
