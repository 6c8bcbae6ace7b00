"""How far rounded weights shift each output channel on average, measured on the calibration samples.

Source: Nagel, van Baalen, Blankevoort, Welling, "Data-free quantization through weight equalization and bias
correction" (2019), section 4.2, with measured inputs in place of the ones its assumptions give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.passes.graph import Expr, Var, shape
from lepton_compilers.passes.rewrite import Rewriter
from lepton_compilers.quantize.calibrate import Progress, batches_for, compiled

Array = npt.NDArray[Any]


def mean_errors(
    module: Any,
    rounding: Mapping[str, tuple[Expr, Array]],
    samples: Mapping[str, Array] | None,
    *,
    max_samples: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Mean of layer(x, Wq − W) over samples and positions, float64 [channels], by layer name.

    rounding: each layer's call in `module`'s main, and Wq − W in the shape of its weights. A layer is linear
    in its weights, so this is the mean of its error; x is what the float network computes, so no layer
    is charged with what those before it did.
    """
    if not rounding:
        return {}

    def errors(rewriter: Rewriter, _: tuple[Var, ...]) -> list[Expr]:
        means = []
        for name, (call, added) in rounding.items():
            operands = [rewriter.mapped(call.args[0]), relax.const(added)]
            layer = rewriter.emit(tvm.ir.Call(call.op, operands, call.attrs, call.ty_args), f"{name}/error")
            axes = list(range(len(shape(layer)) - 1))
            means.append(rewriter.emit(relax.op.mean(layer, axes), f"{name}/mean"))
        # A second copy keeps the result a tuple where there is one layer.
        return [*means, means[0]]

    rewriter = Rewriter(module)
    run = compiled(rewriter.run(lambda *_: None, results=errors))
    batches = batches_for(module["main"], samples, max_samples)
    total = len(next(iter(batches.values())))
    sums = [np.zeros(()) for _ in rounding]
    for index in range(total):
        means = run([array[index] for array in batches.values()])
        sums = [held + mean.astype(np.float64) for held, mean in zip(sums, means)]
        if progress is not None:
            progress(index + 1, total)
    return {name: held / total for name, held in zip(rounding, sums)}
