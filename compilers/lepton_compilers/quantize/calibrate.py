"""Run the float network on calibration samples and observe the range of every tensor in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.passes.graph import SOFTMAX, Graph, Var, bindings, dtype, is_var, operator, shape
from lepton_compilers.passes.runnable import runnable
from lepton_compilers.quantize.observers import MinMax, Observer, SoftmaxInput
from lepton_compilers.quantize.own_calls import register_own_calls
from lepton_compilers.quantize.recurrent import Seen, with_numpy_layers
from lepton_compilers.quiet import quiet
from lepton_sdk.bundle import TensorSpec
from lepton_sdk.samples import examples_for
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""(samples done, samples in all)."""


def calibrate(
    module: Any,
    samples: Mapping[str, Array] | None,
    *,
    observer: Callable[[], Observer] = MinMax,
    max_samples: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Observer]:
    """What was observed by variable name: of `main`'s inputs and every float tensor it computes.

    samples: arrays [n, …] by the rules of every sample file (lepton_sdk/samples.py). Raises BadInputError
    for samples that break them, are too few for one batch, or make a layer compute NaN or infinity.
    """
    main = module["main"]
    if "states" in main.attrs:
        held = ", ".join(map(str, main.attrs["states"]))
        raise UnsupportedOperatorError(
            f"the model keeps state between calls ({held}): it stays float",
            "calibration has no history to give; quantise it where it is trained, and compile that file",
        )
    inputs = list(main.params[: int(main.attrs["num_input"])])
    batches = batches_for(main, samples, max_samples)
    exposed, names = _exposed(main)
    cells: dict[str, MinMax] = {}
    run = compiled(exposed, lambda name, values: cells.setdefault(name, MinMax()).observe(values))
    ranges: dict[str, Observer] = {name: observer() for name in (*(str(p.name) for p in inputs), *names)}
    ranges.update((name, SoftmaxInput()) for name in _softmax_inputs(main) if name in ranges)
    total = len(next(iter(batches.values())))
    for index in range(total):
        arrays = [batches[str(p.name)][index] for p in inputs]
        for p, array in zip(inputs, arrays):
            ranges[str(p.name)].observe(array)
        for name, values in zip(names, run(arrays)):
            if not np.isfinite(values).all():
                raise BadInputError(
                    f"calibration sample {index} makes layer '{name}' compute NaN or infinity",
                    "leave the sample out, or check the model's weights",
                )
            ranges[name].observe(values)
        if progress is not None:
            progress(index + 1, total)
    return {**ranges, **{f"{name}/cells": seen for name, seen in cells.items()}}


def compiled(module: Any, cells: Seen | None = None) -> Callable[[list[Array]], list[Array]]:
    """A float module as a function from its inputs to a list of its results; `main` returns a tuple.

    cells: told what recurrent layers keep between steps.
    """
    module = with_numpy_layers(module, cells)
    register_own_calls(module)
    with quiet():
        machine = relax.VirtualMachine(relax.build(runnable(module), "llvm"), tvm.cpu())
    main = machine["main"]

    def run(arrays: list[Array]) -> list[Array]:
        found = main(*map(tvm.runtime.tensor, arrays))
        # A single result is no tuple any more.
        results = [found] if isinstance(found, tvm.runtime.Tensor) else found
        return [result.numpy() for result in results]

    return run


def _softmax_inputs(main: Any) -> list[str]:
    """Names of the tensors that softmaxes along the last axis, and nothing else, read."""
    graph = Graph(main)
    found = []
    for binding in graph.bindings:
        call = binding.value
        if operator(call) != SOFTMAX or int(call.attrs.axis) not in (-1, len(shape(binding.var)) - 1):
            continue
        source = graph.resolve(call.args[0])
        if graph.uses(source) == 1 and is_var(source):
            found.append(str(source.name))
    return found


def _exposed(main: Any) -> tuple[Any, list[str]]:
    """The module whose `main` returns every float tensor it computes, and their names in order."""
    plain = relax.transform.ToNonDataflow()(tvm.IRModule({"main": main}))["main"]
    wanted: list[Var] = [b.var for b in bindings(plain) if dtype(b.var) == "float32"]
    types = relax.TupleType([var.ty for var in wanted])
    body = relax.SeqExpr(plain.body.blocks, relax.Tuple(wanted))
    function = relax.Function(plain.params, body, types).with_attr("global_symbol", "main")
    names = [str(b.var.name) for b in bindings(main) if dtype(b.var) == "float32"]
    return tvm.IRModule({"main": function}), names


def batches_for(main: Any, samples: Mapping[str, Array] | None, max_samples: int | None) -> dict[str, Array]:
    """Arrays [batches, *input shape] by input name; what fills no whole batch is left out."""
    parameters = main.params[: int(main.attrs["num_input"])]
    inputs = tuple(TensorSpec(str(p.name), shape(p), dtype(p)) for p in parameters)
    if not samples:
        raise BadInputError(
            "quantising to int8 needs calibration samples, none were given",
            f"give arrays [n, …] for: {', '.join(map(str, inputs))}",
        )
    try:
        examples = examples_for(inputs, samples)
    except BadInputError as error:
        raise BadInputError(f"calibration: {error.message}", *error.details) from error
    batches: dict[str, Array] = {}
    for spec in inputs:
        rows = examples[spec.name][:max_samples]
        whole = len(rows) // spec.shape[0] * spec.shape[0]
        if whole == 0:
            raise BadInputError(
                f"calibration input '{spec.name}' has {len(rows)} samples; a batch is {spec.shape[0]}"
            )
        batches[spec.name] = np.ascontiguousarray(rows[:whole]).reshape(-1, *spec.shape)
    return batches
