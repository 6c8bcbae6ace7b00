"""Runs a bundle's machine code: one C call a function, pointers prepared beforehand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_sdk.bundle.manifest import Artifact, FunctionInterface
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.engines import library
from lepton_sdk.engines.memory import aligned_bytes
from lepton_sdk.engines.selection import artifact_for, best_artifact
from lepton_targets.errors import (
    BundleFormatError,
    CheckFailedError,
    LeptonError,
    UnavailableError,
    UsageError,
    nearest,
)

if TYPE_CHECKING:
    from pathlib import Path

    from lepton_sdk.engines.pool import Pool


def open(source: Bundle | str | Path, threads: int = 1, target: str | None = None) -> NativeEngine:
    """The engine for the artifact of `target`, else for the best one that this CPU runs.

    Raises UnavailableError where there is none, UsageError for a target that the bundle lacks.
    threads: at most so many run one inference, the caller's included; the bytes are the same with any number.
    """
    bundle = source if isinstance(source, Bundle) else Bundle.open(source)
    artifact = best_artifact(bundle) if target is None else artifact_for(bundle, target)
    return NativeEngine(bundle, artifact, threads)


class NativeEngine:
    """Code, weights (in the mapped file), one arena, one block of variables, threads that share the work."""

    name = "native"

    def __init__(self, bundle: Bundle, artifact: Artifact, threads: int = 1) -> None:
        self.target = artifact.target
        self.functions: Mapping[str, FunctionInterface] = {
            name: bundle.manifest.functions[name] for name in artifact.functions
        }
        self._bundle = bundle
        self._artifact = artifact
        self._library = library.load(bundle.executable(artifact.code), f"{artifact.target} in {bundle.path}")
        self._pool: Pool | None = None
        if threads > 1:
            from lepton_sdk.engines.pool import open_pool

            self._pool = open_pool(self._library, threads)
        self._arena = aligned_bytes(0)
        self._weights = _readable(bundle.segment(artifact.weights)) if artifact.weights else None
        self._block = aligned_bytes(artifact.variables.bytes if artifact.variables else 0)
        self.reset()

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        """See Engine.bind. The arrays are kept alive with the call."""
        values, kept = self._arguments(function, inputs, outputs)
        entry = self._entry(function)
        arguments: tuple[object, ...] = tuple(map(ctypes.c_void_p, values))
        if (bound := self._exported(function, "bound")) is not None:
            entry, arguments = bound, ((ctypes.c_void_p * len(values))(*values),)
        return self._call(function, entry, arguments, kept)

    def bind_timed(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], stamps: int
    ) -> Callable[[], None]:
        """As `bind`, of the code that reads a clock after every step. stamps: address of a lepton_stamps.

        Raises UnavailableError where the bundle's code has none.
        """
        timed = self._exported(function, "timed")
        if timed is None:
            raise UnavailableError(
                f"the code for {self.target} in {self._bundle.path} can't tell its layers' times",
                "it was made by an older lepton-edge: compile the model again",
            )
        values, kept = self._arguments(function, inputs, outputs)
        values = (*values, stamps)
        return self._call(function, timed, ((ctypes.c_void_p * len(values))(*values),), kept)

    def _arguments(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> tuple[tuple[int | None, ...], object]:
        """Addresses that generated code takes, and what must live as long as they are used."""
        arena = self._arena_of(self._artifact.functions[function].arena_bytes)
        input_pointers = (ctypes.c_void_p * max(len(inputs), 1))(*(a.ctypes.data for a in inputs))
        output_pointers = (ctypes.c_void_p * max(len(outputs), 1))(*(a.ctypes.data for a in outputs))
        values = (
            arena.ctypes.data,
            self._weights.ctypes.data if self._weights is not None else None,
            self._block.ctypes.data,
            ctypes.addressof(input_pointers),
            ctypes.addressof(output_pointers),
            self._pool.address if self._pool else None,
        )
        pointers = (input_pointers, output_pointers)
        kept = (arena, self._weights, self._block, self._pool, tuple(inputs), tuple(outputs), pointers)
        return values, kept

    def _call(
        self, function: str, entry: Callable[..., int], arguments: tuple[object, ...], kept: object
    ) -> Callable[[], None]:
        def call(
            entry: Callable[..., int] = entry, arguments: tuple[object, ...] = arguments, kept: object = kept
        ) -> None:
            if code := entry(*arguments):
                raise self._failed(function, code)

        return call

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """See Engine.run."""
        self.bind(function, inputs, outputs)()

    @property
    def threads(self) -> int:
        """How many threads run one inference; 1 where the code has no work that is worth sharing."""
        return self._pool.threads if self._pool else 1

    def variables(self) -> dict[str, np.ndarray]:
        """See Engine.variables."""
        block = self._artifact.variables
        if block is None:
            return {}
        return {
            v.name: self._block[block.offsets[v.name] :][: v.nbytes].view(v.dtype).reshape(v.shape)
            for v in self._bundle.manifest.variables
        }

    def reset(self) -> None:
        """See Engine.reset."""
        if self._artifact.variables is not None:
            self._block[:] = _readable(self._bundle.segment(self._artifact.variables.segment))

    def _entry(self, function: str) -> Callable[..., int]:
        if function not in self._artifact.functions:
            raise UsageError(
                f"{self._bundle.path} has no function '{function}'{nearest(function, self.functions)}",
                f"it has: {', '.join(self.functions)}",
            )
        symbol = self._artifact.functions[function].symbol
        try:
            # A fresh function object each time: two calls may not share one that is being configured.
            entry = self._library[symbol]
        except AttributeError:
            raise BundleFormatError(
                f"the code for {self.target} in {self._bundle.path} does not export '{symbol}'",
                "the bundle was not made by this project's compiler, or is damaged: compile it again",
            ) from None
        entry.restype = ctypes.c_int
        return entry

    def _exported(self, function: str, form: str) -> Callable[..., int] | None:
        """An entry that takes one pointer to all arguments; older code has none.

        form: `bound`, cheaper to call, or `timed`, which takes stamps too.
        """
        try:
            entry: Callable[..., int] = self._library[f"{self._artifact.functions[function].symbol}_{form}"]
        except AttributeError:
            return None
        entry.restype = ctypes.c_int  # type: ignore[attr-defined]
        return entry

    def _arena_of(self, nbytes: int) -> np.ndarray:
        if nbytes > len(self._arena):
            try:
                self._arena = aligned_bytes(nbytes)
            except MemoryError:
                raise UnavailableError(
                    f"{self._bundle.path} needs {nbytes} bytes of working memory"
                ) from None
        return self._arena

    def _failed(self, function: str, code: int) -> LeptonError:
        return CheckFailedError(
            f"function '{function}' of {self._bundle.path} ({self.target}) failed with {code}"
        )


def _readable(segment: memoryview) -> np.ndarray:
    return np.frombuffer(segment, np.uint8)
