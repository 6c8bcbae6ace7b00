"""Runs the bundle's Program on the numpy executor: the specification itself, on every operating system."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.program.reference import Reference
from lepton_targets.errors import BundleFormatError, UnavailableError, UsageError, nearest


def open(source: Bundle | str | Path, threads: int = 1) -> ReferenceEngine:
    """The engine over the bundle's Program. Raises UnavailableError where numpy has no rule for a layer."""
    bundle = source if isinstance(source, Bundle) else Bundle.open(source)
    if not bundle.manifest.reference:
        raise UnavailableError(
            f"{bundle.path} holds layers that only compiled code can run",
            f"it has code for: {', '.join(bundle.manifest.targets) or 'nothing'}",
        )
    return ReferenceEngine(bundle)


class ReferenceEngine:
    """Keeps the variables in arrays of its own, so that views of them stay valid between calls."""

    name = "reference"
    target = "reference"
    threads = 1

    def __init__(self, bundle: Bundle) -> None:
        self.functions: Mapping[str, FunctionInterface] = bundle.manifest.functions
        program = bundle.program()
        for name, interface in self.functions.items():
            body = program.functions.get(name)
            found = [] if body is None else [program.tensors[t] for t in (*body.inputs, *body.outputs)]
            expected = [*interface.inputs, *interface.outputs]
            if [(t.name, t.shape, t.dtype) for t in found] != [(t.name, t.shape, t.dtype) for t in expected]:
                raise BundleFormatError(f"{bundle.path}: manifest and program describe '{name}' differently")
        self._executor = Reference(program)
        self._variables = dict(self._executor.variables)
        self._path = bundle.path

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        """See Engine.bind."""
        if function not in self.functions:
            raise UsageError(
                f"{self._path} has no function '{function}'{nearest(function, self.functions)}",
                f"it has: {', '.join(self.functions)}",
            )

        def call() -> None:
            for array, result in zip(outputs, self._executor.run(inputs, function), strict=True):
                np.copyto(array, result, casting="no")
            self._keep_own_arrays()

        return call

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """See Engine.run."""
        self.bind(function, inputs, outputs)()

    def variables(self) -> dict[str, np.ndarray]:
        """See Engine.variables."""
        return dict(self._variables)

    def reset(self) -> None:
        """See Engine.reset."""
        self._executor.reset()
        self._keep_own_arrays()

    def _keep_own_arrays(self) -> None:
        for name, own in self._variables.items():
            if (current := self._executor.variables[name]) is not own:
                np.copyto(own, current, casting="no")
                self._executor.variables[name] = own
