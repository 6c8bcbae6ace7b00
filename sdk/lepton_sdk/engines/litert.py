"""Runs a plain .tflite through LiteRT, the maintained successor of tflite-runtime: fall-back and oracle."""

from __future__ import annotations

import os
from builtins import open as _open
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lepton_sdk.bundle.format import MAGIC
from lepton_sdk.bundle.manifest import FunctionInterface, Quantization, TensorSpec
from lepton_sdk.bundle.reader import Bundle
from lepton_targets.errors import BadInputError, MissingExtraError, UsageError


def open(source: Bundle | str | Path, threads: int = 1) -> LitertEngine:
    """The engine over a .tflite file. Raises MissingExtraError without LiteRT, UsageError for a bundle."""
    if isinstance(source, Bundle):
        raise _no_bundle(source.path)
    return LitertEngine(source, threads)


def _no_bundle(path: str | Path) -> UsageError:
    return UsageError(
        f"the engine 'litert' opens a plain .tflite file, and {path} is a bundle",
        "run the bundle with the engine 'native' or 'reference'",
    )


class LitertEngine:
    """One function, `infer`; tensors keep the names that the file gives them."""

    name = "litert"
    target = "litert"

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingExtraError("the engine 'litert'", "litert", error.name or "ai-edge-litert") from None
        if not os.path.isfile(path):
            raise BadInputError(f"cannot read the model {path}: there is no such file")
        with _open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                raise _no_bundle(path)
        try:
            self._interpreter: Any = Interpreter(model_path=os.fspath(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadInputError(f"LiteRT does not open {path}: {error}") from None
        self._path = path
        self.threads = threads
        self._input_ids = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._output_ids = [detail["index"] for detail in self._interpreter.get_output_details()]
        self.functions: Mapping[str, FunctionInterface] = {
            "infer": FunctionInterface(
                tuple(map(_tensor_spec, self._interpreter.get_input_details())),
                tuple(map(_tensor_spec, self._interpreter.get_output_details())),
            )
        }

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        """See Engine.bind."""
        self._require_infer(function)

        def call() -> None:
            self._fill(inputs)
            self._interpreter.invoke()
            for index, array in zip(self._output_ids, outputs, strict=True):
                np.copyto(array, self._interpreter.get_tensor(index), casting="no")

        return call

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """See Engine.run."""
        self.bind(function, inputs, outputs)()

    def resident(self, inputs: Sequence[np.ndarray]) -> Callable[[], None]:
        """LiteRT's call alone, its inputs set once: what a benchmark may charge it with."""
        self._fill(inputs)
        invoke: Callable[[], None] = self._interpreter.invoke
        return invoke

    def variables(self) -> dict[str, np.ndarray]:
        """None can be reached from outside."""
        return {}

    def reset(self) -> None:
        """See Engine.reset."""
        self._interpreter.reset_all_variables()

    def _fill(self, inputs: Sequence[np.ndarray]) -> None:
        for index, array in zip(self._input_ids, inputs, strict=True):
            self._interpreter.set_tensor(index, array)

    def _require_infer(self, function: str) -> None:
        if function != "infer":
            raise UsageError(f"{self._path} has no function '{function}'; a .tflite has 'infer' only")


def _tensor_spec(detail: Mapping[str, Any]) -> TensorSpec:
    parameters = detail["quantization_parameters"]
    quantization = None
    if len(parameters["scales"]):
        scales = tuple(float(scale) for scale in parameters["scales"])
        axis = int(parameters["quantized_dimension"]) if len(scales) > 1 else None
        quantization = Quantization(scales, int(parameters["zero_points"][0]), axis)
    shape = tuple(int(extent) for extent in detail["shape"])
    return TensorSpec(str(detail["name"]), shape, np.dtype(detail["dtype"]).name, quantization)
