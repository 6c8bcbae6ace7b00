"""What a back end is, and how the one for a target is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends.answers import Answer
from lepton_sdk.program import Operation, Program, Tensors
from lepton_targets import Target
from lepton_targets.errors import UnavailableError

GROUP = "lepton.backends"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a program would cost on a target, known before any code is generated.

    macs, arena_bytes: by function. weights_bytes: in the target's layout. plan: what would run, a line a
    kernel call, by function.
    """

    target: str
    macs: Mapping[str, int]
    arena_bytes: Mapping[str, int]
    weights_bytes: int
    plan: Mapping[str, str]


class Backend(Protocol):
    """A back end is a module with these functions, listed as an entry point by its targets' kind.

    `target` is a row of that kind. `lower` raises UnsupportedOperatorError that names the layer.
    """

    def operations(self, target: Any) -> list[str]:
        """Names of the operations that have a form on the target."""

    def supports(self, op: Operation, tensors: Tensors, target: Any) -> Answer:
        """Whether the target has a form for this operation on these tensors."""

    def precisions(self, target: Any) -> tuple[str, ...]:
        """How the target can multiply float32: `float32`, and others of precision.PRECISIONS."""

    def estimate(self, program: Program, target: Any, *, precision: str = "float32") -> Estimate:
        """The plan and its costs, nothing generated; precision: one of `precisions`."""

    def lower(self, program: Program, target: Any, *, precision: str = "float32") -> Artifact:
        """Every function as code, with weights and variables."""


def backend_for(target: Target) -> Backend:
    """The installed back end of the target's kind. Raises UnavailableError where there is none."""
    for entry in metadata.entry_points(group=GROUP, name=target.kind):
        backend: Backend = entry.load()
        return backend
    raise UnavailableError(
        f"no installed back end compiles for {target.name} ({target.kind})",
        f"installed: {', '.join(entry.name for entry in metadata.entry_points(group=GROUP)) or 'none'}",
    )
