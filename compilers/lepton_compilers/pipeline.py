"""The front half of the compiler as a list of passes, and how the list is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.passes.absorb_flatten import absorb_flatten
from lepton_compilers.passes.canonicalise import canonicalise
from lepton_compilers.passes.column_maps import column_maps
from lepton_compilers.passes.cut_convolutions import cut_convolutions
from lepton_compilers.passes.drop_softmax_guards import drop_softmax_guards
from lepton_compilers.passes.fold_batch_norm import fold_batch_norm
from lepton_compilers.passes.fold_constants import fold_constants
from lepton_compilers.passes.fold_layer_norm import fold_layer_norm
from lepton_compilers.passes.graph import bindings, described
from lepton_compilers.passes.normalise_negative_indices import normalise_negative_indices
from lepton_compilers.passes.one_row_maps import one_row_maps
from lepton_compilers.passes.own_outputs import own_outputs
from lepton_compilers.passes.record import Pass, PassRecord
from lepton_compilers.passes.to_nhwc import to_nhwc
from lepton_compilers.quantize.check_layers import check_layers
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.quantize.quantise import quantise


def front_half(
    config: QuantizationConfig | None,
    calibration: Mapping[str, npt.NDArray[np.generic]] | None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Pass, ...]:
    """From the importer's Relax module to one that can be made into a Program.

    There is no pass for dead code (every rewrite leaves it behind) and none that gives each use its own
    dequantize: integerize reads through shared ones.
    """
    tidy: tuple[Pass, ...] = (
        normalise_negative_indices,
        fold_constants,
        drop_softmax_guards,
        column_maps,
        one_row_maps,
        fold_batch_norm,
        to_nhwc,
        cut_convolutions,
        fold_layer_norm,
        canonicalise,
        absorb_flatten,
        own_outputs,
    )
    if config is None:
        return tidy
    return (*tidy, check_layers, quantise(config, calibration, progress))


def run_passes(module: Any, passes: Sequence[Pass], explain: list[PassRecord] | None = None) -> Any:
    """The module after every pass in turn; `explain` collects a record of each."""
    for apply in passes:
        start = time.perf_counter()
        after = apply(module)
        seconds = time.perf_counter() - start
        if explain is not None:
            name = getattr(apply, "__name__", type(apply).__name__)
            explain.append(PassRecord(name, seconds, _change(module, after)))
        module = after
    return module


def _change(before: Any, after: Any) -> str:
    """The operators that came (+) and went (−), or that nothing changed."""
    counts: dict[str, int] = {}
    for module, sign in ((before, -1), (after, 1)):
        for binding in bindings(module["main"]):
            name = described(binding.value)
            if name not in ("Var", "DataflowVar"):
                counts[name] = counts.get(name, 0) + sign
    moved = [f"{'+' if n > 0 else '−'}{abs(n)} {name}" for name, n in sorted(counts.items()) if n]
    return ", ".join(moved) or "no operator came or went"
