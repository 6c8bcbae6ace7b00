"""LiteRT with XNNPACK, the independent oracle. Tests that need it are skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


class LiteRT:
    """A TFLite network on LiteRT, one thread, one input, one output."""

    def __init__(self, content: bytes) -> None:
        interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra litert is absent")
        self._interpreter = interpreter.Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape with the batch."""
        return tuple(int(n) for n in self._input["shape"])

    def run(self, x: Array) -> Array:
        """One inference."""
        self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(x))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]))
