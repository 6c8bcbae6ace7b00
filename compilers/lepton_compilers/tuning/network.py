"""A whole network with one choice of tiles and with another: the times in turns, and what they compute."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.artifact import Artifact
from lepton_compilers.pack import tensor_spec
from lepton_sdk.benchmark import Latency, measure
from lepton_sdk.bundle.manifest import FunctionInterface
from lepton_sdk.engines import library
from lepton_sdk.engines.memory import aligned_bytes
from lepton_sdk.examples import synthetic_inputs
from lepton_sdk.program import Program
from lepton_targets.errors import CheckFailedError

MOST_STEPS = 1
"""Of a quantised result behind float sums, as golden vectors allow."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """table, tuned: latency of `infer`. max_difference: of any output value; 0: all bytes are equal."""

    table: Latency
    tuned: Latency
    max_difference: float

    @property
    def ratio_min(self) -> float:
        """Least time with the winners by least time with the table's tiles."""
        return self.tuned.min / self.table.min

    @property
    def ratio_median(self) -> float:
        """The same of the medians."""
        return self.tuned.median / self.table.median

    def to_json(self) -> dict[str, Any]:
        """Plain values; latencies in µs."""
        return {
            "table_latency_us": self.table.to_json(),
            "tuned_latency_us": self.tuned.to_json(),
            "ratio_min": self.ratio_min,
            "ratio_median": self.ratio_median,
            "max_difference": self.max_difference,
        }


def compare(program: Program, table: Artifact, tuned: Artifact, seconds: float) -> Comparison:
    """Both artifacts on the same inputs, for about `seconds`.

    Raises CheckFailedError where an output of integers differs, though no float precedes it.
    """
    function = program.function()
    specs = tuple(tensor_spec(program.tensors[name]) for name in function.inputs)
    inputs = list(synthetic_inputs(FunctionInterface(specs, ())).values())
    calls, results = [], []
    for artifact in (table, tuned):
        outputs = [aligned_array(program, name) for name in function.outputs]
        call = bound(artifact, inputs, outputs)
        call()
        calls.append(call)
        results.append([output.copy() for output in outputs])
    difference = _difference(program, *results)
    first, second = measure(calls, seconds)
    return Comparison(first, second, difference)


def _difference(program: Program, table: list[Array], tuned: list[Array]) -> float:
    largest = 0.0
    for name, a, b in zip(program.function().outputs, table, tuned, strict=True):
        if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            continue
        difference = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        floats = any(
            t.dtype == "float32" for op in program.function().operations for t in _results(op, program)
        )
        if not floats or (a.dtype != np.float32 and difference > MOST_STEPS):
            raise CheckFailedError(
                f"output '{name}' differs by {difference} with the tiles that were tuned",
                "tiles never change an integer result: a kernel is wrong; please report the network",
            )
        largest = max(largest, difference)
    return largest


def _results(op: Any, program: Program) -> list[Any]:
    return [program.tensors[name] for name in op.outputs]


def aligned_array(program: Program, name: str) -> Array:
    """An array for the tensor, zeros."""
    tensor = program.tensors[name]
    return aligned_bytes(tensor.nbytes).view(tensor.dtype).reshape(tensor.shape)


def bound(artifact: Artifact, inputs: list[Array], outputs: list[Array]) -> Callable[[], object]:
    """A call of the artifact's `infer` on these arrays, on one thread."""
    entry = artifact.functions["infer"]
    code = library.load(artifact.code, f"the network for {artifact.target}")
    initial = artifact.variables.initial if artifact.variables else b""
    blocks = []
    for content in (artifact.weights, initial):
        block = aligned_bytes(len(content))
        block[:] = np.frombuffer(content, np.uint8)
        blocks.append(block)
    arena = aligned_bytes(entry.arena_bytes)
    pointers = [(ctypes.c_void_p * max(len(a), 1))(*(x.ctypes.data for x in a)) for a in (inputs, outputs)]
    addresses = (arena.ctypes.data, *(block.ctypes.data for block in blocks))
    values = (*addresses, *map(ctypes.addressof, pointers), None)
    arguments = (ctypes.c_void_p * len(values))(*values)
    run = code[f"{entry.symbol}_bound"]
    kept = (arena, blocks, pointers, inputs, outputs, code)

    def call(run: Any = run, arguments: Any = arguments, kept: object = kept) -> None:
        run(arguments)

    return call
