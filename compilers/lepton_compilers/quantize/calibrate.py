"""Run the float network on calibration samples and observe the range of every tensor in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.passes.graph import Var, bindings, dtype, shape
from lepton_compilers.quantize.observers import MinMax
from lepton_compilers.quiet import quiet
from lepton_targets.errors import BadInputError, nearest

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""(samples done, samples in all)."""

SINGLE_INPUT_NAME = "features"


def calibrate(
    module: Any,
    samples: Mapping[str, Array] | None,
    *,
    max_samples: int | None = None,
    progress: Progress | None = None,
) -> dict[str, MinMax]:
    """Ranges by variable name: `main`'s inputs and every float tensor it computes.

    samples: arrays [n, …] by input name (`features` serves a single input), one row a sample; an integer
    array for a float input comes with `<name>_scale` and `<name>_zero_point`. Raises BadInputError for
    missing, empty, misshapen, non-float or non-finite samples, naming the first bad one.
    """
    main = module["main"]
    inputs = list(main.params[: int(main.attrs["num_input"])])
    batches = checked_samples({str(p.name): shape(p) for p in inputs}, samples, max_samples)
    exposed, names = _exposed(main)
    with quiet():
        machine = relax.VirtualMachine(relax.build(exposed, "llvm"), tvm.cpu())
    run = machine["main"]
    ranges: dict[str, MinMax] = {str(p.name): MinMax() for p in inputs} | {name: MinMax() for name in names}
    total = len(next(iter(batches.values())))
    for index in range(total):
        arrays = [batches[str(p.name)][index] for p in inputs]
        for p, array in zip(inputs, arrays):
            ranges[str(p.name)].observe(array)
        for name, result in zip(names, run(*(tvm.runtime.tensor(array) for array in arrays))):
            values = result.numpy()
            if not np.isfinite(values).all():
                raise BadInputError(
                    f"calibration sample {index} makes layer '{name}' compute NaN or infinity",
                    "leave the sample out, or check the model's weights",
                )
            ranges[name].observe(values)
        if progress is not None:
            progress(index + 1, total)
    return ranges


def _exposed(main: Any) -> tuple[Any, list[str]]:
    """The module whose `main` returns every float tensor it computes, and their names in order."""
    plain = relax.transform.ToNonDataflow()(tvm.IRModule({"main": main}))["main"]
    wanted: list[Var] = [b.var for b in bindings(plain) if dtype(b.var) == "float32"]
    types = relax.TupleType([var.ty for var in wanted])
    body = relax.SeqExpr(plain.body.blocks, relax.Tuple(wanted))
    function = relax.Function(plain.params, body, types).with_attr("global_symbol", "main")
    names = [str(b.var.name) for b in bindings(main) if dtype(b.var) == "float32"]
    return tvm.IRModule({"main": function}), names


def checked_samples(
    inputs: Mapping[str, tuple[int, ...]], samples: Mapping[str, Array] | None, max_samples: int | None
) -> dict[str, Array]:
    """float32 arrays [batches, *input shape] by input name. BadInputError says what is wrong."""
    if not samples:
        raise BadInputError(
            "quantising to int8 needs calibration samples, none were given",
            f"give arrays [n, …] for: {', '.join(f'{n} {list(s[1:])}' for n, s in inputs.items())}",
        )
    counts: dict[str, int] = {}
    batches: dict[str, Array] = {}
    for name, extents in inputs.items():
        rows = _rows(name, extents, samples, single=len(inputs) == 1)
        counts[name] = len(rows)
        rows = rows[:max_samples]
        whole = len(rows) // extents[0] * extents[0]
        if whole == 0:
            raise BadInputError(
                f"calibration input '{name}' has {len(rows)} samples; at least {extents[0]} are needed"
            )
        batches[name] = np.ascontiguousarray(rows[:whole]).reshape(-1, *extents)
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise BadInputError(f"the calibration inputs have different numbers of samples: {found}")
    return batches


def _rows(name: str, extents: tuple[int, ...], samples: Mapping[str, Array], single: bool) -> Array:
    """One input's samples as float32 [n, …], checked."""
    key = SINGLE_INPUT_NAME if single and name not in samples and SINGLE_INPUT_NAME in samples else name
    if key not in samples:
        raise BadInputError(
            f"the calibration samples have no array '{name}'{nearest(name, samples)}",
            f"they have: {', '.join(samples)}",
        )
    rows = np.asarray(samples[key])
    if rows.ndim != len(extents) or rows.shape[1:] != extents[1:]:
        raise BadInputError(
            f"calibration input '{key}' has shape {rows.shape}; the model takes samples of "
            f"{extents[1:]}, so [n, {', '.join(map(str, extents[1:]))}] is needed"
        )
    if len(rows) == 0:
        raise BadInputError(f"calibration input '{key}' is empty", "32 to 200 typical samples serve well")
    if rows.dtype.kind in "iu":
        rows = _dequantised(key, rows, samples)
    if rows.dtype.kind != "f":
        raise BadInputError(f"calibration input '{key}' is {rows.dtype}; float32 is needed")
    bad = next(_bad_rows(rows), None)
    if bad is not None:
        raise BadInputError(
            f"sample {bad} of calibration input '{key}' holds NaN or infinity", "leave it out, or repair it"
        )
    return rows.astype(np.float32, copy=False)


def _bad_rows(rows: Array) -> Iterator[int]:
    return (index for index, row in enumerate(rows) if not np.isfinite(row).all())


def _dequantised(key: str, rows: Array, samples: Mapping[str, Array]) -> Array:
    scale, zero = samples.get(f"{key}_scale"), samples.get(f"{key}_zero_point")
    if scale is None or zero is None or np.size(scale) != 1 or np.size(zero) != 1:
        raise BadInputError(
            f"calibration input '{key}' is {rows.dtype}, the model's input is float32",
            f"put the numbers {key}_scale and {key}_zero_point beside it, or give float32",
        )
    return (rows.astype(np.float32) - np.float32(np.reshape(zero, ()))) * np.float32(np.reshape(scale, ()))
