"""Our own rules from ONNX operators to Relax calls, by theme; what they leave out is expanded by its
body in ONNX's definition.

elementwise.py       a number at a time: arithmetic, comparisons, bits, activations
casts.py             element types
movement.py          shapes, slices, pads, tiles
indexing.py          gathers and scatters; ordering.py: sorting, running sums
reductions.py        sums, maxima … over axes
normalization.py     means and variances taken out
windows.py           how windows slide: convolutions.py, pools.py; gathered_windows.py: cut out place by place
products.py          products of matrices
quantization.py      integers for reals: Q/DQ; quantised_layers.py: layers in integers
../recurrent.py      whole recurrent layers
images.py            resizing, sampling; signals.py: Fourier transforms
"""

from __future__ import annotations

from collections.abc import Mapping

from lepton_compilers.importers.onnx import recurrent
from lepton_compilers.importers.onnx.rules import (
    casts,
    convolutions,
    elementwise,
    gathered_windows,
    images,
    indexing,
    movement,
    normalization,
    ordering,
    pools,
    products,
    quantised_layers,
    quantization,
    reductions,
    signals,
)
from lepton_compilers.importers.onnx.values import Converter

CONVERTERS: Mapping[str, Converter] = {
    **elementwise.RULES,
    **casts.RULES,
    **movement.RULES,
    **indexing.RULES,
    **ordering.RULES,
    **reductions.RULES,
    **normalization.RULES,
    **convolutions.RULES,
    **pools.RULES,
    **gathered_windows.RULES,
    **products.RULES,
    **quantization.RULES,
    **quantised_layers.RULES,
    **images.RULES,
    **recurrent.RULES,
    **signals.RULES,
}
"""By operator of ONNX's own domain."""

DOMAINS: Mapping[str, Mapping[str, Converter]] = {"com.microsoft": quantised_layers.MICROSOFT}
"""By operator, of other domains."""
