"""What a back end hands to the packer: code, weights in its layout, and how to call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lepton_sdk.steps import Step


@dataclass(frozen=True, slots=True)
class ArtifactFunction:
    """One entry of the shared object and the bytes of arena it needs."""

    symbol: str
    arena_bytes: int


@dataclass(frozen=True, slots=True)
class VariableBlock:
    """The block that holds every variable between calls: first bytes, and each variable's offset."""

    initial: bytes
    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A program lowered to one target.

    code: shared object. weights: one 64-byte aligned blob in the target's layout. sources: what a user
    can read, generated C by file name. steps: what each function does between its stamps, where its code can
    tell (`lepton_sdk.steps`).
    """

    target: str
    code: bytes
    weights: bytes
    functions: Mapping[str, ArtifactFunction]
    variables: VariableBlock | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
