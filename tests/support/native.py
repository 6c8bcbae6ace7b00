"""Calls a compiled artifact in this process, without a bundle around it."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.artifact import Artifact
from lepton_sdk.program import Program

Array = npt.NDArray[Any]


def aligned_bytes(nbytes: int, fill: int = 0xA5) -> npt.NDArray[np.uint8]:
    """A 64-byte aligned block; the fill shows who counts on zeros."""
    block = np.full(nbytes + 64, fill, np.uint8)
    return block[(start := -block.ctypes.data % 64) : start + nbytes]


class Native:
    """Every function of an artifact, callable with arrays."""

    def __init__(self, program: Program, artifact: Artifact) -> None:
        self.program = program
        self.artifact = artifact
        # A file of its own: the loader takes a path it has seen for the library it has loaded.
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            file.write(artifact.code)
            file.flush()
            self._library = ctypes.CDLL(file.name)
        self._weights = aligned_bytes(len(artifact.weights))
        self._weights[:] = np.frombuffer(artifact.weights, np.uint8)
        initial = artifact.variables.initial if artifact.variables else b""
        self._variables = aligned_bytes(len(initial))
        self._variables[:] = np.frombuffer(initial, np.uint8)

    def variable(self, name: str) -> Array:
        """A variable's present value."""
        assert self.artifact.variables is not None
        tensor, start = self.program.tensors[name], self.artifact.variables.offsets[name]
        content = self._variables[start : start + tensor.nbytes]
        return content.view(tensor.dtype).reshape(tensor.shape).copy()

    @property
    def library(self) -> ctypes.CDLL:
        """The loaded code."""
        return self._library

    def run(
        self, inputs: Sequence[Array], function: str = "infer", parallel: int | None = None
    ) -> list[Array]:
        """One call; outputs carry guard bytes on both sides, which must survive it.

        parallel: address of a lepton_parallel.
        """
        entry, body = self.artifact.functions[function], self.program.function(function)
        arena = aligned_bytes(entry.arena_bytes + 64)
        sources = [np.ascontiguousarray(array) for array in inputs]
        sizes = [self.program.tensors[name].nbytes for name in body.outputs]
        targets = [aligned_bytes(size + 128) for size in sizes]
        code = getattr(self._library, entry.symbol)(
            ctypes.c_void_p(arena.ctypes.data),
            ctypes.c_void_p(self._weights.ctypes.data),
            ctypes.c_void_p(self._variables.ctypes.data),
            (ctypes.c_void_p * len(sources))(*(a.ctypes.data for a in sources)),
            (ctypes.c_void_p * len(targets))(*(t.ctypes.data + 64 for t in targets)),
            ctypes.c_void_p(parallel),
        )
        assert code == 0
        for size, block in ((entry.arena_bytes - 64, arena), *zip(sizes, targets)):
            assert (block[64 + size :] == 0xA5).all(), "wrote past a buffer"
        assert all((t[:64] == 0xA5).all() for t in targets), "wrote before a buffer"
        results = []
        for name, size, block in zip(body.outputs, sizes, targets):
            tensor = self.program.tensors[name]
            results.append(block[64 : 64 + size].view(tensor.dtype).reshape(tensor.shape))
        return results
