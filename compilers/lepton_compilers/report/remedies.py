"""What to do about what was found, in words. Limits are conventions of this report, stated here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_compilers.report.fidelity import LayerFidelity
from lepton_compilers.report.judgement import Judgement
from lepton_compilers.report.structure import FloatLayer
from lepton_sdk.program import Program, TensorId
from lepton_sdk.program.operations import Conv2d, Dense, DepthwiseConv2d, Softmax

SATURATED = 0.001
USED = 0.25
LOSS_DB = 6.0
LOSSY_DB = 25.0
"""A loss is worth mentioning where it leaves less than this."""
POOR_DB = 20.0
AGREEMENT = 0.98
SCALE_RATIO = 256.0


def remedies(
    program: Program,
    fidelity: Sequence[LayerFidelity],
    float_layers: Sequence[FloatLayer],
    judgement: Judgement | None,
    quantised: bool,
) -> tuple[str, ...]:
    """Advice, the weightiest first; none where nothing stands out."""
    # The range of a softmax's result is given by the arithmetic, that of its input is cut on purpose.
    results = {op.y for op in program.function().operations if isinstance(op, Softmax)}
    told = [row for row in fidelity if not row.into_softmax]
    observed = [row for row in told if row.output not in results | _sharing(program)]
    found = [*_losses(told), *_ranges(observed), *_uneven_weights(program)]
    if judgement is not None and judgement.agreement is not None and judgement.agreement < AGREEMENT:
        found.insert(
            0,
            f"The bundle agrees with its float source on {judgement.agreement:.1%} of the examples. If the "
            "layers below do not explain it, calibrate with more samples, as the model will see them in use.",
        )
    if float_layers and quantised:
        first = float_layers[0]
        found.append(
            f"{len(float_layers)} layer(s) compute in float32, '{first.output}' first: {first.reason}. "
            "Each costs a conversion at its ends."
        )
    return tuple(found)


def _sharing(program: Program) -> set[TensorId]:
    """Results that keep the numbers of what they were made from: their range is another layer's."""
    tensors = program.tensors
    return {
        op.outputs[0]
        for op in program.function().operations
        if op.outputs
        and any(
            not tensors[name].constant and tensors[name].quantization == tensors[op.outputs[0]].quantization
            for name in op.inputs
        )
    }


def _losses(fidelity: Sequence[LayerFidelity]) -> list[str]:
    def weight(row: LayerFidelity) -> float:
        return -(row.loss_db or 0.0)

    lossy = [
        row
        for row in fidelity
        if row.loss_db is not None and row.loss_db > LOSS_DB and (row.sqnr_db or 0.0) < LOSSY_DB
    ]
    lines = [
        f"'{row.output}' loses {row.loss_db:.1f} dB by itself, down to {row.sqnr_db:.1f} dB. Where accuracy "
        f"suffers, hold it in int16 (--int16 '{row.output}') or float (--float), or mend its range."
        for row in sorted(lossy, key=weight)[:3]
    ]
    if fidelity and (last := fidelity[-1]).sqnr_db is not None and last.sqnr_db < POOR_DB:
        lines.append(
            f"The last layer, '{last.output}', ends at {last.sqnr_db:.1f} dB; below {POOR_DB:.0f} dB close "
            "decisions may turn."
        )
    return lines


def _ranges(fidelity: Sequence[LayerFidelity]) -> list[str]:
    lines = []
    cut = [row for row in fidelity if row.saturated > SATURATED]
    if cut:
        worst = max(cut, key=lambda row: row.saturated)
        lines.append(
            f"{len(cut)} layer(s) meet values outside the range they were calibrated for, '{worst.output}' "
            f"most ({worst.saturated:.2%} of its values). Calibrate with samples like these."
        )
    wide = [row for row in fidelity if row.used < USED and row.float_high > row.float_low]
    if wide:
        worst = min(wide, key=lambda row: row.used)
        lines.append(
            f"{len(wide)} layer(s) use less than {USED:.0%} of their integers, '{worst.output}' least "
            f"({worst.used:.0%}). Rare large values set the range: look through the calibration samples for "
            "outliers."
        )
    return lines


def _uneven_weights(program: Program) -> list[str]:
    """Layers whose one weight scale has to serve channels of very different size."""
    lines = []
    for op in program.function().operations:
        if not isinstance(op, Conv2d | DepthwiseConv2d | Dense) or op.multiplier is None:
            continue
        multiplier = program.tensors[op.multiplier].value
        if multiplier is None or multiplier.dtype != np.float32 or multiplier.min() <= 0:
            continue
        ratio = float(multiplier.max() / multiplier.min())
        if ratio > SCALE_RATIO:
            lines.append((ratio, op.outputs[0]))
    if not lines:
        return []
    ratio, name = max(lines)
    return [
        f"{len(lines)} layer(s) have channels of very different size, '{name}' most (the largest weight "
        f"scale is {ratio:,.0f} times the smallest). Equalise the weights of neighbouring layers before "
        "quantising."
    ]
