"""LiteRT with XNNPACK, the independent oracle. Tests that need it are skipped where it is not installed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


class LiteRT:
    """A TFLite network on LiteRT, one thread.

    delegate: run on XNNPACK, as LiteRT does by default; else on LiteRT's own optimised kernels.
    reference: run on its reference kernels instead of either, and keep every tensor.
    """

    def __init__(self, content: bytes, delegate: bool = True, reference: bool = False) -> None:
        interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra litert is absent")
        kinds = interpreter.OpResolverType
        kind = kinds.AUTO if delegate else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = interpreter.Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=kinds.BUILTIN_REF if reference else kind,
                experimental_preserve_all_tensors=reference,
            )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape with the batch."""
        return tuple(int(n) for n in self._input["shape"])

    @property
    def quantization(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """(scale, zero point) of the input and of the output."""
        return self._input["quantization"], self._output["quantization"]

    def tensors(self) -> dict[str, Array]:
        """Every tensor that the last run computed, by name. Needs `reference`."""
        found = {}
        for detail in self._interpreter.get_tensor_details():
            with contextlib.suppress(ValueError):  # a tensor that was never computed
                found[detail["name"]] = np.array(self._interpreter.get_tensor(detail["index"]))
        return found

    def run(self, x: Array) -> Array:
        """One inference."""
        self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(x))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]))

    def run_all(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference of a network with any number of inputs and outputs, in the file's order."""
        for detail, x in zip(self._interpreter.get_input_details(), inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], np.ascontiguousarray(x))
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return [np.array(self._interpreter.get_tensor(detail["index"])) for detail in details]

    def reset(self) -> None:
        """Variables as they were before the first inference."""
        self._interpreter.reset_all_variables()
